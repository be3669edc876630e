"""fitprint beside the other tools that measure training from Python, on one board whose truth is known."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from benchmarks.rig import HERE, Load, build, loads
from benchmarks.sheet import QUICK, Sheet
from benchmarks.theory import SPREAD_S, limit
from benchmarks.tools import TOOLS

PEERS = HERE.parent.parent / ".venv" / "peers"
TICKS_S = (0.02, 0.1)
EPOCHS = {0.3: 10, 1.0: 6, 3.0: 2} if QUICK else {0.3: 40, 1.0: 24, 3.0: 14, 10.0: 8}
# What would change what a tool does or how fast it starts; PYTHONPATH is where these benchmarks lie.
SETTINGS = ("FITPRINT_", "CODECARBON_", "CUDA_", "SLURM_", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")


def python(tool: str) -> str:
    """The interpreter of the environment that has the tool."""
    return sys.executable if tool == "fitprint" else str(PEERS / tool.split()[0] / "bin" / "python")


def version(tool: str) -> str:
    if tool == "fitprint":
        return metadata.version("fitprint")
    code = f"from importlib.metadata import version; print(version({tool.split()[0]!r}))"
    return subprocess.run([python(tool), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def environment(folder: Path, load: Load, tick_s: float) -> Mapping[str, str]:
    """The board, its ``nvidia-smi``, and a machine on which nobody has set anything for any tool."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(SETTINGS)}
    path = f"{folder}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, "LD_LIBRARY_PATH": str(folder), "PATH": path, **load.environment(tick_s)}


@dataclass
class Process:
    """A tool at work."""

    tool: str
    popen: subprocess.Popen = field(repr=False)

    @classmethod
    def start(cls, tool: str, env: Mapping[str, str], order: Mapping[str, object]) -> Process:
        command = [python(tool), str(HERE / "worker.py"), tool]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        popen = subprocess.Popen(command, env=env, text=True, **pipes)
        it = cls(tool, popen)
        it.tell(json.dumps(order))
        return it

    def tell(self, line: str) -> None:
        try:
            self.popen.stdin.write(line + "\n")
            self.popen.stdin.flush()
        except BrokenPipeError:  # it is gone; its answer says so
            return

    def answer(self) -> dict:
        line = self.popen.stdout.readline()
        return json.loads(line) if line else {"error": f"the process ended with {self.popen.wait()}"}

    def last_answer(self) -> dict:
        """Its answer, after which it ends."""
        answer = self.answer()
        self.popen.wait()
        return answer


def installed() -> list[str]:
    return [tool for tool in TOOLS if Path(python(tool)).exists()]


def accuracy(folder: Path) -> Sheet:
    """All tools at the same time, in real time, on the same board."""
    draw = random.Random(1)
    lengths_s = [draw.uniform(d - SPREAD_S, d + SPREAD_S) for d, count in EPOCHS.items() for _ in range(count)]
    tools = [tool for tool in installed() if "(" not in tool]
    cases = [(load, tick_s) for tick_s in TICKS_S for load in loads(tick_s)]
    order = {"folder": str(folder), "lengths_s": lengths_s}
    running, answers = {}, {}
    # Not all imports at once, and boards of their own: fitprint divides one that runs share.
    for number, (load, tick_s) in enumerate(cases):
        env = {**environment(folder, load, tick_s), "RIG_MACHINE": str(number)}
        these = {(load, tick_s, tool): Process.start(tool, env, order) for tool in tools}
        answers |= {key: process.answer() for key, process in these.items()}
        running |= these
    ready = {key: process for key, process in running.items() if "ready" in answers[key]}
    for process in ready.values():
        process.tell("go")
    answers |= {key: process.last_answer() for key, process in ready.items()}
    rows = [row for load, tick_s in cases for row in _accuracy_rows(load, tick_s, [answers[load, tick_s, tool] for tool in tools])]
    columns = ["load", "tick", "epochs", "limit", *tools]
    note = (
        "rms (max) of measured minus true energy of an epoch, in % of the true one. limit: rms of an exact counter that is read "
        "once at each boundary. All tools at the same time, in real time; the board's power reading, which carbontracker samples, "
        "is free of error and a 1 s average as on an H100."
    )
    return Sheet("Error of one epoch's GPU energy, in real time", columns, rows, note)


def _accuracy_rows(load: Load, tick_s: float, answers: Sequence[Mapping]) -> Iterator[list[str]]:
    first = 0
    for epoch_s, count in EPOCHS.items():
        chosen = slice(first, first + count)
        first += count
        cells = [answer.get("error") or _errors(answer["truth"][chosen], answer["measured"][chosen]) for answer in answers]
        yield [load.name, f"{tick_s * 1e3:.0f} ms", f"{count} x {epoch_s:g} s", f"{limit(load, tick_s, epoch_s):.2f}", *cells]


def _errors(truth: Sequence[float], measured: Sequence[float]) -> str:
    errors = [100 * (found / true - 1) for true, found in zip(truth, measured, strict=True)]
    return f"{math.sqrt(math.fsum(e * e for e in errors) / len(errors)):.2f} ({max(map(abs, errors)):.1f})"


def sheets() -> Iterator[Sheet]:
    with tempfile.TemporaryDirectory() as name:
        folder = build(Path(name))
        if folder is None:
            yield Sheet("Beside other tools", ["nothing was measured"], [["the board needs a C compiler"]])
            return
        yield accuracy(folder)
