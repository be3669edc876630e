"""Real NVIDIA GPUs: tests that are not marked ``gpu`` run as on a machine without one, in this process and in those they start.

Frameworks use what they see (``accelerator="auto"``, the Hugging Face Trainer, JAX), and CUDA that has begun survives no fork.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/version")
HIDDEN = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}

Around = MutableMapping[str, str]


def hide(environ: Around, driver: Path = DRIVER) -> dict[str, str | None]:
    """Hide them, where there is a driver; before a framework is imported. Returns how to show them again."""
    if not driver.exists():
        return {}
    before = {name: environ.get(name) for name in HIDDEN}
    environ.update(HIDDEN)
    return before


def shown(environ: Mapping[str, str], before: Mapping[str, str | None]) -> dict[str, str]:
    """The environment in which they are seen as before they were hidden."""
    kept = {name: value for name, value in environ.items() if name not in before}
    return kept | {name: value for name, value in before.items() if value is not None}
