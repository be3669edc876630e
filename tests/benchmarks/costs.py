"""What measuring costs, each cost beside its limit."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.beside import sheet as beside
from benchmarks.instructions import counted_rows
from benchmarks.processes import first_start, import_cost_ms
from benchmarks.rig import build
from benchmarks.sheet import QUICK, Sheet
from benchmarks.tried import keras_hook, lightning_hook, started, transformers_hook
from fitprint import Tracker
from fitprint.carbon.grid import find_region
from fitprint.carbon.hourly import HourlySeries
from fitprint.carbon.intensity import yearly_intensity
from fitprint.carbon.place import Place
from fitprint.clock import SystemClock
from fitprint.pace import Schedule
from fitprint.sensors.counter import UJ_IN_J, Integrated, Sensor
from fitprint.sensors.probe import Surroundings

US, MS = 1e6, 1e3
BELGIUM = Place("gcp:europe-west1", "", "")
PAUSE_S = 0.01
LISTENING_S = 2.0 if QUICK else 8.0


def per_call_us(action: Callable[[], object], calls: int, rounds_of: int = 200) -> float:
    """Best of many rounds of a few milliseconds: noise only ever adds, and who has just slept is left alone for so long."""
    rounds = []
    for _ in range(rounds_of):
        time.sleep(PAUSE_S)
        began = time.perf_counter()
        for _ in range(calls):
            action()
        rounds.append((time.perf_counter() - began) / calls)
    return min(rounds) * US


def start_cost_ms(folder: Path) -> float:
    """From construction to the first reading, ledger on, no driver to initialise."""
    times = []
    for i in range(15):
        began = time.perf_counter()
        tracker = started(folder / str(i), 1)
        times.append(time.perf_counter() - began)
        tracker.close()
    return min(times) * MS


def boundary_us(folder: Path, gpus: int) -> float:
    """Entering a phase: one reading, one booking."""
    tracker = started(folder, gpus, ledger="off")
    cost = per_call_us(lambda: (tracker.enter("validate"), tracker.leave("validate")), 25) / 2
    tracker.close()
    return cost


def epoch_us(folder: Path) -> float:
    """A whole epoch: begin, end, record, decision, journal and ledger included in the background."""
    tracker = started(folder, 1, budget="1 kWh")
    schedule = Schedule(epochs=None, batches=10)
    cost = per_call_us(lambda: (tracker.begin_epoch(0, schedule), tracker.end_epoch(steps=10)), 20)
    tracker.close()
    return cost


def hook_us(hook: Callable[[], object]) -> float:
    """A batch hook at a batch at which there is nothing to do."""
    return per_call_us(hook, 10_000)


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


class Gauge:
    """Power that costs nothing to read."""

    sensor = Sensor("gpu:gauge", "gpu", "integrated", UJ_IN_J, 0.1, 0.1, "scripted gauge")
    p_max_w = 1000.0

    def watts(self) -> float:
        return 100.0

    def close(self) -> None:
        """Nothing is held."""


def idle_share(tracker: Tracker) -> float:
    """CPU time of a process that only waits while it measures, over wall time, in percent of a core."""
    began, cpu = time.perf_counter(), time.process_time()
    time.sleep(LISTENING_S)
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    tracker.close()
    return share * 100


def gauged(folder: Path) -> Tracker:
    """A run on a gauge, which the keeper has to read every second."""
    clock = SystemClock()
    around = Surroundings(clock=clock, environ={})
    return Tracker(region="FR", ledger=str(folder / "fitprint.db"), counters=[Integrated(Gauge(), clock)], around=around).start()


def threads_started(folder: Path) -> int:
    before = threading.active_count()
    tracker = started(folder, 1)
    tracker.begin_epoch(0, Schedule(batches=1))
    count = threading.active_count() - before
    tracker.close()
    return count


def seen_after_ms(folder: Path) -> float:
    """Until an epoch that has ended can be read from the database by others; the worst of some."""
    tracker, waits = started(folder, 1), []
    for index in range(3 if QUICK else 10):
        tracker.begin_epoch(index, Schedule(batches=1))
        tracker.end_epoch()
        began = time.perf_counter()
        while epochs_in(folder / "fitprint.db") <= index:
            time.sleep(0.001)
        waits.append(time.perf_counter() - began)
    tracker.close()
    return max(waits) * MS


def tables_loaded_ms() -> float:
    """The first look-up of place, intensity, PUE and node factor in a process, which reads the tables."""
    code = (
        "import time; from fitprint.carbon import intensity, place, facility, clouds, grid; began = time.perf_counter()\n"
        "intensity.yearly_intensity(place.find_place('gcp:europe-west1', '', {}))\n"
        "print(time.perf_counter() - began)"
    )
    command = [sys.executable, "-c", code]
    return min(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(5)) * MS


def over_time_us(folder: Path) -> float:
    """A boundary of a run whose intensity changes by the hour; a constant's is above."""
    now_s = SystemClock().time()
    series = HourlySeries([(now_s + 3600 * i, 50.0 + i) for i in range(-24, 24)], "hours", "as given")
    tracker = started(folder, 1, ledger="off", intensity=series)
    cost = per_call_us(lambda: (tracker.enter("validate"), tracker.leave("validate")), 25) / 2
    tracker.close()
    return cost


def epochs_in(ledger: Path) -> int:
    """What another process finds; 0 before there is a database."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as others:
            return int(others.execute("SELECT count(*) FROM epochs").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def rows(fresh: Callable[[], Path]) -> list[tuple[str, float, float | None, str]]:
    """Each cost with its limit and unit."""
    first = first_start(fresh())
    return [
        ("import fitprint", import_cost_ms("import fitprint"), 50, "ms"),
        ("from fitprint import Tracker", import_cost_ms("from fitprint import Tracker"), 100, "ms"),
        ("first start in a process, sensors probed", (first["start"] - first["init"]) * MS, 50, "ms"),
        ("processes and network calls by then", first["heard"], 0, ""),
        ("the driver's own initialisation", first["init"] * MS, None, "ms"),
        ("the driver's own reading of one board", first["read"] * US, None, "µs"),
        ("start of a run", start_cost_ms(fresh()), 50, "ms"),
        ("threads of a run", threads_started(fresh()), 2, ""),
        ("boundary, 1 GPU and 2 CPU zones", boundary_us(fresh(), 1), 20, "µs"),
        ("boundary, 8 GPUs and 2 CPU zones", boundary_us(fresh(), 8), 100, "µs"),
        ("boundary, 1 GPU and 2 CPU zones, intensity by the hour", over_time_us(fresh()), 20, "µs"),
        ("tables of places and intensities, loaded", tables_loaded_ms(), 20, "ms"),
        ("a place by its name", per_call_us(lambda: find_region("gcp:europe-west1"), 100), 100, "µs"),
        ("its intensity", per_call_us(lambda: yearly_intensity(BELGIUM), 100), 100, "µs"),
        ("epoch with budget and ledger", epoch_us(fresh()), 1000, "µs"),
        ("epoch seen by other processes after", seen_after_ms(fresh()), 1000, "ms"),
        ("batch hook with nothing to do, Lightning", hook_us(lightning_hook()), 1, "µs"),
        ("batch hook with nothing to do, Keras", hook_us(keras_hook()), 1, "µs"),
        ("batch hook with nothing to do, Hugging Face", hook_us(transformers_hook()), 1, "µs"),
        ("memory of an epoch's record", bytes_per_epoch(fresh()), 1000, "bytes"),
        ("keeper and clerk, counters", idle_share(started(fresh(), 1)), 0.1, "% of a core"),
        ("keeper and clerk, a gauge", idle_share(gauged(fresh())), 1, "% of a core"),
    ]


def sheets() -> Iterator[Sheet]:
    with tempfile.TemporaryDirectory() as name:
        folders = (Path(name) / str(i) for i in range(100))

        def fresh() -> Path:
            folder = next(folders)
            folder.mkdir()
            return folder

        cells = [_cells(*row) for row in rows(fresh)] + list(counted_rows())
        note = (
            "GPUs are scripted and CPU zones are files; a real driver's own time comes on top. The least of several rounds; an "
            "import is CPU time. Instructions are those of the processor in user space, counted by valgrind: the same on a "
            "busy machine. The reference is a few lines of plain Python, counted in the same process; limits in times of it "
            "hold for any Python."
        )
        yield Sheet("What measuring costs", ["cost", "measured", "limit", "kept"], cells, note)
        board = build(fresh())
        if board is not None:
            yield beside(board, lambda: hook_us(lightning_hook()))


def _cells(what: str, value: float, limit: float | None, unit: str) -> list[str]:
    measured = f"{value:.3g} {unit}".strip()
    if limit is None:
        return [what, measured, "-", "-"]
    return [what, measured, f"{'<' if unit else '<='} {limit} {unit}".strip(), "yes" if value <= limit else "NO"]
