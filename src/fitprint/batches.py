"""The batches of a plain loop: counted one by one, and planned by those of the epoch before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fitprint.blocks import NEVER
from fitprint.budget import Budget
from fitprint.notices import logger
from fitprint.pace import Schedule


class BatchCount:
    """Counts the batches of the epochs of a loop that nobody else counts.

    Attributes:
        plan: What is known of the open epoch.
        done: Its batches that are done.
        look_at: Batches after which it is to be looked into.
    """

    def __init__(self) -> None:
        self.plan = Schedule()
        self.done = 0
        self.look_at = NEVER
        self._learned: int | None = None
        self._open = self._guessed = self._said = False
        self._stopped_after: int | None = None

    def begin(self, schedule: Schedule) -> Schedule:
        """An epoch begins; returns its plan. One whose batches are not counted, as far as is known yet, is one piece."""
        self._open, self._guessed, self.done = True, schedule.batches is None, 0
        self._stopped_after = None
        self.plan = replace(schedule, batches=self._learned or 1) if self._guessed else schedule
        return self.plan

    def count(self) -> bool:
        """A batch is done; True where the plan has turned out too short: the epoch's length is unknown then."""
        self.done += self._open
        longer = self._guessed and self.done > (self._learned or 0) and self.plan.batches is not None
        if longer:
            self.plan = replace(self.plan, batches=None)
        return longer

    @property
    def due(self) -> bool:
        """Whether the epoch is to be looked into now."""
        return self._open and self.done >= self.look_at

    def stop(self) -> None:
        """The stop was decided after this batch."""
        if self._stopped_after is None:
            self._stopped_after = self.done

    def end(self) -> bool:
        """The epoch ends, and its length is the next one's plan; False where the loop left it at the stop, before its end."""
        self._open, self.look_at = False, NEVER
        complete = self._stopped_after is None or self.done > self._stopped_after or self.done == self.plan.batches
        if complete and self._guessed and self.done:
            self._learned = self.done
            self.plan = replace(self.plan, batches=self.done)
        return complete

    def remind(self, budgets: Iterable[Budget]) -> None:
        """Say once that a budget is to be looked at by batches and nobody says where a batch ends."""
        checks = [budget.check for budget in budgets if budget.check != "epoch"]
        if checks and not self.done and not self._said:
            self._said = True
            logger().warning(
                "check=%s cannot look inside an epoch, since no batches are counted: whole epochs are kept back. Write "
                "`with tracker.batch(len(x)):` around each batch, and `if tracker.should_stop: break` after it.", checks[0]
            )  # fmt: skip
