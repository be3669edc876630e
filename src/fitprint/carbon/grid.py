"""Yearly carbon intensity of electricity by place: countries, parts of them and cloud regions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from fitprint.carbon.clouds import PROVIDERS, CloudRegion, cloud_regions, degrees, find_cloud
from fitprint.carbon.region_names import ALIASES, fix, folded
from fitprint.data import table
from fitprint.errors import refusal

WORLD = "WORLD"
EXPECTED = (
    "a country ('FR', 'France'), a part of one ('US-CA', 'CA-QC', 'SE-SE3', 'US-EGRID-CAMX') or a cloud region ('gcp:europe-west1')"
)


class GridRow(NamedTuple):
    """Grams of CO2e per kWh of one place's electricity.

    Attributes:
        code: For example ``FR``, ``US-CA``, ``US-EGRID-CAMX``, ``SE-SE3`` or ``gcp:europe-west1``.
        name: In English.
        level: ``world``, ``country``, ``state``, ``subregion`` (of eGRID), ``province``, ``zone`` or ``cloud``.
        parent: Code of the place that it is a part of; empty for the world.
        figure_of: Code of the place whose figure this is: its own, but for a cloud that publishes none.
        g_per_kwh: Yearly average.
        year: The year that the figure describes.
        basis_kind: ``lifecycle``, ``direct`` or ``mixed``. Figures of two kinds cannot be compared.
        source: Where the figure comes from.
        basis: What it counts.
        licence: Under which it may be passed on.
        latitude: Of the largest city in degrees, of a cloud region's city; None if unknown.
        longitude: Of the same.
    """

    code: str
    name: str
    level: str
    parent: str
    figure_of: str
    g_per_kwh: float
    year: int
    basis_kind: str
    source: str
    basis: str
    licence: str
    latitude: float | None
    longitude: float | None


def find_region(text: str) -> GridRow:
    """Look up a place by code or English name, without regard to case, blanks and accents.

    Raises:
        ConfigError: If the table has no such place, or two of them; the fix is offered where there is one.

    Example:
        >>> find_region("France").code, find_region("se3").code, find_region("GCP:europe-west1").level
        ('FR', 'SE-SE3', 'cloud')
    """
    found = _by_name().get(folded(text), ())
    if len(found) == 1:
        return found[0]
    cloud = find_cloud(text)
    if cloud is not None:
        return _by_code()[cloud.code]
    raise refusal("region", expected=EXPECTED, came=text, hint=fix(text, _by_name()))


def rows(level: str | None = None) -> tuple[GridRow, ...]:
    """Every place, or those of one level."""
    return tuple(row for row in _by_code().values() if level in (None, row.level))


def in_basis(row: GridRow, basis_kind: str) -> GridRow | None:
    """The place itself, or the smallest larger one inside its country, whose figure is of that kind.

    Places can be ranked only in one basis. None where the country has no such figure: the world's says
    nothing about it.
    """
    while row.basis_kind != basis_kind and row.parent:
        row = _by_code()[row.parent]
    return row if row.basis_kind == basis_kind and row.level != "world" else None


def spread(share: float = 0.95) -> tuple[float, float]:
    """The range that holds so many of all countries, in g/kWh: what not knowing the place means."""
    values = sorted(row.g_per_kwh for row in rows("country"))
    cut = round(len(values) * (1 - share) / 2)
    return values[cut], values[-1 - cut]


@cache
def _by_code() -> Mapping[str, GridRow]:
    places = {row["code"]: _row(row) for row in table("grid")}
    clouds = zip(cloud_regions(), table("cloud_regions"), strict=True)
    return places | {cloud.code: _cloud_row(cloud, row, places[cloud.place]) for cloud, row in clouds}


@cache
def _by_name() -> Mapping[str, tuple[GridRow, ...]]:
    """Places by every name that people write; two of them where they share it. Clouds have codes only."""
    found: dict[str, tuple[GridRow, ...]] = {}
    for row in table("grid"):
        for name in {folded(name) for name in _names(row)} - {""}:
            found[name] = (*found.get(name, ()), _by_code()[row["code"]])
    return found


def _names(row: Mapping[str, str]) -> tuple[str, ...]:
    """``US-EGRID-CAMX`` is written ``eGRID-CAMX`` and ``CAMX`` too, ``SE-SE3`` also ``SE3``."""
    short: tuple[str, ...] = ()
    if row["level"] in ("subregion", "zone"):
        short = (row["code"].partition("-")[2], row["code"].rpartition("-")[2])
    return (row["code"], row["alpha3"], row["name"], *short, *ALIASES.get(row["code"], ()))


def _cloud_row(cloud: CloudRegion, row: Mapping[str, str], place: GridRow) -> GridRow:
    """A cloud region with the figure of its cloud, else with that of the place where it stands."""
    if row["g_per_kwh"]:
        return _row({**row, "code": cloud.code, "name": cloud.name, "level": "cloud", "parent": place.code})
    return place._replace(
        code=cloud.code,
        name=cloud.name,
        level="cloud",
        parent=place.code,
        basis=f"{place.basis}; of {place.name}: {PROVIDERS[cloud.provider]} publishes no figure of its grids",
        latitude=cloud.latitude,
        longitude=cloud.longitude,
    )


def _row(row: Mapping[str, str]) -> GridRow:
    return GridRow(
        code=row["code"],
        name=row["name"],
        level=row["level"],
        parent=row["parent"],
        figure_of=row["code"],
        g_per_kwh=float(row["g_per_kwh"]),
        year=int(row["year"]),
        basis_kind=row["basis_kind"],
        source=row["source"],
        basis=row["basis"],
        licence=row["licence"],
        latitude=degrees(row["latitude"]),
        longitude=degrees(row["longitude"]),
    )
