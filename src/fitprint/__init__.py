"""fitprint measures the energy and CO2e of every epoch that a model trains, and stops on a budget.

Names are imported when they are first used: ``import fitprint`` alone costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fitprint.budget import Budget, Decision
    from fitprint.calculator import estimate
    from fitprint.comparison import compare
    from fitprint.config import Config
    from fitprint.decorator import track
    from fitprint.detection import detect
    from fitprint.energy import Energy
    from fitprint.errors import FitprintError
    from fitprint.footprint import EpochFootprint, Footprint
    from fitprint.ledger.ledger import Ledger
    from fitprint.meter import Meter
    from fitprint.tracker import Tracker

__all__ = [
    "Budget",
    "Config",
    "Decision",
    "Energy",
    "EpochFootprint",
    "FitprintError",
    "Footprint",
    "Ledger",
    "Meter",
    "Tracker",
    "compare",
    "detect",
    "estimate",
    "track",
]

_HOMES = {
    "Budget": "budget",
    "Config": "config",
    "Decision": "budget",
    "Energy": "energy",
    "EpochFootprint": "footprint",
    "FitprintError": "errors",
    "Footprint": "footprint",
    "Ledger": "ledger.ledger",
    "Meter": "meter",
    "Tracker": "tracker",
    "compare": "comparison",
    "detect": "detection",
    "estimate": "calculator",
    "track": "decorator",
}

_OF_ADAPTERS = ("CarbonCallback", "EfficiencyStopping")


def __getattr__(name: str) -> object:
    """Import a public name from its module (PEP 562)."""
    if name in _OF_ADAPTERS:  # of an AttributeError `from fitprint import ...` would not show the words
        packages = "fitprint_lightning, fitprint_keras (Keras 3) or fitprint_transformers (the Hugging Face Trainer)"
        raise ImportError(f"each framework has its own {name}: write `from PACKAGE import {name}`, PACKAGE being {packages}")
    if name not in _HOMES:
        raise AttributeError(f"module 'fitprint' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"fitprint.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
