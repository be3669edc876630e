"""Runs and hooks whose cost is looked at: scripted boards, processor zones as files, callbacks of the frameworks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fitprint import Tracker
from fitprint.clock import SystemClock
from fitprint.sensors import rapl
from fitprint.sensors.counter import Counter
from fitprint.sensors.finding import Found
from fitprint.sensors.probe import Surroundings
from fitprint.series import Series
from fitprint.testing import FakePowercap, ScriptedCounter

BATCHES_DONE = 3


def zones(folder: Path) -> list[Counter]:
    """Two zones of a powercap tree, read through real files."""
    tree = FakePowercap(folder)
    tree.add_zone("intel-rapl:0", "package-0", 1_000_000)
    tree.add_zone("intel-rapl:1", "package-1", 1_000_000)
    return [counter for finding in rapl.probe(folder) if isinstance(finding, Found) for counter in finding.counters]


def sensors(folder: Path, gpus: int) -> list[Counter]:
    """So many boards of 100 W and two zones, in real time."""
    clock = SystemClock()
    boards = [ScriptedCounter(clock, watts=100.0, sensor_id=f"gpu:{i}") for i in range(gpus)]
    return [*boards, *zones(folder / f"sys-{gpus}")]


def started(folder: Path, gpus: int, **options) -> Tracker:
    around = Surroundings(clock=SystemClock(), environ={})
    options = {"region": "FR", "ledger": str(folder / "fitprint.db"), **options}
    return Tracker(counters=sensors(folder, gpus), around=around, **options).start()


def core_hook() -> Callable[[], object]:
    """What the hooks of all frameworks call."""
    series = Series(ledger="off")
    return lambda: series.batch(BATCHES_DONE)


def lightning_hook() -> Callable[[], object]:
    from fitprint_lightning import CarbonCallback

    callback = CarbonCallback(ledger="off")
    return lambda: callback.on_train_batch_end(None, None, None, None, BATCHES_DONE)


def keras_hook() -> Callable[[], object]:
    from fitprint_keras import CarbonCallback

    callback = CarbonCallback(ledger="off")
    return lambda: callback.on_train_batch_begin(BATCHES_DONE)


def transformers_hook() -> Callable[[], object]:
    from fitprint_transformers import CarbonCallback
    from transformers import TrainerControl, TrainerState

    callback, state, control = CarbonCallback(ledger="off"), TrainerState(global_step=BATCHES_DONE), TrainerControl()
    return lambda: callback.on_step_end(None, state, control)
