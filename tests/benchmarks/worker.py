"""One tool, in a process and an environment of its own: told what to do on stdin, answers in JSON lines on stdout.

Imports nothing but the standard library and the tool. The network is refused at once and what asked for it is
counted, so that no time here is spent waiting for it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
import tracemalloc

from tools import IMPORTS, TOOLS

SHORTEST_S = 0.12  # longer than a tick: no tool is asked for a window in which nothing happened
MEMORY_WINDOWS = 50


class Watch:
    """Counts the processes that are started and the hosts that are asked for, and refuses the network."""

    def __init__(self) -> None:
        self.processes: list[str] = []
        self.hosts: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, details: tuple) -> None:
        if event in ("subprocess.Popen", "os.posix_spawn", "os.system"):
            self.processes.append(str(details[0]))
        elif event == "os.fork":
            self.processes.append("fork")
        elif event == "socket.getaddrinfo":
            self._refuse(str(details[0]))
        elif event == "socket.connect" and isinstance(details[1], tuple):
            self._refuse(str(details[1][0]))

    def _refuse(self, host: str) -> None:
        self.hosts.append(host)
        raise OSError("no network in a benchmark")


def cost(tool: type, order: dict) -> dict[str, object]:
    """What one run of the tool costs, from its construction (imports done before) to its end."""
    watch, before, windows = Watch(), {thread.ident for thread in threading.enumerate()}, order["windows"]
    exec(IMPORTS[sys.argv[1]])
    watch.processes.clear()
    began = time.perf_counter()
    it = tool(windows + MEMORY_WINDOWS + 1)
    it.begin(0)
    start_s = time.perf_counter() - began
    threads = [thread.name for thread in threading.enumerate() if thread.ident not in before]
    time.sleep(SHORTEST_S)
    it.end(0)
    processes = len(watch.processes)
    times = [window(it, index) for index in range(1, windows)]
    found = waited(it, windows, order["waits_s"]) if "waits_s" in order else {}
    it.close()
    return {
        "start_ms": start_s * 1e3,
        "window_us": statistics.median(times) * 1e6,
        "worst_us": max(times) * 1e6,
        "threads": len(threads),
        "processes": processes,
        "hosts": len(watch.hosts),
        **found,
    }


def waited(it, first: int, waits_s: float) -> dict[str, float]:
    """CPU time while a window is open in which the program waits, in % of a core; bytes that a window leaves behind."""
    it.begin(first)
    began, cpu = time.perf_counter(), cpu_s()
    time.sleep(waits_s)
    share = (cpu_s() - cpu) / (time.perf_counter() - began)
    it.end(first)
    tracemalloc.start()
    for index in range(first + 1, first + 1 + MEMORY_WINDOWS):
        window(it, index)
    gc.collect()
    return {"waiting_percent": 100 * share, "window_bytes": tracemalloc.get_traced_memory()[0] / MEMORY_WINDOWS}


def cpu_s() -> float:
    """CPU time of this process and of those that it has started."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def window(it, index: int) -> float:
    """Time that opening and closing one window takes."""
    began = time.perf_counter()
    it.begin(index)
    middle = time.perf_counter()
    time.sleep(SHORTEST_S)
    end = time.perf_counter()
    it.end(index)
    return time.perf_counter() - end + middle - began


def epochs(tool: type, lengths_s: list[float], say) -> dict[str, object]:
    """Measure epochs of these lengths, and the board's truth over the same time."""
    Watch()
    board = ctypes.CDLL("libnvidia-ml.so.1")
    board.rig_joules.restype = ctypes.c_double
    it = tool(len(lengths_s))
    say({"ready": True})
    sys.stdin.readline()
    truth = []
    for index, seconds in enumerate(lengths_s):
        it.begin(index)
        before = board.rig_joules()
        time.sleep(seconds)
        after = board.rig_joules()
        it.end(index)
        truth.append(after - before)
    measured = it.joules()[: len(truth)]
    it.close()
    return {"truth": truth, "measured": measured}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the tool prints is not an answer

    def say(answer: dict[str, object]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    order = json.loads(sys.stdin.readline())
    os.chdir(tempfile.mkdtemp(dir=order["folder"]))
    try:
        tool = TOOLS[sys.argv[1]]
        say(cost(tool, order) if "windows" in order else epochs(tool, order["lengths_s"], say))
    except Exception as error:  # the table says what became of the tool
        say({"error": f"{type(error).__name__}: {error}".splitlines()[0]})


if __name__ == "__main__":
    main()
