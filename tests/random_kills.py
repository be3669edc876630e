"""Runs that are killed at random moments, and what is found of them afterwards; for the tests and the benchmark of kills."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fitprint import Footprint, Ledger

RUN_ID = "killed"
# The keeper's longest period here, in place of 30 s; and how long the ledger may take until others see what is written.
PERIOD_S, VISIBLE_S = 0.3, 1.0

# Works in pieces of a joule and about ten milliseconds, epochs of 1 to 40 of them; notes each piece and the moment after it.
PROGRAM = """
import json, os, random, sys, time
import fitprint.meter
from fitprint import Tracker
from fitprint.clock import SystemClock
from fitprint.sensors.probe import Surroundings
from fitprint.testing import ScriptedCounter

seed, first, last, period_s = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
fitprint.meter.LONGEST_PERIOD_S = period_s
clock, chance, drawn = SystemClock(), random.Random(seed), 0
gpu = ScriptedCounter(clock, watts=0.0)
noted = os.open("noted", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
with Tracker(region="FR", run_id="killed", counters=[gpu], around=Surroundings(clock=clock, environ={})) as tracker:
    for index in tracker.epochs(range(first, last)):
        for piece in range(chance.randint(1, 40)):
            gpu.add(1.0)
            drawn += 1
            os.write(noted, b"%d %d\\n" % (index, time.time_ns()))
            time.sleep(0.02 * chance.random())
print(json.dumps({"drawn": drawn, "run": tracker.footprint.to_dict()}))
"""


@dataclass(frozen=True)
class Killed:
    """What one kill left.

    Attributes:
        kept_epochs: Epochs in the ledger.
        ended_epochs: Those that had ended when it was killed.
        due_epochs: Those that had ended so long before the kill that they must be there.
        kept_j: What the run has used, by the ledger.
        due_j: What it had used so long before the kill that it must be there.
        drawn_j: What it had used when it was killed; the last joule may not be noted.
        wrong_j: How far the total of the run that went on with it is from what both have used by ledger and truth.
        whole: Whether status, numbers of epochs and sums are right, before and after.
    """

    kept_epochs: int
    ended_epochs: int
    due_epochs: int
    kept_j: float
    due_j: float
    drawn_j: float
    wrong_j: float
    whole: bool

    @property
    def right(self) -> bool:
        kept = self.kept_epochs >= self.due_epochs and self.due_j <= self.kept_j <= self.drawn_j + 1.0
        return kept and self.wrong_j < 1e-6 and self.whole


def kill_once(folder: Path, seed: int, longest_s: float = 2.5) -> Killed:
    """Start a run in an empty folder, kill it at a random moment of its first seconds, look, and go on with it."""
    process = start(folder, seed, 0, 1_000_000)
    until = time.monotonic() + 60
    while not (folder / "noted").exists() and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(random.Random(seed).uniform(0.0, longest_s))
    killed_ns = time.time_ns()
    process.kill()
    process.wait(30)
    process.stdout.close()
    pieces = [tuple(map(int, line.split())) for line in (folder / "noted").read_text().splitlines() if line.count(" ") == 1]
    dead = footprint_in(folder)
    kept = len(dead.epochs) if dead else 0
    out, _ = start(folder, seed + 1, kept, kept + 3).communicate(timeout=60)
    after = json.loads(out)
    resumed = Footprint.from_json(json.dumps(after["run"]))
    dead_j = dead.energy_j if dead else 0.0
    one_run = len(Ledger(folder / "fitprint.db").runs()) == 1
    return Killed(
        kept_epochs=kept,
        ended_epochs=max((index for index, _ in pieces), default=0),
        due_epochs=max((index for index, at in pieces if at < killed_ns - VISIBLE_S * 1e9), default=0),
        kept_j=dead_j,
        due_j=sum(at < killed_ns - (PERIOD_S + VISIBLE_S) * 1e9 for _, at in pieces),
        drawn_j=len(pieces),
        wrong_j=abs(resumed.energy_j - dead_j - after["drawn"]),
        whole=is_whole(dead, kept, "lost") and is_whole(resumed, kept + 3, "completed") and one_run,
    )


def start(folder: Path, seed: int, first: int, last: int) -> subprocess.Popen:
    command = [sys.executable, "-c", PROGRAM, *map(str, (seed, first, last, PERIOD_S))]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, **quiet)


def footprint_in(folder: Path) -> Footprint | None:
    """The run's record; None where it was killed before anything was due."""
    ledger = Ledger(folder / "fitprint.db")
    return ledger.footprint(RUN_ID) if (folder / "fitprint.db").exists() and ledger.runs() else None


def is_whole(run: Footprint | None, epochs: int, status: str) -> bool:
    if run is None:
        return epochs == 0
    sums = (sum(epoch.energy_j for epoch in run.epochs) + run.outside_epochs_j, sum(run.by_part.values()), sum(run.phases.values()))
    numbered = [epoch.index for epoch in run.epochs] == list(range(epochs))
    return run.status == status and numbered and all(abs(total - run.energy_j) < 1e-6 for total in sums)
