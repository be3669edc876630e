"""A machine whose power is known, and real processes that train on it together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

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
def torchrun(alone, free_port):
    """Runs a script on two ranks, as ``torchrun`` does; each writes a JSON file named after its rank."""

    def launch(script: str, *args: str, ranks: int = 2, timeout: float = 100.0) -> Launched:
        options = ("-m", "torch.distributed.run", f"--nproc-per-node={ranks}", f"--master-port={free_port}")
        return alone(script, *args, timeout=timeout, launcher=options)

    return launch


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
