"""``fitprint report --project``: what all runs of a project emitted together."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from fitprint.commands.printing import print_table, shortened
from fitprint.notices import printable
from fitprint.project import ProjectTotal
from fitprint.report.text import FIRST_LINE
from fitprint.report.total import total_details, total_headline
from fitprint.sensitivity import Sensitivity
from fitprint.units import format_co2e, significant


def print_project(total: ProjectTotal) -> None:
    """Print it as text."""
    print(printable(total_headline(total)))
    for label, text in total_details(total):
        print(printable(f"  {label:<10} {text}"))
    _print_sensitivity(total)
    for note in total.notes:
        if not note.startswith(FIRST_LINE):
            print(printable(f"note: {note}"), file=sys.stderr)


def _print_sensitivity(total: ProjectTotal) -> None:
    if not total.sensitivity:
        return
    metric = shortened(total.metric or "")
    print(f"\n{metric} by hyperparameter, those that mattered most first")
    rows = [cells for row in total.sensitivity for cells in _rows(row)]
    print_table(("hyperparameter", "spread", "more than chance", "value", "runs", metric, "SD", "CO2e"), rows)


def _rows(row: Sensitivity) -> Iterable[list[str]]:
    """The hyperparameter stands in the first of its rows."""
    chance = {True: "yes", False: "no", None: "not known"}[row.beyond_chance]
    head = [shortened(row.name), significant(row.spread, 2), chance]
    for setting in row.settings:
        spread = "" if setting.score_sd is None else significant(setting.score_sd, 2)
        yield [*head, shortened(setting.value), str(setting.n), significant(setting.score, 4), spread, format_co2e(setting.co2e_g)]
        head = ["", "", ""]
