"""Grams beside something that a person knows."""

from __future__ import annotations

from fitprint.data import table
from fitprint.units import format_duration, significant

SMALLEST_COUNT = 0.1
LAMP_W = 10.0


def equivalent(co2e_g: float, energy_j: float) -> str:
    """Say a footprint as something everyday: the largest activity of which it is at least a tenth.

    Runs smaller than all of them are said as the time for which their energy lights a lamp.

    Args:
        co2e_g: Grams of CO2e.
        energy_j: Joules.

    Example:
        >>> equivalent(250.0, 2e6)
        'as much as 1.5 km in a petrol car'
        >>> equivalent(0.005, 36.0)
        'the energy of a 10 W lamp for 3.6 s'
    """
    rows = sorted(table("equivalences"), key=lambda row: float(row["g_co2e"]))
    fitting = [row for row in rows if co2e_g >= SMALLEST_COUNT * float(row["g_co2e"])]
    if not fitting:
        return f"the energy of a {LAMP_W:g} W lamp for {format_duration(energy_j / LAMP_W)}"
    row = fitting[-1]
    count = co2e_g / float(row["g_co2e"])
    name = row["singular"] if abs(count - 1) < 0.05 else row["plural"]
    return f"as much as {significant(count, 2)} {name}"
