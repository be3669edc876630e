"""Many ranks: real ones beside an observer, and what an epoch costs of our own, apart from the exchange, and how that grows."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import observed
from benchmarks.sheet import QUICK, Sheet
from fitprint import Config, Tracker
from fitprint.pace import Schedule
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, FakeRanks, ScriptedCounter

SIZES = ((2, 500), (8, 500), (64, 500), (1000, 50)) if QUICK else ((2, 10_000), (8, 10_000), (64, 10_000), (1000, 10_000))
RANKS_OF_A_HOST, GPUS_OF_A_RANK, LIMIT_MS, LIMITED_RANKS = 8, 1, 1.0, 64
COLUMNS = (
    "ranks",
    "sensors",
    "epochs",
    "ms at its end",
    "of the first tenth",
    "of the last tenth",
    "ms at its begin",
    "limit ms",
    "kept",
    "memory grew MB",
    "kB an epoch",
)
BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024


class Timed:
    """One of FakeRanks whose exchanges are timed.

    Attributes:
        spent_s: CPU time that exchanges have taken; not ours.
    """

    def __init__(self, size: int) -> None:
        self._peers = FakeRanks(size, per_host=RANKS_OF_A_HOST, alike=True).peers[0]
        self.rank, self.size, self.members, self.spent_s = 0, size, self._peers.members, 0.0
        self.last_words, self.leave = self._peers.last_words, self._peers.leave

    def gather(self, row: Sequence[int]) -> list[list[int]]:
        began = time.thread_time()
        rows = self._peers.gather(row)
        self.spent_s += time.thread_time() - began
        return rows


def sheets() -> list[Sheet]:
    """Real ranks, and simulated ones."""
    rows = [_row(size, epochs) for size, epochs in SIZES]
    note = (
        "Simulated: every rank tells of one GPU and one processor, 8 ranks on a machine; medians of CPU time, with "
        "journal and ledger. The exchange itself is not in the figures: three at an epoch's end. Memory is the process's largest "
        "after the run, less that before it; epochs come as fast as they can, far faster than the clerk writes them down."
    )
    broken = any(row[8] == "NO" for row in rows)
    return [*observed.sheets(), Sheet("An epoch's end in a job of many ranks", COLUMNS, rows, note, broken=broken)]


def _row(size: int, epochs: int) -> tuple[str, ...]:
    clock, peers = FakeClock(), Timed(size)
    counters = [ScriptedCounter(clock, part="cpu"), *(ScriptedCounter(clock, sensor_id=f"gpu:{i}") for i in range(GPUS_OF_A_RANK))]
    ends, begins, before_b = [], [], _largest_b()
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
    grown_b, tenth = _largest_b() - before_b, max(1, epochs // 10)
    first, last = median(ends[:tenth]), median(ends[-tenth:])
    limited = size <= LIMITED_RANKS
    kept = "yes" if last < LIMIT_MS else "NO"
    figures = [f"{ms:.3f}" for ms in (median(ends), first, last, median(begins))]
    limit = (f"< {LIMIT_MS:g}", kept) if limited else ("-", "-")
    return (str(size), str(sensors), f"{epochs:,}", *figures, *limit, f"{grown_b / 1e6:.1f}", f"{grown_b / 1e3 / epochs:.2f}")


def _largest_b() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_OF_MAXRSS


def _ours(peers: Timed, action: object) -> float:
    """Milliseconds, without those of the exchange."""
    before_s, began = peers.spent_s, time.thread_time()
    action()  # type: ignore[operator]
    return 1000 * (time.thread_time() - began - (peers.spent_s - before_s))
