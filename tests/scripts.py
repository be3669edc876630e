"""Runs whose energy is scripted, and what every framework has to make of them: the same epochs, the same stop.

A training batch lasts a second and a validation batch half of one; an epoch has four of the first and two of the second.
No stop falls into the first epoch: there Lightning knows how long the validation will be, and Keras does not tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from fitprint import Budget, Tracker
from fitprint.footprint import Footprint
from fitprint.sensors.probe import Surroundings
from fitprint.series import Series
from fitprint.testing import FakeClock, ScriptedCounter

BATCH_S, VALIDATION_BATCH_S = 1.0, 0.5
BATCHES, VALIDATION_BATCHES = 4, 2
PLANNED = 20


@dataclass(frozen=True)
class Script:
    """One run.

    Attributes:
        what: What happens in it.
        budget: Its budget.
        epochs: What its epochs have used in joules in the end, and whether they are complete.
        where: Where the stop is decided, or None if the run is completed.
        watts: Power in each epoch; the last goes on.
        planned: Epochs that are planned.
    """

    what: str
    budget: list[Budget]
    epochs: list[tuple[float, bool]]
    where: str | None
    watts: tuple[float, ...] = (100.0,)
    planned: int = PLANNED


FULL = (500.0, True)
SCRIPTS = [
    # 500 J each: 300 J are left after two, and a third may need 550 J.
    Script("the next epoch does not fit", [Budget("1300 J")], [FULL] * 2, "before epoch 2"),
    Script("the last planned epoch fits", [Budget("1700 J")], [FULL] * 3, None, planned=3),
    # 600 J are left for the fourth, which draws twice the power: two batches of 200 J and the validation's 200 J.
    Script("an epoch turns out dearer", [Budget("2100 J")], [FULL] * 3 + [(600.0, False)], "inside epoch 3", (100, 100, 100, 200)),
    # 400 J for the third: two batches, 110 J for the validation, 10 J for ending. A third batch would leave too little.
    Script("by batches to the last that fits", [Budget("1400 J", check=1)], [FULL] * 2 + [(300.0, False)], "inside epoch 2"),
    Script("the tighter of two budgets stops", [Budget("1 kg"), Budget("1300 J")], [FULL] * 2, "before epoch 2"),
    Script("a minimum of epochs comes first", [Budget("600 J", min_epochs=3)], [FULL] * 3, "before epoch 3"),
    Script("a warning stops nothing", [Budget("600 J", on_exceed="warn")], [FULL] * 4, None, planned=4),
]


def name(script: Script) -> str:
    return script.what


def read_by(callback: Any, clock: FakeClock) -> ScriptedCounter:
    """Lets a callback read one scripted GPU, whose power the script sets."""
    gpu = ScriptedCounter(clock, watts=100.0)
    around = Surroundings(clock=clock, environ={})
    callback.series = Series(callback.series.config, partial(Tracker, counters=[gpu], around=around))
    return gpu


def watts_of(script: Script, epoch: int) -> float:
    return script.watts[min(epoch, len(script.watts) - 1)]


def outcome(footprint: Footprint) -> tuple[list[tuple[float, bool]], str | None, str]:
    """What has to be the same: epochs, where the stop was decided, the status."""
    reason = footprint.stop_reason
    where = reason["sentence"].removeprefix("Stopped ").partition(":")[0] if reason else None
    return [(round(epoch.energy_j or 0.0, 6), epoch.complete) for epoch in footprint.epochs], where, footprint.status


def expected(script: Script) -> tuple[list[tuple[float, bool]], str | None, str]:
    return script.epochs, script.where, "completed" if script.where is None else "stopped"
