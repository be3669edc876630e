"""What a run will have used at its end, and when a budget will be reached, each with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fitprint.drift import NOISE, Drift, Range
from fitprint.pace import UNSEEN_VALIDATION, Pace, Schedule

# A part of the first epoch says this much less about an epoch than the whole: relative standard deviation.
PART_OF_FIRST = 0.15
# Validations differ by this much, and by this much where none has been seen yet.
VALIDATION, UNSEEN = NOISE, 0.5
# A budget that lasts longer than this is not going to be reached.
FARTHEST = 1e6


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run is.

    Attributes:
        index: Number of the open epoch, or of the next where none is open.
        share_done: Share of the open epoch's batches that are done.
        training_j: What they have used; validations apart.
        validation_j: What the open epoch's validations have used.
        by_batch_j: What the training of an epoch costs by its later batches; None where only the first ones have been seen.
    """

    index: int = 0
    share_done: float = 0.0
    training_j: float = 0.0
    validation_j: float = 0.0
    by_batch_j: float | None = None

    @property
    def epoch_j(self) -> float:
        """What the training of the open epoch will come to, or of a later one; 0.0 where nothing is known yet."""
        return self.by_batch_j or (self.training_j / self.share_done if self.share_done else 0.0)


class Reached(NamedTuple):
    """In which epoch a budget is reached, counted from 0 as everywhere; None for later than the run's end.

    Attributes:
        epoch: Where the mean reaches it.
        low: The earliest of the 95 % interval.
        high: The latest.
    """

    epoch: int | None
    low: int | None
    high: int | None


class Forecast(NamedTuple):
    """A look ahead from one moment of a run.

    Attributes:
        ahead: Joules from now until so many epochs of the run are done.
        now: Epochs that are done now, the open one in part.
        end: Epochs that the run will make, or None if unknown.
        unit: ``epoch``, or ``block`` for a run that is one long epoch.
    """

    ahead: Callable[[float], Range]
    now: float
    end: float | None
    unit: str = "epoch"

    def rest(self) -> Range | None:
        """Joules until the run's end; None where its length is unknown."""
        return None if self.end is None else self.ahead(max(self.now, self.end))

    def reached(self, left_j: float) -> Reached:
        """When so many further joules will have been used."""
        return Reached(
            self._epoch(left_j, lambda ahead: ahead.mean),
            self._epoch(left_j, lambda ahead: ahead.high),
            self._epoch(left_j, lambda ahead: ahead.low),
        )

    def _epoch(self, left_j: float, side: Callable[[Range], float]) -> int | None:
        """The epoch in which one side of the interval reaches the joules, by halving."""
        last = math.ceil(self.end if self.end is not None else FARTHEST)
        if side(self.ahead(self.end if self.end is not None else FARTHEST)) < left_j:
            return None
        low, high = math.floor(self.now), last
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if side(self.ahead(middle)) >= left_j else (middle, high)
        return low


def look_ahead(pace: Pace, schedule: Schedule, position: Position, unit: str = "epoch") -> Forecast | None:
    """Forecast a run; None before anything is known.

    Args:
        pace: What epochs have cost.
        schedule: The framework's plan.
        position: How far the run is.
        unit: What an epoch is called.
    """
    first = _first_epoch(position, schedule) if pace.training.count == 0 else None
    drift = first or pace.training
    if drift.count == 0:
        return None
    now = position.index + position.share_done

    def ahead(until: float) -> Range:
        mean, deviation = drift.ahead(until - now)
        if first is not None:
            deviation = math.hypot(deviation, PART_OF_FIRST * mean)
        validation, uncertain = _validations(pace, schedule, position, until)
        return Range.of(mean + validation, math.hypot(deviation, uncertain))

    return Forecast(ahead, now, schedule.length, unit)


def _first_epoch(position: Position, schedule: Schedule) -> Drift | None:
    """What a part of the first epoch says about all."""
    if position.share_done <= 0 or position.training_j <= 0:
        return None
    drift = Drift()
    drift.learn(position.epoch_j, schedule.length)
    return drift


def _validations(pace: Pace, schedule: Schedule, position: Position, until: float) -> tuple[float, float]:
    """Mean and deviation of the validations ahead."""
    one = pace.one_validation(schedule)
    if pace.epochs_seen:
        count = pace.validations(position.index, until - position.index, schedule)
        mean, spread = one.mean, VALIDATION if pace.has_validated else UNSEEN
    else:
        count, mean, spread = _before_any(schedule, position, until)
    if position.validation_j > 0 and pace.validations(position.index, 1, schedule) > 0:
        count = max(0.0, count - position.share_done)
    return count * mean, count * mean * spread


def _before_any(schedule: Schedule, position: Position, until: float) -> tuple[float, float, float]:
    """In the first epoch: number, mean and relative deviation of the validations ahead."""
    epochs = until - position.index
    every = schedule.validate_every
    count = epochs if every is None else math.floor((position.index + epochs) / every) - position.index // every
    if schedule.validation_batches is None:
        return float(count), UNSEEN_VALIDATION / 2 * position.epoch_j, 1.0
    batches = schedule.batches or math.inf
    return float(count), position.epoch_j * schedule.validation_batches / batches / 2, UNSEEN
