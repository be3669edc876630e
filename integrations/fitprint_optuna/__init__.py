"""fitprint for Optuna: a study on a carbon budget, and CO2e as one of its objectives."""

from __future__ import annotations

from fitprint_optuna.study import CarbonPruner, CarbonStudyCallback

__all__ = ["CarbonPruner", "CarbonStudyCallback"]
