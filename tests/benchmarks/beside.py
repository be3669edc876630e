"""What measuring costs beside the other tools: each alone on the machine, one after another, on the same boards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.peers import Process, environment, installed, python, version
from benchmarks.processes import process_s
from benchmarks.rig import loads
from benchmarks.sheet import QUICK, Sheet
from benchmarks.tools import IMPORTS

IMPORT_RUNS, START_RUNS, WINDOWS, WAITS_S = (3, 2, 10, 2.0) if QUICK else (9, 5, 20, 8.0)
MANY = 8
# What is measured of a tool: its key, how it is written, and what it is called.
COSTS: Mapping[str, tuple[str, str]] = {
    "import_ms": ("{:,.0f} ms", "import"),
    "start_ms": ("{:,.1f} ms", "start, to the first open window"),
    "window_us": ("{:,.0f} µs", "a window, 1 GPU: median"),
    "worst_us": ("{:,.0f} µs", "a window, 1 GPU: worst"),
    "many_us": ("{:,.0f} µs", f"a window, {MANY} GPUs: median"),
    "waiting_percent": ("{:.3g} % of a core", "CPU time while the program waits"),
    "window_bytes": ("{:,.0f} bytes", "memory that a window leaves"),
    "threads": ("{:.0f}", "threads in a window"),
    "processes": ("{:.0f}", "processes started"),
    "hosts": ("{:.0f}", "hosts asked for"),
}
COUNTS = ("threads", "processes", "hosts")


def import_ms(tool: str, env: Mapping[str, str]) -> float:
    """CPU time that the import adds to bare Python: the least of some runs of each."""
    least = {"pass": math.inf, IMPORTS[tool]: math.inf}
    for code in [*least] * IMPORT_RUNS:
        least[code] = min(least[code], process_s([python(tool), "-I", "-c", code], env))
    return (least[IMPORTS[tool]] - least["pass"]) * 1e3


def of_tool(tool: str, env: Mapping[str, str], folder: Path) -> dict[str, float]:
    """The least of some runs on one board, one that waits, and one on many boards.

    Raises:
        RuntimeError: If the tool fails.
    """

    def run(boards: int, **order: object) -> dict[str, float]:
        order = {"folder": str(folder), "windows": WINDOWS, **order}
        answer = Process.start(tool, {**env, "RIG_BOARDS": str(boards)}, order).last_answer()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    runs = [run(1) for _ in range(START_RUNS)]
    waiting, many = run(1, waits_s=WAITS_S), run(MANY)
    least = {key: min(each[key] for each in runs) for key in runs[0]}
    extra = {key: waiting[key] for key in ("waiting_percent", "window_bytes")}
    return {"import_ms": import_ms(tool, env), **least, **extra, "many_us": many["window_us"]}


def sheet(folder: Path, hook_us: Callable[[], float]) -> Sheet:
    """All of it as a table: a row for each cost, what fitprint takes, and what the others take in times of that.

    Args:
        folder: Where the boards have been built.
        hook_us: Measures a batch hook of fitprint's, which the others have none of.
    """
    env, found = environment(folder, next(loads(0.1)), 0.1), {}
    for tool in installed():
        try:
            found[tool] = of_tool(tool, env, folder)
        except RuntimeError as error:
            found[tool] = {"error": str(error)}
    names = [tool if "(" in tool else f"{tool} {version(tool)}" for tool in found]
    rows = [[name, *_cells(key, form, found)] for key, (form, name) in COSTS.items()]
    rows.append(["a batch hook at which nothing is due", f"{hook_us():.3g} µs", *["none"] * (len(found) - 1)])
    note = (
        "In brackets: times fitprint's. The least of several runs. A window: begin and end of an epoch, after the program has "
        "waited for 0.12 s, which leaves caches cold; the record of the window included. Processes, hosts: from construction "
        "on; the network is refused at once, so no time here is spent waiting for it. CPU time: of the process and of those "
        "that it has started. fitprint: region given, ledger on. zeus: execution not synchronised. codecarbon: "
        "OfflineEmissionsTracker with the country, tasks; online: EmissionsTracker. carbontracker: GPU only."
    )
    return Sheet("What a tool costs, side by side", ["cost", *names], rows, note)


def _cells(key: str, form: str, found: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    ours = found["fitprint"].get(key, math.nan)
    for tool, costs in found.items():
        if key not in costs:
            yield str(costs.get("error", "-"))
            continue
        ratio = "" if tool == "fitprint" or key in COUNTS or ours <= 0 else f" ({costs[key] / ours:,.2g} x)"
        yield form.format(costs[key]) + ratio
