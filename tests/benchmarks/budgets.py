"""Do budgets hold, and how much of them is used? Do forecasts contain the truth? Many simulated runs through the real Tracker."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.runs import BATCHES, CHECKPOINT, EPOCH_S, VALIDATION, WATTS, Course, Shape, Simulation
from benchmarks.sheet import QUICK, Sheet
from fitprint import Budget

BUDGETS = (1, 2, 3, 5, 10, 20, 50)
CHECKS: tuple[int | str, ...] = (1, "epoch")
RUNS = int(os.environ.get("BENCH_RUNS") or (20 if QUICK else 10_000))
FORECAST_RUNS = 20 if QUICK else 300
EPOCHS, AFTER = 50, (1, 3, 5, 10, 25, 45)
USUAL_J = WATTS * EPOCH_S * (1 + VALIDATION + CHECKPOINT)
CLOSING_J = WATTS * EPOCH_S * (VALIDATION + CHECKPOINT)


@dataclass(frozen=True)
class Held:
    """What became of a budget in one run.

    Attributes:
        used: Share of it.
        overrun_j: Joules beyond it.
        allowed_j: One check interval and the closing work.
    """

    used: float
    overrun_j: float
    allowed_j: float


def held(draw: random.Random, epochs: int, check: int | str) -> Held:
    """One run on a budget of so many usual epochs."""
    limit_j = epochs * USUAL_J
    budget = Budget(f"{limit_j} J", check=check, warn_at=1.0)  # type: ignore[arg-type]
    run = Simulation(Course(draw, epochs=2 * epochs + 10), budget)
    for _ in run.epochs():
        pass
    used_j = run.tracker.footprint.energy_j or math.nan
    interval_j = WATTS * run.dearest_s / BATCHES
    return Held(used_j / limit_j, max(0.0, used_j - limit_j), interval_j + CLOSING_J)


def promised(epochs: int, check: int | str) -> float:
    """The mean use that is promised."""
    if check == "epoch":
        return 1 - 1.2 / epochs
    return 0.9 if epochs >= 3 else 0.0


def budgets(runs: int = RUNS) -> Iterator[tuple[int, int | str, list[Held]]]:
    """All budgets under both checks: the runs are shared out evenly."""
    cells = [(epochs, check) for check in CHECKS for epochs in BUDGETS]
    for number, (epochs, check) in enumerate(cells):
        draw = random.Random(number)
        count = runs // len(cells) + (number < runs % len(cells))
        yield epochs, check, [held(draw, epochs, check) for _ in range(count)]


def _row(epochs: int, check: int | str, runs: Sequence[Held]) -> list[str]:
    mean, promise = sum(run.used for run in runs) / len(runs), promised(epochs, check)
    worst = max(run.overrun_j / USUAL_J for run in runs)
    beyond = sum(run.overrun_j > run.allowed_j for run in runs)
    least = min(run.used for run in runs)
    held_ = "yes" if beyond == 0 and mean > promise else "no"
    name = f"{epochs}, check={check!r}"
    cells = [f"{100 * mean:.1f} %", f"> {100 * max(0.0, promise):.1f} %", f"{100 * least:.1f} %"]
    return [name, str(len(runs)), *cells, f"{100 * worst:.2f} %", str(beyond), held_]


COLUMNS = (
    "budget in epochs",
    "runs",
    "mean use",
    "promised",
    "least use",
    "worst overrun, of an epoch",
    "beyond its bound",
    "holds",
)


class Throttled:
    """From some epoch on a tenth cheaper or some 15 % dearer."""

    def __init__(self, draw: random.Random, epochs: int) -> None:
        self.since, self.change = draw.uniform(0, epochs), draw.choice((-0.1, 0.12, 0.15))

    def __call__(self, draw: random.Random, index: int, epochs: int) -> float:
        return 1.0 + (self.change if index >= self.since else 0.0)


class Wandering:
    """Each epoch's level is that of the last, 2 % up or down."""

    def __init__(self, draw: random.Random, epochs: int) -> None:
        self.level = 1.0

    def __call__(self, draw: random.Random, index: int, epochs: int) -> float:
        self.level *= draw.lognormvariate(0.0, 0.02)
        return self.level


def course(pattern: str, draw: random.Random, epochs: int = EPOCHS) -> Course:
    """A run of one pattern of drift."""
    shapes: dict[str, Shape] = {
        "warm-up over three epochs": lambda _, index, __: 1 + 0.3 * 0.4**index,
        "sequences grow by half": lambda _, index, n: 1 + 0.5 * index / (n - 1),
        "falls by a third": lambda _, index, n: 1 - 0.3 * index / (n - 1),
        "throttled": Throttled(draw, epochs),
        "wanders": Wandering(draw, epochs),
    }
    if pattern in shapes:
        return Course(draw, epochs, shapes[pattern], first=1.0 if pattern.startswith("warm") else 1.3)
    return Course(draw, epochs, validate_every=5 if pattern.startswith("validates") else 1)


PATTERNS = (
    "steady",
    "warm-up over three epochs",
    "sequences grow by half",
    "falls by a third",
    "throttled",
    "wanders",
    "validates every 5 epochs",
)


@dataclass(frozen=True)
class Foretold:
    """One forecast and the truth.

    Attributes:
        contained: The 95 % interval held the truth.
        width: Its half-width over the truth.
        error: The mean's distance from the truth, over the truth.
    """

    contained: bool
    width: float
    error: float


def foretold(pattern: str, runs: int, epochs: int = EPOCHS, after: Sequence[int] = AFTER) -> dict[int, list[Foretold]]:
    """Forecasts of many runs after so many epochs each."""
    draw, found = random.Random(pattern), {count: list[Foretold]() for count in after}
    for _ in range(runs):
        run, said = Simulation(course(pattern, draw, epochs)), {}
        for count in run.epochs():
            if count in found:
                said[count] = run.tracker.forecast
        truth_g = run.tracker.footprint.co2e_g or math.nan
        for count, range_ in said.items():
            if range_ is not None:
                width, error = (range_.high - range_.low) / 2 / truth_g, abs(range_.mean / truth_g - 1)
                found[count].append(Foretold(range_.low <= truth_g <= range_.high, width, error))
    return found


def share(forecasts: Sequence[Foretold]) -> float:
    """How many intervals held the truth."""
    return sum(forecast.contained for forecast in forecasts) / len(forecasts)


def _cell(forecasts: Sequence[Foretold]) -> str:
    width = sum(forecast.width for forecast in forecasts) / len(forecasts)
    return f"{100 * share(forecasts):.0f} % (±{100 * width:.1f} %)"


def sheets() -> Iterator[Sheet]:
    rows = [_row(epochs, check, runs) for epochs, check, runs in budgets()]
    note = (
        "Epochs differ by 5 % (log-normal), the first is 30 % dearer, 2 % of all are 1.8 times dearer; 100 batches an epoch, so "
        "check=1 is 1 % of one; validation and checkpoint are 10 % of one. An overrun is bounded by one check interval "
        "and the closing work."
    )
    yield Sheet(f"{RUNS:,} runs on a budget", COLUMNS, rows, note)
    found = {pattern: foretold(pattern, FORECAST_RUNS) for pattern in PATTERNS}
    rows = [[pattern, *(_cell(found[pattern][count]) for count in AFTER)] for pattern in PATTERNS]
    columns = ("drift", *(f"after {count}" for count in AFTER))
    note = (
        f"{FORECAST_RUNS:,} runs of {EPOCHS} epochs each with the same noise: how often the 95 % interval of the run's total "
        "held the truth, and its mean half-width in % of the truth. At least 90 % from epoch 3 on are promised."
    )
    yield Sheet("Forecasts of the whole run", columns, rows, note)
