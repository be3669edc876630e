"""What the last stretch of a run bought: its share of the CO2e beside what the metric gained in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from fitprint.metrics import change, mode_of, telling
from fitprint.units import format_co2e, format_share

if TYPE_CHECKING:
    from fitprint.footprint import EpochFootprint, Footprint

# A last stretch is worth a sentence where it gained at most this share of all that the run gained ...
SMALL_GAIN = 0.02
# ... and cost at least this share of the CO2e. With fewer values of the metric nothing is said.
LARGE_SHARE = 0.2
FEWEST_VALUES = 5
# Standard deviation of a normal variable over the median of its absolute value.
SD_PER_MAD = 1.4826
# Gains within so many standard deviations of the values around their trend are noise.
NOISE_SDS = 2.0


class LastStretch(NamedTuple):
    """The end of a run that gained little.

    Attributes:
        metric: The metric's name.
        mode: ``max`` or ``min``.
        stop_at: Number of the epoch after which the run could have stopped.
        last: Number of the last epoch.
        co2e_g: Grams of the epochs after ``stop_at``.
        share: Their share of the run's CO2e.
        gain: How much the best value so far improved in them, from 0 up.
        noise: Standard deviation of the metric in them, from one value to the next.
    """

    metric: str
    mode: str
    stop_at: int
    last: int
    co2e_g: float
    share: float
    gain: float
    noise: float

    def __str__(self) -> str:
        verb, past = ("raise", "raised") if self.mode == "max" else ("lower", "lowered")
        epochs = f"epochs {self.stop_at + 1}-{self.last}" if self.last > self.stop_at + 1 else f"epoch {self.last}"
        bought = f"{past} {self.metric} by {change(self.metric, self.gain)}" if self.gain else f"did not {verb} {self.metric}"
        if 0 < self.gain <= NOISE_SDS * self.noise:
            bought += ", within its noise"
        saved = f"stopping after epoch {self.stop_at} would have saved {format_co2e(self.co2e_g)}"
        return f"{epochs} cost {format_share(self.share)} of the CO2e and {bought}; {saved}"


def last_stretch(footprint: Footprint) -> LastStretch | None:
    """Find the earliest epoch after which a run gained next to nothing; None where there is nothing to say.

    The best value so far is looked at, for that is the checkpoint that is kept.
    """
    names = dict.fromkeys(name for epoch in footprint.epochs for name in epoch.metrics)
    metric = telling(names)
    if metric is None or not footprint.co2e_g:
        return None
    mode = mode_of(metric) or "max"
    seen = _values(footprint.epochs, metric, 1.0 if mode == "max" else -1.0)
    if len(seen) < FEWEST_VALUES:
        return None
    best = list(accumulate((value for _, value in seen), max))
    allowed = SMALL_GAIN * (best[-1] - best[0])
    knee = next(i for i, value in enumerate(best) if best[-1] - value <= allowed)
    stop, after = footprint.epochs[seen[knee][0]], footprint.epochs[seen[knee][0] + 1 :]
    grams = math.fsum(epoch.co2e_g or 0.0 for epoch in after)
    if len(after) < 2 or grams < LARGE_SHARE * footprint.co2e_g:
        return None
    noise = _noise([value for _, value in seen[knee:]])
    gain = best[-1] - best[knee]
    return LastStretch(metric, mode, stop.index, after[-1].index, grams, grams / footprint.co2e_g, gain, noise)


def _values(epochs: Sequence[EpochFootprint], metric: str, sign: float) -> list[tuple[int, float]]:
    """Position and value, larger is better, of each epoch that has a finite one."""
    found = [(position, epoch.metrics.get(metric)) for position, epoch in enumerate(epochs)]
    return [(position, sign * value) for position, value in found if value is not None and math.isfinite(value)]


def _noise(values: Sequence[float]) -> float:
    """Standard deviation around the trend, from the steps between neighbours; robust against a single jump."""
    steps = [after - before for before, after in pairwise(values)]
    if len(steps) < 2:
        return 0.0
    from statistics import median  # milliseconds that a run does not need

    middle = median(steps)
    return SD_PER_MAD * median(abs(step - middle) for step in steps) / math.sqrt(2)
