"""Runs as rows: one for each epoch, and one for what a run used outside of its epochs, so that a run's rows add up to it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fitprint.errors import MissingExtraError

if TYPE_CHECKING:
    from fitprint.footprint import EpochFootprint, Footprint

OUTSIDE = "outside epochs"
# A rest below this share of the whole is the rounding of its sum.
ROUNDING = 1e-12
# Spreadsheets take a text that begins so for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rows(runs: Iterable[Footprint]) -> list[dict[str, Any]]:
    """Columns with their units in their names; unknown is None."""
    return [row for run in runs for row in (*(_epoch(run, epoch) for epoch in run.epochs), _outside(run))]


def to_csv(runs: Iterable[Footprint]) -> str:
    """Their rows as CSV, as ``as_csv`` writes them."""
    table = rows(runs)
    return as_csv(table, dict.fromkeys(name for row in table for name in row))


def as_csv(table: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """Rows as CSV; unknown is an empty cell. Texts that a spreadsheet would run are led by an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, {_tame(name): None for name in columns}, lineterminator="\n")
    writer.writeheader()
    writer.writerows({_tame(name): _tame(value) for name, value in row.items()} for row in table)
    return text.getvalue()


def frame(runs: Iterable[Footprint]) -> Any:
    """Rows as a pandas DataFrame.

    Raises:
        MissingExtraError: If pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("A DataFrame", "report") from error
    return pandas.DataFrame(rows(runs))


def _tame(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _epoch(run: Footprint, epoch: EpochFootprint) -> dict[str, Any]:
    return {
        **_named(run, "epoch" if epoch.complete else "epoch, cut short"),
        "epoch": epoch.index,
        "started_at_utc": epoch.started_at,
        "duration_s": epoch.duration_s,
        "steps": epoch.steps,
        "samples": epoch.samples,
        "energy_j": epoch.energy_j,
        "co2e_g": epoch.co2e_g,
        "co2e_low_g": epoch.co2e_low_g,
        "co2e_high_g": epoch.co2e_high_g,
        "mean_power_w": None if epoch.energy_j is None or not epoch.duration_s else epoch.energy_j / epoch.duration_s,
        **{f"{part}_energy_j": joules for part, joules in epoch.by_part.items()},
        **{f"{phase}_phase_energy_j": joules for phase, joules in epoch.phases.items()},
        **{f"metric_{name}": value for name, value in epoch.metrics.items()},
    }


def _outside(run: Footprint) -> dict[str, Any]:
    """The rest of the run. Its interval is no difference of intervals, so it has none."""
    return {
        **_named(run, OUTSIDE),
        "started_at_utc": run.started_at,
        "duration_s": max(0.0, run.duration_s - math.fsum(epoch.duration_s for epoch in run.epochs)),
        "energy_j": _rest(run.energy_j, [epoch.energy_j for epoch in run.epochs]),
        "co2e_g": _rest(run.co2e_g, [epoch.co2e_g for epoch in run.epochs]),
        **{f"{part}_energy_j": _rest(j, [e.by_part.get(part) for e in run.epochs]) for part, j in run.by_part.items()},
        **{f"{phase}_phase_energy_j": _rest(j, [e.phases.get(phase) for e in run.epochs]) for phase, j in run.phases.items()},
    }


def _named(run: Footprint, what: str) -> dict[str, Any]:
    return {"run_id": run.run_id, "name": run.name, "project": run.project, "what": what, "epoch": None}


def _rest(whole: float | None, parts: Sequence[float | None]) -> float | None:
    if whole is None:
        return None
    rest = math.fsum([whole, *(-part for part in parts if part is not None)])
    return rest if abs(rest) > ROUNDING * abs(whole) else 0.0
