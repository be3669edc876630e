"""Energy to grams: energy x node factor x PUE x intensity, and how sure the product is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fitprint.assumption import Assumption
from fitprint.carbon.intensity import Intensity
from fitprint.carbon.place import Place
from fitprint.energy import Energy
from fitprint.units import kwh


@dataclass(frozen=True, slots=True)
class Grams:
    """CO2e in grams with its 95 % interval."""

    central: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Factors:
    """The factors of one run.

    Attributes:
        place: Where it runs.
        intensity: Grid carbon intensity.
        pue: Facility power over IT power, with its interval.
        node_factor: Wall power over the sensors' sum, with its interval.
    """

    place: Place
    intensity: Intensity
    pue: Assumption
    node_factor: Assumption

    @property
    def facility(self) -> float:
        """Node factor x PUE."""
        return float(self.pue.value or 1) * float(self.node_factor.value or 1)

    @property
    def g_per_j(self) -> float:
        """Grams of CO2e per joule at the sensors."""
        return kwh(self.facility * self.intensity.g_per_kwh)

    def facility_kwh(self, energy: Energy) -> float:
        """Energy including the machine's and the building's losses."""
        return kwh(energy.joules) * self.facility

    def grams(self, energy: Energy) -> Grams:
        """Operational CO2e. Relative half-widths add in quadrature, each side apart.

        Where the lower ones add up to more than the whole, the product of all lower ends is the end.
        """
        joules = energy.joules
        central = joules * self.g_per_j
        if joules <= 0:
            return Grams(0.0, 0.0, 0.0)
        lows = [energy.low_j / joules, *(low for low, _ in self._relative())]
        highs = [energy.high_j / joules, *(high for _, high in self._relative())]
        low = max(1 - math.hypot(*(1 - low for low in lows)), math.prod(lows))
        return Grams(central, central * low, central * (1 + math.hypot(*(high - 1 for high in highs))))

    def assumptions(self) -> tuple[Assumption, ...]:
        """What grams rest on beside the energy."""
        place = self.place
        region = Assumption("region", place.code, None, None, "", place.name, None, place.found_by)
        return region, self.intensity.assumption(), self.pue, self.node_factor

    def _relative(self) -> list[tuple[float, float]]:
        """Lower and upper ends over the central value, of the three factors."""
        rows = (self.intensity.assumption(), self.pue, self.node_factor)
        return [(float(row.low or 0) / float(row.value or 1), float(row.high or 0) / float(row.value or 1)) for row in rows]
