"""Simulated runs through the real Tracker: epochs that differ, drift and validate as scripted, every joule known."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fitprint import Budget, Tracker
from fitprint.pace import Schedule
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

WATTS = 100.0
EPOCH_S = 100.0
# Closing work: a validation and a checkpoint behind it, together a tenth of an epoch.
VALIDATION, CHECKPOINT = 0.08, 0.02
BATCHES, VALIDATION_BATCHES = 100, 16

Shape = Callable[[random.Random, int, int], float]


@dataclass
class Course:
    """What the epochs of one run cost.

    Attributes:
        draw: Its chance.
        epochs: Planned epochs.
        shape: An epoch's cost before noise, relative to the usual one; gets its number and the run's epochs.
        noise: Log-normal deviation of epochs.
        first: The first epoch is so much dearer.
        rare: Chance that an epoch is 1.8 times dearer.
        validate_every: Epochs from one validation to the next.
    """

    draw: random.Random
    epochs: int
    shape: Shape = field(default=lambda draw, index, epochs: 1.0)
    noise: float = 0.05
    first: float = 1.3
    rare: float = 0.02
    validate_every: int = 1

    def training_s(self) -> Iterator[float]:
        """How long the training of each epoch lasts, at a power that does not change."""
        for index in range(self.epochs):
            usual = self.shape(self.draw, index, self.epochs) * self.draw.lognormvariate(0.0, self.noise)
            yield EPOCH_S * usual * (self.first if index == 0 else 1.0) * (1.8 if self.draw.random() < self.rare else 1.0)

    @property
    def plan(self) -> Schedule:
        return Schedule(
            epochs=self.epochs, batches=BATCHES, validation_batches=VALIDATION_BATCHES, validate_every=self.validate_every
        )


class Simulation:
    """One run, driven like an adapter drives it.

    Args:
        course: What its epochs cost.
        budget: Its budget, or None.
    """

    def __init__(self, course: Course, budget: Budget | None = None) -> None:
        self.clock = FakeClock()
        around = Surroundings(clock=self.clock, environ={})
        counter = ScriptedCounter(self.clock, watts=WATTS)
        self.tracker = Tracker(budget=budget, ledger="off", intensity=360.0, counters=[counter], around=around)
        self.course = course
        self.dearest_s = 0.0

    def epochs(self) -> Iterator[int]:
        """Run to the end or to the stop; yields the number of epochs done after each."""
        with self.tracker:
            self.tracker.check_start()
            for index, training_s in enumerate(self.course.training_s()):
                if self.tracker.should_stop:
                    return
                self.dearest_s = max(self.dearest_s, training_s)
                self._epoch(index, training_s)
                yield index + 1

    def _epoch(self, index: int, training_s: float) -> None:
        look_at = self.tracker.begin_epoch(index, self.course.plan)
        done = self._batches(look_at, training_s / BATCHES)
        if (index + 1) % self.course.validate_every == 0:
            self.tracker.enter("validate")
            self.clock.advance(VALIDATION * EPOCH_S)
            self.tracker.leave("validate")
        self.tracker.end_epoch(steps=done, complete=done == BATCHES)
        self.clock.advance(CHECKPOINT * EPOCH_S)

    def _batches(self, look_at: int, batch_s: float) -> int:
        done = 0
        while done < BATCHES and not self.tracker.should_stop:
            step = min(look_at, BATCHES) - done
            self.clock.advance(step * batch_s)
            done += step
            if done >= look_at:
                look_at, _ = self.tracker.look(done)
        return done
