"""What measuring costs: prints each cost beside its limit. Run it with ``make bench``."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fitprint import Tracker
from fitprint.clock import SystemClock
from fitprint.pace import Schedule
from fitprint.sensors import rapl
from fitprint.sensors.finding import Found
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakePowercap, ScriptedCounter

US, MS = 1e6, 1e3


def import_cost_ms(code: str) -> float:
    """Wall time that an import adds to bare Python: the least of some runs of each."""

    def least(code: str) -> float:
        times = []
        for _ in range(9):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - began)
        return min(times)

    return (least(code) - least("pass")) * MS


def zones(folder: Path) -> list:
    """Two zones of a powercap tree, read through real files."""
    tree = FakePowercap(folder)
    tree.add_zone("intel-rapl:0", "package-0", 1_000_000)
    tree.add_zone("intel-rapl:1", "package-1", 1_000_000)
    return [counter for finding in rapl.probe(folder) if isinstance(finding, Found) for counter in finding.counters]


def started(folder: Path, gpus: int, **options) -> Tracker:
    clock = SystemClock()
    boards = [ScriptedCounter(clock, watts=100.0, sensor_id=f"gpu:{i}") for i in range(gpus)]
    around = Surroundings(clock=clock, environ={})
    options = {"region": "FR", "ledger": str(folder / "fitprint.db"), **options}
    return Tracker(counters=[*boards, *zones(folder / f"sys-{gpus}-{len(options)}")], around=around, **options).start()


def per_call_us(action, calls: int) -> float:
    """Best of five rounds: the machine's noise only ever adds."""
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(calls):
            action()
        rounds.append((time.perf_counter() - began) / calls)
    return min(rounds) * US


def start_cost_ms(folder: Path) -> float:
    """From construction to the first reading, ledger on, no driver to initialise."""
    times = []
    for i in range(5):
        began = time.perf_counter()
        tracker = started(folder / str(i), 1)
        times.append(time.perf_counter() - began)
        tracker.close()
    return min(times) * MS


def boundary_us(folder: Path, gpus: int) -> float:
    """Entering a phase: one reading, one booking."""
    tracker = started(folder, gpus, ledger="off")
    cost = per_call_us(lambda: (tracker.enter("validate"), tracker.leave("validate")), 2000) / 2
    tracker.close()
    return cost


def epoch_us(folder: Path) -> float:
    """A whole epoch: begin, end, record, decision, journal and ledger included in the background."""
    tracker = started(folder, 1, budget="1 kWh")
    schedule = Schedule(epochs=None, batches=10)
    cost = per_call_us(lambda: (tracker.begin_epoch(0, schedule), tracker.end_epoch(steps=10)), 200)
    tracker.close()
    return cost


def hook_us() -> float:
    """The Lightning batch hook on a batch at which there is nothing to do."""
    from fitprint_lightning import CarbonCallback

    callback = CarbonCallback(ledger="off")
    return per_call_us(lambda: callback.on_train_batch_end(None, None, None, None, 3), 200_000)


def bytes_per_epoch(folder: Path) -> float:
    tracker = started(folder, 1, ledger="off")
    schedule = Schedule(batches=10)
    for _ in range(100):
        tracker.begin_epoch(0, schedule)
        tracker.end_epoch()
    gc.collect()
    tracemalloc.start()
    for _ in range(2000):
        tracker.begin_epoch(0, schedule)
        tracker.end_epoch()
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] / 2000
    tracemalloc.stop()
    tracker.close()
    return used


def keeper_share(folder: Path) -> float:
    """CPU time of a process that only waits while it measures, over wall time, in percent of a core."""
    tracker = started(folder, 1)
    began, cpu = time.perf_counter(), time.process_time()
    time.sleep(5.0)
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    tracker.close()
    return share * 100


def main() -> None:
    logging.getLogger("fitprint").setLevel(logging.ERROR)
    table = Table("cost", "measured", "limit", title=f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        rows = [
            ("import fitprint", import_cost_ms("import fitprint"), 50, "ms"),
            ("from fitprint import Tracker", import_cost_ms("from fitprint import Tracker"), 100, "ms"),
            ("start of a run", start_cost_ms(root / "a"), 50, "ms"),
            ("boundary, 1 GPU and 2 CPU zones", boundary_us(root / "b", 1), 20, "µs"),
            ("boundary, 8 GPUs and 2 CPU zones", boundary_us(root / "c", 8), 100, "µs"),
            ("epoch with budget and ledger", epoch_us(root / "d"), 1000, "µs"),
            ("batch hook with nothing to do", hook_us(), 1, "µs"),
            ("memory of an epoch's record", bytes_per_epoch(root / "e"), 1000, "bytes"),
            ("keeper and clerk, idle", keeper_share(root / "f"), 0.1, "% of a core"),
        ]
    for what, value, limit, unit in rows:
        colour = "red" if value > limit else "green"
        table.add_row(what, f"[{colour}]{value:.3g}[/] {unit}", f"< {limit} {unit}")
    Console().print(table)


if __name__ == "__main__":
    main()
