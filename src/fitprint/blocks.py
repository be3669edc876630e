"""Blocks: the stretches into which a long epoch, or one of unknown length, is cut."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from fitprint.account import Account, Window
from fitprint.footprint import EpochFootprint
from fitprint.forecast import Forecast, Position, look_ahead
from fitprint.pace import Pace, Schedule

NEVER = sys.maxsize


@dataclass(frozen=True, slots=True)
class Opened:
    """Where an epoch or block began.

    Attributes:
        index: Its number, from 0.
        batches_done: Batches of the epoch that were done by then.
        time_ns: Monotonic nanoseconds.
        started_at: Wall clock, ISO 8601 in UTC.
        energy_j: What the run had used by then.
        wall_s: Its mark in the run's energy over time, seconds since 1970.
    """

    index: int
    batches_done: int
    time_ns: int
    started_at: str
    energy_j: float
    wall_s: float = 0.0


class Blocks:
    """The blocks of a run.

    Args:
        steps: Optimizer steps in a block; an epoch that has no more of them is not cut.
        account: Books to the open block.
    """

    def __init__(self, steps: int, account: Account) -> None:
        self.records: list[EpochFootprint] = []
        self.pace = Pace()
        self.opened = Opened(0, 0, 0, "", 0.0)
        self._steps = steps
        self._batches = steps
        self._schedule = Schedule()
        self._account = account

    @property
    def window(self) -> Window | None:
        """What the open block has used; None where the epoch is not cut."""
        return self._account.block

    @property
    def end(self) -> int:
        """Batches of the epoch after which the open block is full."""
        return NEVER if self.window is None else self.opened.batches_done + self._batches

    def begin(self, opened: Opened, schedule: Schedule) -> None:
        """Open a block if the epoch is long or of unknown length."""
        self._schedule = schedule
        self._batches = self._steps * schedule.batches_per_step
        long = schedule.batches is None or schedule.batches > self._batches
        self._account.block = Window() if long else None
        self.opened = opened

    def learn(self, joules: float) -> None:
        """The open block is full."""
        self.pace.epoch(joules, length=self._plan.length)

    def forecast(self, steps_before: int, batches_done: int, energy_j: float) -> Forecast | None:
        """Forecast a run that ends after so many steps in epochs of unknown length, in blocks.

        Args:
            steps_before: Optimizer steps of earlier epochs.
            batches_done: Batches of the open epoch that are done.
            energy_j: What the run has used.
        """
        before = steps_before / self._steps
        opened = before + self.opened.batches_done / self._batches
        now = before + batches_done / self._batches
        position = Position(int(opened), now - int(opened), energy_j - self.opened.energy_j)
        return look_ahead(self.pace, self._plan, position, "block")

    @property
    def _plan(self) -> Schedule:
        """The run's length in blocks; validations belong to what their block costs."""
        steps = self._schedule.steps
        return (
            Schedule(validation_batches=0, steps=steps, batches=self._steps)
            if steps is not None
            else Schedule(validation_batches=0)
        )

    def steps_after(self, batches_done: int) -> int:
        """Optimizer steps of the open block."""
        return (batches_done - self.opened.batches_done) // self._schedule.batches_per_step

    def another_after(self, batches_done: int) -> bool:
        """Whether a whole block is still to come in this epoch; a shorter rest is looked into anyway."""
        batches = self._schedule.batches
        return batches is None or batches - batches_done >= self._batches
