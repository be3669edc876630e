"""Keeps a run's failures from the training: whatever goes wrong costs the measurement and one log line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from fitprint.effort import Effort
from fitprint.footprint import Footprint
from fitprint.notices import logger
from fitprint.run import Run

AGAIN = "the Tracker was started again after its run had ended; nothing of what followed was measured"

T = TypeVar("T")


@dataclass
class Guard:
    """Holds the run of a tracker.

    Attributes:
        run: The run; None before its start, and where nothing is measured.
        final: Its record, once it has ended.
        broken: Measuring has failed and is over.
    """

    run: Run | None = None
    final: Footprint | None = None
    broken: bool = False

    @property
    def alive(self) -> bool:
        """True from start to close, in the process that started it."""
        return self.run is not None and self.run.alive

    def begin(self, make: Callable[[], Run | None]) -> None:
        """Begin the run.

        Args:
            make: Returns it started, or None where nothing is to be measured.
        """
        began_s = Effort.begin()
        try:
            self.run = make()
        except Exception:
            self.give_up("could not be started")
        if self.run is not None:
            self.run.effort.end(began_s)

    def safely(self, action: Callable[[Run], T], otherwise: T) -> T:
        """Do something with the live run; whatever fails is logged once and measures no more.

        Args:
            action: What to do.
            otherwise: Returned where it fails, and where there is no live run.
        """
        run = self.run
        if run is None or self.broken or not run.alive:
            return otherwise
        began_s = run.effort.begin()
        try:
            result = action(run)
        except Exception:
            self.give_up("failed")
            return otherwise
        finally:
            run.effort.end(began_s)
        run.watch.deliver()
        return result

    def end(self, status: str | None, *, abandoned: bool) -> None:
        """End the run, and keep its record. See ``Tracker.close``."""
        if self.run is None:
            return
        try:
            self.final = self.run.close(status, abandoned=abandoned or self.broken)
        except Exception:
            self.give_up("could not be ended properly")

    def give_up(self, what: str) -> None:
        """Measure no more.

        Args:
            what: Has become of the measurement, in words.
        """
        if self.broken:
            return
        logger().warning("the measurement %s; training goes on without it, and budgets are no longer watched", what, exc_info=True)
        self.broken = True
        if self.run is not None:
            self.run.fail()

    def footprint(self, nothing: Footprint) -> Footprint:
        """The record: final, up to the failure, or live.

        Args:
            nothing: Returned where nothing was measured.
        """
        if self.final is not None:
            return self.final
        return self._so_far() or self.safely(lambda run: run.view.footprint(), nothing)

    def remind_of_the_end(self) -> None:
        """A tracker measures one run; what is trained under it after the end is in no record but as a note."""
        if self.final is not None and AGAIN not in self.final.notes:
            self.final = replace(self.final, notes=(AGAIN, *self.final.notes))
            logger().warning("this Tracker's run has ended and it measures nothing more: make another one for another run")

    def _so_far(self) -> Footprint | None:
        """What was measured before the measurement failed; None where it has not failed, or nothing can be said."""
        try:
            return self.run.view.footprint() if self.run is not None and self.broken else None
        except Exception:  # what has failed may fail again
            return None
