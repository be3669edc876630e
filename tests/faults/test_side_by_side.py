"""Real processes side by side on one machine whose power is known: what they are charged together is what it drew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fitprint import Config, Ledger, Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.union import union
from powered import WATTS, powered

pytestmark = [pytest.mark.timeout(180), pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")]

TOTAL_W = sum(WATTS.values())

# A trial that keeps a processor busy some of the time, in epochs of half a second; "ready" and the record are lines of output.
TRIAL = """
import json, os, sys, time
from pathlib import Path
from fitprint import Config, Tracker
from fitprint.sensors.probe import Surroundings

seconds, busy = float(sys.argv[1]), float(sys.argv[2])

def work(until):
    while time.monotonic() < until:
        began = time.process_time()
        while time.process_time() - began < busy * 0.02:
            pass
        time.sleep((1 - busy) * 0.02)

around = Surroundings(sys_root=Path("sys").absolute(), dev_root=Path("dev").absolute(), environ={})
options = Config(parts=["cpu", "dram"], attribute="all", ledger=str(Path("fitprint.db").absolute()), region="FR", project="sweep")
with Tracker(config=options, around=around) as tracker:
    begun, cpu = time.monotonic(), time.process_time()
    print("ready", flush=True)
    for _ in tracker.epochs(range(round(seconds / 0.5))):
        work(time.monotonic() + 0.5)
    footprint = tracker.footprint
    ended = time.monotonic()
print(json.dumps({"energy_j": footprint.energy_j, "by_part": footprint.by_part, "begun": begun, "ended": ended,
                  "cpu_s": time.process_time() - cpu, "roles": [row["role"] for row in footprint.sensors],
                  "notes": footprint.notes, "epochs": [e.energy_j for e in footprint.epochs]}))
"""


@pytest.fixture
def machine(tmp_path):
    """One package of 100 W and its memory of 20 W, counted up every few milliseconds."""
    (tmp_path / "dev" / "shm").mkdir(parents=True)
    with powered({tmp_path / "sys": WATTS}):
        yield tmp_path


def trial(folder: Path, seconds: float, busy: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", TRIAL, str(seconds), str(busy)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def record(process: subprocess.Popen[str]) -> dict:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


def covered_s(records: list[dict]) -> float:
    """Time in which at least one of them ran."""
    total, until = 0.0, 0.0
    for row in sorted(records, key=lambda row: row["begun"]):
        total += max(0.0, row["ended"] - max(until, row["begun"]))
        until = max(until, row["ended"])
    return total


def test_eight_trials_side_by_side_sum_to_the_machine_and_each_follows_its_cpu_time(machine):
    trials = [trial(machine, 20 + i, busy) for i, busy in enumerate([0.20, 0.05, 0.10, 0.05, 0.20, 0.05, 0.10, 0.05])]
    records = [record(process) for process in trials]
    truth_j = TOTAL_W * covered_s(records)
    # A run notices within a second that another has begun: eight that begin one by one pay some of these seconds twice.
    assert sum(row["energy_j"] for row in records) == pytest.approx(truth_j, rel=0.05)
    assert all(row["by_part"]["dram"] == pytest.approx(row["by_part"]["cpu"] / 5, rel=0.02) for row in records)
    total_cpu_s, total_j = sum(row["cpu_s"] for row in records), sum(row["energy_j"] for row in records)
    for row in records[:-1]:  # the last was alone in the end
        assert row["energy_j"] / total_j == pytest.approx(row["cpu_s"] / total_cpu_s, rel=0.35)
    assert all({"overlap", "gross"} < set(row["roles"]) for row in records)
    assert all(any("other runs overlapped" in note for note in row["notes"]) for row in records)
    assert all(joules >= 0 for row in records for joules in row["epochs"])
    ledger = Ledger(machine / "fitprint.db")
    total = union(ledger.footprint(row["run_id"]) for row in ledger.runs())
    assert total.energy_j == pytest.approx(truth_j, rel=0.05)
    assert list((machine / "dev" / "shm").glob("*/*")) == [], "the last has cleared the places"


def test_trials_that_come_and_go_and_one_that_is_killed_leave_no_share_behind(machine):
    first = trial(machine, 20, 0.2)
    assert first.stdout.readline() == "ready\n"
    time.sleep(3)
    victim, third = trial(machine, 60, 0.2), trial(machine, 8, 0.1)
    assert (victim.stdout.readline(), third.stdout.readline()) == ("ready\n", "ready\n")
    time.sleep(5)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait(timeout=10)
    rows = [record(third), record(first)]
    one = rows[1]
    assert one["energy_j"] > 0.6 * TOTAL_W * 20 * 0.75, "it was alone for more than half of the time"
    assert one["epochs"][-1] == pytest.approx(60.0, rel=0.25), "alone at the end, it is charged everything"
    assert sum(row["energy_j"] for row in rows) < TOTAL_W * covered_s(rows)
    assert list((machine / "dev" / "shm").glob("*/*")) == []


def test_runs_in_two_threads_of_one_process_share_it_evenly(machine, monkeypatch):
    monkeypatch.chdir(machine)
    together, records = threading.Barrier(2), []

    def study() -> None:
        around = Surroundings(sys_root=machine / "sys", dev_root=machine / "dev", environ={})
        config = Config(parts=["cpu"], attribute="all", ledger="off", region="FR")
        with Tracker(config=config, around=around) as tracker:
            together.wait(timeout=30)
            for _ in tracker.epochs(range(16)):
                time.sleep(0.5)
            records.append((tracker.footprint, time.monotonic()))
            together.wait(timeout=30)

    began = time.monotonic()
    threads = [threading.Thread(target=study) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    seconds = max(ended for _, ended in records) - began
    joules = [footprint.energy_j for footprint, _ in records]
    assert sum(joules) == pytest.approx(100.0 * seconds, rel=0.08)  # of 8 s, the second in which they met was counted twice
    assert joules[0] == pytest.approx(joules[1], rel=0.15)
    assert union(footprint for footprint, _ in records).energy_j == pytest.approx(100.0 * seconds, rel=0.05)
