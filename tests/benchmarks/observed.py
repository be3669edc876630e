"""Many real ranks of every framework, and an observer who reads the very same counters around them."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.sheet import QUICK, Sheet
from distributed.observer import Seen, ask, boards, observing
from fitprint.testing import build_fake_driver
from powered import WATTS, powered

SCRIPTS = Path(__file__).parents[1] / "distributed"
FRAMEWORKS = {"Lightning": "lightning_ddp.py", "Hugging Face": "trainer_hf.py", "Keras on torch": "keras_ddp.py"}
SIZES = (2,) if QUICK else (4, 8)
WITHIN_S = 500
COUNTED = ("framework", "ranks", "observer J", "sum of ranks J", "difference J", "bound J", "skew ms", "tick ms", "within")
STOPPED = ("framework", "ranks", "limit J", "used J", "beyond J", "one check J", "batches of each rank", "kept")


@dataclass(frozen=True)
class Launch:
    """What came of one script on so many ranks.

    Attributes:
        framework: Whose.
        watts: All that the machine drew.
        limit_j: The budget that rank 1 had in its second run.
        ranks: What each rank has reported.
        seen: What the observer saw of both runs.
    """

    framework: str
    watts: float
    limit_j: float
    ranks: Sequence[Mapping[str, Any]]
    seen: Mapping[str, Seen]

    def counted(self, run: str) -> float:
        """What the sensors of all ranks have counted, each rank's record being the same."""
        records = [rank[run] for rank in self.ranks]
        if any(record["sensors"] != records[0]["sensors"] for record in records):
            return math.nan
        return math.fsum(joules for _, joules in records[0]["sensors"])


def sheets() -> list[Sheet]:
    """Whether the ranks count what the observer does, and whether all stop at the same batch."""
    counts, stops = [], []
    for launch in _launches():
        counts.append(_counted(launch))
        stops.append(_stopped(launch))
    count_note = (
        "The observer is a process of its own; it reads each counter before the first rank begins and after the last has ended. "
        "Bound: all watts x (start skew + stop skew + a tick at either end); the skew is what the observer measured between its "
        "readings and the ranks' word that they have begun and are about to end. Every rank has a board of its own; rank 0 reads "
        "processor and memory."
    )
    stop_note = (
        "Rank 1 alone has the budget, with check=1. Kept: every rank has stopped after the same batch with the same reason, and no "
        "more was used beyond the limit than one check (a batch, all watts x time of the run over its batches) and the bound above."
    )
    return [
        Sheet("Ranks beside an observer", COUNTED, counts, count_note, broken=any(row[-1] != "yes" for row in counts)),
        Sheet("A stop that one rank decides", STOPPED, stops, stop_note, broken=any(row[-1] != "yes" for row in stops)),
    ]


def _launches() -> Iterator[Launch]:
    with tempfile.TemporaryDirectory() as folder:
        library = build_fake_driver(Path(folder))
        if library is None:
            logging.getLogger("fitprint").error("the boards of the ranks need a C compiler")
            return
        for size in SIZES:
            for framework in FRAMEWORKS:
                where = Path(folder) / f"{FRAMEWORKS[framework]}-{size}"
                where.mkdir()
                yield _launched(framework, size, where, library)


def _launched(framework: str, size: int, folder: Path, library: Path) -> Launch:
    watts_of = [100.0 + 20.0 * rank for rank in range(size)]
    watts = sum(watts_of) + sum(WATTS.values())
    limit_j = watts * size
    driver = boards(watts_of, library)
    with powered({folder / "sys": WATTS}), observing(folder / "sys", library, driver) as port:
        command = [
            *(sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={size}", f"--master-port={_free_port()}"),
            *(str(SCRIPTS / FRAMEWORKS[framework]), f"{limit_j:g} J"),
        ]
        environ = {**os.environ, **driver, **_settings(folder), "OBSERVER": str(port)}
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=WITHIN_S)
        if done.returncode:
            raise RuntimeError(f"{framework} on {size} ranks has failed:\n{done.stderr[-3000:]}")
        seen = ask(port)
    ranks = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]
    return Launch(framework, watts, limit_j, ranks, seen)


def _settings(folder: Path) -> dict[str, str]:
    return {
        "OMP_NUM_THREADS": "1",
        "OUT": str(folder),
        "FITPRINT_SYS_ROOT": str(folder / "sys"),
        "FITPRINT_ATTRIBUTE": "all",
        "FITPRINT_REGION": "FR",
        "FITPRINT_LEDGER": str(folder / "fitprint.db"),
    }


def _counted(launch: Launch) -> tuple[str, ...]:
    seen, ranks_j = launch.seen["fit"], launch.counted("fit")
    figures = (seen.joules, ranks_j, seen.joules - ranks_j, seen.bound_j(launch.watts))
    times = (1000 * (seen.start_s + seen.stop_s), 1000 * seen.tick_s)
    within = "yes" if seen.agrees(ranks_j, launch.watts) else "NO"
    return (launch.framework, str(len(launch.ranks)), *(f"{f:,.1f}" for f in figures), *(f"{ms:,.0f}" for ms in times), within)


def _stopped(launch: Launch) -> tuple[str, ...]:
    seen, records = launch.seen["stop"], [rank["stop"] for rank in launch.ranks]
    used_j, batches = launch.counted("stop"), sorted({record["steps"] for record in records})
    beyond_j, check_j = max(0.0, used_j - launch.limit_j), seen.joules / batches[0]
    alike = len(batches) == 1 and all(record["stop_reason"] == records[0]["stop_reason"] for record in records)
    stopped = alike and records[0]["status"] == "stopped" and seen.agrees(used_j, launch.watts)
    kept = "yes" if stopped and beyond_j <= check_j + seen.bound_j(launch.watts) else "NO"
    figures = (launch.limit_j, used_j, beyond_j, check_j)
    return (launch.framework, str(len(records)), *(f"{f:,.1f}" for f in figures), ", ".join(map(str, batches)), kept)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
