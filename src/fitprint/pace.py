"""What epochs and the work around them cost, and what the framework plans: the ground of every forecast."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fitprint.drift import Drift
from fitprint.footprint import EpochFootprint

# How many epochs back the forecast looks: enough to average, few enough to follow a drift.
REMEMBERED_EPOCHS = 10
# The first epoch warms caches and compilers up; it is forgotten once two others are known.
WARM_UP_EPOCHS = 1
# One-sided 95 % normal quantile: the next epoch's upper bound.
UPPER_Z = 1.645
# The bound never exceeds the dearest remembered epoch by more than this.
UPPER_CAP = 1.10
# What a validation is assumed to cost before one has been seen, as a share of the training so far.
UNSEEN_VALIDATION = 0.20
# A validation batch has no backward pass: it costs no more than a training batch, and about half of one.
VALIDATION_BATCH = 0.5
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
        validate_every: Epochs from one that validates to the next; None if unknown, then it is learned.
        batches_after_stop: Batches that the framework still runs once it has been told to stop.
        steps: Optimizer steps after which the run ends in any case, or None.
    """

    epochs: int | None = None
    batches: int | None = None
    batches_per_step: int = 1
    validation_batches: int | None = None
    validate_every: int | None = None
    batches_after_stop: int = 0
    steps: int | None = None

    @property
    def length(self) -> float | None:
        """Epochs that the run will make, the last maybe in part, by epochs or by steps; None if neither is known."""
        by_steps = None
        if self.steps is not None and self.batches:
            by_steps = self.steps * self.batches_per_step / self.batches
        return min((n for n in (self.epochs, by_steps) if n is not None), default=None)

    @property
    def last_epoch(self) -> int | None:
        """Number of epochs that the run ends after; None if unknown."""
        return None if self.length is None else math.ceil(self.length)

    @property
    def bounded(self) -> bool:
        """Whether the run's length is known, in epochs or in steps."""
        return self.epochs is not None or self.steps is not None

    def validates(self, index: int) -> bool | None:
        """Whether an epoch ends with a validation; None if unknown."""
        if self.validation_batches == 0:
            return False
        return None if self.validate_every is None else (index + 1) % self.validate_every == 0


class Expected(NamedTuple):
    """A cost ahead in joules, with its upper bound."""

    mean: float
    upper: float


class Pace:
    """What epochs, validations and the gaps between epochs have cost so far, in joules."""

    def __init__(self) -> None:
        self.training = Drift()
        self.epochs_seen = 0
        self._epochs: deque[float] = deque(maxlen=REMEMBERED_EPOCHS)
        self._validations: deque[float] = deque(maxlen=3)
        self._validated: deque[float] = deque(maxlen=3)
        self._gaps: deque[float] = deque(maxlen=3)
        self._validated_at: deque[int] = deque(maxlen=2)
        self._epochs_validated = 0

    def epoch(self, joules: float, validation_j: float = 0.0, *, index: int | None = None, length: float | None = None) -> None:
        """An epoch was completed.

        Args:
            joules: Its cost with all that belongs to it (validation, checkpoint).
            validation_j: The part of it that validated.
            index: Its number.
            length: Epochs of the whole run, if known.
        """
        self._epochs.append(joules - validation_j)
        self.training.learn(joules - validation_j, length)
        self.epochs_seen += 1
        if self.epochs_seen == WARM_UP_EPOCHS + 2:
            for _ in range(WARM_UP_EPOCHS):
                self._epochs.popleft()
        if validation_j > 0:
            self._validated.append(validation_j)
            self._validated_at.append(self.epochs_seen - 1 if index is None else index)
            self._epochs_validated += 1

    @property
    def has_validated(self) -> bool:
        """Whether an epoch with a validation has been seen."""
        return bool(self._validated)

    def remember(self, epoch: EpochFootprint) -> None:
        """Learn from the record of an epoch of this run before it was resumed."""
        if epoch.complete and epoch.energy_j is not None:
            self.epoch(epoch.energy_j, epoch.phases.get("validate", 0.0), index=epoch.index)

    def validation(self, joules: float) -> None:
        self._validations.append(joules)

    def gap(self, joules: float) -> None:
        """What was used between the end of one epoch and the start of the next."""
        self._gaps.append(joules)

    def next_epoch(self, index: int | None = None, schedule: Schedule | None = None) -> Expected | None:
        """The next epoch's mean and upper bound, or None before the first has ended.

        Args:
            index: Its number, to know whether it validates.
            schedule: The framework's plan.
        """
        if not self._epochs:
            return None
        training = self._next_training()
        share = self.validations(self.epochs_seen if index is None else index, 1, schedule or Schedule())
        if share <= 0:
            return training
        validation = self.one_validation(schedule or Schedule())
        return Expected(training.mean + share * validation.mean, training.upper + validation.upper)

    def _next_training(self) -> Expected:
        mean, most = _mean(self._epochs), max(self._epochs)
        if len(self._epochs) == 1:
            return Expected(mean, UPPER_CAP * mean)
        spread = _deviation(self._epochs) * math.sqrt(1 + 1 / len(self._epochs))
        return Expected(mean, min(max(mean + UPPER_Z * spread, self._epochs[-1]), UPPER_CAP * most))

    def validations(self, index: int, epochs: float, schedule: Schedule) -> float:
        """How many of the epochs from ``index`` on validate, as planned, else as it has been so far.

        Args:
            index: The first of them.
            epochs: Their number.
            schedule: The framework's plan.
        """
        if schedule.validation_batches == 0:
            return 0.0
        if schedule.validate_every is not None:
            return _multiples(index, epochs, schedule.validate_every)
        if len(self._validated_at) == 2:
            first, last = self._validated_at
            return _multiples(index - last - 1, epochs, max(1, last - first))
        return epochs * self._epochs_validated / max(1, self.epochs_seen)

    def one_validation(self, schedule: Schedule) -> Expected:
        """What the validation of an epoch costs."""
        if self._validated:
            return Expected(_mean(self._validated), UPPER_CAP * max(self._validated))
        if not self._epochs or not schedule.batches or not schedule.validation_batches:
            return Expected(0.0, 0.0)
        as_training = schedule.validation_batches / schedule.batches * _mean(self._epochs)
        return Expected(VALIDATION_BATCH * as_training, as_training)

    def closing(
        self,
        training_j: float,
        batches_done: int,
        power_w: float,
        schedule: Schedule,
        index: int | None = None,
        batch_j: float | None = None,
    ) -> Expected:
        """What the framework will still do once a run is stopped inside an epoch: validate, save, end.

        Args:
            training_j: What the epoch's training has used so far.
            batches_done: Its training batches so far.
            power_w: Recent power.
            schedule: The framework's plan.
            index: The epoch's number; one that is known not to validate needs no reserve for it.
            batch_j: What a training batch costs, warm-up left out; None where only the first ones have been seen.
        """
        ending_j = self.ending(power_w)
        if index is not None and schedule.validates(index) is False:
            return Expected(ending_j, ending_j)
        validation = self._closing_validation(training_j, batches_done, schedule, batch_j)
        return Expected(validation.mean + ending_j, validation.upper + ending_j)

    def least_of_next(self, index: int, power_w: float, schedule: Schedule) -> Expected:
        """The least that the next epoch costs once it is begun: the batches up to the first look, and closing.

        Args:
            index: The epoch's number.
            power_w: Recent power.
            schedule: The framework's plan.
        """
        if not self._epochs or not schedule.batches:
            return Expected(self.ending(power_w), self.ending(power_w))
        training_j = _mean(self._epochs)
        batch_j, batches = training_j / schedule.batches, min(schedule.batches, 1 + schedule.batches_after_stop)
        closing = self.closing(training_j, schedule.batches, power_w, schedule, index, batch_j)
        return Expected(batch_j * batches + closing.mean, CLOSING_MARGIN * batch_j * batches + closing.upper)

    def ending(self, power_w: float) -> float:
        """What ending costs at an epoch's end."""
        return max([ENDING_S * power_w, *self._gaps])

    def _closing_validation(self, training_j: float, batches_done: int, schedule: Schedule, batch_j: float | None) -> Expected:
        """As the last ones were, else by its batches: no more of them are counted than training batches have been seen.

        Of a first batch nobody can tell how much of it was warm-up; a stop that it brings about could not be taken back.
        """
        seen = self._validations or self._validated
        if seen:
            return Expected(_mean(seen), CLOSING_MARGIN * max(seen))
        batches = schedule.validation_batches
        if batches is None:
            most_j = UNSEEN_VALIDATION * training_j
        elif batch_j is not None:
            most_j = batches * batch_j
        else:
            most_j = training_j * min(1.0, batches / max(1, batches_done))
        return Expected(VALIDATION_BATCH * most_j, most_j)


def _multiples(index: float, epochs: float, every: int) -> float:
    """How many e from ``index`` on, ``epochs`` of them, have (e + 1) divisible by ``every``."""
    return float(math.floor((index + epochs) / every) - math.floor(index / every))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    """Sample standard deviation of two values or more."""
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
