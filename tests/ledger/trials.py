"""Trials of a sweep, each a process of its own, of which some are killed at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

TRIAL = """
import sys
from fitprint import Budget, Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter
import time
ledger, name, truth, limit = sys.argv[1:]
clock = FakeClock()
gpu = ScriptedCounter(clock, watts=0.0)
with open(truth, "a", buffering=1) as log, Tracker(
    budget=Budget(limit, scope="project"), project="sweep", ledger=ledger, run_id=name, region="FR",
    counters=[gpu], around=Surroundings(clock=clock),
) as tracker:
    for epoch in tracker.epochs(range(1000)):
        clock.advance(1.0)
        time.sleep(0.01)
        log.write(f"{100.0}\\n")
        gpu.add(100.0)
    print(tracker.decision.code if tracker.decision else "none")
"""


def run_trials(ledger, folder, count, kills, *, limit, seconds):
    """Start trials, kill some at random moments, wait for the rest; returns what each truly used and the codes."""
    chance = random.Random(7)
    logs = {f"trial-{i}": folder / f"trial-{i}.log" for i in range(count)}
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", TRIAL]
    trials = {
        name: subprocess.Popen([*command, ledger, name, str(log), limit], stdout=subprocess.PIPE, text=True, env=environ)
        for name, log in logs.items()
    }
    victims = chance.sample(sorted(trials), kills)
    for name in victims:
        while not logs[name].exists() or chance.random() < 0.7:
            time.sleep(0.05)
        trials[name].send_signal(signal.SIGKILL)
    codes = {name: trial.communicate(timeout=seconds)[0].strip() for name, trial in trials.items()}
    used = {name: sum(float(line) for line in log.read_text().split()) if log.exists() else 0.0 for name, log in logs.items()}
    return used, codes, victims
