"""Runs as rows, as the command line and notebooks show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from fitprint.units import format_co2e, format_duration, format_energy

if TYPE_CHECKING:
    from fitprint.footprint import Footprint

HEAD = ("run", "project", "name", "kind", "status", "started (UTC)", "time", "energy", "CO2e", "epochs")
# What the cells are made of, in the rows that a ledger gives.
COLUMNS = ("run_id", "project", "name", "kind", "status", "started_at", "duration_s", "energy_j", "co2e_g", "epochs")
# More rows than these would fill a notebook; the newest are shown.
SHOWN = 50

Row = TypeVar("Row", bound="Mapping[str, Any] | Footprint")


class Runs(list[Row]):
    """Runs of a ledger, oldest first: a list that notebooks show as a table."""

    def _repr_html_(self) -> str:
        from fitprint.report.html import table_of

        left_out = len(self) - SHOWN
        note = f"<p>{left_out:,} older runs are not shown.</p>" if left_out > 0 else ""
        if not self:
            return "<p>No runs.</p>"
        return table_of(HEAD, [cells(_row(run)) for run in self[-SHOWN:]], numbers=True, words=6) + note


def cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of one run, each amount with its unit.

    Args:
        row: As ``Ledger.runs`` gives it.
    """
    return [
        row["run_id"],
        row["project"] or "",
        row["name"] or "",
        row["kind"] or "",
        row["status"] or "",
        (row["started_at"] or "")[:19].replace("T", " "),
        format_duration(row["duration_s"] or 0.0),
        format_energy(row["energy_j"]),
        format_co2e(row["co2e_g"]),
        str(row["epochs"]),
    ]


def _row(run: Mapping[str, Any] | Footprint) -> Mapping[str, Any]:
    if isinstance(run, Mapping):
        return run
    return {**{name: getattr(run, name) for name in COLUMNS}, "epochs": len(run.epochs)}
