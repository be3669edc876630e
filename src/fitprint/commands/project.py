"""``fitprint report --project``: what all runs of a project emitted together."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable

from fitprint.commands.printing import print_table
from fitprint.errors import refusal
from fitprint.project import ProjectTotal, project_total
from fitprint.report.text import FIRST_LINE
from fitprint.sensitivity import Sensitivity
from fitprint.units import format_co2e, format_duration, format_energy, format_share, significant


def report_project(options: argparse.Namespace) -> int:
    """Print it, as text or JSON."""
    for name in ("html", "intensity"):
        if getattr(options, name) is not None:
            raise refusal(name, expected="a single run", came=str(getattr(options, name)), hint="Name one with --run.")
    total = project_total(options.project, ledger=options.ledger, final=options.final, metric=options.metric, mode=options.mode)
    if options.json:
        print(json.dumps(total.to_dict(), indent=2, allow_nan=False))
        return 0
    print(_headline(total))
    for label, text in _details(total):
        print(f"  {label:<10} {text}")
    _print_sensitivity(total)
    for note in total.notes:
        if not note.startswith(FIRST_LINE):
            print(f"note: {note}", file=sys.stderr)
    return 0


def _headline(total: ProjectTotal) -> str:
    interval = f"{format_co2e(total.co2e_low_g)} to {format_co2e(total.co2e_high_g)}"
    when = f"{total.started_at[:10]} to {total.ended_at[:10]}"
    runs = f"{total.runs:,} run{'s' if total.runs != 1 else ''}"
    missing = "".join(f"{note}, " for note in total.notes if note.startswith(FIRST_LINE))
    return f"{missing}{total.project}: {format_co2e(total.co2e_g)} CO2e ({interval}), {runs}, {when}"


def _details(total: ProjectTotal) -> Iterable[tuple[str, str]]:
    yield "runs", ", ".join(_status(status, row["runs"], row["co2e_g"]) for status, row in total.by_status.items())
    if total.nested:
        yield "nested", f"{total.nested:,} more inside them, in their grams"
    gpus = "" if total.gpu_hours is None else f", {significant(total.gpu_hours)} GPU-hours"
    yield "energy", f"{format_energy(total.energy_j)}, {format_share(total.measured_fraction)} of it measured"
    yield "time", f"{format_duration(total.duration_s)}{gpus}"
    if total.embodied_g is not None:
        yield "beside it", f"{format_co2e(total.embodied_g)} embodied"
    if total.final_share is not None:
        yield "final run", f"{total.final_run_id}: {format_co2e(total.final_co2e_g)}, {_percent(total.final_share)} of all"


def _status(status: str, runs: float | None, grams: float | None) -> str:
    return f"{runs:,} {status} ({format_co2e(grams)})"


def _percent(share: float) -> str:
    return format_share(share) if share >= 0.1 else f"{significant(100 * share, 2)} %"


def _print_sensitivity(total: ProjectTotal) -> None:
    if not total.sensitivity:
        return
    print(f"\n{total.metric} by hyperparameter, those that mattered most first")
    rows = [cells for row in total.sensitivity for cells in _rows(row)]
    print_table(("hyperparameter", "spread", "more than chance", "value", "runs", total.metric or "", "SD", "CO2e"), rows)


def _rows(row: Sensitivity) -> Iterable[list[str]]:
    """The hyperparameter stands in the first of its rows."""
    chance = {True: "yes", False: "no", None: "not known"}[row.beyond_chance]
    head = [row.name, significant(row.spread, 2), chance]
    for setting in row.settings:
        spread = "" if setting.score_sd is None else significant(setting.score_sd, 2)
        yield [*head, setting.value, str(setting.n), significant(setting.score, 4), spread, format_co2e(setting.co2e_g)]
        head = ["", "", ""]
