"""fitprint for Ray Tune and Ray Train. Ray itself is imported when a name is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fitprint_ray.train import WorkerTracker
    from fitprint_ray.tune import CarbonStopper, TrialTracker

__all__ = ["CarbonStopper", "TrialTracker", "WorkerTracker"]


def __getattr__(name: str) -> object:
    """Import a name, and with it the half of Ray that it serves (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'fitprint_ray' has no attribute {name!r}")
    home = "train" if name == "WorkerTracker" else "tune"
    value: object = getattr(importlib.import_module(f"fitprint_ray.{home}"), name)
    return value
