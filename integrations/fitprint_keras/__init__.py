"""fitprint for Keras 3, on any backend."""

from __future__ import annotations

from fitprint_keras.callback import CarbonCallback

__all__ = ["CarbonCallback"]
