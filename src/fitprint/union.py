"""The total of many runs: what several of them saw is counted once.

Runs that overlap on a machine have divided its devices while they lasted, if they could see each other. Whether they
could or not (other users, containers, an older version): a device cannot have given more than it counted, so what
runs were charged of one stretch together is cut to that, each in proportion.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from fitprint.footprint import Footprint

# Runs settle with each other up to three looks late: what one stretch lacks by that, the next may hold.
LATE_S = 3.0


@dataclass(frozen=True, slots=True)
class Counted:
    """What one run adds to a total.

    Attributes:
        run_id: The run.
        energy_j: Its joules, without what others were charged as well.
        co2e_g: Its grams, in proportion.
    """

    run_id: str
    energy_j: float
    co2e_g: float | None


@dataclass(frozen=True, slots=True)
class Union:
    """The total of a set of runs. Unknown is None, never 0.

    Attributes:
        energy_j: Joules at the sensors, each once.
        energy_low_j: Lower end of the 95 % interval; the runs are taken to err together.
        energy_high_j: Upper end.
        facility_energy_kwh: With the losses of machines and buildings.
        co2e_g: Operational grams of CO2e.
        co2e_low_g: Lower end of the 95 % interval.
        co2e_high_g: Upper end.
        twice_j: Joules that more than one run had been charged, and that are left out here.
        runs: What each run adds, by run id.
        inside: Runs that are counted inside another one of the set.
        unknown: Runs of which no energy is known: they are missing from the sums.
        unchecked: Runs without readings over time, of which an overlap could not be seen.
    """

    energy_j: float | None
    energy_low_j: float | None
    energy_high_j: float | None
    facility_energy_kwh: float | None
    co2e_g: float | None
    co2e_low_g: float | None
    co2e_high_g: float | None
    twice_j: float
    runs: tuple[Counted, ...]
    inside: tuple[str, ...]
    unknown: tuple[str, ...]
    unchecked: tuple[str, ...]


def union(footprints: Iterable[Footprint]) -> Union:
    """Add up runs, for example all of a project.

    A run that is given twice counts once (its longer record), a run inside another one of the set is counted inside
    it, and a forked run beside the one that it came from.

    Args:
        footprints: Their records, in any order; live ones too.

    Returns:
        The total: never more than the devices counted, never less than the largest run.

    Example:
        >>> both = [Footprint(run_id=name, energy_j=100.0, co2e_g=1.0) for name in ("a", "b", "a")]
        >>> union(both).energy_j
        200.0
    """
    every = _each_once(footprints)
    inside = {name for name in every if _is_inside(every[name], every)}
    unknown = sorted(name for name in every if every[name].energy_j is None and name not in inside)
    chosen = [every[name] for name in sorted(every) if name not in inside and every[name].energy_j is not None]
    kept = shared_out(chosen)

    def total(name: str) -> float | None:
        known = [getattr(run, name) for run in kept if getattr(run, name) is not None]
        return math.fsum(known) if known else None

    return Union(
        **{name: total(name) for name in _SUMMED},
        twice_j=twice_j(chosen, kept),
        runs=tuple(Counted(run.run_id, run.energy_j or 0.0, run.co2e_g) for run in kept),
        inside=tuple(sorted(inside)),
        unknown=tuple(unknown),
        unchecked=tuple(run.run_id for run in chosen if not run.readings),
    )


def shared_out(runs: Sequence[Footprint]) -> tuple[Footprint, ...]:
    """The runs, each without the joules and grams that others were charged as well; so that they can be added up.

    Args:
        runs: Different ones, none inside another.
    """
    twice = _twice(runs)
    return tuple(_scaled(run, _kept(run, twice[run.run_id])) if run.run_id in twice else run for run in runs)


def twice_j(runs: Iterable[Footprint], kept: Iterable[Footprint]) -> float:
    """Joules that more than one of the runs had been charged, and that ``shared_out`` has left out."""
    return math.fsum(run.energy_j or 0.0 for run in runs) - math.fsum(run.energy_j or 0.0 for run in kept)


_SUMMED = ("energy_j", "energy_low_j", "energy_high_j", "facility_energy_kwh", "co2e_g", "co2e_low_g", "co2e_high_g")


def _scaled(run: Footprint, kept: float) -> Footprint:
    known = {name: value for name in _SUMMED if (value := getattr(run, name)) is not None}
    return replace(run, **{name: value * kept for name, value in known.items()})


def _kept(run: Footprint, twice_j: float) -> float:
    """The share of a run that nobody else was charged."""
    return max(0.0, 1 - twice_j / run.energy_j) if run.energy_j else 1.0


def _each_once(footprints: Iterable[Footprint]) -> dict[str, Footprint]:
    every: dict[str, Footprint] = {}
    for run in footprints:
        known = every.get(run.run_id)
        if known is None or (known.duration_s, known.energy_j or 0.0) < (run.duration_s, run.energy_j or 0.0):
            every[run.run_id] = run
    return every


def _is_inside(run: Footprint, every: Mapping[str, Footprint]) -> bool:
    """Whether it was started inside another one that has energy; two that name each other are in neither."""
    seen = {run.run_id}
    outer = every.get(run.parent_run_id or "")
    while outer is not None and outer.run_id not in seen:
        if outer.energy_j is not None:
            return True
        seen.add(outer.run_id)
        outer = every.get(outer.parent_run_id or "")
    return False


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one run saw of one device: moments, all that the device counted by then, and what the run was charged."""

    run_id: str
    boot_s: Sequence[float]
    whole_j: Sequence[float]
    own_j: Sequence[float]

    def between(self, begin_s: float, end_s: float) -> tuple[float, float]:
        """Joules of the device, and of the run, in a stretch."""
        whole_j, own_j = (
            _at(self.boot_s, series, end_s) - _at(self.boot_s, series, begin_s) for series in (self.whole_j, self.own_j)
        )
        return max(0.0, whole_j), max(0.0, own_j)


def _at(times: Sequence[float], values: Sequence[float], time_s: float) -> float:
    after = bisect_right(times, time_s)
    if after == 0 or after == len(times):
        return values[0] if after == 0 else values[-1]
    (t0, t1), (v0, v1) = times[after - 1 : after + 1], values[after - 1 : after + 1]
    return v0 + (v1 - v0) * (time_s - t0) / (t1 - t0)


def _twice(runs: Sequence[Footprint]) -> dict[str, float]:
    """By run, the joules that it was charged beyond what its devices gave to all."""
    devices: dict[tuple[str, str], list[_Seen]] = {}
    for run in runs:
        for key, seen in _seen(run):
            devices.setdefault(key, []).append(seen)
    twice: dict[str, float] = {}
    for sights in devices.values():
        for run_id, joules in _beyond(sights):
            twice[run_id] = twice.get(run_id, 0.0) + joules
    return twice


def _seen(run: Footprint) -> Iterator[tuple[tuple[str, str], _Seen]]:
    """By machine and device; readings of a later version that are not understood cannot be compared."""
    for row in run.readings:
        try:
            boot_s = [float(time_s) for time_s in row["boot_s"]]
            for key, device in row["devices"].items():
                whole_j = device["whole_j"]
                own_j = device.get("own_j", whole_j)
                if len(boot_s) == len(whole_j) == len(own_j) > 1:
                    yield (str(row["machine"]), key), _Seen(run.run_id, boot_s, whole_j, own_j)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue


def _beyond(sights: Sequence[_Seen]) -> Iterator[tuple[str, float]]:
    """What is charged too much of one device, stretch by stretch of the same runs."""
    late_j = 0.0
    for begin_s, end_s, there in _stretches(sights):
        counts = [seen.between(begin_s, end_s) for seen in there]
        whole_j, charged_j = max(whole for whole, _ in counts), math.fsum(own for _, own in counts)
        cut_j = max(0.0, charged_j - whole_j - late_j)
        late_j = min(max(0.0, late_j + whole_j - charged_j), LATE_S * whole_j / (end_s - begin_s))
        for seen, (_, own_j) in zip(there, counts, strict=True):
            if cut_j > 0:
                yield seen.run_id, cut_j * own_j / charged_j


def _stretches(sights: Sequence[_Seen]) -> Iterator[tuple[float, float, list[_Seen]]]:
    """Times in which the same runs, two at least, saw a device."""
    starts = sorted(sights, key=lambda seen: (seen.boot_s[0], seen.run_id))
    ends = sorted({time_s for seen in sights for time_s in (seen.boot_s[0], seen.boot_s[-1])})
    there: list[_Seen] = []
    next_one = 0
    for begin_s, end_s in pairwise(ends):
        while next_one < len(starts) and starts[next_one].boot_s[0] <= begin_s:
            there.append(starts[next_one])
            next_one += 1
        there = [seen for seen in there if seen.boot_s[-1] > begin_s]
        if len(there) > 1:
            yield begin_s, end_s, there
