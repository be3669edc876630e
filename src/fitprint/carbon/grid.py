"""Yearly carbon intensity of electricity by country, from the table that ships with the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fitprint.data import table
from fitprint.errors import refusal

WORLD = "WORLD"
# Codes that people write and ISO 3166 does not have.
ALIASES = {"UK": "GB", "EL": "GR", "ENGLAND": "GB", "SCOTLAND": "GB"}


@dataclass(frozen=True, slots=True)
class GridRow:
    """Grams of CO2e per kWh of one region's electricity."""

    code: str
    name: str
    g_per_kwh: float
    year: int
    source: str
    basis: str


def find_region(text: str) -> GridRow:
    """Look up a country by ISO code (two or three letters) or English name, without regard to case.

    Raises:
        ConfigError: If there is no such country in the table; a near one is offered.
    """
    wanted = ALIASES.get(text.strip().upper(), text.strip()).casefold()
    for row in table("grid"):
        if wanted in (row["code"].casefold(), row["alpha3"].casefold(), row["name"].casefold()) and wanted:
            return _row(row)
    expected = "an ISO 3166 country code such as 'FR' or a country's English name"
    near, hint = _fix(text)
    raise refusal("region", expected=expected, came=text, near=near, hint=hint)


def spread(share: float = 0.95) -> tuple[float, float]:
    """The range that holds so many of all countries, in g/kWh: what not knowing the place means."""
    values = sorted(float(row["g_per_kwh"]) for row in table("grid") if row["code"] != WORLD)
    cut = round(len(values) * (1 - share) / 2)
    return values[cut], values[-1 - cut]


def _fix(text: str) -> tuple[list[str], str]:
    """Near names, or the fix itself where it is certain. Two-letter codes are near to everything."""
    country = text.strip().upper().partition("-")[0]
    if country in ALIASES or country in (row["code"] for row in table("grid")):
        return [], f"Did you mean {ALIASES.get(country, country)!r}? (whole countries only)"
    return ([row["name"] for row in table("grid")] if len(text.strip()) > 3 else []), ""


def _row(row: Mapping[str, str]) -> GridRow:
    return GridRow(row["code"], row["name"], float(row["g_per_kwh"]), int(row["year"]), row["source"], row["basis"])
