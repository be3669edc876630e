"""The same work in other places: how much it would emit there, cleanest first, in one basis."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fitprint.carbon.clouds import ALIASES, PROVIDERS, cloud_regions
from fitprint.carbon.figure import number
from fitprint.carbon.grid import GridRow, find_region, rows
from fitprint.carbon.intensity import yearly_intensity
from fitprint.carbon.place import Place
from fitprint.errors import ConfigError, refusal

EARTH_RADIUS_KM = 6371.0
# Subregions of eGRID lie across the states, which are in the list already.
LEFT_OUT = ("world", "cloud", "subregion")
ALL = "all"
BASES = ("lifecycle", "direct", "mixed")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The work in one place.

    Attributes:
        rank: From 1, the cleanest; None where the figure is of another basis and cannot be ranked.
        code: For example ``FR``, ``US-CA`` or ``gcp:europe-west1``.
        name: In English.
        co2e_g: Grams of CO2e there.
        co2e_low_g: Lower end of the 95 % interval, of the place's intensity alone.
        co2e_high_g: Upper end of it.
        g_per_kwh: Carbon intensity of its electricity.
        basis_kind: ``lifecycle``, ``direct`` or ``mixed``.
        year: Year of the figure.
        source: Where it comes from.
        basis: What it counts.
        distance_km: From the place that was asked for; None without one.
    """

    rank: int | None
    code: str
    name: str
    co2e_g: float
    co2e_low_g: float
    co2e_high_g: float
    g_per_kwh: float
    basis_kind: str
    year: int
    source: str
    basis: str
    distance_km: float | None

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def rank_places(
    energy_kwh: float,
    *,
    provider: str | None = None,
    country: str | None = None,
    near: str | None = None,
    within_km: float | None = None,
    basis: str | None = None,
) -> tuple[Elsewhere, ...]:
    """What the same energy emits in other places: the cleanest first, those of another basis after them without a rank.

    Args:
        energy_kwh: At the meter of the building; it is the same everywhere.
        provider: A cloud, or ``all``: its regions instead of countries and their parts.
        country: Only places in it.
        near: Place from which distances are told: between largest cities, or cities of cloud regions.
        within_km: Only places at most so far from ``near``.
        basis: Figures to rank: ``lifecycle``, ``direct`` or ``mixed``; by default those that most of the places have.

    Raises:
        ConfigError: If a value makes no sense, or a place is unknown.
    """
    if not number(energy_kwh) > 0:
        raise refusal("energy_kwh", expected="kilowatt-hours, more than 0", came=energy_kwh)
    places = _of_country(_of_provider(provider), country)
    measured = _near(places, near, within_km)
    if not measured:
        raise ConfigError("No place fits all of provider, country and distance. Leave one of them out.")
    kind = _basis(basis, [row for row, _ in measured])
    ordered = sorted(measured, key=lambda pair: (pair[0].basis_kind != kind, pair[0].g_per_kwh, pair[0].code))
    return tuple(
        _elsewhere(row, km, energy_kwh, position if row.basis_kind == kind else None)
        for position, (row, km) in enumerate(ordered, start=1)
    )


def _of_provider(provider: str | None) -> list[GridRow]:
    """Countries and their parts, or the regions of a cloud."""
    if provider is None:
        return [row for row in rows() if row.level not in LEFT_OUT]
    known = sorted({region.provider for region in cloud_regions()})
    wanted = ALIASES.get(provider.strip().casefold(), provider.strip().casefold())
    if wanted not in (ALL, *known):
        raise refusal("provider", expected=f"{', '.join(known)} or {ALL}", came=provider, near=[*known, ALL, *PROVIDERS.values()])
    return [row for row in rows("cloud") if wanted in (ALL, row.code.partition(":")[0])]


def _of_country(places: Iterable[GridRow], country: str | None) -> list[GridRow]:
    if country is None:
        return list(places)
    wanted = find_region(country)
    if wanted.level != "country":
        raise refusal("country", expected="a country", came=country, hint=f"{wanted.name} is a {wanted.level}.")
    return [row for row in places if wanted.code in _lineage(row)]


def _lineage(row: GridRow) -> list[str]:
    """Codes of a place and of all that it is a part of."""
    codes = [row.code]
    while row.parent:
        row = find_region(row.parent)
        codes.append(row.code)
    return codes


def _near(places: Sequence[GridRow], near: str | None, within_km: float | None) -> list[tuple[GridRow, float | None]]:
    """Places with their distances; those without coordinates cannot be near."""
    if within_km is not None and not number(within_km) > 0:
        raise refusal("within_km", expected="kilometres, more than 0", came=within_km)
    if near is None:
        if within_km is not None:
            raise refusal("within_km", expected="a place to measure from", came=within_km, hint="Say where you are with near.")
        return [(row, None) for row in places]
    start = find_region(near)
    if _position(start) is None:
        raise refusal("near", expected="a place of which we know coordinates", came=near)
    measured = [(row, _distance_km(start, row)) for row in places]
    return [(row, km) for row, km in measured if within_km is None or (km is not None and km <= within_km)]


def _position(row: GridRow) -> tuple[float, float] | None:
    return None if row.latitude is None or row.longitude is None else (math.radians(row.latitude), math.radians(row.longitude))


def _distance_km(start: GridRow, end: GridRow) -> float | None:
    """Along the great circle (haversine)."""
    here, there = _position(start), _position(end)
    if here is None or there is None:
        return None
    across, along = math.sin((there[0] - here[0]) / 2), math.sin((there[1] - here[1]) / 2)
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(across**2 + math.cos(here[0]) * math.cos(there[0]) * along**2))


def _basis(wanted: str | None, places: Iterable[GridRow]) -> str:
    """The basis that was asked for, else the one that most of the places have."""
    if wanted is not None and wanted not in BASES:
        raise refusal("basis", expected=f"one of {', '.join(BASES)}", came=wanted, near=BASES)
    had = Counter(row.basis_kind for row in places)
    return wanted or max(BASES, key=lambda kind: had[kind])


def _elsewhere(row: GridRow, km: float | None, energy_kwh: float, rank: int | None) -> Elsewhere:
    grid = yearly_intensity(Place(row.code, row.name, ""))
    return Elsewhere(
        rank=rank,
        code=row.code,
        name=row.name,
        co2e_g=energy_kwh * grid.g_per_kwh,
        co2e_low_g=energy_kwh * grid.low_g_per_kwh,
        co2e_high_g=energy_kwh * grid.high_g_per_kwh,
        g_per_kwh=grid.g_per_kwh,
        basis_kind=row.basis_kind,
        year=row.year,
        source=row.source,
        basis=row.basis,
        distance_km=km,
    )
