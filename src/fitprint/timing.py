"""When to run a job: at once, at a cleaner time, or with pauses."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, pairwise
from typing import Any

from fitprint.carbon.hourly import HOUR_S, HourlySeries, span
from fitprint.clock import iso_utc
from fitprint.errors import ConfigError, refusal
from fitprint.units import format_share

# Differences below this share of the whole are rounding: the earlier time wins.
ROUNDING = 1e-9
# Limited pauses are searched case by case (time x time done x runs): this many take some two seconds.
MOST_CASES = 2_000_000

Stretch = tuple[float, float]
_State = tuple[float, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """When to run a job.

    Attributes:
        runs: Start and end of each stretch, in seconds since 1970.
        g_per_kwh: Mean intensity over these stretches.
    """

    runs: tuple[Stretch, ...]
    g_per_kwh: float


@dataclass(frozen=True, slots=True)
class When:
    """When to run a job, after Dodge et al. 2022, "Measuring the carbon intensity of AI in cloud instances".

    Attributes:
        now: Start at the beginning of the window.
        start: Flexible start: the best moment for all of it at once.
        pause: Pause and resume: the cleanest stretches; None where it was not asked for.
        window: Beginning and end of the window, in seconds since 1970.
        notes: What was done about gaps and units of the series.
    """

    now: Plan
    start: Plan
    pause: Plan | None
    window: Stretch
    notes: tuple[str, ...]

    def to_dict(self, energy_kwh: float | None = None) -> dict[str, Any]:
        """Plain types; grams are None where the job's energy is unknown."""
        rows = {"now": self.now, "flexible_start": self.start, "pause_and_resume": self.pause}
        return {
            "from": iso_utc(self.window[0]),
            "until": iso_utc(self.window[1]),
            "energy_kwh": energy_kwh,
            **{name: plan and self._row(plan, energy_kwh) for name, plan in rows.items()},
            "notes": list(self.notes),
        }

    def saved_share(self, plan: Plan) -> float:
        """What a plan saves, as a share of starting at once."""
        return 1 - plan.g_per_kwh / self.now.g_per_kwh if self.now.g_per_kwh else 0.0

    def _row(self, plan: Plan, energy_kwh: float | None) -> dict[str, Any]:
        saved_g_per_kwh = self.now.g_per_kwh - plan.g_per_kwh
        return {
            "start": iso_utc(plan.runs[0][0]),
            "end": iso_utc(plan.runs[-1][1]),
            "runs": [{"start": iso_utc(start_s), "end": iso_utc(end_s)} for start_s, end_s in plan.runs],
            "g_per_kwh": plan.g_per_kwh,
            "co2e_g": None if energy_kwh is None else energy_kwh * plan.g_per_kwh,
            "saved_g": None if energy_kwh is None else energy_kwh * saved_g_per_kwh,
            "saved_percent": 100 * self.saved_share(plan),
        }


def when(
    series: HourlySeries,
    hours: float,
    *,
    start: datetime | None = None,
    within_h: float | None = None,
    pause: bool = False,
    max_pauses: int | None = None,
    min_run_h: float = 0.0,
) -> When:
    """Find the cleanest time for a job of constant power.

    Both searches are exact: they look at every moment at which the best choice can change. Of equally
    clean times the earliest is taken, and a pause that saves nothing is not made. Pausing and resuming
    count as free, as in the paper; where they are limited, stretches begin and end on the steps of the series.

    Args:
        series: Intensities, past or forecast.
        hours: Length of the job.
        start: When it could begin; by default where the series begins.
        within_h: Hours after that by which it has to be done; by default until the series ends.
        pause: Also look for pauses.
        max_pauses: Largest number of pauses.
        min_run_h: Shortest stretch between pauses, in hours.

    Raises:
        ConfigError: If the job does not fit into the window, or the series does not cover it.
    """
    if start is not None and start.tzinfo is None:
        raise refusal("from", expected="a time with its zone, for example 2025-01-31T13:00Z", came=str(start))
    if max_pauses is not None and max_pauses < 0:
        raise refusal("max_pauses", expected="a whole number, 0 or more", came=max_pauses)
    length_s, shortest_s = _seconds("hours", hours, least=1), _seconds("min_run", min_run_h)
    start_s = series.start_s if start is None else start.timestamp()
    window_s = math.floor(series.end_s - start_s) if within_h is None else _seconds("within", within_h, least=1)
    if length_s > window_s:
        fits = f"at most {max(0.0, window_s / HOUR_S):.4g} h, for the window is {span(start_s, start_s + window_s)}"
        raise refusal("hours", expected=f"a job that fits into the window: {fits}", came=hours)
    window = _Window(series, start_s, start_s + window_s)
    now, best = window.plan([(start_s, start_s + length_s)]), window.plan([window.best_start(length_s)])
    paused = window.paused(length_s, best, max_pauses, shortest_s) if pause else None
    return When(now, best, paused, (start_s, start_s + window_s), (*series.notes, *window.notes))


def _seconds(what: str, hours: float, least: int = 0) -> int:
    if not math.isfinite(hours) or round(hours * HOUR_S) < least:
        raise refusal(what, expected=f"hours, {'more than 0' if least else '0 or more'}", came=hours)
    return round(hours * HOUR_S)


class _Window:
    """The series over the hours in question: grams per kilowatt are differences of a running sum."""

    def __init__(self, series: HourlySeries, start_s: float, end_s: float) -> None:
        if start_s < series.start_s or end_s > series.end_s:
            covered = span(series.start_s, series.end_s)
            raise refusal("window", expected=f"a time that {series.source} covers: {covered}", came=span(start_s, end_s))
        pieces = list(series.pieces(start_s, end_s))
        if hole := next((piece for piece in pieces if piece.g_per_kwh is None), None):
            raise ConfigError(f"{series.source} says nothing about {span(hole.start_s, hole.end_s)}. Choose another window.")
        carried_s = math.fsum(piece.end_s - piece.start_s for piece in pieces if piece.carried)
        carried = f"{format_share(carried_s / (end_s - start_s))} of the window fell into gaps: the last figure before was carried"
        self.notes = (carried,) if carried_s else ()
        self._series = series
        self._edges = [*(piece.start_s for piece in pieces), end_s]
        self._values = [piece.g_per_kwh or 0.0 for piece in pieces]
        costs = (value * (b - a) for value, (a, b) in zip(self._values, pairwise(self._edges), strict=True))
        self._sums = list(accumulate(costs, initial=0.0))

    def cost(self, start_s: float, end_s: float) -> float:
        """Intensity times seconds over a stretch."""
        return self._until(end_s) - self._until(start_s)

    def plan(self, runs: Iterable[Stretch]) -> Plan:
        runs = tuple(runs)
        seconds = math.fsum(end_s - start_s for start_s, end_s in runs)
        return Plan(runs, math.fsum(self.cost(*run) for run in runs) / seconds)

    def best_start(self, length_s: float) -> Stretch:
        """The cost over the start is a chain of straight lines that bend where start or end meets an edge."""
        first, last = self._edges[0], self._edges[-1] - length_s
        starts = sorted({first, *(s for edge in self._edges for s in (edge, edge - length_s) if first < s <= last)})
        costs = [self.cost(start_s, start_s + length_s) for start_s in starts]
        least = min(costs) + ROUNDING * self._sums[-1]
        return next((s, s + length_s) for s, cost in zip(starts, costs, strict=True) if cost <= least)

    def paused(self, length_s: int, unpaused: Plan, max_pauses: int | None, shortest_s: int) -> Plan:
        """The cleanest stretches under the limits; the unpaused plan where they save nothing over it."""
        plan = self.plan(self._cleanest(length_s))
        too_many = max_pauses is not None and len(plan.runs) - 1 > max_pauses
        if too_many or min(end_s - start_s for start_s, end_s in plan.runs) < shortest_s:
            plan = self.plan(self._limited(length_s, max_pauses, shortest_s) or unpaused.runs)
        return plan if plan.g_per_kwh < unpaused.g_per_kwh * (1 - ROUNDING) else unpaused

    def _cleanest(self, length_s: float) -> list[Stretch]:
        """Cleanest piece first, until the job is done. The last one is cut on the side that adds no pause."""
        left_s, chosen = length_s, dict[int, Stretch]()
        for i in sorted(range(len(self._values)), key=self._values.__getitem__):
            start_s, end_s = self._edges[i], self._edges[i + 1]
            if end_s - start_s >= left_s:
                late = i + 1 in chosen and i - 1 not in chosen
                chosen[i] = (end_s - left_s, end_s) if late else (start_s, start_s + left_s)
                break
            chosen[i] = (start_s, end_s)
            left_s -= end_s - start_s
        return _merged(chosen[i] for i in sorted(chosen))

    def _limited(self, length_s: int, max_pauses: int | None, shortest_s: int) -> list[Stretch]:
        """The same with few pauses or long stretches: on a grid that divides all lengths, case by case."""
        step_s = math.gcd(max(1, round(self._series.step_s)), length_s, shortest_s)
        anchor_s, (first_s, *_, last_s) = self._series.start_s, self._edges
        begin_s = anchor_s + math.ceil((first_s - anchor_s) / step_s) * step_s
        slots, steps = math.floor((last_s - begin_s) / step_s), round(length_s / step_s)
        cases = slots * steps * (1 if max_pauses is None else max_pauses + 1)
        if cases > MOST_CASES:
            step = f"{self._series.step_s / 60:g} min"
            hint = f"Round hours and min_run to multiples of the series' step ({step}), or shorten the window."
            raise refusal("pauses", expected=f"at most {MOST_CASES} cases to look at", came=cases, hint=hint)
        costs = [self.cost(begin_s + i * step_s, begin_s + (i + 1) * step_s) for i in range(slots)]
        runs = _fewest(costs, steps, None if max_pauses is None else max_pauses + 1, max(1, round(shortest_s / step_s)))
        return _merged((begin_s + a * step_s, begin_s + b * step_s) for a, b in runs)

    def _until(self, second: float) -> float:
        i = min(bisect_right(self._edges, second), len(self._values)) - 1
        return self._sums[i] + self._values[i] * (second - self._edges[i])


def _merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    runs: list[Stretch] = []
    for start_s, end_s in stretches:
        if runs and runs[-1][1] == start_s:
            start_s, _ = runs.pop()
        runs.append((start_s, end_s))
    return runs


def _fewest(costs: Sequence[float], steps: int, most_runs: int | None, shortest: int) -> list[tuple[int, int]]:
    """The cheapest choice of so many slots, in runs of a shortest length and at most so many; empty if there is none.

    Slot by slot, the least cost for each number of slots taken and runs begun, with a run going on and
    without; each with where its runs began and ended.
    """
    never: _State = (math.inf, ())
    sums = list(accumulate(costs, initial=0.0))
    used = 0 if most_runs is None else 1  # a run that begins uses one up
    going = [[never] * (steps + 1) for _ in range((most_runs or 0) + 1)]
    resting = [[(0.0, ()), *row[1:]] for row in going]
    earlier = deque([resting], maxlen=shortest)
    for slot, cost in enumerate(costs, 1):
        going = [[never, *((sum_ + cost, path) for sum_, path in row[:-1])] for row in going]
        if len(earlier) == shortest:
            gain = sums[slot] - sums[slot - shortest]
            for row, source in zip(going[used:], earlier[0], strict=False):
                begun = [(sum_ + gain, (*path, slot - shortest)) for sum_, path in source[: steps + 1 - shortest]]
                row[shortest:] = map(min, row[shortest:], begun)
        resting = [
            [min(old, (sum_, (*path, slot))) for old, (sum_, path) in zip(before, row, strict=True)]
            for before, row in zip(resting, going, strict=True)
        ]
        earlier.append(resting)
    sum_, path = min(row[steps] for row in resting)
    return list(zip(path[::2], path[1::2], strict=True)) if sum_ < math.inf else []
