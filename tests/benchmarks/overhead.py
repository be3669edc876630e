"""Training time with against without the callback: interleaved in one process, paired, with what the noise could show.

A step of 1 ms computes for that much CPU time of its own: other programs on the machine lengthen it in wall time, and what
the caches hold in CPU time. One of 50 ms sleeps, as a training waits for its GPU: the system wakes it some 0.1 ms late, so that
the wall time wanders and the CPU time is nothing but framework and measuring. Runs alternate as A B C C B A, which takes out a
drift of the machine.
"""

from __future__ import annotations

import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from scipy.stats import t as student

from benchmarks.fits import EPOCHS, Step, Stopwatch, asleep, busy, keras, lightning, put_on_sensors, transformers
from benchmarks.sheet import QUICK, Sheet
from fitprint import Budget

EPOCH_S = 0.5
FOR_S = 8.0 if QUICK else 24.0  # of each framework and step
LEAST_BLOCKS = 3
EMPTY = "one that does nothing"
ARMS = ("without", EMPTY, "no budget", "budget")
Block = Mapping[str, Sequence[Stopwatch]]


@dataclass(frozen=True)
class Framework:
    """How to train with it, where its CarbonCallback is, and what all of its callbacks are."""

    run: Callable[[Step, int, Sequence[object]], Stopwatch]
    ours: str
    base: tuple[str, str]


FRAMEWORKS: Mapping[str, Framework] = {
    "Lightning": Framework(lightning, "fitprint_lightning", ("lightning.pytorch", "Callback")),
    "Keras": Framework(keras, "fitprint_keras", ("keras.callbacks", "Callback")),
    "Hugging Face": Framework(transformers, "fitprint_transformers", ("transformers", "TrainerCallback")),
}


@dataclass(frozen=True)
class Training:
    """Steps of one length, so many in an epoch, and the batches after which a budget is looked at."""

    name: str
    step: Step
    steps: int
    check: int


TRAININGS = (
    Training("1 ms", busy(1e-3), round(EPOCH_S / 1e-3), check=50),
    Training("50 ms", asleep(50e-3), round(EPOCH_S / 50e-3), check=5),
)


def callbacks(framework: Framework, arm: str, check: int, folder: Path) -> list[object]:
    """What the arm gives to the framework."""
    if arm == "without":
        return []
    if arm == EMPTY:
        module, name = framework.base
        return [getattr(import_module(module), name)()]
    budget = Budget("1000 kWh", check=check) if arm == "budget" else None
    made = import_module(framework.ours).CarbonCallback(region="FR", ledger=str(folder / "fitprint.db"), budget=budget)
    return [put_on_sensors(made, folder)]


def blocks(framework: str, training: Training, root: Path) -> list[Block]:
    """Trainings of all arms, forth and back, as often as the time allows; the first of each is not counted."""
    found: list[Block] = []

    def fit(arm: str) -> Stopwatch:
        folder = Path(tempfile.mkdtemp(dir=root))
        one = FRAMEWORKS[framework]
        return one.run(training.step, training.steps, callbacks(one, arm, training.check, folder))

    for arm in ARMS:
        fit(arm)
    until = time.monotonic() + FOR_S
    while time.monotonic() < until or len(found) < LEAST_BLOCKS:
        block: dict[str, list[Stopwatch]] = {arm: [] for arm in ARMS}
        for arm in (*ARMS, *reversed(ARMS)):
            block[arm].append(fit(arm))
        found.append(block)
    return found


def bound(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean, what it is below, and the half-width of its 95 % interval: the least that would be seen.

    Below: its upper end with 95 % confidence, but never less than would be seen, whichever way the noise has gone.
    """
    n = len(differences)
    error = statistics.stdev(differences) / math.sqrt(n)
    mean, seen = statistics.fmean(differences), student.ppf(0.975, n - 1) * error
    return mean, max(seen, mean + student.ppf(0.95, n - 1) * error), seen


def differences(found: Sequence[Block], arm: str, name: str) -> list[float]:
    """One for each block: the arm's mean minus that without a callback, in seconds."""
    means = [{each: statistics.fmean(getattr(w, name) for w in block[each]) for each in (arm, "without")} for block in found]
    return [mean[arm] - mean["without"] for mean in means]


def row(framework: str, training: Training, arm: str, found: Sequence[Block]) -> list[str]:
    plain = [watch for block in found for watch in block["without"]]
    training_s = statistics.fmean(watch.wall_s for watch in plain)
    alone_s = max(EPOCHS * EPOCH_S, statistics.fmean(watch.cpu_s for watch in plain))
    wall_s, cpu_s, whole_s = (differences(found, arm, name) for name in ("wall_s", "cpu_s", "whole_cpu_s"))
    shares = [_shares([d / whole for d in added]) for added, whole in ((wall_s, training_s), (cpu_s, alone_s))]
    epoch_ms, once_ms = statistics.fmean(cpu_s) / EPOCHS * 1e3, (statistics.fmean(whole_s) - statistics.fmean(cpu_s)) * 1e3
    cells = [
        f"{training_s:.2f} s",
        f"{alone_s:.2f} s",
        str(2 * len(found)),
        *shares[0],
        *shares[1],
        f"{epoch_ms:.2f} ms",
        f"{once_ms:.0f} ms",
    ]
    return [framework, training.name, arm, str(EPOCHS * training.steps), *cells]


def _shares(of_training: Sequence[float]) -> list[str]:
    mean, below, seen = (100 * figure for figure in bound(of_training))
    return [f"{mean:+.2f} %", f"< {below:.2f} %", f"{seen:.2f} %"]


def sheets() -> Iterator[Sheet]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for framework, training in itertools.product(FRAMEWORKS, TRAININGS):
            found = blocks(framework, training, Path(name))
            rows += [row(framework, training, arm, found) for arm in ARMS[1:]]
    columns = ["framework", "step", "callback", "steps", "training", "alone", "pairs"]
    columns += [
        "added: wall",
        "95 % bound",
        "could be seen",
        "added: CPU",
        "95 % bound",
        "could be seen",
        "CPU an epoch",
        "once a run",
    ]
    note = (
        f"Means of blocks of paired runs; {EPOCHS} epochs of {EPOCH_S} s, which is short: one of an hour has no more added at "
        "its end. Ledger on, values logged by the framework, one scripted GPU and two CPU zones; a budget is looked at every 50 "
        "steps of 1 ms and every 5 of 50 ms. Wall: from the end of the first step to the end of the last epoch, in % of the "
        "training without the callback, beside whatever else ran. CPU: of the whole process over the same time, keeper and "
        "clerk included, in % of what the training takes alone on a machine (its steps, or its own CPU time where that is "
        "more); a step of 1 ms computes, one of 50 ms sleeps. Bound: no more is added, with 95 % confidence. Could be seen: "
        "half of the 95 % interval's width; less would drown in this run's noise. Once a run: CPU time of start, first step, in "
        "which operations are counted, and end. One that does nothing: the framework's own callback class, whose hooks it calls "
        "all the same."
    )
    yield Sheet("Training time that the callback adds", columns, rows, note)
