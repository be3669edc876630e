"""Error of fitprint's epochs against the truth, over thousands of epochs on a simulated clock."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from benchmarks.rig import Load, TickingCounter, loads
from benchmarks.sheet import QUICK, Sheet
from benchmarks.theory import SPREAD_S, limit, two_edges
from fitprint import Tracker
from fitprint.pace import Schedule
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock

TICKS_S = (0.02, 0.1)
EPOCHS_S = (0.3, 1.0, 3.0, 10.0)
COUNT = 300 if QUICK else 2000


def epochs(load: Load, tick_s: float, lengths_s: Sequence[float]) -> list[tuple[float, float]]:
    """The measured and the true joules of each epoch."""
    clock = FakeClock(start_s=1000.0 + tick_s / math.e)
    counter = TickingCounter(clock, load, tick_s)
    truth, schedule = [], Schedule(batches=1)
    with Tracker(region="FR", ledger="off", counters=[counter], around=Surroundings(clock=clock, environ={})) as tracker:
        for index, length_s in enumerate(lengths_s):
            before = load.joules(clock.monotonic_ns() * 1e-9)
            tracker.begin_epoch(index, schedule)
            clock.advance(length_s)
            tracker.end_epoch()
            truth.append(load.joules(clock.monotonic_ns() * 1e-9) - before)
        measured = [epoch.energy_j for epoch in tracker.footprint.epochs]
    return list(zip(measured, truth, strict=True))


def sheets() -> Iterator[Sheet]:
    source = random.Random(1)
    rows = []
    for tick_s in TICKS_S:
        for load in loads(tick_s):
            for epoch_s in EPOCHS_S:
                found = epochs(load, tick_s, [source.uniform(epoch_s - SPREAD_S, epoch_s + SPREAD_S) for _ in range(COUNT)])
                rows.append(_row(load, tick_s, epoch_s, found))
    columns = ["load", "tick", "epoch", "0.41 T/d", "limit: rms", "fitprint: rms", "of limit", "fitprint: max", "of P_max x T"]
    note = (
        f"{COUNT} epochs each, in % of an epoch's true energy. 0.41 T/d: sigma = P x T / sqrt(6), two independent ends at steady "
        "power. limit: the same for this load, an exact counter read once at each end. No error can exceed P_max x T."
    )
    yield Sheet("Error of one epoch's energy, simulated time", columns, rows, note)


def _row(load: Load, tick_s: float, epoch_s: float, found: Sequence[tuple[float, float]]) -> list[str]:
    relative = [100 * (measured / true - 1) for measured, true in found]
    best, rms = limit(load, tick_s, epoch_s), math.sqrt(math.fsum(e * e for e in relative) / len(found))
    most_j = max(abs(measured - true) for measured, true in found)
    figures = [two_edges(tick_s, epoch_s), best, rms, rms / best, max(map(abs, relative)), most_j / (load.high_w * tick_s)]
    forms = ["{:.2f} %", "{:.2f} %", "{:.2f} %", "{:.2f}", "{:.1f} %", "{:.2f}"]
    cells = [form.format(figure) for form, figure in zip(forms, figures, strict=True)]
    return [load.name, f"{tick_s * 1e3:.0f} ms", f"{epoch_s:g} s", *cells]
