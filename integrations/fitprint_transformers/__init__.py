"""fitprint for the Hugging Face Trainer. transformers itself is imported when the callback is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fitprint_transformers.callback import CarbonCallback

__all__ = ["CarbonCallback"]


def __getattr__(name: str) -> object:
    """Import the callback, and with it transformers (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'fitprint_transformers' has no attribute {name!r}")
    from fitprint_transformers.callback import CarbonCallback

    return CarbonCallback
