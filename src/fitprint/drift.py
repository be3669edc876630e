"""How a cost moves from epoch to epoch: its level, its trend, its noise, and what so many more of them will cost."""

from __future__ import annotations

import math
from typing import NamedTuple

# Two-sided 95 % quantile of the normal distribution.
Z = 1.96
# Runs of unknown length are taken to be this long, in epochs, where a rate of drift has to be assumed.
USUAL_LENGTH = 50.0
# What is assumed before anything is known, each as a standard deviation relative to the level. A cost may grow or
# fall in a straight line by this much from a run's first epoch to its last (longer sequences, caches that fill).
TREND_OVER_RUN = 0.25
# It may wander or jump by this much by a run's end (throttling, another job beside it).
WANDER_OVER_RUN = 0.17
# The first epoch is dearer (warm-up) or cheaper (caches) than the others.
FIRST = 0.20
# Epochs differ by this much, a belief that weighs as much as so many epochs.
NOISE, NOISE_WEIGHT = 0.05, 4.0
# An epoch so many deviations off says little about the others.
OUTLIER = 3.0
# A falling trend that is followed far ahead leads no lower than this share of the level.
LEAST = 0.25
# Now and then an epoch is far dearer, seen so far or not: at least this much noise beside the usual.
RARE = 0.08
# The noise is that of the last so many epochs.
MEMORY = 20.0


class Range(NamedTuple):
    """An amount with its 95 % interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, mean: float, deviation: float) -> Range:
        """An amount that cannot be negative: its interval is symmetric as a ratio."""
        if mean <= 0:
            return cls(0.0, 0.0, 0.0)
        factor = math.exp(min(Z * deviation / mean, 50.0))
        return cls(mean, mean / factor, mean * factor)

    def scaled(self, factor: float, offset: float = 0.0) -> Range:
        """In another unit, on top of what is certain."""
        return Range(offset + factor * self.mean, offset + factor * self.low, offset + factor * self.high)


class Drift:
    """Level and trend of a cost, followed by a Kalman filter (local linear trend) in constant memory.

    A single epoch far off is counted as such and moves the level little; two in a row on one side are a step.

    Source: A. C. Harvey, Forecasting, Structural Time Series Models and the Kalman Filter (1989), section 2.3.2.
    """

    def __init__(self) -> None:
        self.count = 0
        self._level = self._slope = 0.0
        self._level_var = self._both_var = self._slope_var = 0.0
        self._noise_var = NOISE**2
        self._length = USUAL_LENGTH
        self._off = 0.0
        self._excess = self._excess_squares = 0.0

    def learn(self, cost: float, length: float | None = None) -> None:
        """Another epoch was seen.

        Args:
            cost: What it cost.
            length: Epochs of the whole run, if known.
        """
        self._length = max(length or USUAL_LENGTH, 1.0)
        self.count += 1
        if self.count == 1:
            self._begin(cost)
            return
        self._move()
        self._correct(cost)

    def ahead(self, epochs: float) -> tuple[float, float]:
        """Mean and standard deviation of what so many further epochs cost together."""
        if epochs <= 0 or not self.count:
            return 0.0, 0.0
        sum_of_steps = epochs * (epochs + 1) / 2
        seen = self.count + NOISE_WEIGHT
        variance = epochs**2 * self._level_var + 2 * epochs * sum_of_steps * self._both_var + sum_of_steps**2 * self._slope_var
        variance += self._wander_var * epochs * (epochs + 1) * (2 * epochs + 1) / 6
        variance += epochs * (self._noise_var * self._level**2 + max(self._excess_squares / seen, (RARE * self._level) ** 2))
        usual = max(self._level + self._excess / seen, LEAST * self._level)
        return _sum_along(usual, self._slope, epochs), math.sqrt(max(variance, 0.0))

    @property
    def _wander_var(self) -> float:
        """Variance of the level's change within one epoch."""
        return (WANDER_OVER_RUN * self._level) ** 2 / self._length

    def _begin(self, cost: float) -> None:
        self._level = cost
        self._level_var = (FIRST * cost) ** 2
        self._slope_var = (TREND_OVER_RUN / self._length * cost) ** 2

    def _move(self) -> None:
        """One epoch on: the level follows its trend, and both are less certain."""
        self._level += self._slope
        self._level_var += 2 * self._both_var + self._slope_var + self._wander_var
        self._both_var += self._slope_var

    def _correct(self, cost: float) -> None:
        noise_var = self._noise_var * self._level**2
        off, expected = cost - self._level, self._level_var + noise_var
        most = OUTLIER * math.sqrt(expected)
        if abs(off) > most and off * self._off > 0:
            self._step(cost)
            return
        taken = max(-most, min(most, off))
        self._note_excess(off - taken)
        self._update(taken, expected)
        self._learn_noise(taken**2 * noise_var / expected if expected > 0 else 0.0)

    def _update(self, off: float, expected: float) -> None:
        if expected <= 0:
            return
        level_gain, slope_gain = self._level_var / expected, self._both_var / expected
        self._level += level_gain * off
        self._slope += slope_gain * off
        self._slope_var -= slope_gain * self._both_var
        self._both_var -= level_gain * self._both_var
        self._level_var -= level_gain * self._level_var

    def _learn_noise(self, square: float) -> None:
        weight = NOISE_WEIGHT + min(self.count - 1, MEMORY)
        if self._level > 0:
            self._noise_var += (square / self._level**2 - self._noise_var) / weight

    def _note_excess(self, excess: float) -> None:
        self._off = excess
        self._excess += excess
        self._excess_squares += excess**2

    def _step(self, cost: float) -> None:
        """What looked like an outlier was the first epoch on another level."""
        self._excess -= self._off
        self._excess_squares = max(0.0, self._excess_squares - self._off**2)
        self._off = 0.0
        self._level = cost
        self._level_var = self._noise_var * cost**2
        self._both_var = 0.0


def _sum_along(level: float, slope: float, epochs: float) -> float:
    """The sum of so many costs on a straight line, which falls no lower than ``LEAST``."""
    until = epochs if slope >= 0 else min(epochs, max(0.0, (1 - LEAST) * level / -slope - 0.5))
    return until * level + slope * until * (until + 1) / 2 + (epochs - until) * LEAST * level
