"""Grams of CO2e per kilowatt-hour, with an interval and a source."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fitprint.assumption import Assumption
from fitprint.carbon.grid import WORLD, GridRow, find_region, spread
from fitprint.errors import refusal
from fitprint.notices import warn

if TYPE_CHECKING:
    from datetime import datetime

    from fitprint.carbon.place import Place

# What a figure counts: the whole life cycle of the plants and fuels, combustion alone, some of both, the next
# kWh instead of the average one, or what the user says that it counts.
BASIS_KINDS = ("lifecycle", "direct", "mixed", "marginal", "given")
# More than lignite alone emits over its life cycle; a larger figure is a wrong unit.
# No grid has so little; a figure in kg/kWh, as other tools take it, has.
LEAST_G_PER_KWH = 1.0
LARGEST_G_PER_KWH = 2000.0


class Spread(NamedTuple):
    """How far other published figures of a place may lie from its own: shares of it, and g/kWh on top."""

    below: float
    above: float
    above_g_per_kwh: float = 0.0

    def around(self, low_g_per_kwh: float, high_g_per_kwh: float) -> tuple[float, float]:
        """An interval, widened by these."""
        return low_g_per_kwh * (1 - self.below), high_g_per_kwh * (1 + self.above) + self.above_g_per_kwh


# Of figures that the user answers for.
EXACT = Spread(0.0, 0.0)
# What combustion figures leave out: 11 to 48 g/kWh of wind, nuclear, hydro and solar plants (medians of IPCC
# AR5 WG3, annex III), beside the upstream share of fuels, which is in the shares below.
LEFT_OUT_G_PER_KWH = 40.0
# 95 % half-widths by level and basis: Electricity Maps' yearly life-cycle averages of 2025 (consumption, ODbL,
# compared here and not part of any table) beside the tables' figures.
SPREADS = {
    # Holds 42 of the 44 largest economies: the United States 349.7 (eGRID, direct), 384.4 and 414 among them.
    ("country", "lifecycle"): Spread(0.30, 0.35),
    # All nine: SE1 15 beside 25.9 at the lower end, SE4 37 beside 24.7 at the upper one.
    ("zone", "lifecycle"): Spread(0.45, 0.50),
    # 91 of 102 pairs of a state or subregion with a grid operator in it; outside are mostly states that sell or
    # buy most of their power (Vermont, South Dakota). Northern Virginia: 270 (eGRID), 343 (Google), 416, 418.
    ("state", "direct"): Spread(0.45, 1.0, LEFT_OUT_G_PER_KWH),
    ("subregion", "direct"): Spread(0.45, 1.0, LEFT_OUT_G_PER_KWH),
    # All thirteen: Alberta 385 beside 635 (its gas factor is high), Manitoba 74 beside 31.5.
    ("province", "mixed"): Spread(0.45, 0.20, LEFT_OUT_G_PER_KWH),
    # Nothing to compare China's provinces with: a country's shares, and what combustion figures leave out.
    ("province", "direct"): Spread(0.30, 0.35, LEFT_OUT_G_PER_KWH),
    # 38 of Google's 39; downwards the change of one year, 2024 to 2025 (Warsaw: 643 to 499).
    ("cloud", "direct"): Spread(0.25, 0.30, LEFT_OUT_G_PER_KWH),
}


class IntensitySource(Protocol):
    """Carbon intensity of electricity over time."""

    def between(self, start: datetime, end: datetime) -> Intensity | None:
        """The time-weighted mean over a stretch of time, without any input or output.

        Args:
            start: With its zone.
            end: With its zone, not before the start; the start itself asks for the figure of that instant.

        Returns:
            None where the source does not know: the caller falls back, and says so.
        """


class Intensity(NamedTuple):
    """Carbon intensity of the electricity that the run used.

    Attributes:
        g_per_kwh: Grams of CO2e per kWh.
        low_g_per_kwh: Lower end of its 95 % interval.
        high_g_per_kwh: Upper end of its 95 % interval.
        year: Year of the figure, or None.
        source: Where it comes from.
        basis: What it counts (life cycle or direct; average or marginal), for people.
        basis_kind: One of ``BASIS_KINDS``. Only figures of one kind may be ranked or averaged together.
    """

    g_per_kwh: float
    low_g_per_kwh: float
    high_g_per_kwh: float
    year: int | None
    source: str
    basis: str
    basis_kind: str = "given"

    def between(self, start: datetime, end: datetime) -> Intensity:
        """Itself: a constant is a source that knows every time."""
        return self

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
    """A figure that the user answers for: it has no interval of ours. One that no grid has is asked about."""
    if g_per_kwh < LEAST_G_PER_KWH:
        text = "intensity=%g is taken as %g g of CO2e per kWh. Is it g, not kg? Of kilograms write intensity=%g."
        warn(text, g_per_kwh, g_per_kwh, 1000 * g_per_kwh)
    return Intensity(g_per_kwh, g_per_kwh, g_per_kwh, None, f"given by {given_by}", "as given")


def yearly_intensity(place: Place) -> Intensity:
    """The yearly average of a place. An unknown place gets the range of nearly all countries.

    A guessed place keeps its own interval: the guess is said where the figure is printed. Figures that
    leave life-cycle emissions out have an interval that reaches up to them.
    """
    row = find_region(place.code)
    low, high = spread() if row.code == WORLD else _interval(row)
    basis = row.basis if row.basis_kind == "lifecycle" else f"{row.basis}; the interval reaches up to life-cycle figures"
    return Intensity(row.g_per_kwh, low, high, row.year, row.source, basis, row.basis_kind)


def _interval(row: GridRow) -> tuple[float, float]:
    return SPREADS[find_region(row.figure_of).level, row.basis_kind].around(row.g_per_kwh, row.g_per_kwh)
