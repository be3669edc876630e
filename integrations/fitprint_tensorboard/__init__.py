"""fitprint for TensorBoard: the Carbon tab, and a writer of event files that needs neither TensorFlow nor torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fitprint_tensorboard.writer import CarbonWriter

__all__ = ["CarbonWriter"]


def __getattr__(name: str) -> Any:
    """Import the writer when it is used: TensorBoard imports this package as it starts, and must start in any case."""
    if name == "CarbonWriter":
        from fitprint_tensorboard.writer import CarbonWriter

        return CarbonWriter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
