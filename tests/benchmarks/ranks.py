"""What an epoch costs of our own in a job of many ranks, apart from the exchange itself, and how that grows."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.sheet import QUICK, Sheet
from fitprint import Config, Tracker
from fitprint.pace import Schedule
from fitprint.ranks import Member
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

SIZES = ((2, 500), (8, 500), (64, 500), (1000, 50)) if QUICK else ((2, 10_000), (8, 10_000), (64, 10_000), (1000, 10_000))
RANKS_OF_A_HOST, GPUS_OF_A_RANK, LIMIT_MS, LIMITED_RANKS = 8, 1, 1.0, 64
COLUMNS = ("ranks", "sensors", "epochs", "ms at its end", "of the last tenth", "ms at its begin", "limit ms", "kept")


class Alike:
    """Peers that all tell what rank 0 tells, at once.

    Attributes:
        spent_s: Time that exchanges have taken; not ours.
    """

    def __init__(self, size: int) -> None:
        self.rank, self.size, self.spent_s = 0, size, 0.0
        self.members = [Member(f"host {rank // RANKS_OF_A_HOST}", os.getpid()) for rank in range(size)]

    def gather(self, row: Sequence[int]) -> list[list[int]]:
        began = time.thread_time()
        rows = [list(row) for _ in range(self.size)]
        self.spent_s += time.thread_time() - began
        return rows

    def last_words(self, text: str) -> list[str | None]:
        return [text] * self.size

    def leave(self) -> None:
        """Nobody waits."""


def sheets() -> list[Sheet]:
    """One table."""
    rows = [_row(size, epochs) for size, epochs in SIZES]
    note = (
        "Simulated: every rank tells of one GPU and one processor, 8 ranks on a machine; medians of CPU time, with "
        "journal and ledger. The exchange itself is not in the figures: three at an epoch's end."
    )
    return [Sheet("An epoch's end in a job of many ranks", COLUMNS, rows, note)]


def _row(size: int, epochs: int) -> tuple[str, ...]:
    clock, peers = FakeClock(), Alike(size)
    counters = [ScriptedCounter(clock, part="cpu"), *(ScriptedCounter(clock, sensor_id=f"gpu:{i}") for i in range(GPUS_OF_A_RANK))]
    ends, begins = [], []
    with tempfile.TemporaryDirectory() as folder:
        config = Config(ledger=str(Path(folder) / "fitprint.db"), region="FR", budget="1 MWh")
        with Tracker(config=config, counters=counters, around=Surroundings(clock=clock, environ={}), peers=peers) as tracker:
            schedule = Schedule(epochs=epochs, batches=1)
            tracker.check_start()
            for epoch in range(epochs):
                begins.append(_ours(peers, lambda epoch=epoch: tracker.begin_epoch(epoch, schedule)))
                clock.advance(1.0)
                ends.append(_ours(peers, tracker.end_epoch))
        sensors = len(tracker.footprint.sensors)
    last = median(ends[-max(1, epochs // 10) :])
    limited = size <= LIMITED_RANKS
    kept = "yes" if last < LIMIT_MS else "NO"
    figures = (f"{median(ends):.3f}", f"{last:.3f}", f"{median(begins):.3f}")
    return (str(size), str(sensors), f"{epochs:,}", *figures, f"< {LIMIT_MS:g}" if limited else "-", kept if limited else "-")


def _ours(peers: Alike, action: object) -> float:
    """Milliseconds, without those of the exchange."""
    before_s, began = peers.spent_s, time.thread_time()
    action()  # type: ignore[operator]
    return 1000 * (time.thread_time() - began - (peers.spent_s - before_s))
