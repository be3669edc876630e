"""A run of a million epochs with its ledger: what the last ones cost beside the first, and what they leave in memory.

``BENCH_EPOCHS=N`` runs so many in place of 1,000,000 (10,000 with ``BENCH_QUICK=1``).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.rig import HERE
from benchmarks.sheet import QUICK, Sheet
from benchmarks.tried import started
from fitprint.pace import Schedule

EPOCHS = int(os.environ.get("BENCH_EPOCHS", "10000" if QUICK else "1000000"))
TENTHS = 10
RECORD_BYTES, CLOSE_S, SLOWER = 1000, 5.0, 1.5
J_PER_EPOCH = 1e-6  # the account adds integers; sums of so many floats may differ by their rounding


def memory_bytes() -> int:
    """What this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def long_run(folder: Path, epochs: int) -> dict[str, object]:
    """Train so many epochs in ten parts, which do nothing but be measured."""
    tracker, schedule = started(folder, 1, budget="1000 kWh"), Schedule(epochs=epochs, batches=10)
    tenths = []
    for tenth in range(TENTHS):
        began, cpu = time.perf_counter(), time.thread_time()
        for index in range(tenth * epochs // TENTHS, (tenth + 1) * epochs // TENTHS):
            tracker.begin_epoch(index, schedule)
            tracker.end_epoch(steps=10)
        tenths.append((time.perf_counter() - began, time.thread_time() - cpu, memory_bytes()))
    began = time.perf_counter()
    tracker.close()
    closed_s, footprint = time.perf_counter() - began, tracker.footprint
    inside_j = sum(epoch.energy_j for epoch in footprint.epochs)
    return {
        "tenths": tenths,
        "closed_s": closed_s,
        "epochs": len(footprint.epochs),
        "apart_j": abs(footprint.energy_j - footprint.outside_epochs_j - inside_j),
    }


def in_ledger(file: Path) -> tuple[int, int]:
    """Epochs that can be read from it, and its bytes."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as ledger:
        return int(ledger.execute("SELECT count(*) FROM epochs").fetchone()[0]), file.stat().st_size


def sheets() -> Iterator[Sheet]:
    with tempfile.TemporaryDirectory() as name:
        path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "benchmarks.epochs", str(EPOCHS), name]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        recorded, size = in_ledger(Path(name) / "fitprint.db")
    rows, kept = _rows(found, recorded, size)
    note = (
        "One process, one scripted GPU and two CPU zones, a budget and the ledger; epochs do nothing else. CPU time is the "
        "training thread's. Memory of an epoch: what the process grew by from the end of the first tenth to the end of the last."
    )
    yield Sheet(f"A run of {EPOCHS:,} epochs", ["cost", "measured", "limit", "kept"], rows, note, broken=not kept)


def _rows(found: Mapping, recorded: int, size: int) -> tuple[list[list[str]], bool]:
    a_tenth, tenths = EPOCHS / TENTHS, found["tenths"]
    first_us, last_us = tenths[0][1] / a_tenth * 1e6, tenths[-1][1] / a_tenth * 1e6
    grown = (tenths[-1][2] - tenths[0][2]) / (EPOCHS - a_tenth)
    checks = [
        ("memory of an epoch", f"{grown:.0f} bytes", f"< {RECORD_BYTES} bytes", grown < RECORD_BYTES),
        ("CPU time of an epoch, first tenth", f"{first_us:.0f} µs", "-", True),
        ("the same, last tenth", f"{last_us:.0f} µs", f"< {SLOWER} x the first", last_us < SLOWER * first_us),
        ("the end of the run", f"{found['closed_s']:.2f} s", f"< {CLOSE_S:.0f} s", found["closed_s"] < CLOSE_S),
        ("epochs in the record", f"{found['epochs']:,}", f"{EPOCHS:,}", found["epochs"] == EPOCHS),
        ("epochs in the ledger", f"{recorded:,}", f"{EPOCHS:,}", recorded == EPOCHS),
        ("sum of the epochs beside the run", f"{found['apart_j']:.1g} J", f"< {J_PER_EPOCH} J", found["apart_j"] < J_PER_EPOCH),
        ("memory of the process at the last epoch", f"{tenths[-1][2] / 1e6:,.0f} MB", "-", True),
        ("the ledger", f"{size / 1e6:,.0f} MB", "-", True),
        ("all epochs together", f"{sum(tenth[0] for tenth in tenths):,.0f} s", "-", True),
    ]
    rows = [[what, measured, limit, "-" if limit == "-" else "yes" if holds else "NO"] for what, measured, limit, holds in checks]
    return rows, all(holds for *_, holds in checks)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(long_run(Path(sys.argv[2]), int(sys.argv[1]))) + "\n")
