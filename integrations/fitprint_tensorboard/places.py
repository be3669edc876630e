"""The same run elsewhere."""

from __future__ import annotations

from typing import Any

from fitprint.carbon.grid import find_region
from fitprint.elsewhere import Elsewhere, rank_places
from fitprint.errors import ConfigError
from fitprint.footprint import Footprint
from fitprint.units import J_PER_KWH, format_co2e, format_energy, significant
from fitprint_tensorboard.rows import place_of

SHOWN = 15


def places_of(record: Footprint | None) -> dict[str, Any] | None:
    """What the run's energy would emit in other places, the cleanest first; None where its energy is not known."""
    if record is None or not record.facility_energy_kwh or not record.facility_energy_kwh > 0:
        return None
    here, name = place_of(record)
    ranked = [place for place in rank_places(record.facility_energy_kwh) if place.rank is not None]
    shown = ranked[:SHOWN] + [place for place in ranked[SHOWN:] if place.code == here]
    basis = shown[0].basis_kind
    return {
        "energy": format_energy(record.facility_energy_kwh * J_PER_KWH),
        "co2e": format_co2e(record.co2e_g),
        "basis": basis,
        "of": len(ranked),
        "sources": list(dict.fromkeys(place.source for place in shown)),
        "places": [_place(place, here) for place in shown],
        "apart": "" if here in {"", *(place.code for place in shown)} else _apart(here, name, basis),
    }


def _apart(code: str, name: str, basis: str) -> str:
    """Why the run's own place is not between the others: grams of two kinds of figures are not compared."""
    said = f"{name} (here) is not ranked with them"
    try:
        kind = find_region(code).basis_kind
    except ConfigError:  # a place of another version
        return f"{said}."
    return f"{said}: its figures are {kind}." if kind != basis else f"{said}."


def _place(place: Elsewhere, here: str) -> dict[str, Any]:
    return {
        "rank": place.rank,
        "name": place.name,
        "code": place.code,
        "here": place.code == here,
        "co2e_g": place.co2e_g,
        "co2e": format_co2e(place.co2e_g),
        "interval": f"{format_co2e(place.co2e_low_g)} to {format_co2e(place.co2e_high_g)}",
        "intensity": f"{significant(place.g_per_kwh)} g/kWh",
        "year": place.year,
    }
