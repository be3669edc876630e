"""A machine whose power is known, and real processes that train on it together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fitprint.testing import FakePowercap

WATTS = {"intel-rapl:0": 100.0, "intel-rapl:0:0": 20.0}
HERE = Path(__file__).parent


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """One package of 100 W and its memory of 20 W, counted up every few milliseconds, for all processes started here."""
    powercap = FakePowercap(tmp_path / "sys")
    powercap.add_zone("intel-rapl:0", "package-0")
    powercap.add_zone("intel-rapl:0:0", "dram")
    monkeypatch.setenv("FITPRINT_SYS_ROOT", str(tmp_path / "sys"))
    monkeypatch.setenv("FITPRINT_PARTS", "cpu,dram")
    monkeypatch.setenv("FITPRINT_ATTRIBUTE", "all")
    monkeypatch.setenv("FITPRINT_REGION", "FR")
    monkeypatch.setenv("FITPRINT_LEDGER", str(tmp_path / "fitprint.db"))
    over, began = threading.Event(), time.monotonic()

    def draw() -> None:
        while not over.wait(0.004):
            for zone, watts in WATTS.items():
                powercap.write(zone, round(watts * (time.monotonic() - began) * 1e6))

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    yield tmp_path
    over.set()
    thread.join()


class Launched:
    """What the ranks of a job have printed as JSON, by rank."""

    def __init__(self, folder: Path, errors: str, returncode: int) -> None:
        self.ranks = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
        self.errors = errors
        self.returncode = returncode


@pytest.fixture
def alone(machine):
    """Runs a script of this folder; it writes JSON files for the test."""

    def launch(script: str, *args: str, timeout: float = 100.0, launcher: Sequence[str] = ()) -> Launched:
        (machine / "out").mkdir()
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "OUT": str(machine / "out")}
        command = [sys.executable, *launcher, str(HERE / script), *args]
        done = subprocess.run(command, cwd=machine, env=environ, capture_output=True, text=True, timeout=timeout)
        return Launched(machine / "out", done.stderr, done.returncode)

    return launch


@pytest.fixture
def beside(machine):
    """Runs a script in several processes at once, each with variables of its own."""

    def launch(script: str, *args: str, environs: Sequence[Mapping[str, str]], timeout: float = 100.0) -> Launched:
        (machine / "out").mkdir()
        common = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "OUT": str(machine / "out")}
        command = [sys.executable, str(HERE / script), *args]
        logs = [(machine / f"log-{number}").open("w+") for number in range(len(environs))]
        ranks = [
            subprocess.Popen(command, cwd=machine, env={**common, **environ}, stdout=log, stderr=log)
            for environ, log in zip(environs, logs, strict=True)
        ]
        until = time.monotonic() + timeout
        try:
            codes = [rank.wait(max(0.1, until - time.monotonic())) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
        for log in logs:
            log.seek(0)
        return Launched(machine / "out", "\n".join(log.read() for log in logs), max(map(abs, codes)))

    return launch


@pytest.fixture
def torchrun(alone, free_port):
    """Runs a script on two ranks, as ``torchrun`` does; each writes a JSON file named after its rank."""

    def launch(script: str, *args: str, ranks: int = 2, timeout: float = 100.0) -> Launched:
        options = ("-m", "torch.distributed.run", f"--nproc-per-node={ranks}", f"--master-port={free_port}")
        return alone(script, *args, timeout=timeout, launcher=options)

    return launch


@pytest.fixture
def free_port(free_ports) -> int:
    """A port that nobody listens on."""
    return free_ports[0]


@pytest.fixture
def free_ports() -> list[int]:
    """Two of them."""
    probes = [socket.socket() for _ in range(2)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
