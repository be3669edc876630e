"""The batches of a plain loop: counted one by one, and planned by those of the epoch before, or as the loop says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Generic, TypeVar

from fitprint.blocks import NEVER
from fitprint.budget import Budget
from fitprint.notices import logger
from fitprint.pace import Schedule

T = TypeVar("T")


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
        self._declared: int | None = None
        self._open = self._guessed = self._said = False
        self._stopped_after: int | None = None

    def declare(self, batches: int | None) -> None:
        """A loop over so many batches will count each of them; of several loops the shortest counts."""
        if batches is not None:
            self._declared = min(batches, self._declared or batches)

    @property
    def known(self) -> int:
        """Batches that an epoch is known to count: as many as the last did, else as declared; 0 where nothing is known."""
        return self._learned or self._declared or 0

    @property
    def sure(self) -> int:
        """Batches after each of which a look can be met by all ranks of a job: never the last, at which an epoch may end."""
        return max(0, min(self.known, self.plan.batches or self.known) - 1)

    def begin(self, schedule: Schedule) -> Schedule:
        """An epoch begins; returns its plan. One whose batches are not counted, as far as is known yet, is one piece."""
        self._open, self._guessed, self.done = True, schedule.batches is None, 0
        self._stopped_after = None
        self.plan = replace(schedule, batches=self.known or 1) if self._guessed else schedule
        return self.plan

    def count(self) -> bool:
        """A batch is done; True where the plan has turned out too short: the epoch's length is unknown then."""
        self.done += self._open
        longer = self._guessed and self.done > self.known and self.plan.batches is not None
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
        if complete and self.done:
            self._learned = self.done
            self.plan = replace(self.plan, batches=self.done) if self._guessed else self.plan
        return complete

    def remind(self, budgets: Iterable[Budget]) -> None:
        """Say once that a budget is to be looked at by batches and nobody says where a batch ends."""
        checks = [budget.check for budget in budgets if budget.check != "epoch"]
        if checks and not self.done and not self._said:
            self._said = True
            logger().warning(
                "check=%s cannot look inside an epoch, since no batches are counted: whole epochs are kept back. Write "
                "`with tracker.batch(len(x)):` around each batch, and `if tracker.should_stop: break` after it, or loop over "
                "`tracker.batches(loader)`.", checks[0]
            )  # fmt: skip


class CountedBatches(Generic[T]):
    """A source of batches, each of which is counted as done when the next is asked for; it ends at a stop.

    Args:
        source: The batches.
        done: Called after each; returns whether to go on.
    """

    def __init__(self, source: Iterable[T], done: Callable[[], bool]) -> None:
        self._source = source
        self._done = done

    def __len__(self) -> int:
        return len(self._source)  # type: ignore[arg-type]  # as the source itself: a TypeError where it has no length

    def __iter__(self) -> Iterator[T]:
        for batch in self._source:
            yield batch
            if not self._done():
                return


def length_of(source: object) -> int | None:
    """Batches of one pass; None where they are not known before."""
    try:
        return len(source)  # type: ignore[arg-type]
    except TypeError:  # a generator, or a loader over a stream
        return None
