"""Carbon intensity over time: a series of g/kWh, as a user brings or a live source gives it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from fitprint.carbon.intensity import EXACT, LARGEST_G_PER_KWH, Intensity, Spread
from fitprint.clock import iso_utc
from fitprint.errors import ConfigError, refusal
from fitprint.timeline import Timeline
from fitprint.units import format_share, kwh

HOUR_S = 3600.0
# How long a figure stands in for missing ones after it. Grids follow the sun and the working day: after
# some hours the last figure says no more about now than any other.
CARRY_S = 3 * HOUR_S
# Of a window that is known to less than this share no figure is given.
LEAST_KNOWN = 0.5
# Steps up to this many times the usual one are no gap: days have 23 to 25 hours in local time.
LONGEST_STEP = 1.5
# The cleanest place of grid.csv has a mean of 21 g/kWh: a series that never comes near that is in kg/kWh.
SMALLEST_PEAK_G_PER_KWH = 3.0


class Piece(NamedTuple):
    """A stretch of time with one figure.

    Attributes:
        start_s: Its beginning, seconds since 1970.
        end_s: Its end.
        g_per_kwh: Grams per kWh; None where the series says nothing.
        carried: The figure is that of the time before.
    """

    start_s: float
    end_s: float
    g_per_kwh: float | None
    carried: bool = False


class HourlySeries:
    """Grams of CO2e per kWh over time, at any resolution; an intensity source.

    A figure stands from its time on until the next. Where figures are missing the last one is carried for
    at most three hours, or one step of the series if that is longer; after that, and outside of the series,
    nothing is known. A window of which at least half is given or carried gets the mean of that, others None.
    What is given has no interval of ours, for the user answers for it; the rest of a window could have been
    anything between the series' smallest and largest figure.

    Args:
        points: Pairs of a time in seconds since 1970 and g/kWh, in any order.
        source: Where they come from.
        basis: What they count, for people.
        basis_kind: One of ``fitprint.carbon.intensity.BASIS_KINDS``.
        notes: How the points were read.
        spread: How far other figures of the same place may lie from these; nothing for what the user answers for.

    Raises:
        ConfigError: If there are fewer than two points, two of one time, or figures that cannot be g/kWh.
    """

    def __init__(
        self,
        points: Iterable[tuple[float, float]],
        source: str,
        basis: str,
        *,
        basis_kind: str = "given",
        notes: Sequence[str] = (),
        spread: Spread = EXACT,
    ) -> None:
        self.points = tuple(sorted(points))
        self.source, self.basis, self.basis_kind, self.notes = source, basis, basis_kind, tuple(notes)
        self._spread = spread
        _check(self.points, self.source)
        values = [value for _, value in self.points]
        self._least, self._most = min(values), max(values)
        steps = Counter(round(b - a, 3) for (a, _), (b, _) in pairwise(self.points))
        self.step_s = max(steps, key=lambda step: (steps[step], -step))
        self._pieces = tuple(self._laid_out())
        self._starts = [piece.start_s for piece in self._pieces]

    @property
    def start_s(self) -> float:
        """Its first figure's time."""
        return self.points[0][0]

    @property
    def end_s(self) -> float:
        """Until when its last figure stands."""
        return self.points[-1][0] + self.step_s

    def pieces(self, start_s: float, end_s: float) -> Iterator[Piece]:
        """The stretches that make up a window, in order and without a hole."""
        if start_s < self._starts[0]:
            yield Piece(start_s, min(end_s, self._starts[0]), None)
        for i in range(max(0, bisect_right(self._starts, start_s) - 1), bisect_left(self._starts, end_s)):
            piece = self._pieces[i]
            if piece.end_s > start_s:
                yield Piece(max(start_s, piece.start_s), min(end_s, piece.end_s), piece.g_per_kwh, piece.carried)
        if end_s > self._pieces[-1].end_s:
            yield Piece(max(start_s, self._pieces[-1].end_s), end_s, None)

    def mean(self, start_s: float, end_s: float) -> float | None:
        """Time-weighted mean in g/kWh over a window in seconds since 1970; None where too little is known."""
        intensity = self._averaged(start_s, end_s, _seconds)
        return None if intensity is None else intensity.g_per_kwh

    def between(self, start: datetime, end: datetime) -> Intensity | None:
        """Time-weighted mean over a window, or the figure at an instant; None where too little is known.

        Raises:
            ConfigError: If a time has no zone, or the end comes before the start.
        """
        if start.tzinfo is None or end.tzinfo is None or start > end:
            raise refusal("window", expected="two times with their zones, the earlier one first", came=f"{start} to {end}")
        return self._averaged(start.timestamp(), end.timestamp(), _seconds)

    def during(self, timeline: Timeline, start_s: float | None = None, end_s: float | None = None) -> Intensity | None:
        """Energy-weighted mean over a run, or over a window of it; None where too little is known.

        The energy is cut at the series' edges, between marks by interpolation. A window without
        energy gets its time-weighted mean.
        """
        start_s = timeline.start_s if start_s is None else start_s
        end_s = timeline.end_s if end_s is None else end_s
        weigh = timeline.between if timeline.between(start_s, end_s) > 0 else _seconds
        return self._averaged(start_s, end_s, weigh)

    def grams(self, timeline: Timeline) -> tuple[float, tuple[str, ...]]:
        """Grams of a run at its sensors (times node factor and PUE they are its CO2e), and what policies took part.

        Raises:
            ConfigError: If less than half of the run's energy is known.
        """
        intensity = self.during(timeline)
        if intensity is None:
            raise self.says_too_little(timeline)
        return kwh(timeline.total_j) * intensity.g_per_kwh, (*self.notes, *self.gaps(timeline))

    def says_too_little(self, timeline: Timeline) -> ConfigError:
        """The error of a series that does not belong to a run."""
        took = span(timeline.start_s, timeline.end_s)
        return ConfigError(
            f"{self.source} covers {span(self.start_s, self.end_s)} and says too little about the run, which took {took}. "
            "Bring a series of that time."
        )

    def gaps(self, timeline: Timeline, otherwise: str = "it counts with the mean of the rest") -> tuple[str, ...]:
        """What was done about the energy that fell where the series has no figure, with its share.

        Args:
            timeline: The energy.
            otherwise: What was done where no figure is carried.
        """
        rows = [(piece, timeline.between(piece.start_s, piece.end_s)) for piece in self.pieces(timeline.start_s, timeline.end_s)]
        hours = f"{max(CARRY_S, self.step_s) / HOUR_S:g} h"
        policies = {
            f"the last one before was carried, for at most {hours}": math.fsum(j for piece, j in rows if piece.carried),
            otherwise: math.fsum(j for piece, j in rows if piece.g_per_kwh is None),
        }
        share = {policy: format_share(joules / timeline.total_j) for policy, joules in policies.items() if joules > 0}
        return tuple(f"{self.source} has no figure for {share[policy]} of the energy: {policy}" for policy in share)

    def _laid_out(self) -> Iterator[Piece]:
        """Every figure until the next one, and what comes into the gaps."""
        for (start_s, value), (next_s, _) in pairwise((*self.points, (math.inf, 0.0))):
            if next_s - start_s <= LONGEST_STEP * self.step_s:
                yield Piece(start_s, next_s, value)
                continue
            end_s = start_s + self.step_s
            carried_s = min(next_s, end_s + max(CARRY_S, self.step_s))
            yield Piece(start_s, end_s, value)
            yield Piece(end_s, carried_s, value, carried=True)
            if carried_s < next_s < math.inf:
                yield Piece(carried_s, next_s, None)

    def _averaged(self, start_s: float, end_s: float, weigh: Callable[[float, float], float]) -> Intensity | None:
        if start_s == end_s:  # the figure at an instant
            end_s = math.nextafter(start_s, math.inf)
        rows = [(piece, weigh(piece.start_s, piece.end_s)) for piece in self.pieces(start_s, end_s)]
        whole = math.fsum(weight for _, weight in rows)
        known = [(piece.g_per_kwh, weight, piece.carried) for piece, weight in rows if piece.g_per_kwh is not None]
        known_weight = math.fsum(weight for _, weight, _ in known)
        if known_weight < LEAST_KNOWN * whole:
            return None
        low = high = central = math.fsum(value * weight for value, weight, _ in known) / known_weight
        given = [(value, weight) for value, weight, carried in known if not carried]
        if len(given) < len(rows):
            sum_, rest = math.fsum(v * w for v, w in given), whole - math.fsum(w for _, w in given)
            low, high = min(central, (sum_ + rest * self._least) / whole), max(central, (sum_ + rest * self._most) / whole)
        low, high = self._spread.around(low, high)
        year = datetime.fromtimestamp(start_s, UTC).year
        return Intensity(central, low, high, year, self.source, self.basis, self.basis_kind)


def _check(points: Sequence[tuple[float, float]], source: str) -> None:
    if len(points) < 2:
        raise ConfigError(f"{source}: two figures are needed at least, to know for how long one stands; there are {len(points)}.")
    for second, value in points:
        if not 0 <= value <= LARGEST_G_PER_KWH:
            expected = f"0 to {LARGEST_G_PER_KWH:g} g/kWh are possible; is the unit right?"
            raise ConfigError(f"{source}: the figure of {_minute(second)} is {value:g} g/kWh; {expected}")
    for (a, first), (b, second) in pairwise(points):
        if a == b:
            raise ConfigError(
                f"{source}: {_minute(a)} has two figures, {first:g} and {second:g} g/kWh. Keep one zone and one row a time."
            )


def _seconds(start_s: float, end_s: float) -> float:
    return end_s - start_s


def _minute(second: float) -> str:
    return f"{iso_utc(second)[:16]}Z"


def span(start_s: float, end_s: float) -> str:
    """Two moments, for people."""
    return f"{_minute(start_s)} to {_minute(end_s)}"
