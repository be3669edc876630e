"""What the sinks of a run are told, and when."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from fitprint.footprint import TRAINING_KINDS, Footprint
from fitprint.guard import Guard
from fitprint.notices import logger
from fitprint.run import Run
from fitprint.scalars import RUN_TAGS, block_scalars
from fitprint.sinks.names import name_of, open_sink
from fitprint.sinks.outlet import Outlet
from fitprint.sinks.sink import Sink

CLOSE_WITHIN_S = 0.8
# How often sinks hear of a run that has no epochs, a command.
KEEP_UP_EVERY_S = 15.0
TOTALS = (*RUN_TAGS, "carbon/budget_used")
DOUBLE = (
    "a logger of the framework writes the figures into the same run as the sink %s, which therefore only says there which run of "
    "fitprint it is. Leave %r out of sinks, or give the callback log=False for the sink alone."
)


class Publisher:
    """Hands what a run logs to its sinks, outside of the run's lock; without sinks it does nothing.

    Args:
        guard: Holds the run.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._asked: tuple[str | Sink, ...] = ()
        self._outlets: list[Outlet] = []
        self._logged_in: frozenset[str] = frozenset()
        self._told_figures: list[Outlet] = []
        self._epochs = self._blocks = 0
        self._kept_up_s = -math.inf

    def ask(self, sinks: Sequence[str | Sink]) -> None:
        """Nothing is opened before the first epoch, by when it is known whether the run goes on with an earlier one.

        Args:
            sinks: Names and objects, checked.
        """
        self._asked = tuple(sinks)

    def logged_in(self, places: Iterable[str]) -> None:
        """Leave out figures where loggers of the framework write them, under steps of their own."""
        self._logged_in = frozenset(places)

    def publish(self) -> None:
        """Hand over the epochs and blocks that have ended since."""
        if self._asked or self._outlets:
            self._guard.safely(self._tell, None)

    def keep_up(self) -> None:
        """Hand over now and then how far a run without epochs has come."""
        if (self._asked or self._outlets) and time.monotonic() - self._kept_up_s >= KEEP_UP_EVERY_S:
            self._kept_up_s = time.monotonic()
            self._guard.safely(self._tell_so_far, None)

    def end(self) -> None:
        """Hand over the run's totals, and close the sinks, within CLOSE_WITHIN_S."""
        run, final = self._guard.run, self._guard.final
        if not self._asked and not self._outlets:
            return
        try:
            if run is not None and final is not None:
                self._tell(run, final)
        except Exception as error:  # what has failed in the run may fail again
            logger().warning("the sinks were not told the run's end (%r); the run's Footprint has it", error)
        finally:
            self._close()

    def _tell(self, run: Run, final: Footprint | None = None) -> None:
        self._begin(run)
        told = self._tell_blocks(run)
        if len(run.view.epochs) > self._epochs:
            told, self._epochs = True, len(run.view.epochs)
            self._log(run.view.scalars(), run.view.epochs[-1].index)
        elif final is not None and final.kind in TRAINING_KINDS:
            values = run.view.scalars()
            self._log({tag: values[tag] for tag in TOTALS if tag in values}, run.view.epochs[-1].index if run.view.epochs else 0)
        if final is not None:
            self._record(lambda: final)
        elif told:
            self._record(run.view.snapshot())

    def _tell_so_far(self, run: Run) -> None:
        self._begin(run)
        self._record(run.view.snapshot())

    def _tell_blocks(self, run: Run) -> bool:
        fresh = run.view.blocks[self._blocks :]
        self._blocks += len(fresh)
        for block in fresh:
            self._log(block_scalars(block), block.index)
        return bool(fresh)

    def _log(self, scalars: Mapping[str, float], step: int) -> None:
        for outlet in self._told_figures:
            outlet.put(lambda sink: sink.log(scalars, step))

    def _record(self, make: Callable[[], Footprint]) -> None:
        for outlet in self._outlets:
            outlet.put(lambda sink: sink.run(make()))

    def _begin(self, run: Run) -> None:
        asked, self._asked = self._asked, ()
        for item in asked:
            try:
                sink = open_sink(item)
                sink.begin(run.view.before)
                self._add(item, sink)
            except Exception as error:
                logger().warning("the sink %s gets nothing: %s", name_of(item), error)

    def _add(self, item: str | Sink, sink: Sink) -> None:
        name, known_as = name_of(item), {getattr(sink, "place", ""), item if isinstance(item, str) else ""}
        self._outlets.append(Outlet(sink, name))
        self._outlets[-1].start()
        if known_as & self._logged_in:
            logger().warning(DOUBLE, name, name)
        else:
            self._told_figures.append(self._outlets[-1])

    def _close(self) -> None:
        outlets, self._outlets, self._told_figures, self._asked = self._outlets, [], [], ()
        for outlet in outlets:
            outlet.close()
        until = time.monotonic() + CLOSE_WITHIN_S
        for outlet in outlets:
            outlet.wait(until - time.monotonic())
