"""What can be said of a run while it lasts: records, scalars, forecasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fitprint.assembly import Parts
from fitprint.budget import Spent
from fitprint.drift import Range
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.scalars import budget_scalars, epoch_scalars, run_scalars
from fitprint.standing import Standing

if TYPE_CHECKING:
    from fitprint.carbon.hourly import HourlySeries


class View:
    """Looks at a run; nothing is decided or written by it.

    Args:
        parts: The run's.
    """

    def __init__(self, parts: Parts) -> None:
        self._lock = parts.lock
        self._clock = parts.clock
        self._identity = parts.identity
        self._books = parts.books
        self._grid = parts.grid
        self._periods = parts.periods
        self._outlook = parts.outlook
        self._watch = parts.watch
        self._chronicle = parts.chronicle

    @property
    def epochs(self) -> list[EpochFootprint]:
        """The epochs that have ended."""
        return self._periods.epochs

    @property
    def blocks(self) -> list[EpochFootprint]:
        """The blocks that have ended."""
        return self._periods.blocks.records

    @property
    def before(self) -> Footprint | None:
        """What earlier processes of this run had used; None where there were none."""
        return self._identity.before

    @property
    def intensities(self) -> HourlySeries | None:
        """What is known of the intensity over time, also before and after the run; None where it is a constant."""
        return self._grid.series if self._grid is not None else None

    # ---- records

    def footprint(self) -> Footprint:
        """The record as of now, an open epoch as an incomplete one."""
        with self._lock:
            self._books.cut(fresh=False)
            return self._chronicle.footprint()

    def snapshot(self) -> Callable[[], Footprint]:
        """The run without its epochs as of its last reading; whoever calls it makes the record, in a thread of its own."""
        with self._lock:
            return self._chronicle.snapshot()

    def text(self, *, at_once: bool) -> str | None:
        """The record without epochs as JSON, at the start and then at most once a minute."""
        with self._lock:
            text = self._chronicle.text(at_once=at_once)
            if text is None:
                return None
            self._books.cut(fresh=False)
            return text()

    # ---- figures

    def spent(self) -> Spent | None:
        """What the run has used so far; None where nothing can be read."""
        with self._lock:
            self._books.cut(fresh=False)
            read = self._books.meter.sensors or self._chronicle.records.of_many
            return self._chronicle.spent(self._books.unseen_j) if read else None

    def scalars(self) -> dict[str, float]:
        """The last epoch and the run so far, under the public tags."""
        with self._lock:
            spent = self._chronicle.spent()
            values = {
                **epoch_scalars(self.epochs[-1] if self.epochs else None),
                **run_scalars(spent, self._books.account.run.energy.measured_fraction),
                **budget_scalars(self._watch.nearest(spent)),
            }
            if self._outlook.schedule.bounded:
                values["carbon/forecast_co2e_g"] = self._outlook.so_far(spent).mean
            return values

    def forecast_g(self) -> Range | None:
        """What the whole run will have emitted at its end; None where its length is unknown or nothing is known yet."""
        with self._lock:
            return self._outlook.at_the_end(self._chronicle.spent())

    def standing(self) -> Standing | None:
        """Where the run stands, for a display in a thread of its own: nothing is read or booked; None where it is busy."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            unbooked, books, schedule = self._books.unbooked(), self._books, self._outlook.schedule
            spent = self._chronicle.spent((unbooked.joules if unbooked else 0.0) + books.unseen_j)
            opened, ahead = self._periods.open is not None, self._outlook.at_the_end(self._chronicle.spent())
            epoch = self._periods.opened.index if opened else self._periods.next_index
            now_ns, nearest = self._clock.monotonic_ns(), self._watch.nearest(spent)
            return Standing(now_ns, epoch, schedule.last_epoch, spent.energy_j, spent.co2e_g, books.power_w, nearest, ahead)
        finally:
            self._lock.release()
