"""fitprint for Keras 3, on any backend. Keras itself is imported when a callback is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fitprint_keras.callback import CarbonCallback
    from fitprint_keras.efficiency import EfficiencyStopping

__all__ = ["CarbonCallback", "EfficiencyStopping"]

_HOMES = {"CarbonCallback": "callback", "EfficiencyStopping": "efficiency"}


def __getattr__(name: str) -> object:
    """Import a callback, and with it Keras, which settles its backend at that moment (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fitprint_keras' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fitprint_keras.{_HOMES[name]}"), name)
