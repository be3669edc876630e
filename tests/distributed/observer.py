"""Somebody outside of the ranks who reads the very same counters before the first begins and after the last has ended.

The ranks tell it where they are and go on when it has answered: ``begin`` and ``begun`` around the beginning of a run,
``ending`` and ``ended`` around its end. The time that lies between, by the observer's clock, is the skew within which the
ranks may have taken their readings.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

KEY, LOCALHOST = b"counters", "127.0.0.1"
# How often processors' counters are looked at, to know how long they stand still.
LOOK_S = 0.005
# How often boards' counters go on.
BOARD_TICK_S = 0.01


@dataclass(frozen=True)
class Seen:
    """What the observer saw of one run.

    Attributes:
        joules: From before its first rank began to after its last rank had ended.
        start_s: From the first reading until all ranks had begun.
        stop_s: From the first rank's ending to the last reading.
        tick_s: The longest time that a counter stood still.
    """

    joules: float
    start_s: float
    stop_s: float
    tick_s: float

    def bound_j(self, watts: float) -> float:
        """What the ranks together may have missed at such a power: the skew and a tick at either end."""
        return watts * (self.start_s + self.stop_s + 2 * self.tick_s)

    def agrees(self, energy_j: float, watts: float) -> bool:
        """Whether the ranks counted what the observer did; never more, for their windows lie inside its own."""
        return -0.01 <= self.joules - energy_j <= self.bound_j(watts)


def boards(watts: Sequence[float], library: Path) -> dict[str, str]:
    """Variables for the observer and the ranks: boards whose counters are the same in every process, by the machine's clock."""
    return {
        "FAKE_NVML_WATTS": ",".join(f"{power:g}" for power in watts),
        "FAKE_NVML_PERIOD_MS": f"{1000 * BOARD_TICK_S:g}",
        "LD_LIBRARY_PATH": str(library.parent),
        "FITPRINT_PARTS": "gpu,cpu,dram",
    }


@contextmanager
def observing(sys_root: Path, library: Path | None = None, environ: Mapping[str, str] | None = None) -> Iterator[int]:
    """An observer as a process of its own; what it listens on is for the ranks' variable OBSERVER.

    Args:
        sys_root: Where the processors' counters are.
        library: The driver of the boards.
        environ: What ``boards`` returned; this process's own variables by default.
    """
    command = [sys.executable, __file__, str(sys_root), *([str(library)] if library else [])]
    with subprocess.Popen(command, env={**os.environ, **(environ or {})}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def ask(port: int, *words: object) -> dict[str, Seen]:
    """Tell the observer ``run, place, rank``, and wait for its answer; without words, what it has seen of each run."""
    with Client((LOCALHOST, port), authkey=KEY) as connection:
        connection.send(words)
        return {run: Seen(*values) for run, values in connection.recv().items()}


# ---- the observer's own process


@dataclass
class Watched:
    """One run as it is seen: readings and where the ranks were, in seconds of the monotonic clock."""

    first_s: float = 0.0
    first_j: float = 0.0
    last_s: float = 0.0
    last_j: float = 0.0
    begun: list[float] = field(default_factory=list)
    ending: list[float] = field(default_factory=list)


class Counters:
    """Processors by their files, boards by their driver."""

    def __init__(self, sys_root: Path, library: Path | None) -> None:
        self.files = sorted(sys_root.glob("class/powercap/*/energy_uj"))
        self._library = ctypes.CDLL(str(library)) if library else None
        self._boards: list[ctypes.c_void_p] = []
        if self._library is not None:
            self._library.nvmlInit_v2()
            for number in range(len(os.environ["FAKE_NVML_WATTS"].split(","))):
                board = ctypes.c_void_p()
                self._library.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(board))
                self._boards.append(board)

    def joules(self) -> float:
        return sum(int(file.read_text()) for file in self.files) / 1e6 + sum(map(self._board_j, self._boards))

    def _board_j(self, board: ctypes.c_void_p) -> float:
        assert self._library is not None
        millijoules = ctypes.c_ulonglong()
        self._library.nvmlDeviceGetTotalEnergyConsumption(board, ctypes.byref(millijoules))
        return millijoules.value / 1000


class Observer:
    """Reads counters when ranks say where they are."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.runs: dict[str, Watched] = {}
        self.tick_s = float(os.environ.get("FAKE_NVML_PERIOD_MS", "0")) / 1000
        self._lock = threading.Lock()

    def look(self) -> None:
        """See how long the processors' counters stand still; from the last look at one value to the first at the next but one."""
        text, changed_s, looked_s = self.counters.files[0].read_text(), time.monotonic(), time.monotonic()
        while True:
            time.sleep(LOOK_S)
            now_s, now = time.monotonic(), self.counters.files[0].read_text()
            if now != text:
                self.tick_s = max(self.tick_s, time.monotonic() - changed_s)
                text, changed_s = now, looked_s
            looked_s = now_s

    def answer(self, connection: Connection) -> None:
        with connection:
            words = connection.recv()
            if words:
                self.hear(*words)
            connection.send({} if words else self.seen())

    def hear(self, run: str, place: str, rank: int) -> None:
        now_s = time.monotonic()
        with self._lock:
            if run not in self.runs:
                self.runs[run] = Watched(first_s=now_s, first_j=self.counters.joules())
            watched = self.runs[run]
            if place == "begun":
                watched.begun.append(now_s)
            elif place == "ending":
                watched.ending.append(now_s)
            elif place == "ended":
                watched.last_j, watched.last_s = self.counters.joules(), time.monotonic()

    def seen(self) -> dict[str, tuple[float, ...]]:
        """The fields of a Seen for each run."""
        return {
            name: (run.last_j - run.first_j, max(run.begun) - run.first_s, run.last_s - min(run.ending), self.tick_s)
            for name, run in self.runs.items()
        }


def main(sys_root: str, library: str = "") -> None:
    observer = Observer(Counters(Path(sys_root), Path(library) if library else None))
    with Listener((LOCALHOST, 0), authkey=KEY, backlog=64) as listener:
        sys.stdout.write(f"{listener.address[1]}\n")
        sys.stdout.flush()
        if observer.counters.files:
            threading.Thread(target=observer.look, daemon=True).start()
        while True:
            threading.Thread(target=observer.answer, args=(listener.accept(),), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
