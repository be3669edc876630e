"""A run as a row of the tab's table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fitprint.carbon.equivalences import equivalent
from fitprint.footprint import Footprint
from fitprint.units import J_PER_WH, format_co2e, format_duration, format_energy, format_share, format_used
from fitprint_tensorboard.events import Source


def row_of(source: Source, last: Mapping[str, float], record: Footprint | None) -> dict[str, Any]:
    """Numbers to sort by, and the texts to show with their units.

    Args:
        source: The run.
        last: Its latest scalars.
        record: Its latest record, older than the scalars while the run lasts; None where none was written.
    """
    ended = record is not None and record.status != "running"
    co2e_g = record.co2e_g if record is not None and ended else last.get("total_co2e_g")
    energy_wh = last.get("total_energy_wh")
    energy_j = record.energy_j if record is not None and ended else None if energy_wh is None else energy_wh * J_PER_WH
    return {
        "run": source.run,
        "co2e_g": co2e_g,
        "energy_j": energy_j,
        "co2e": format_co2e(co2e_g),
        "energy": format_energy(energy_j),
        "measured": format_share(last.get("measured_fraction")),
        "budget": format_used(last["budget_used"]) if "budget_used" in last else "",
        "equivalent": equivalent(co2e_g, energy_j or 0.0) if co2e_g else "",
        **_of_record(record, ended),
    }


def _of_record(record: Footprint | None, ended: bool) -> dict[str, Any]:
    """What the record alone knows."""
    if record is None:
        return dict.fromkeys(("name", "status", "started_at", "interval", "time", "place", "stopped"), "") | {"duration_s": None}
    known = ended and record.co2e_low_g is not None and record.co2e_high_g is not None
    return {
        "name": record.name or "",
        "status": record.status,
        "started_at": record.started_at,
        "duration_s": record.duration_s,
        "interval": f"{format_co2e(record.co2e_low_g)} to {format_co2e(record.co2e_high_g)}" if known else "",
        "time": format_duration(record.duration_s) if ended else "",
        "place": place_of(record)[1],
        "stopped": str((record.stop_reason or {}).get("sentence", "")),
    }


def place_of(record: Footprint) -> tuple[str, str]:
    """Code and name of the place whose electricity was assumed; empty where none was."""
    rows = [row for row in record.assumptions if row.get("name") == "region"]
    return (str(rows[0].get("value", "")), str(rows[0].get("source", ""))) if rows else ("", "")
