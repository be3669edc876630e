"""Time in which a run's hardware drew idle power, from what is kept of a run over time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from fitprint.footprint import Footprint
from fitprint.timeline import Timeline

# Power up to so much over the idle power counts as idle, for it is never quite still ...
OVER_IDLE = 1.2
# ... and where it was not measured, power below this share of what training draws most of the time.
OF_TRAINING = 0.5
# Shorter runs, and fewer readings, say nothing.
SHORTEST_S, FEWEST = 1.0, 4
# Less of the time than this is how readings fall.
LEAST_TIME = 0.01

# Seconds and watts of a stretch, and where it began in seconds after the first.
Stretch = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Stretches of little power.

    Attributes:
        part: ``gpu``, or ``all`` where no GPU was read by itself.
        time_s: Their length together.
        observed_s: The length of all stretches.
        energy_j: What the whole run used in them.
        limit_w: Power up to which they count.
        measured: Whether it comes from idle power that was measured.
        how: Where it comes from.
    """

    part: str
    time_s: float
    observed_s: float
    energy_j: float
    limit_w: float
    measured: bool
    how: str

    def evidence(self) -> dict[str, float | int | str]:
        """The figures, with their units in their names."""
        return {"part": self.part, "time_s": self.time_s, "observed_s": self.observed_s, "limit_w": self.limit_w, "limit": self.how}


def waiting(run: Footprint) -> Waiting | None:
    """Find the time of idle power; None where it cannot be seen.

    Readings are some seconds apart: what is shorter than that is not seen, so this is the least that there was.
    """
    if run.energy_series is None:
        return None
    timeline = Timeline.from_dict(run.energy_series)
    gpu = _gpu(run)
    stretches = gpu or _stretches(*_marks(run.energy_series))
    observed_s = math.fsum(length for _, length, _ in stretches)
    if len(stretches) < FEWEST or observed_s < SHORTEST_S:
        return None
    limit_w, measured, how = _limit(run, stretches, alone=not gpu)
    idle = [(at_s, length_s) for at_s, length_s, watts in stretches if watts <= limit_w]
    time_s = math.fsum(length_s for _, length_s in idle)
    if time_s < LEAST_TIME * observed_s:
        return None
    begin_s = timeline.start_s
    energy_j = math.fsum(timeline.between(begin_s + at_s, begin_s + at_s + length_s) for at_s, length_s in idle)
    return Waiting("gpu" if gpu else "all", time_s, observed_s, energy_j, limit_w, measured, how)


def _marks(series: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    return series["time_s"], series["energy_j"]


def _stretches(times_s: Sequence[float], joules: Sequence[float]) -> list[Stretch]:
    pairs = zip(pairwise(times_s), pairwise(joules), strict=True)
    # Without joules nothing ran: the time between a crash and the run's going on.
    return [(t0 - times_s[0], t1 - t0, (j1 - j0) / (t1 - t0)) for (t0, t1), (j0, j1) in pairs if t1 > t0 and j1 > j0]


def _gpu(run: Footprint) -> list[Stretch]:
    """All GPUs of the run's only machine together; empty where none was read by itself."""
    if len(run.readings) != 1:
        return []
    row = run.readings[0]
    try:
        boards = [device.get("own_j", device["whole_j"]) for device in row["devices"].values() if _is_gpu(run, device["id"])]
        sums = [math.fsum(counts) for counts in zip(*boards, strict=True)]
        return _stretches(row["boot_s"], sums) if boards else []
    except (KeyError, TypeError, ValueError):  # readings of a later version
        return []


def _is_gpu(run: Footprint, sensor_id: str) -> bool:
    return any(row["part"] == "gpu" and str(row["id"]).startswith(sensor_id) for row in run.sensors)


def _limit(run: Footprint, stretches: Iterable[Stretch], *, alone: bool) -> tuple[float, bool, str]:
    """Power up to which a stretch is idle, and why."""
    if alone and run.above_idle_j is not None and run.energy_j is not None and run.duration_s:
        idle_w = (run.energy_j - run.above_idle_j) / run.duration_s
        return OVER_IDLE * idle_w, True, f"{idle_w:.3g} W were measured before the run"
    typical_w = _typical(stretches)
    return OF_TRAINING * typical_w, False, f"half of the {typical_w:.3g} W at which most of the energy was used"


def _typical(stretches: Iterable[Stretch]) -> float:
    """The power at which the middle joule was used: waiting has few joules, so that it hardly moves it."""
    ordered = sorted(stretches, key=lambda stretch: stretch[2])
    half_j, so_far_j = math.fsum(length * watts for _, length, watts in ordered) / 2, 0.0
    for _, length_s, watts in ordered:
        so_far_j += length_s * watts
        if so_far_j >= half_j:
            return watts
    return 0.0
