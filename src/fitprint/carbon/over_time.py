"""Intensity of the energy of a run, by the time at which it was used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

from fitprint.assumption import Assumption
from fitprint.carbon.intensity import LARGEST_G_PER_KWH, Intensity, IntensitySource
from fitprint.timeline import Timeline
from fitprint.units import format_share

# A source of which nothing else is known is asked for stretches of this length, on the clock's own five minutes.
CELL_S = 300.0
# What counted a moment ago is not asked for again; what has been learned since then counts from then on.
RECOUNT_S = 60.0


class _Told(NamedTuple):
    """Who told a figure and what it counts; whether it stands in for the source's."""

    source: str
    basis: str
    basis_kind: str
    stands_in: bool


class _Sum(NamedTuple):
    """Figures times their weight, which is joules, or seconds where there are none."""

    weight: float
    g: float
    low: float
    high: float
    year: int | None


_Sums = dict[_Told, _Sum]


class Mean(NamedTuple):
    """Intensity of a stretch of a run.

    Attributes:
        intensity: Mean over its energy; over its time where it used none.
        stand_in: Share of the energy for which the yearly average stands in.
        now: The figure of its end, for what is used next.
        rows: The stand-in, where it took part.
    """

    intensity: Intensity
    stand_in: float
    now: Intensity
    rows: tuple[Assumption, ...] = ()


class OverTime:
    """Weighs what a source tells with the energy of the time of which it tells it.

    What the source does not know counts with the yearly average of the place, never with other hours of the
    source: so the parts of a run sum to the run. An answer that cannot be an intensity counts as none.

    Args:
        source: Tells intensities; asked for one stretch after the other.
        yearly: Stands in.
        timeline: The run's energy; it may grow.
        place: Of which ``yearly`` is the average, for people.
    """

    def __init__(self, source: IntensitySource, yearly: Intensity, timeline: Timeline, place: str) -> None:
        self.source = source
        self._yearly, self._timeline, self._place = yearly, timeline, place
        self._counted: _Sums = {}
        self._counted_to_s = 0.0
        self._known: object = None

    def during(self, start_s: float, end_s: float) -> Mean:
        """The mean over a stretch, in seconds since 1970."""
        return self._mean(self._joules(start_s, end_s) or self._seconds(start_s, end_s), end_s)

    def so_far(self, end_s: float) -> Mean:
        """The mean from the run's beginning on; cheap, for it is asked at every boundary."""
        known = getattr(self.source, "series", None)
        if known is not self._known or not 0 <= end_s - self._counted_to_s <= RECOUNT_S:
            self._counted, self._counted_to_s = self._joules(self._timeline.start_s, end_s), end_s
            self._known = known
        sums = _plus(self._counted, self._joules(self._counted_to_s, end_s))
        return self._mean(sums or self._seconds(self._timeline.start_s, end_s), end_s)

    def notes(self) -> tuple[str, ...]:
        """What was decided about times of which the source knows nothing, with their share of the energy."""
        otherwise = f"the yearly average of {self._place} is used"
        if getattr(self.source, "basis_kind", "") == "marginal":
            otherwise += ", which is no marginal figure"
        trouble = getattr(self.source, "trouble", "")
        otherwise += f" ({trouble})" if trouble else ""
        read: tuple[str, ...] = tuple(getattr(self.source, "notes", ()))
        if callable(gaps := getattr(self.source, "gaps", None)):
            return read + (tuple(gaps(self._timeline, otherwise)) if self._timeline.total_j > 0 else ())
        share = self.during(self._timeline.start_s, self._timeline.end_s).stand_in
        return read + ((f"the intensity source has no figure for {format_share(share)} of the energy: {otherwise}",) * (share > 0))

    def _joules(self, start_s: float, end_s: float) -> _Sums:
        return self._weighed(start_s, end_s, by_energy=True)

    def _seconds(self, start_s: float, end_s: float) -> _Sums:
        return self._weighed(start_s, max(end_s, math.nextafter(start_s, math.inf)), by_energy=False)

    def _weighed(self, start_s: float, end_s: float, *, by_energy: bool) -> _Sums:
        sums: _Sums = {}
        for a_s, b_s, exact in self._cells(start_s, end_s):
            weight = self._timeline.between(a_s, b_s) if by_energy else b_s - a_s
            if weight > 0:
                sums = _plus(sums, self._asked(a_s, b_s, weight, exact=exact))
        return sums

    def _cells(self, start_s: float, end_s: float) -> Iterator[tuple[float, float, bool]]:
        """Stretches with one figure each, where the source tells which these are; else cells."""
        if callable(pieces := getattr(self.source, "pieces", None)):
            yield from ((piece.start_s, piece.end_s, True) for piece in pieces(start_s, end_s) if piece.end_s > piece.start_s)
            return
        first, last = math.floor(start_s / CELL_S) + 1, math.ceil(end_s / CELL_S)
        edges = (start_s, *(number * CELL_S for number in range(first, last)), end_s)
        yield from ((a_s, b_s, False) for a_s, b_s in pairwise(edges) if b_s > a_s)

    def _asked(self, start_s: float, end_s: float, weight: float, *, exact: bool) -> _Sums:
        """One cell. A stretch with one figure is asked for at its middle: times have microseconds, edges more."""
        window = ((start_s + end_s) / 2,) * 2 if exact else (start_s, end_s)
        found = self._answer(*window)
        figure = found or self._yearly
        told = _Told(figure.source, figure.basis, figure.basis_kind, found is None)
        g, low, high = (weight * end for end in (figure.g_per_kwh, figure.low_g_per_kwh, figure.high_g_per_kwh))
        return {told: _Sum(weight, g, low, high, figure.year)}

    def _answer(self, start_s: float, end_s: float) -> Intensity | None:
        try:
            found: Any = self.source.between(*(datetime.fromtimestamp(second, UTC) for second in (start_s, end_s)))
            return found if found is not None and _possible(found) else None
        except Exception:  # the source may be the user's own code
            return None

    def _mean(self, sums: _Sums, end_s: float) -> Mean:
        whole = math.fsum(one.weight for one in sums.values())
        g, low, high = (math.fsum(getattr(one, name) for one in sums.values()) / whole for name in ("g", "low", "high"))
        shares = sorted(((one.weight / whole, told) for told, one in sums.items()), reverse=True)
        kinds = {told.basis_kind for told in sums}
        years = {one.year for one in sums.values()}
        mean = Intensity(
            g,
            low,
            high,
            years.pop() if len(years) == 1 else None,
            _listed([(share, told.source) for share, told in shares]),
            _listed([(share, told.basis) for share, told in shares]),
            kinds.pop() if len(kinds) == 1 else "mixed",
        )
        stand_in = math.fsum(share for share, told in shares if told.stands_in)
        now = self._answer(end_s, end_s) or self._yearly
        return Mean(mean, stand_in, now, (self._row(stand_in),) if stand_in > 0 else ())

    def _row(self, share: float) -> Assumption:
        basis = f"yearly average of {self._place}, for {format_share(share)} of the energy; {self._yearly.basis}"
        return self._yearly.assumption()._replace(name="intensity_stand_in", basis=basis)


def _possible(figure: Intensity) -> bool:
    return 0 <= figure.low_g_per_kwh <= figure.g_per_kwh <= min(figure.high_g_per_kwh, LARGEST_G_PER_KWH) < math.inf


def _plus(a: _Sums, b: _Sums) -> _Sums:
    return a | {told: _joined(a[told], one) if told in a else one for told, one in b.items()}


def _joined(a: _Sum, b: _Sum) -> _Sum:
    """The year is the later part's."""
    return _Sum(a.weight + b.weight, a.g + b.g, a.low + b.low, a.high + b.high, b.year)


def _listed(parts: list[tuple[float, str]]) -> str:
    """Each text once, with its share where there are several."""
    shares: dict[str, float] = {}
    for share, text in parts:
        shares[text] = shares.get(text, 0.0) + share
    if len(shares) == 1:
        return parts[0][1]
    return "; ".join(f"{text} ({format_share(share)} of the energy)" for text, share in shares.items())
