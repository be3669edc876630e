"""What the scripts of this folder have in common: an observer of the machine, and a report of each rank."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from observer import ask

from fitprint.sinks import Sink

ZONES = ("intel-rapl:0", "intel-rapl:0:0")


def counted_j() -> float:
    """What the machine's own counters show now."""
    folder = Path(os.environ["FITPRINT_SYS_ROOT"]) / "class" / "powercap"
    return sum(int((folder / zone / "energy_uj").read_text()) for zone in ZONES) / 1e6


def mark(run: str, place: str) -> None:
    """Tell the observer where this rank is, and go on when it has read the counters."""
    ask(int(os.environ["OBSERVER"]), run, place, int(os.environ["RANK"]))


class Marks:
    """Where a rank has been, and what the machine's counters showed there; they survive a kill."""

    def __init__(self, launch: str) -> None:
        self._path = Path(os.environ["OUT"], f"{launch}-{os.environ['LOCAL_RANK']}.json")
        self._marks: dict[str, object] = {}

    def mark(self, where: str) -> None:
        self.write(where, {"cpu_j": counted_j(), "s": time.monotonic()})

    def write(self, name: str, value: object) -> None:
        self._marks[name] = value
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._marks))
        new.replace(self._path)


def observed(run: str, carbon, base: type, begin: str, end: str) -> list:
    """The callback between two others of its framework: the one tells of what comes, the other of what has been."""

    def telling(first: str, last: str):
        hooks = {begin: lambda *_, **__: mark(run, first), end: lambda *_, **__: mark(run, last)}
        return type("Telling", (base,), hooks)()

    return [telling("begin", "ending"), carbon, telling("begun", "ended")]


def own_board() -> None:
    """As launchers do that give each rank a board of its own."""
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["LOCAL_RANK"]


def record(footprint) -> dict:
    """What a test wants to see of a record."""
    return {
        **{name: getattr(footprint, name) for name in ("run_id", "status", "energy_j", "co2e_g", "outside_epochs_j")},
        "stop_reason": footprint.stop_reason,
        "epochs": [[epoch.energy_j, epoch.co2e_g, epoch.complete] for epoch in footprint.epochs],
        "phases": dict(footprint.phases),
        "sensors": [[row["id"], row["energy_j"]] for row in footprint.sensors],
        "coverage": footprint.coverage,
    }


class Keeping(Sink):
    """Keeps what this rank tells: the energy of each epoch in Wh, and the last totals."""

    def __init__(self) -> None:
        self.begun, self.epochs_wh, self.totals, self.run_ids = 0, {}, {}, []

    def begin(self, before) -> None:
        self.begun += 1

    def log(self, scalars, step) -> None:
        if "carbon/epoch_energy_wh" in scalars:
            self.epochs_wh[step] = scalars["carbon/epoch_energy_wh"]
        self.totals = {name: scalars[f"carbon/total_{name}"] for name in ("energy_wh", "co2e_g")}

    def run(self, footprint) -> None:
        self.run_ids.append(footprint.run_id)


def report(name: object, values: dict) -> None:
    """Write this rank's file for the test."""
    (Path(os.environ["OUT"]) / f"{name}.json").write_text(json.dumps(values))
