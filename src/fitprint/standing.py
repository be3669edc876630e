"""Where a run stands, for a person who watches it."""

from __future__ import annotations

from typing import NamedTuple

from fitprint.budget import Budget
from fitprint.drift import Range


class Standing(NamedTuple):
    """A run at a moment.

    Attributes:
        at_ns: The moment, on the monotonic clock.
        epoch: Number of the open epoch, or of the next one.
        epochs: Epochs that the run will make, or None.
        energy_j: What it has used, what has probably been drawn since the last reading included.
        co2e_g: Its grams, likewise.
        power_w: Power now.
        nearest: The budget nearest its limit, and the share of it that is used; None without budgets.
        forecast_g: The whole run in grams; None where its length is unknown, or nothing is known yet.
    """

    at_ns: int
    epoch: int
    epochs: int | None
    energy_j: float
    co2e_g: float
    power_w: float
    nearest: tuple[Budget, float] | None
    forecast_g: Range | None
