"""Energy: joules per sensor, how they were obtained and how sure they are."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any, Self, get_args

from fitprint.clock import NS_PER_S
from fitprint.sensors.counter import COUNTED, Role, Sensor

# Two-sided 95 % normal quantile.
Z95 = 1.96
# A reading is dated when it is done, after the window has begun: so short a time is no gap.
READING_NS = NS_PER_S // 100


@dataclass(frozen=True, slots=True, init=False)
class Energy:
    """What a set of sensors counted over some time. Closed under ``+`` and ``-``.

    Counts stay integers in each sensor's native unit, so that the windows of a run add up to the
    run exactly.

    Attributes:
        sensors: The sensors, each once; only those that count are in the joules.
        counts: Native units counted, one per sensor.
        observed_ns: Time over which each sensor was really observed, in nanoseconds.
        duration_ns: Length of the window in nanoseconds.
    """

    sensors: tuple[Sensor, ...] = ()
    counts: tuple[int, ...] = ()
    observed_ns: tuple[int, ...] = ()
    duration_ns: int = 0

    def __init__(
        self,
        sensors: tuple[Sensor, ...] = (),
        counts: tuple[int, ...] = (),
        observed_ns: tuple[int, ...] = (),
        duration_ns: int = 0,
    ) -> None:
        # As a frozen dataclass does it, but without looking each name up: every boundary makes several.
        _FILL_SENSORS(self, sensors)
        _FILL_COUNTS(self, counts)
        _FILL_OBSERVED_NS(self, observed_ns)
        _FILL_DURATION_NS(self, duration_ns)

    def __add__(self, other: Energy) -> Energy:
        if self.sensors is not other.sensors:
            return self._combined(other, 1)
        return Energy(  # the windows of one run: every boundary takes this way
            self.sensors,
            tuple(map(operator.add, self.counts, other.counts)),
            tuple(map(operator.add, self.observed_ns, other.observed_ns)),
            self.duration_ns + other.duration_ns,
        )

    def __sub__(self, other: Energy) -> Energy:
        return self._combined(other, -1)

    def _combined(self, other: Energy, sign: int) -> Energy:
        mine, theirs = self._over(other.sensors), other._over(self.sensors)
        theirs = theirs._ordered_as(mine.sensors)
        return Energy(
            mine.sensors,
            tuple(a + sign * b for a, b in zip(mine.counts, theirs.counts, strict=True)),
            tuple(a + sign * b for a, b in zip(mine.observed_ns, theirs.observed_ns, strict=True)),
            self.duration_ns + sign * other.duration_ns,
        )

    def _over(self, sensors: tuple[Sensor, ...]) -> Energy:
        """The same energy with the missing ones of ``sensors`` added at zero."""
        if sensors is self.sensors:
            return self
        if sensors[: len(self.sensors)] == self.sensors:  # the very tuple, so that later sums are of the same sensors
            zeros = (0,) * (len(sensors) - len(self.sensors))
            return Energy(sensors, self.counts + zeros, self.observed_ns + zeros, self.duration_ns)
        known = {sensor.id for sensor in self.sensors}
        new = tuple(sensor for sensor in sensors if sensor.id not in known)
        zeros = (0,) * len(new)
        return Energy(self.sensors + new, self.counts + zeros, self.observed_ns + zeros, self.duration_ns)

    def over(self, sensors: tuple[Sensor, ...]) -> Energy:
        """The same energy told in the order of ``sensors``, the missing ones at zero; sensors beyond them follow."""
        whole = Energy(sensors, (0,) * len(sensors), (0,) * len(sensors))
        return whole + self

    def _ordered_as(self, sensors: tuple[Sensor, ...]) -> Energy:
        if sensors is self.sensors:
            return self
        place = {sensor.id: i for i, sensor in enumerate(self.sensors)}
        order = [place[sensor.id] for sensor in sensors]
        return Energy(sensors, tuple(self.counts[i] for i in order), tuple(self.observed_ns[i] for i in order), self.duration_ns)

    @property
    def joules(self) -> float:
        """All sensors that count together."""
        return math.fsum([count * s.unit_j for count, s in zip(self.counts, self.sensors, strict=True) if s.role in COUNTED])

    @property
    def by_part(self) -> dict[str, float]:
        """Joules per part; a part without a sensor has no key."""
        return self._grouped(COUNTED, lambda sensor: sensor.part)

    @property
    def by_sensor(self) -> dict[str, float]:
        """Joules per sensor id, those shown beside the run included."""
        return self._grouped(get_args(Role), lambda sensor: sensor.id)

    @property
    def overlapped(self) -> bool:
        """Whether devices were divided with other runs."""
        return any(sensor.role == "overlap" for sensor in self.sensors)

    @property
    def gross_j(self) -> float | None:
        """What the devices drew of which only shares are counted, with all others; None where nothing is shared."""
        if not any(sensor.role == "gross" for sensor in self.sensors):
            return None
        return math.fsum(self._grouped(("counted", "gross"), lambda sensor: sensor.id).values())

    def above(self, idle: Energy) -> float:
        """Joules beyond what the counted sensors would have drawn had they stayed as idle as in ``idle``."""
        idle_w = {s.id: joules / idle.duration_s for s, joules in idle._counted()} if idle.duration_ns > 0 else {}
        observed_s = [ns / NS_PER_S for ns, s in zip(self.observed_ns, self.sensors, strict=True) if s.role in COUNTED]
        beyond = [j - idle_w.get(s.id, 0.0) * seconds for (s, j), seconds in zip(self._counted(), observed_s, strict=True)]
        return max(0.0, math.fsum(beyond))

    @property
    def node_j(self) -> float | None:
        """What the whole machine drew; None without a sensor for it."""
        return math.fsum(nodes.values()) if (nodes := self._grouped(("node",), lambda sensor: sensor.id)) else None

    @property
    def duration_s(self) -> float:
        return self.duration_ns / NS_PER_S

    @property
    def power_w(self) -> float:
        """Mean power; 0.0 for an empty window."""
        return self.joules / self.duration_s if self.duration_ns > 0 else 0.0

    @property
    def measured_fraction(self) -> float | None:
        """Share of the joules that was read from counters or integrated from power; None without joules."""
        joules = self.joules
        if joules <= 0:
            return None
        return math.fsum(j for s, j in self._counted() if s.method != "modelled") / joules

    @property
    def coverage(self) -> float | None:
        """Observed time over the window's, of the counted sensor with the least; None without sensors or time."""
        own = ("counted", "share")
        observed = [ns for ns, s in zip(self.observed_ns, self.sensors, strict=True) if s.role in own]
        if not observed or self.duration_ns <= 0:
            return None
        least_ns = max(0, min(observed))
        return 1.0 if self.duration_ns - least_ns < READING_NS <= self.duration_ns else min(1.0, least_ns / self.duration_ns)

    @property
    def low_j(self) -> float:
        """Lower end of the 95 % interval; a window shorter than the counters' ticks may have used next to nothing."""
        return self.interval_j()[1]

    @property
    def high_j(self) -> float:
        """Upper end of the 95 % interval."""
        return self.interval_j()[2]

    def interval_j(self) -> tuple[float, float, float]:
        """The joules and both ends of their 95 % interval, in one pass: every boundary asks.

        Models, and sensors that name the same bias, add up; boards err independently, and so do the ticks
        at a window's ends: each falls anywhere into a tick, two uniform errors, sigma = P x tick / sqrt(6).
        """
        joules: list[float] = []
        below: dict[str, float] = {}
        above: dict[str, float] = {}
        ticks = 0.0
        for count, sensor in zip(self.counts, self.sensors, strict=True):
            if sensor.role not in COUNTED:
                continue
            counted = count * sensor.unit_j
            joules.append(counted)
            key = sensor.bias or (sensor.method if sensor.method == "modelled" else sensor.id)
            below[key] = below.get(key, 0.0) + abs(counted) * sensor.low
            above[key] = above.get(key, 0.0) + abs(counted) * sensor.high
            ticks += (counted * sensor.tick_s) ** 2
        total = math.fsum(joules)
        tick = Z95 * math.sqrt(ticks / 6) / self.duration_s if self.duration_ns > 0 else 0.0
        low = min(total, max(0.0, total - math.hypot(*below.values(), tick)))
        return total, low, total + math.hypot(*above.values(), tick)

    def _counted(self) -> list[tuple[Sensor, float]]:
        return [(s, count * s.unit_j) for count, s in zip(self.counts, self.sensors, strict=True) if s.role in COUNTED]

    def _grouped(self, roles: Container[str], key: Callable[[Sensor], str]) -> dict[str, float]:
        groups: dict[str, list[float]] = {}
        for count, sensor in zip(self.counts, self.sensors, strict=True):
            if sensor.role in roles:
                groups.setdefault(key(sensor), []).append(count * sensor.unit_j)
        return {name: math.fsum(values) for name, values in groups.items()}

    def to_dict(self) -> dict[str, Any]:
        return {
            "sensors": [sensor.to_dict() for sensor in self.sensors],
            "counts": list(self.counts),
            "observed_ns": list(self.observed_ns),
            "duration_ns": self.duration_ns,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(
            tuple(Sensor(**sensor) for sensor in data["sensors"]),
            tuple(data["counts"]),
            tuple(data["observed_ns"]),
            data["duration_ns"],
        )


_FILL_SENSORS, _FILL_COUNTS, _FILL_OBSERVED_NS, _FILL_DURATION_NS = (vars(Energy)[name].__set__ for name in Energy.__slots__)


def united(energies: Iterable[Energy]) -> Energy:
    """What several processes of a host saw of the same time, each sensor once: as who observed it longest counted it.

    A union by sensor id: idempotent, commutative and associative, so that ranks may send theirs twice and
    in any order.
    """
    best: dict[str, tuple[int, int, Sensor]] = {}
    duration_ns = 0
    for energy in energies:
        duration_ns = max(duration_ns, energy.duration_ns)
        for sensor, count, observed_ns in zip(energy.sensors, energy.counts, energy.observed_ns, strict=True):
            known = best.get(sensor.id, (-1, -1, sensor))
            best[sensor.id] = max(known, (observed_ns, count, sensor), key=lambda seen: seen[:2])
    rows = [best[name] for name in sorted(best)]
    counts, observed = tuple(count for _, count, _ in rows), tuple(observed_ns for observed_ns, _, _ in rows)
    return Energy(tuple(sensor for _, _, sensor in rows), counts, observed, duration_ns)
