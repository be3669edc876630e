"""A machine whose power is known, and real processes that train on it together."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from observer import ask, boards, observing

from powered import WATTS, powered

HERE = Path(__file__).parent


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """One package of 100 W and its memory of 20 W, counted up every few milliseconds, for all processes started here."""
    monkeypatch.setenv("FITPRINT_SYS_ROOT", str(tmp_path / "sys"))
    monkeypatch.setenv("FITPRINT_PARTS", "cpu,dram")
    monkeypatch.setenv("FITPRINT_ATTRIBUTE", "all")
    monkeypatch.setenv("FITPRINT_REGION", "FR")
    monkeypatch.setenv("FITPRINT_LEDGER", str(tmp_path / "fitprint.db"))
    with powered({tmp_path / "sys": WATTS}):
        yield tmp_path


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


class Observed:
    """A machine whose counters somebody else reads as well.

    Attributes:
        watts: All that it draws: two boards beside the processor and its memory.
    """

    def __init__(self, port: int, watts: float) -> None:
        self.watts = watts
        self._port = port

    def check(self, run: str, record: dict) -> None:
        """The ranks together have counted what the observer did."""
        seen = ask(self._port)[run]
        ranks_j = math.fsum(joules for _, joules in record["sensors"])
        assert ranks_j == pytest.approx(record["energy_j"])
        assert seen.agrees(ranks_j, self.watts), (ranks_j, seen, seen.bound_j(self.watts))
        # What they may have missed is little beside what they had to count.
        assert seen.bound_j(self.watts) < max(0.5 * seen.joules, 0.5 * self.watts)


@pytest.fixture
def observer(machine, fake_nvml_library, monkeypatch):
    """Boards of 100 and 180 W on the machine, one for each rank, and an observer of all counters."""
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("a real NVIDIA driver is loaded here")
    watts = (100.0, 180.0)
    for name, value in boards(watts, fake_nvml_library).items():
        monkeypatch.setenv(name, value)
    with observing(machine / "sys", fake_nvml_library) as port:
        monkeypatch.setenv("OBSERVER", str(port))
        yield Observed(port, sum(watts) + sum(WATTS.values()))


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
