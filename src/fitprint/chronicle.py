"""What a run is at a moment, as a record, and what of it is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fitprint.books import Books
from fitprint.budget import Spent
from fitprint.clock import NS_PER_S, Clock
from fitprint.effort import Effort
from fitprint.energy import Energy
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.grid import Grid
from fitprint.ledger.recorder import Recorder
from fitprint.periods import Periods
from fitprint.records import Records, Stretch
from fitprint.resume import Identity
from fitprint.watch import Watch
from fitprint.work import Work

if TYPE_CHECKING:
    from fitprint.ledger.reservation import Reservations
    from fitprint.team import Follower

TEXT_EVERY_S = 60
SERIES_EVERY_S = 600


class Chronicle:
    """Turns the books into records, and hands them to the clerk.

    Args:
        records: How energies become records.
        books: What has been used.
        periods: Epochs and blocks.
        identity: Who the run is.
        work: What it has trained on.
        grid: The intensity over time, or None where it is constant.
        watch: The budgets.
        recorder: Writes.
        pots: Budgets that it shares with other runs, or None.
        effort: What measuring costs.
        clock: Where the time comes from.

    Attributes:
        records: As given; what becomes known later is put into it by ``amend``.
        status: ``running`` until the end.
    """

    def __init__(
        self,
        records: Records,
        books: Books,
        periods: Periods,
        identity: Identity | Follower,
        work: Work,
        grid: Grid | None,
        watch: Watch,
        recorder: Recorder,
        pots: Reservations | None,
        effort: Effort,
        clock: Clock,
    ) -> None:
        self.records = records
        self.status = "running"
        self._books = books
        self._periods = periods
        self._identity = identity
        self._work = work
        self._over = grid.over if grid is not None else None
        self._watch = watch
        self._recorder = recorder
        self._pots = pots
        self._effort = effort
        self._clock = clock
        self._text_ns: int | None = None
        self._series_written_ns = 0

    # ---- what is known now

    def amend(self, **changes: Any) -> None:
        """Something has become known that every record says from now on."""
        self.records = self.records._replace(**changes)

    def spent(self, unseen_j: float = 0.0) -> Spent:
        """What the run has used up to the last reading.

        Args:
            unseen_j: And since then, probably.
        """
        return self.records.spent(self._stretch(), unseen_j)

    def footprint(self) -> Footprint:
        """The record up to the last reading, an open epoch as an incomplete one."""
        epochs, blocks = self._periods.so_far(self.records, self._work.open.samples)
        return self.records.footprint(self._stretch(series=True), epochs, blocks)

    def snapshot(self, unbooked: Energy | None = None, *, series: bool = False) -> Callable[[], Footprint]:
        """The run without its epochs, written down later by another thread: a boundary only keeps the numbers."""
        stretch = self._stretch(unbooked, series=series)
        return lambda: self.records.footprint(stretch)

    def text(self, *, at_once: bool) -> Callable[[], str] | None:
        """Writes the record without epochs as JSON; None where it was written less than a minute ago."""
        now_ns = self._clock.monotonic_ns()
        if not at_once and self._text_ns is not None and now_ns - self._text_ns < TEXT_EVERY_S * NS_PER_S:
            return None
        self._text_ns = now_ns
        return lambda: self.records.footprint(self._stretch()).to_json(epochs=False)

    def _stretch(self, unbooked: Energy | None = None, *, series: bool = False) -> Stretch:
        books, identity, team, over = self._books, self._identity, self._books.team, self._over
        account = books.with_booked(unbooked)
        return Stretch(
            identity.run_id,
            self.status,
            account.run.energy.duration_ns,
            account.run.energy,
            account.in_epochs,
            dict(account.run.phases),
            self._watch.decision,
            identity.before,
            (books.timeline if team is None else team.timeline).to_dict() if series else None,
            self._work.facts(),
            over.so_far(books.booked_s if unbooked is None else books.timeline.end_s) if over else None,
            over.notes() if over and series else (),
            identity.forked_from,
            identity.inherited,
            books.readings.to_dict() if series else None,
            self._pots.levels() if self._pots is not None else {},
            None if team is None else team.figures,
            None if team is None else team.job.tally.own,
            self._effort.cpu_s,
        )

    # ---- what is written down

    def open(self) -> None:
        """Begin the record on disk."""
        identity = self._identity
        identity.opened = True
        self._recorder.open(identity.run_id, self.snapshot(), claim=identity.claim, before=identity.before)
        if self._pots is not None:
            self._pots.open(identity.run_id, self.records.parent_run_id, identity.inherited)

    def epoch(self, record: EpochFootprint) -> None:
        """Write down the last epoch."""
        self._emit("epoch", self.snapshot(), position=self._periods.epochs_done - 1, epoch=record)

    def block(self, record: EpochFootprint | None) -> None:
        """Write down a block, if there is one."""
        if record is not None:
            self._emit("block", self.snapshot(), position=record.index, epoch=record)

    def metrics(self, record: EpochFootprint) -> None:
        """Write down the last epoch's metrics, which came after its end."""
        self._emit("metrics", position=self._periods.epochs_done - 1, metrics=record.to_dict()["metrics"])

    def described(self) -> None:
        """Write down what the run was made from."""
        self._emit("describe", self.snapshot())

    def weigh_again(self) -> None:
        """Write down anew what is known better by now."""
        for event, position, record in self._periods.weigh_again(self.records):
            self._emit(event, self.snapshot(), position=position, epoch=record)

    def progress(self, unbooked: Energy) -> None:
        """Write down what has been used by now, so that it survives a kill; the long series over time now and then."""
        now_ns = self._clock.monotonic_ns()
        series = now_ns - self._series_written_ns >= SERIES_EVERY_S * NS_PER_S
        if series:
            self._series_written_ns = now_ns
        self._emit("progress", self.snapshot(unbooked, series=series))

    def end(self, spent: Spent) -> None:
        """Write down the end, and free what was reserved."""
        self._emit("end", self.snapshot(series=True))
        if self._pots is not None:
            self._pots.settle({"g": spent.co2e_g, "J": spent.energy_j})

    def _emit(self, event: str, run: Callable[[], Footprint] | None = None, **fields: Any) -> None:
        self._recorder.emit(event, run, **fields)
