"""Energy to grams: energy x node factor x PUE x intensity.

The interval has the relative half-widths of the four in quadrature, each side apart (``figure.product``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from fitprint.assumption import Assumption
from fitprint.carbon.chassis import UNKNOWN, Chassis
from fitprint.carbon.figure import Figure, figure, product
from fitprint.carbon.intensity import Intensity, IntensitySource
from fitprint.carbon.place import Place
from fitprint.carbon.wall import Wall
from fitprint.energy import Energy
from fitprint.sensors.counter import Sensor
from fitprint.units import kwh

AT_SENSORS = Figure(1.0, 1.0, 1.0)


class Grams(NamedTuple):
    """CO2e in grams with its 95 % interval."""

    central: float
    low: float
    high: float


NOTHING = Grams(0.0, 0.0, 0.0)


class Factors(NamedTuple):
    """The factors of one run.

    Attributes:
        place: Where it runs.
        intensity: Grid carbon intensity; where there is a source, what stands in for it.
        pue: Facility power over IT power, with its interval.
        node_factor: Wall power over the sum of the sensors that read below the wall, with its interval.
        hidden_boards: The machine holds boards that draw power and are not counted.
        covered: Parts that are counted inside another part's sensor.
        chassis: What kind of machine it is.
        source: Tells intensities over time, or None where the intensity is a constant.
    """

    place: Place
    intensity: Intensity
    pue: Assumption
    node_factor: Assumption
    hidden_boards: bool = False
    covered: Collection[str] = ()
    chassis: Chassis = UNKNOWN
    source: IntensitySource | None = None

    def node_ratio(self, energy: Energy) -> float:
        """The run's effective node factor: joules at the wall over joules at the sensors."""
        return self._wall.ratio(energy).value

    def wall_j(self, energy: Energy) -> float:
        """Joules at the machine's wall."""
        return energy.joules * self.node_ratio(energy)

    def facility_kwh(self, energy: Energy) -> float:
        """Energy including the machine's and the building's losses."""
        return kwh(self.wall_j(energy)) * float(self.pue.value or 1)

    def g_per_further_j(self, energy: Energy) -> float:
        """Grams of CO2e per further joule at the sensors, if their mix stays as in this energy."""
        return kwh(self.node_ratio(energy) * float(self.pue.value or 1) * self.intensity.g_per_kwh)

    def grams(self, energy: Energy) -> Grams:
        """Operational CO2e with its interval."""
        return self._grams(energy, self._wall.ratio(energy))

    def grams_at_sensors(self, energy: Energy) -> Grams:
        """The same without the node factor: what tools report that stop at the sensors."""
        return self._grams(energy, AT_SENSORS)

    def foreseen_node_factor(self, sensors: Iterable[Sensor]) -> Assumption:
        """The node factor that a run with these sensors will have, as far as it is known before it."""
        return self._wall.foreseen(sensors)

    def assumptions(self, energy: Energy | None = None, *, sensors: Iterable[Sensor] = ()) -> tuple[Assumption, ...]:
        """What grams rest on beside the energy.

        Args:
            energy: The run's, whose effective node factor is told; without it the factor that would be used.
            sensors: What would be read, where there is no energy yet.
        """
        place = self.place
        region = Assumption("region", place.code, None, None, "", place.name, None, place.found_by)
        node_factor = self._wall.foreseen(sensors) if energy is None else self._wall.row(energy)
        return region, self.intensity.assumption(), self.pue, node_factor, *(self._over_time() if energy is None else ())

    def _over_time(self) -> tuple[Assumption, ...]:
        """Which source a run would ask before it takes the intensity."""
        if self.source is None:
            return ()
        name = getattr(self.source, "source", type(self.source).__name__)
        basis = getattr(self.source, "basis", "as given")
        return (Assumption("intensity_source", name, None, None, "", "over time; else the intensity above", None, basis),)

    @property
    def _wall(self) -> Wall:
        return Wall(self.node_factor, self.hidden_boards, self.covered)

    def _grams(self, energy: Energy, node: Figure) -> Grams:
        joules, intensity = Figure(*energy.interval_j()), self.intensity
        if joules.value <= 0:
            return NOTHING
        grid = Figure(intensity.g_per_kwh, intensity.low_g_per_kwh, intensity.high_g_per_kwh)
        return Grams(*map(kwh, product((joules, node, figure(self.pue), grid))))
