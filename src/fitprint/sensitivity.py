"""How much each hyperparameter mattered, and what it cost to find out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from fitprint.configurations import flat, scored
from fitprint.footprint import Footprint
from fitprint.metrics import Mode
from fitprint.noise import scatter
from fitprint.units import significant

# A number with more values than these is shown in so many stretches of it.
MOST_VALUES, STRETCHES = 6, 4

_Scored = tuple[Footprint, float]


@dataclass(frozen=True, slots=True)
class Setting:
    """The runs with one value of a hyperparameter.

    Attributes:
        value: The value, or a stretch of values.
        n: Runs with it that reached a score.
        score: Mean of their best values of the metric.
        score_sd: Standard deviation of these; None for a single run.
        co2e_g: Grams of these runs together.
    """

    value: str
    n: int
    score: float
    score_sd: float | None
    co2e_g: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How much a hyperparameter mattered.

    Attributes:
        name: The hyperparameter.
        spread: Difference of the best and the worst mean among its settings.
        beyond_chance: Whether that is more than runs with one setting differ; None where each setting has one run.
        co2e_g: Grams of all runs that tried it.
        settings: Its settings.
    """

    name: str
    spread: float
    beyond_chance: bool | None
    co2e_g: float
    settings: tuple[Setting, ...]


def sensitivities(runs: Sequence[Footprint], metric: str, mode: Mode) -> tuple[Sensitivity, ...]:
    """The hyperparameters that were varied, those that mattered most first.

    Args:
        runs: Runs with hyperparameters.
        metric: Judges them.
        mode: Which way is better.
    """
    comparable, _ = scored(runs, metric, mode)
    names = dict.fromkeys(name for run, _ in comparable for name in flat(run.hparams))
    found = [_sensitivity(name, [pair for pair in comparable if name in flat(pair[0].hparams)]) for name in names]
    return tuple(sorted((row for row in found if row is not None), key=lambda row: -row.spread))


def _sensitivity(name: str, runs: Sequence[_Scored]) -> Sensitivity | None:
    """None where all runs have the same value."""
    valued = sorted(((flat(run.hparams)[name], run, score) for run, score in runs), key=lambda row: _order(row[0]))
    place = _placing([value for value, _, _ in valued])
    groups: dict[str, list[_Scored]] = {}
    for value, run, score in valued:
        groups.setdefault(place(value), []).append((run, score))
    if len(groups) < 2:
        return None
    settings = tuple(_setting(value, group) for value, group in groups.items())
    best, worst = max(settings, key=lambda s: s.score), min(settings, key=lambda s: s.score)
    spread = scatter([[score for _, score in group] for group in groups.values()])
    looks = len(list(combinations(settings, 2)))
    beyond = best.score - worst.score > spread.least_difference(best.n, worst.n, looks=looks) if spread else None
    return Sensitivity(name, best.score - worst.score, beyond, math.fsum(s.co2e_g for s in settings), settings)


def _setting(value: str, group: Sequence[_Scored]) -> Setting:
    scores = [score for _, score in group]
    deviation = statistics.stdev(scores) if len(scores) > 1 else None
    return Setting(value, len(group), statistics.fmean(scores), deviation, math.fsum(run.co2e_g or 0.0 for run, _ in group))


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, then all else by name."""
    return (False, float(value), "") if isinstance(value, int | float) else (True, 0.0, str(value))


def _placing(values: Sequence[Any]) -> Callable[[Any], str]:
    """Under which setting a value stands: itself, or its stretch where a number has many values."""
    numbers = sorted({value for value in values if isinstance(value, int | float) and not isinstance(value, bool)})
    if len(numbers) <= MOST_VALUES:
        return str
    size = math.ceil(len(numbers) / STRETCHES)
    stretches = [numbers[i : i + size] for i in range(0, len(numbers), size)]
    names = {v: f"{significant(s[0])} to {significant(s[-1])}" if len(s) > 1 else significant(s[0]) for s in stretches for v in s}
    return lambda value: names.get(value, str(value)) if isinstance(value, int | float) else str(value)
