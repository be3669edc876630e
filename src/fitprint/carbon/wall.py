"""From joules at the sensors to joules at the machine's wall.

Each part has its factor: that of the run where a sensor reads below the wall, 1 where a model was made
from whole servers' figures, which contain the rest. A sensor of the whole machine takes the place of
both where it feeds nothing but what is counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from fitprint.assumption import Assumption
from fitprint.carbon.figure import Figure, figure
from fitprint.energy import Energy
from fitprint.sensors.counter import Sensor

# The CPUs' own count of the platform: a discrete board is often fed past it.
PSYS = "node:psys"
# What every machine's supply feeds, beside its accelerators.
FED = ("cpu", "dram")
# A ratio of sensors that were seen for less of the time says little about the rest of it.
LEAST_OBSERVED = 0.5
AT_WALL = "1 for parts modelled from figures of whole servers"


class Wall(NamedTuple):
    """How a run's joules become joules at the wall.

    Attributes:
        factor: The factor of parts that are read below the wall. One without an interval is somebody's
            own figure: it holds for the sensors' sum, whatever they are.
        hidden_boards: The machine holds boards that draw power and are not counted.
        covered: Parts that are counted inside another part's sensor.
    """

    factor: Assumption
    hidden_boards: bool = False
    covered: Collection[str] = ()

    def ratio(self, energy: Energy) -> Figure:
        """Joules at the wall over joules at the sensors: 1 at least."""
        factor = figure(self.factor)
        if factor.exact:
            return factor
        sums = _sums(energy)
        if sums.meters and not self._objection(sums, energy.duration_ns):
            return sums.metered()
        return sums.mixed(factor)

    def row(self, energy: Energy) -> Assumption:
        """The effective factor of a run, with what it rests on."""
        ratio, row, sums = self.ratio(energy), self.factor, _sums(energy)
        if figure(row).exact:
            return row
        used = row._replace(value=ratio.value, low=ratio.low, high=ratio.high)
        meters = ", ".join(meter.source for meter, _ in sums.meters)
        objection = self._objection(sums, energy.duration_ns)
        if meters and not objection:
            basis = "energy of the whole machine over that of its counted parts, in this run"
            return used._replace(source=f"measured: {meters}", year=None, basis=basis)
        inside = f"; {AT_WALL}" if sums.at_wall_j else ""
        shown = f"; {meters} is only shown beside it: {objection}" if meters else ""
        return used._replace(basis=f"{row.basis}{inside}{shown}")

    def foreseen(self, sensors: Iterable[Sensor]) -> Assumption:
        """The factor that a run with these sensors will have, as far as it is known before the first joule."""
        row = self.factor
        counted = [sensor.at_wall for sensor in sensors if sensor.role not in ("gross", "node")]
        if figure(row).exact or not any(counted):
            return row
        if all(counted):
            return row._replace(value=1.0, low=1.0, high=1.0, basis=f"{row.basis}; {AT_WALL}")
        return row._replace(basis=f"{row.basis}; where sensors read below the wall, {AT_WALL}")

    def _objection(self, sums: _Sums, duration_ns: int) -> str:
        """Why the sensors of the whole machine cannot tell the factor; empty where they can."""
        left_out = [part for part in FED if part not in sums.parts and part not in self.covered]
        if self.hidden_boards:
            return "it also feeds boards that are not counted"
        if sums.roles & {"share", "overlap"}:
            return "only a share of what it feeds is counted"
        if left_out:
            return f"it also feeds what is not counted ({', '.join(left_out)})"
        if "gpu" in sums.parts and any(meter.id.startswith(PSYS) for meter, _ in sums.meters):
            return "accelerators may be fed past it"
        if sums.least_ns < LEAST_OBSERVED * max(1, duration_ns):
            return "it or what it feeds was seen for less than half of the time"
        return "" if 0 < sums.parts_w <= sums.meters_w else "it reads below the sum of its parts"


@dataclass(slots=True)
class _Sums:
    """What one pass over an energy's sensors tells.

    Attributes:
        below_j: Joules that were read below the wall.
        at_wall_j: Joules that contain everything up to the wall.
        parts_w: Power of the counted parts, each over the time in which it was seen.
        meters: The sensors of the whole machine with the power of each.
        parts: Parts that are counted.
        roles: Roles of the sensors.
        least_ns: Time in which the sensor was seen that was seen least.
    """

    below_j: float = 0.0
    at_wall_j: float = 0.0
    parts_w: float = 0.0
    meters: list[tuple[Sensor, float]] = field(default_factory=list)
    parts: set[str] = field(default_factory=set)
    roles: set[str] = field(default_factory=set)
    least_ns: float = float("inf")

    @property
    def meters_w(self) -> float:
        return sum(watts for _, watts in self.meters)

    def mixed(self, factor: Figure) -> Figure:
        """The factor of the parts that are read below the wall, and 1 of the others, by their joules."""
        joules = self.below_j + self.at_wall_j
        if self.at_wall_j <= 0 or joules <= 0:
            return factor
        share = max(0.0, self.below_j) / joules
        return Figure(*(1 + share * (end - 1) for end in factor))

    def metered(self) -> Figure:
        """Power of the machine over that of its parts: a gap in either changes nothing."""
        value = self.meters_w / self.parts_w
        below = sum(watts * meter.low for meter, watts in self.meters) / self.parts_w
        above = sum(watts * meter.high for meter, watts in self.meters) / self.parts_w
        return Figure(value, max(1.0, value - below), value + above)


def _sums(energy: Energy) -> _Sums:
    sums = _Sums()
    for sensor, count, observed_ns in zip(energy.sensors, energy.counts, energy.observed_ns, strict=True):
        joules, role = count * sensor.unit_j, sensor.role
        if role == "gross":
            continue
        if role != "overlap":
            sums.least_ns = min(sums.least_ns, observed_ns)
        power_w = joules / observed_ns if observed_ns > 0 else 0.0
        if role == "node":
            sums.meters.append((sensor, power_w))
            continue
        sums.roles.add(role)
        sums.parts.add(sensor.part)
        sums.parts_w += power_w
        if sensor.at_wall:
            sums.at_wall_j += joules
        else:
            sums.below_j += joules
    return sums
