"""fitprint for Keras 3, on any backend. Keras itself is imported when the callback is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fitprint_keras.callback import CarbonCallback

__all__ = ["CarbonCallback"]


def __getattr__(name: str) -> object:
    """Import the callback, and with it Keras, which settles its backend at that moment (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'fitprint_keras' has no attribute {name!r}")
    from fitprint_keras.callback import CarbonCallback

    return CarbonCallback
