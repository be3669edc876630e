"""Grams beside something that a person knows."""

from __future__ import annotations

from fitprint.data import table
from fitprint.units import significant

SMALLEST_COUNT = 0.1


def equivalent(co2e_g: float) -> str:
    """Say a mass as an everyday activity: the largest one of which it is at least a tenth.

    Example:
        >>> equivalent(250.0)
        'as much as 1.5 km in a petrol car'
    """
    rows = sorted(table("equivalences"), key=lambda row: float(row["g_co2e"]))
    fitting = [row for row in rows if co2e_g >= SMALLEST_COUNT * float(row["g_co2e"])]
    if not fitting:
        return f"less than a tenth of one {rows[0]['singular']}"
    row = fitting[-1]
    count = co2e_g / float(row["g_co2e"])
    name = row["singular"] if abs(count - 1) < 0.05 else row["plural"]
    return f"as much as {significant(count, 2)} {name}"
