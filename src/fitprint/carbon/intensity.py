"""Grams of CO2e per kilowatt-hour, with an interval and a source."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fitprint.assumption import Assumption
from fitprint.carbon.grid import WORLD, find_region, spread
from fitprint.carbon.place import Place
from fitprint.errors import refusal

# How far published yearly averages of one country lie apart: 349.7 (eGRID 2023, direct), 384.4
# (Ember 2025, life cycle) and 414 g/kWh (Electricity Maps) for the United States.
COUNTRY_LOW, COUNTRY_HIGH = 0.10, 0.10
# More than lignite alone emits over its life cycle; a larger figure is a wrong unit.
LARGEST_G_PER_KWH = 2000.0


@dataclass(frozen=True, slots=True)
class Intensity:
    """Carbon intensity of the electricity that the run used.

    Attributes:
        g_per_kwh: Grams of CO2e per kWh.
        low_g_per_kwh: Lower end of its 95 % interval.
        high_g_per_kwh: Upper end of its 95 % interval.
        year: Year of the figure, or None.
        source: Where it comes from.
        basis: What it counts (life cycle or direct; average or marginal).
    """

    g_per_kwh: float
    low_g_per_kwh: float
    high_g_per_kwh: float
    year: int | None
    source: str
    basis: str

    def assumption(self) -> Assumption:
        return Assumption(
            "intensity",
            self.g_per_kwh,
            self.low_g_per_kwh,
            self.high_g_per_kwh,
            "g/kWh",
            self.source,
            self.year,
            self.basis,
        )


def check_intensity(g_per_kwh: float, what: str = "intensity") -> float:
    """Return the figure if it can be grams per kWh.

    Raises:
        ConfigError: If it is zero, negative, not finite, or so large that the unit must be wrong.
    """
    if isinstance(g_per_kwh, bool) or not math.isfinite(g_per_kwh) or not 0 < g_per_kwh <= LARGEST_G_PER_KWH:
        raise refusal(what, expected=f"grams of CO2e per kWh, more than 0 and at most {LARGEST_G_PER_KWH:g}", came=g_per_kwh)
    return float(g_per_kwh)


def given_intensity(g_per_kwh: float, given_by: str) -> Intensity:
    """A figure that the user answers for: it has no interval of ours."""
    return Intensity(g_per_kwh, g_per_kwh, g_per_kwh, None, f"given by {given_by}", "as given")


def yearly_intensity(place: Place) -> Intensity:
    """The yearly average of a place. An unknown place gets the range of nearly all countries.

    A guessed place keeps its own country's interval: the guess is said where the figure is printed.
    """
    row = find_region(place.code)
    low, high = row.g_per_kwh * (1 - COUNTRY_LOW), row.g_per_kwh * (1 + COUNTRY_HIGH)
    if place.code == WORLD:
        low, high = spread()
    return Intensity(row.g_per_kwh, low, high, row.year, row.source, row.basis)
