"""The page on sinks, and the programs on it."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "sinks.md").read_text(encoding="utf-8")
NEEDS = ("mlflow", "wandb", "clearml", "prometheus_client", "opentelemetry.sdk", "fitprint")
# By the package that each needs.
PROGRAMS = dict(zip(NEEDS, re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL), strict=True))
