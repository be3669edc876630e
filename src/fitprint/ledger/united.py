"""What several ranks of a job knew of their run, brought together.

Of use where the rank that writes the ledger was killed, and where each machine has a ledger of its own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fitprint.footprint import Footprint
from fitprint.sensors.counter import COUNTED

# By these a run has ended on all ranks alike.
ENDED_TOGETHER = ("completed", "stopped")


def united(a: Footprint, b: Footprint) -> Footprint:
    """One record of what two ranks knew: each sensor as the one knows it that knows more of it.

    A union by sensor: done twice, or the other way round, its joules are the same. What the record that has come less far
    knows beyond the other lies outside of epochs; its grams are those of the machine that the sensor belongs to.

    Args:
        a: The run as one rank has recorded it.
        b: The same run as another has.
    """
    less, most = sorted((a, b), key=_progress)
    known = {row["id"]: row for row in most.sensors}
    more = [row for row in less.sensors if _joules(row) > _joules(known.get(row["id"], {}))]
    if not more:
        return most
    gained = [(row, _joules(row) - _joules(known.get(row["id"], {}))) for row in more if row.get("role", "counted") in COUNTED]
    joules = math.fsum(gain for _, gain in gained)
    parts, hosts = dict(most.by_part), dict[str, float]()
    for row, gain in gained:
        parts[row["part"]] = parts.get(row["part"], 0.0) + gain
        hosts[_host_of(row["id"])] = hosts.get(_host_of(row["id"]), 0.0) + gain
    grams = {host: gain * _grams_per_j(less, host) for host, gain in hosts.items()}
    further: dict[str, Any] = {name: _plus(getattr(most, name), joules) for name in _JOULES}
    for name in _GRAMS:
        width = (getattr(less, name) or 0.0) / less.co2e_g if less.co2e_g else 1.0
        further[name] = _plus(getattr(most, name), math.fsum(grams.values()) * width)
    if less.facility_energy_kwh and less.energy_j:
        per_j = less.facility_energy_kwh / less.energy_j
        further["facility_energy_kwh"] = _plus(most.facility_energy_kwh, joules * per_j)
    return replace(
        most,
        **further,
        by_part=parts,
        phases={**most.phases, "other": most.phases.get("other", 0.0) + joules},
        sensors=tuple({**known, **{row["id"]: row for row in more}}.values()),
        segments=_segments(less, most, hosts, grams),
    )


_JOULES = ("energy_j", "energy_low_j", "energy_high_j", "outside_epochs_j")
_GRAMS = ("co2e_g", "co2e_low_g", "co2e_high_g")


def _segments(less: Footprint, most: Footprint, joules: Mapping[str, float], grams: Mapping[str, float]) -> tuple[Any, ...]:
    """The rows of machines, with what was gained on each in its last one."""
    rows = [dict(row) for row in most.segments]
    for host, gain in joules.items():
        row = _last(rows, host)
        if row is None and (only := _last(less.segments, host)) is not None:
            rows.append(row := {**only, "energy_j": 0.0, "co2e_g": 0.0})
        if row is not None:
            row |= {"energy_j": _plus(row["energy_j"], gain), "co2e_g": _plus(row["co2e_g"], grams[host])}
    return tuple(rows)


def _last(rows: Iterable[Any], host: str) -> Any:
    return next((row for row in reversed(tuple(rows)) if row["host"] == host), None)


def _host_of(sensor_id: str) -> str:
    """The machine in the name that a sensor has in a job; those of the first one have none."""
    named = re.match(r"(?:rank-\d+:)?(host-\d+):", sensor_id)
    return named[1] if named else "host-1"


def _grams_per_j(record: Footprint, host: str) -> float:
    """Of a machine where it is known, else of the whole run."""
    rows = [
        (row["energy_j"], row["co2e_g"]) for row in record.segments if row["host"] == host and row["energy_j"] and row["co2e_g"]
    ]
    joules = math.fsum(energy_j for energy_j, _ in rows)
    if joules:
        return math.fsum(co2e_g for _, co2e_g in rows) / joules
    return (record.co2e_g or 0.0) / record.energy_j if record.energy_j else 0.0


def _progress(record: Footprint) -> tuple[int, float, str]:
    return len(record.epochs), record.energy_j or 0.0, json.dumps([dict(row) for row in record.sensors], sort_keys=True)


def _joules(row: Mapping[str, Any]) -> float:
    return row.get("energy_j") or 0.0


def _plus(value: float | None, more: float) -> float:
    return (value or 0.0) + more
