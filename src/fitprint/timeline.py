"""Energy as a series over wall time, so that grams can be worked out again when better intensities come."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any, Self

from fitprint.clock import NS_PER_S, Clock, iso_utc

CAPACITY = 2000
# Marks are never closer: a clock that stands still or steps back costs resolution, not order.
SHORTEST_S = 0.001


class SteadyTime:
    """Wall time that neither stands still nor steps: one look at the wall clock, then the machine's own count of time.

    Args:
        clock: Time source, read once here.
    """

    def __init__(self, clock: Clock) -> None:
        self._zero_s = clock.time() - (clock.monotonic_ns() + clock.asleep_ns()) / NS_PER_S

    def at(self, boot_ns: int) -> float:
        """Seconds since 1970 at a moment in nanoseconds since the machine booted, its sleep included."""
        return self._zero_s + boot_ns / NS_PER_S


class Timeline:
    """Cumulative joules at moments of wall time: at most ``capacity`` of them, however long the run.

    When it is full every second mark is dropped, and later ones are kept as far apart. First and last mark
    stay, so totals are exact; between marks power counts as constant.

    Args:
        capacity: Largest number of marks.

    Example:
        >>> timeline = Timeline()
        >>> for wall_s, energy_j in ((0.0, 0.0), (10.0, 500.0), (30.0, 900.0)):
        ...     timeline.mark(wall_s, energy_j)
        >>> timeline.between(5.0, 20.0)
        450.0
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._wall_s: list[float] = []
        self._energy_j: list[float] = []
        self._apart_s = 2 * SHORTEST_S

    def mark(self, wall_s: float, energy_j: float) -> None:
        """Note how much has been used by now. What lies before the last mark is taken to be at the last mark.

        Args:
            wall_s: Seconds since 1970, from a SteadyTime.
            energy_j: Joules since the run began; the first mark is the zero.
        """
        times, joules = self._wall_s, self._energy_j
        if times and energy_j < joules[-1]:
            energy_j = joules[-1]
        if len(times) > 1 and times[-1] - times[-2] < self._apart_s:
            times[-1], joules[-1] = max(wall_s, times[-1]), energy_j
            return
        times.append(max(wall_s, times[-1] + SHORTEST_S) if times else wall_s)
        joules.append(energy_j)
        if len(times) > self._capacity:
            self._thin()

    @property
    def start_s(self) -> float:
        """The first mark, in seconds since 1970; 0.0 without marks."""
        return self._wall_s[0] if self._wall_s else 0.0

    @property
    def end_s(self) -> float:
        """The last mark, in seconds since 1970; 0.0 without marks."""
        return self._wall_s[-1] if self._wall_s else 0.0

    @property
    def total_j(self) -> float:
        """Joules from the first mark to the last."""
        return self._energy_j[-1] - self._energy_j[0] if self._energy_j else 0.0

    def __len__(self) -> int:
        return len(self._wall_s)

    def until(self, wall_s: float) -> float:
        """Joules from the first mark to a moment; 0 before it, all of them after the last."""
        after = bisect_right(self._wall_s, wall_s)
        if after == 0:
            return 0.0
        if after == len(self._wall_s):
            return self.total_j
        (t0, t1), (e0, e1) = self._wall_s[after - 1 : after + 1], self._energy_j[after - 1 : after + 1]
        return e0 - self._energy_j[0] + (e1 - e0) * (wall_s - t0) / (t1 - t0)

    def between(self, start_s: float, end_s: float) -> float:
        """Joules used between two moments, in seconds since 1970."""
        return self.until(end_s) - self.until(start_s)

    def joined(self, other: Timeline) -> Timeline:
        """Both together, in any order, apart or overlapping; nothing is used in the time between two that lie apart."""
        whole = Timeline(self._capacity)
        whole._wall_s = sorted({*self._wall_s, *other._wall_s})
        whole._energy_j = [self.until(t) + other.until(t) for t in whole._wall_s]
        while len(whole) > whole._capacity:
            whole._thin()
        return whole

    def to_dict(self) -> dict[str, Any]:
        """Plain types: milliseconds and millijoules from the first mark on; the total as exact as it is."""
        start_s = round(self.start_s, 3)
        joules = [round(joules - self._energy_j[0], 3) for joules in self._energy_j]
        joules = [*(min(j, self.total_j) for j in joules[:-1]), self.total_j] if joules else []
        return {"started_at": iso_utc(start_s), "time_s": [round(t - start_s, 3) for t in self._wall_s], "energy_j": joules}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], capacity: int = CAPACITY) -> Self:
        """Read what ``to_dict`` wrote."""
        timeline = cls(capacity)
        start_s = datetime.fromisoformat(data["started_at"]).timestamp()
        timeline._wall_s = [start_s + seconds for seconds in data["time_s"]]
        timeline._energy_j = [float(joules) for joules in data["energy_j"]]
        return timeline

    def _thin(self) -> None:
        del self._wall_s[1:-1:2]
        del self._energy_j[1:-1:2]
        steps_s = sorted(b - a for a, b in pairwise(self._wall_s))
        self._apart_s = steps_s[len(steps_s) // 2]  # the median: a long pause says nothing about how often marks come
