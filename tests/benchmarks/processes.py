"""What importing and starting cost in a fresh process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.rig import build, loads
from benchmarks.sheet import QUICK

# A fresh process: the driver's own initialisation alone.
DRIVER = """
import ctypes, json, time
began = time.perf_counter()
try:
    ctypes.CDLL("libnvidia-ml.so.1").nvmlInit_v2()
except OSError:
    began = time.perf_counter()
print(json.dumps({"init": time.perf_counter() - began}))
"""
# Another: the first run, sensors probed, and then the driver's own reading.
FIRST_START = """
import json, sys, time
heard = []
names = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "socket.connect", "socket.getaddrinfo"}
sys.addaudithook(lambda event, _: heard.append(event) if event in names else None)
from fitprint import Tracker
tracker = Tracker(region="FR", ledger="fitprint.db")
began = time.perf_counter()
tracker.start()
start = time.perf_counter() - began
assert tracker.measuring
tracker.close()
import pynvml
try:
    board = pynvml.nvmlDeviceGetHandleByIndex(0)
except pynvml.NVMLError:
    board = None
began = time.perf_counter()
for _ in range(1000 if board else 0):
    pynvml.nvmlDeviceGetTotalEnergyConsumption(board)
print(json.dumps({"start": start, "read": (time.perf_counter() - began) / 1000, "heard": len(heard)}))
"""


def with_bytecode() -> dict[str, str]:
    """This environment, in which modules are compiled once and not at every start."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def import_cost_ms(code: str) -> float:
    """CPU time that an import adds to bare Python: the least of some runs of each."""

    def least(code: str) -> float:
        return min(process_s([sys.executable, "-c", code], with_bytecode()) for _ in range(9))

    return (least(code) - least("pass")) * 1e3


def process_s(command: Sequence[str], env: Mapping[str, str]) -> float:
    """CPU time of a process from its start to its end: with nothing else on the machine it is the wall time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env=env, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def first_start(folder: Path) -> Mapping[str, float]:
    """The least of some fresh processes; on this machine's driver, or on a board that stands in for it."""
    env = with_bytecode()
    if not Path("/proc/driver/nvidia/version").exists() and build(folder) is not None:
        env |= {"LD_LIBRARY_PATH": str(folder), **next(loads(0.1)).environment(0.1)}
    runs = [{**_said(DRIVER, folder, env), **_said(FIRST_START, folder, env)} for _ in range(3 if QUICK else 7)]
    return {key: min(run[key] for run in runs) for key in runs[0]}


def _said(code: str, folder: Path, env: Mapping[str, str]) -> Mapping[str, float]:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
