"""fitprint for TensorBoard: a writer of event files that needs neither TensorFlow nor torch."""

from __future__ import annotations

from fitprint_tensorboard.writer import CarbonWriter

__all__ = ["CarbonWriter"]
