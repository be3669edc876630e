"""What epochs and the work around them cost, and what the framework plans: the ground of every forecast."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from fitprint.footprint import EpochFootprint

# How many epochs back the forecast looks: enough to average, few enough to follow a drift.
REMEMBERED_EPOCHS = 10
# The first epoch warms caches and compilers up; it is forgotten once two others are known.
WARM_UP_EPOCHS = 1
# One-sided 95 % normal quantile: the next epoch's upper bound.
UPPER_Z = 1.645
# The bound never exceeds the dearest remembered epoch by more than this.
UPPER_CAP = 1.10
# How far one epoch alone can be from the mean of all: the first is dearer (warm-up) or cheaper (caches).
FIRST_EPOCH_SPREAD = 0.20
# What a validation is assumed to cost before one has been seen, as a share of the training so far.
UNSEEN_VALIDATION = 0.20
# A validation or batch may be this much dearer than the last ones.
CLOSING_MARGIN = 1.10
# Ending a run (last checkpoint, closing files) takes at least this long at the current power.
ENDING_S = 0.1


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the framework plans, as far as it is known.

    Attributes:
        epochs: Epochs that this run will make in all, or None.
        batches: Training batches of an epoch, or None where an epoch has no known length.
        batches_per_step: Batches of one optimizer step (gradient accumulation).
        validation_batches: Batches of one validation; 0 for none, None if unknown.
        batches_after_stop: Batches that the framework still runs once it has been told to stop.
        steps: Optimizer steps after which the run ends in any case, or None.
    """

    epochs: int | None = None
    batches: int | None = None
    batches_per_step: int = 1
    validation_batches: int | None = None
    batches_after_stop: int = 0
    steps: int | None = None

    @property
    def last_epoch(self) -> int | None:
        """Number of epochs that the run ends after, by epochs or by steps; None if neither is known."""
        by_steps = None
        if self.steps is not None and self.batches:
            by_steps = math.ceil(self.steps * self.batches_per_step / self.batches)
        return min((n for n in (self.epochs, by_steps) if n is not None), default=None)


@dataclass(frozen=True, slots=True)
class Expected:
    """A cost ahead in joules, with its upper bound."""

    mean: float
    upper: float


class Pace:
    """What epochs, validations and the gaps between epochs have cost so far, in joules."""

    def __init__(self) -> None:
        self._epochs: deque[float] = deque(maxlen=REMEMBERED_EPOCHS)
        self._validations: deque[float] = deque(maxlen=3)
        self._gaps: deque[float] = deque(maxlen=3)
        self.epochs_seen = 0

    def epoch(self, joules: float) -> None:
        """An epoch was completed: its cost with all that belongs to it (validation, checkpoint)."""
        self._epochs.append(joules)
        self.epochs_seen += 1
        if self.epochs_seen == WARM_UP_EPOCHS + 2:
            for _ in range(WARM_UP_EPOCHS):
                self._epochs.popleft()

    def remember(self, epoch: EpochFootprint) -> None:
        """Learn from the record of an epoch of this run before it was resumed."""
        if epoch.complete and epoch.energy_j is not None:
            self.epoch(epoch.energy_j)

    def validation(self, joules: float) -> None:
        self._validations.append(joules)

    def gap(self, joules: float) -> None:
        """What was used between the end of one epoch and the start of the next."""
        self._gaps.append(joules)

    def next_epoch(self) -> Expected | None:
        """The next epoch's mean and upper bound, or None before the first has ended."""
        if not self._epochs:
            return None
        mean, most = _mean(self._epochs), max(self._epochs)
        if len(self._epochs) == 1:
            return Expected(mean, UPPER_CAP * mean)
        spread = _deviation(self._epochs) * math.sqrt(1 + 1 / len(self._epochs))
        return Expected(mean, min(max(mean + UPPER_Z * spread, self._epochs[-1]), UPPER_CAP * most))

    def rest_of_run(self, epochs: int) -> tuple[float, float, float]:
        """Mean, low and high of so many further epochs."""
        mean = _mean(self._epochs) if self._epochs else 0.0
        known = len(self._epochs)
        relative = FIRST_EPOCH_SPREAD / max(1, known)
        if known > 1 and mean > 0:
            relative += UPPER_Z * _deviation(self._epochs) / (mean * math.sqrt(known))
        return epochs * mean, epochs * mean * max(0.0, 1 - relative), epochs * mean * (1 + relative)

    def closing(self, training_j: float, batches_done: int, power_w: float, schedule: Schedule) -> float:
        """What the framework will still do once a run is stopped inside an epoch: validate, save, end.

        Args:
            training_j: What the epoch's training has used so far.
            batches_done: Its training batches so far.
            power_w: Recent power.
            schedule: The framework's plan.
        """
        return self._one_validation(training_j, batches_done, schedule) + self.ending(power_w)

    def ending(self, power_w: float) -> float:
        """What ending costs at an epoch's end."""
        return max([ENDING_S * power_w, *self._gaps])

    def _one_validation(self, training_j: float, batches_done: int, schedule: Schedule) -> float:
        if self._validations:
            return CLOSING_MARGIN * max(self._validations)
        if schedule.validation_batches is None:
            return UNSEEN_VALIDATION * training_j
        # A validation batch has no backward pass: it costs no more than a training batch.
        return schedule.validation_batches * training_j / max(1, batches_done)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    """Sample standard deviation of two values or more."""
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
