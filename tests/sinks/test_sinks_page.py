"""The page on sinks: its programs run, and its tables name what is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fitprint.footprint import Footprint
from fitprint.scalars import EPOCH_TAGS, RUN_TAGS
from fitprint.sinks.names import SINKS
from fitprint.sinks.prometheus import families

PAGE = (Path(__file__).parents[2] / "docs" / "sinks.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NEEDS = ["mlflow", "wandb", "clearml", "prometheus_client", "opentelemetry.sdk", "fitprint"]


@pytest.mark.parametrize(("program", "needs"), list(zip(PROGRAMS, NEEDS, strict=True)), ids=NEEDS)
def test_the_programs_run_and_every_sink_gets_something(program, needs, tmp_path, free_port):
    pytest.importorskip(needs)
    trackers = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "WANDB_SILENT": "true", "HOME": str(tmp_path)}
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    outside = {**trackers, "PYTHONWARNINGS": "ignore", "PYTHONPATH": paths}
    first = "import clearml_alone\n" if needs == "clearml" else ""
    command = [sys.executable, "-c", first + program.replace("9400", str(free_port))]
    done = subprocess.run(
        command, env={**os.environ, **outside}, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the sink" not in done.stderr
    assert "CONNECTED" not in done.stderr


def test_every_sink_by_name_is_on_the_page():
    assert [name for name in SINKS if f'`"{name}' not in PAGE] == []


def test_every_name_that_is_logged_is_on_the_page():
    known = Footprint(run_id="r", status="running", co2e_g=1.0)
    counters = {"counter": "_total", "gauge": ""}
    written = [name + counters[kind] for kind, name, *_ in families(known, {})]
    assert [name for name in (*EPOCH_TAGS, *RUN_TAGS, *written) if f"`{name}`" not in PAGE] == []
