"""The epochs and blocks of a run: the open ones, and the records of those that have ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fitprint.account import Window
from fitprint.blocks import Blocks, Opened
from fitprint.books import Books
from fitprint.energy import Energy
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.grid import Grid, Weighed
from fitprint.nothing import NOTHING
from fitprint.pace import Schedule
from fitprint.records import Records
from fitprint.resume import Identity

if TYPE_CHECKING:
    from fitprint.carbon.over_time import Mean
    from fitprint.team import Follower


class Periods:
    """Opens and closes epochs and blocks.

    Args:
        books: Where their joules are booked.
        identity: Who the run is, and what it had done before this process went on with it.
        block_steps: Optimizer steps in a block.
        grid: The intensity over time, or None where it is constant.

    Attributes:
        epochs: Records of the epochs that this process has ended.
        blocks: The blocks.
        opened: Where the open epoch began.
    """

    def __init__(self, books: Books, identity: Identity | Follower, block_steps: int, grid: Grid | None) -> None:
        self.epochs: list[EpochFootprint] = []
        self.blocks = Blocks(block_steps, books.account)
        self.opened = Opened(0, 0, 0, "", 0.0)
        self._books = books
        self._identity = identity
        self._grid = grid

    # ---- what was before

    @property
    def before(self) -> Footprint | None:
        """What the run had spent before this process went on with it."""
        return self._identity.before

    @property
    def epochs_done(self) -> int:
        """Epochs that have ended, in all processes of the run."""
        return len(self.epochs) + (len(self.before.epochs) if self.before else 0)

    @property
    def next_index(self) -> int:
        """The number of the next epoch, as the framework counts."""
        epochs = self.epochs or (self.before.epochs if self.before else ())
        return epochs[-1].index + 1 if epochs else 0

    @property
    def steps_done(self) -> int:
        """Optimizer steps of the epochs that have ended."""
        earlier = self.before.epochs if self.before else ()
        return sum(epoch.steps or 0 for epoch in (*earlier, *self.epochs))

    # ---- opening and closing

    @property
    def open(self) -> Window | None:
        """What the open epoch has used."""
        return self._books.account.epoch

    def begin_epoch(self, index: int) -> None:
        """Open an epoch at the last reading."""
        self.opened = self._books.opened(index, 0)
        self._books.account.epoch = Window()
        if self._books.team is not None:
            self._books.team.epoch = Energy()

    def end_epoch(
        self, records: Records, *, steps: int | None, complete: bool, samples: int | None, metrics: Mapping[str, float]
    ) -> EpochFootprint:
        """Close the open epoch at the last reading and keep its record."""
        window = self._books.account.epoch or Window()
        self._books.account.epoch = None
        self._books.account.leave("train")
        record = self._record(records, window, self.opened, steps, complete=complete)
        self.epochs.append(dataclasses.replace(record, samples=samples, metrics=metrics or NOTHING))
        if self._grid is not None:
            self._grid.epochs.append(self._weighed(window, self.opened))
        return self.epochs[-1]

    def amend(self, **changes: object) -> EpochFootprint:
        """Change the record of the last epoch."""
        self.epochs[-1] = dataclasses.replace(self.epochs[-1], **changes)  # type: ignore[arg-type]
        return self.epochs[-1]

    def begin_block(self, batches_done: int, schedule: Schedule) -> None:
        """Open a block at the last reading, if the epoch is long."""
        earlier = len(self.before.blocks) if self.before else 0
        self.blocks.begin(self._books.opened(earlier + len(self.blocks.records), batches_done), schedule)
        if self._books.team is not None:
            self._books.team.block = Energy()

    def end_block(self, records: Records, steps: int | None, *, complete: bool) -> EpochFootprint | None:
        """Close the open block at the last reading; None where the epoch is not cut."""
        window, opened = self.blocks.window, self.blocks.opened
        if window is None:
            return None
        self.blocks.records.append(self._record(records, window, opened, steps, complete=complete))
        if self._grid is not None:
            self._grid.blocks.append(self._weighed(window, opened))
        return self.blocks.records[-1]

    def end_last_block(self, records: Records, *, complete: bool) -> EpochFootprint | None:
        """What is left of a long epoch is a block whose steps are not known here."""
        window = self.blocks.window
        record = self.end_block(records, None, complete=complete) if window is not None and window.energy.duration_ns else None
        self._books.account.block = None
        return record

    # ---- what is known now

    def so_far(self, records: Records, samples: int | None) -> tuple[list[EpochFootprint], list[EpochFootprint]]:
        """Epochs and blocks as of now, an open epoch as an incomplete one."""
        epochs, blocks = list(self.epochs), self.blocks.records
        if self._grid is not None and self._books.team is None:
            epochs = self._grid.again(epochs, self._grid.epochs, records.weighed)
            blocks = self._grid.again(blocks, self._grid.blocks, records.weighed)
        if self.open is not None:
            now = self._record(records, self.open, self.opened, None, complete=False)
            epochs.append(dataclasses.replace(now, samples=samples))
        return epochs, blocks

    def intensities(self) -> tuple[Mean | None, Mean | None, Mean | None]:
        """Of the run, the open epoch and the open block; None where it is constant or none is open."""
        over, account, end_s = self._grid.over if self._grid else None, self._books.account, self._books.booked_s
        return (
            over.so_far(end_s) if over else None,
            over.during(self.opened.wall_s, end_s) if over and account.epoch is not None else None,
            over.during(self.blocks.opened.wall_s, end_s) if over and account.block is not None else None,
        )

    def weigh_again(self, records: Records) -> Iterator[tuple[str, int, EpochFootprint]]:
        """Records that change because intensities have been told after their end: event, position and record of each."""
        if self._grid is None or self._books.team is not None:
            return
        before = len(self.before.epochs) if self.before else 0
        for i, record in _changed(self.epochs, self._grid.again(self.epochs, self._grid.epochs, records.weighed)):
            yield "epoch", before + i, record
        blocks = self.blocks.records
        for _, record in _changed(blocks, self._grid.again(blocks, self._grid.blocks, records.weighed)):
            yield "block", record.index, record

    # ---- inside

    def _record(self, records: Records, window: Window, opened: Opened, steps: int | None, *, complete: bool) -> EpochFootprint:
        figures = self._books.team.figures if self._books.team is not None else None
        grams = None if figures is None else figures.block_grams if opened is self.blocks.opened else figures.epoch_grams
        return records.epoch(
            window,
            index=opened.index,
            started_at=opened.started_at,
            duration_ns=self._books.last.time_ns - opened.time_ns,
            steps=steps,
            complete=complete,
            grid=self._grid.over.during(opened.wall_s, self._books.booked_s) if self._grid else None,
            grams=grams,
        )

    def _weighed(self, window: Window, opened: Opened) -> Weighed:
        return Weighed(window.energy, opened.wall_s, self._books.booked_s)


def _changed(records: list[EpochFootprint], now: list[EpochFootprint]) -> Iterator[tuple[int, EpochFootprint]]:
    """Take over the records that are not as they were."""
    for i, record in enumerate(now):
        if record != records[i]:
            records[i] = record
            yield i, record
