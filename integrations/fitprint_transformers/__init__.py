"""fitprint for the Hugging Face Trainer. transformers itself is imported when a callback is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fitprint_transformers.callback import CarbonCallback
    from fitprint_transformers.efficiency import EfficiencyStopping

__all__ = ["CarbonCallback", "EfficiencyStopping"]

_HOMES = {"CarbonCallback": "callback", "EfficiencyStopping": "efficiency"}


def __getattr__(name: str) -> object:
    """Import a callback, and with it transformers (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fitprint_transformers' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fitprint_transformers.{_HOMES[name]}"), name)
