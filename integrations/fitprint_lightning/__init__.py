"""fitprint for PyTorch Lightning: works with ``lightning`` and with ``pytorch_lightning``."""

from __future__ import annotations

from fitprint_lightning.callback import CarbonCallback
from fitprint_lightning.efficiency import EfficiencyStopping

__all__ = ["CarbonCallback", "EfficiencyStopping"]
