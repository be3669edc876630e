"""The same run elsewhere."""

from __future__ import annotations

from typing import Any

from fitprint.elsewhere import Elsewhere, rank_places
from fitprint.footprint import Footprint
from fitprint.units import J_PER_KWH, format_co2e, format_energy, significant
from fitprint_tensorboard.rows import place_of

SHOWN = 15


def places_of(record: Footprint | None) -> dict[str, Any] | None:
    """What the run's energy would emit in other places, the cleanest first; None where its energy is not known."""
    if record is None or not record.facility_energy_kwh or not record.facility_energy_kwh > 0:
        return None
    here, _ = place_of(record)
    ranked = [place for place in rank_places(record.facility_energy_kwh) if place.rank is not None]
    shown = ranked[:SHOWN] + [place for place in ranked[SHOWN:] if place.code == here]
    return {
        "energy": format_energy(record.facility_energy_kwh * J_PER_KWH),
        "co2e": format_co2e(record.co2e_g),
        "basis": shown[0].basis_kind,
        "of": len(ranked),
        "sources": list(dict.fromkeys(place.source for place in shown)),
        "places": [_place(place, here) for place in shown],
    }


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
