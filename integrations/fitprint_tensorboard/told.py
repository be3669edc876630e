"""Advice that a run has left in its record at its end, as far as it can be that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fitprint.advice import Advice
from fitprint.footprint import Footprint
from fitprint_tensorboard.events import LARGEST


def told_at_the_end(record: Footprint) -> tuple[Advice, ...] | None:
    """The rows, in the run's own words; None while it lasts, of a record from before there were any, and of what are none."""
    rows = record.extra.get("advice")
    if record.status == "running" or not isinstance(rows, list):
        return None
    found = [_advice(row) for row in rows]
    known = tuple(advice for advice in found if advice is not None)
    return known if len(known) == len(rows) else None


def _advice(row: Any) -> Advice | None:
    """A log folder may hold anything."""
    if not isinstance(row, Mapping):
        return None
    kind, text = row.get("kind"), row.get("text")
    saved_g, share = _amount(row.get("saved_g")), _amount(row.get("saved_share"))
    if not isinstance(kind, str) or not isinstance(text, str) or saved_g is None or share is None:
        return None
    return Advice(kind, saved_g, share, text, {})


def _amount(value: Any) -> float | None:
    sound = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LARGEST
    return float(value) if sound else None
