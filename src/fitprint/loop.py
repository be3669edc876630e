"""Plain loops: epochs, phases and batches as context managers, which tell a tracker their events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from fitprint.account import PHASES
from fitprint.batches import BatchCount, CountedBatches, length_of
from fitprint.config import Config
from fitprint.errors import refusal
from fitprint.events import EventTracker
from fitprint.notices import logger, show_on_console
from fitprint.pace import Schedule
from fitprint.ranks import Peers
from fitprint.status import status_of

T = TypeVar("T")


class LoopTracker(EventTracker):
    """A tracker as plain loops use it.

    Args:
        config: What the program set.
        peers: The ranks with which this one trains, where they are not PyTorch's.
    """

    def __init__(self, config: Config, peers: Peers | None = None) -> None:
        super().__init__(config, peers)
        self._batches = BatchCount()
        self._left_loop = self._reminded = False
        self._phases: list[str] = []
        self._counted = 0
        self._broke_off: str | None = None

    def epochs(self, iterable: Iterable[T]) -> Iterator[T]:
        """Iterate over epochs; ends by itself after the epoch in which the stop was decided.

        Args:
            iterable: One item per epoch, for example ``range(100)``; ``range(5, 100)`` goes on from epoch 5.

        Raises:
            ConfigError: If it cannot be iterated over.
        """
        if not isinstance(iterable, Iterable):
            hint = f"Write tracker.epochs(range({iterable}))." if isinstance(iterable, int) else "Write tracker.epochs(range(100))."
            raise refusal("epochs", expected="something to loop over", came=iterable, hint=hint)
        return self._epochs(iterable)

    def _epochs(self, iterable: Iterable[T]) -> Iterator[T]:
        self._remind_to_start()
        first = iterable.start if isinstance(iterable, range) and iterable.step == 1 else 0
        schedule = Schedule(epochs=first + len(iterable) if isinstance(iterable, Sized) else None)
        self.check_start()
        for index, item in enumerate(iterable, start=first):
            if self.should_stop:
                return
            with self.epoch(index, schedule):
                yield item

    @contextmanager
    def epoch(self, index: int, schedule: Schedule | None = None) -> Iterator[None]:
        """Measure one epoch; an exception leaves it incomplete, a ``break`` out of it does not.

        Args:
            index: Its number, from 0.
            schedule: What is planned, if anything is known.
        """
        self._remind_to_start()
        self._left_loop, self._broke_off = False, None
        plan = self._batches.begin(schedule or Schedule())
        self._batches.look_at = self.begin_epoch(index, plan, sure=self._batches.sure)
        try:
            yield
        except GeneratorExit:  # a break, or an exception in the loop's body: only __exit__ can tell
            self._end_counted(self._leave_epoch)
            self._left_loop = True
            raise
        except BaseException as error:
            self._leave_epoch(complete=False)
            self._broke_off = status_of(error)
            raise
        self._end_counted(self.end_epoch)

    def _leave_epoch(self, *, complete: bool) -> None:
        """Close an epoch out of which the program has jumped; other ranks may not have, so that nobody is met here."""
        if self._meetings.team is None:
            self.end_epoch(complete=complete)
        else:
            self._guard.safely(lambda run: run.delegate.leave_epoch(complete=complete), None)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book everything inside to a phase: train, validate, sanity_check, checkpoint, test, predict or other."""
        self._remind_to_start()
        if name not in PHASES:
            logger().warning("phase %r is not known and is booked as 'other'; known are %s", name, ", ".join(PHASES))
            name = "other"
        self.enter(name)
        self._phases.append(name)
        try:
            yield
        finally:
            self._phases.pop()
            self.leave(name)

    @contextmanager
    def batch(self, samples: int | None = None, model: Any = None) -> Iterator[None]:
        """Train on, or predict, one batch inside, so that samples and operations are known.

        Inside an epoch the budgets are asked between batches, and ``should_stop`` turns true where the next ones
        would not fit. Processes that train together meet for it, so that all of them have to count their batches; they
        do it from the second epoch on, in which it is known how many all of them count, or from the first where they loop
        over ``batches``. A batch of validation inside an epoch is not counted: it trains nothing.

        Args:
            samples: Samples of the batch, or None.
            model: A PyTorch module: the floating-point operations of its first batch are counted as they are executed.

        Example::

            with tracker.batch(len(x), model):
                loss(model(x), y).backward()
                optimizer.step()
            if tracker.should_stop:
                break
        """
        self._remind_to_start()
        nothing: AbstractContextManager[None] = nullcontext()
        with self._guard.safely(lambda run: run.batch(model), nothing):
            yield
        self._count(self._told.samples(samples))

    def batches(self, loader: Iterable[T]) -> CountedBatches[T]:
        """Count the batches of a loader one by one, as ``batch`` does; the loop over them ends by itself at a stop.

        Made before the first epoch, it says how long epochs are: then the first, too, is looked into in all processes
        that train together. Every process of a job has to loop over its own. ``batch`` inside tells the samples.

        Args:
            loader: Batches, such as a DataLoader; for each epoch it is iterated over anew.

        Example::

            batches = tracker.batches(loader)
            for epoch in tracker.epochs(range(10)):
                for x, y in batches:
                    train(x, y)
        """
        self._batches.declare(length_of(loader))
        seen = self._counted

        def done() -> bool:
            nonlocal seen
            if self._counted == seen:
                self._count(None)
            seen = self._counted
            return not self.should_stop

        return CountedBatches(loader, done)

    def _count(self, samples: int | None) -> None:
        """A batch is done. A rank whose measuring has failed goes on counting: the others wait for it at looks."""
        self._counted += 1
        trained = self._meetings.job is not None and (not self._phases or self._phases[-1] in ("train", "other"))
        if self._guard.safely(lambda run: run.count(samples), trained):
            self._look_inside()

    def _look_inside(self) -> None:
        """A batch of a plain loop is done: the budgets are asked where it is time, by all ranks of a job after the same."""
        batches = self._batches
        if batches.count():
            self._guard.safely(lambda run: run.plan(batches.plan), None)
        if batches.due:
            batches.look_at, _ = self.look(batches.done)
        if self.decision is not None:
            batches.stop()

    def _end_counted(self, end: Callable[..., None]) -> None:
        """End an epoch of a plain loop; how long it was is the plan of the next."""
        self._guard.safely(lambda run: self._batches.remind(run.watch.budgets), None)
        complete = self._batches.end()
        self._guard.safely(lambda run: run.plan(self._batches.plan), None)
        end(complete=complete)

    def _remind_to_start(self) -> None:
        if not self._started and not self._reminded:
            self._reminded = True
            show_on_console()
            logger().warning("this Tracker was never started and measures nothing: write `with Tracker(...) as tracker:`")
