"""What several ranks of a job knew of their run, brought together: of use where the one that writes the ledger was killed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fitprint.footprint import Footprint
from fitprint.sensors.counter import COUNTED

# By these a run has ended on all ranks alike.
ENDED_TOGETHER = ("completed", "stopped")


def united(a: Footprint, b: Footprint) -> Footprint:
    """One record of what two ranks knew: each sensor as the one knows it that knows more of it.

    A union by sensor: done twice, or the other way round, its joules are the same. What the record that has come less far
    knows beyond the other lies outside of epochs.

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
    per_j = (less.co2e_g or 0.0) / less.energy_j if less.energy_j else 0.0
    parts = dict(most.by_part)
    for row, gain in gained:
        parts[row["part"]] = parts.get(row["part"], 0.0) + gain
    further: dict[str, Any] = {name: _plus(getattr(most, name), joules) for name in _JOULES}
    further |= {name: _plus(getattr(most, name), joules * per_j) for name in ("co2e_g", "co2e_low_g", "co2e_high_g")}
    return replace(
        most,
        **further,
        by_part=parts,
        phases={**most.phases, "other": most.phases.get("other", 0.0) + joules},
        sensors=tuple({**known, **{row["id"]: row for row in more}}.values()),
    )


_JOULES = ("energy_j", "energy_low_j", "energy_high_j", "outside_epochs_j")


def _progress(record: Footprint) -> tuple[int, float, str]:
    return len(record.epochs), record.energy_j or 0.0, json.dumps([dict(row) for row in record.sensors], sort_keys=True)


def _joules(row: Mapping[str, Any]) -> float:
    return row.get("energy_j") or 0.0


def _plus(value: float | None, more: float) -> float:
    return (value or 0.0) + more
