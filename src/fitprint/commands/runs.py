"""``fitprint runs``: the recorded runs, those that died included."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from fitprint.commands import pots
from fitprint.commands.filters import Filters, add_filters
from fitprint.commands.printing import print_table, shortened
from fitprint.ledger.labels import LABELS
from fitprint.ledger.ledger import Ledger
from fitprint.ledger.selection import recorded
from fitprint.notices import printable
from fitprint.project import ProjectTotal, runs_total
from fitprint.report.listing import COLUMNS, HEAD, cells
from fitprint.report.rows import as_csv
from fitprint.units import format_co2e, format_duration, format_energy

FORMATS = ("text", "json", "csv")


def add(commands: Any) -> None:
    """Add the subcommand's parser."""
    parser = commands.add_parser("runs", help="list the recorded runs, those that died included")
    parser.add_argument("--ledger", help="the ledger's file or URL; fitprint.db in this folder by default")
    add_filters(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", help="text by default")
    parser.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")
    parser.set_defaults(command=_runs)
    more = parser.add_subparsers(metavar="import | pot", title="more")
    pots.add_import(more)
    pots.add_pot(more)


def _runs(options: argparse.Namespace) -> int:
    filters, ledger = Filters.of(options), Ledger(options.ledger)
    rows = filters.chosen(_of_launch(options, ledger.runs()))
    if not rows:
        missing = "" if ledger.place.may_exist else " (there is no such file)"
        print(printable(f"no runs{filters.said and ' with'}{filters.said} in {ledger.place}{missing}"), file=sys.stderr)
    if options.format != "text":
        _print_all(options.format, ledger.labelled(rows))
    elif rows:
        print_table(HEAD, [_run_cells(row) for row in rows])
        if filters.any:
            print(_total(runs_total([row["run_id"] for row in rows], ledger=options.ledger)))
    return 0


def _print_all(form: str, rows: list[dict[str, Any]]) -> None:
    """In a form for programs."""
    if form == "json":
        print(json.dumps(rows, indent=2))
    else:
        flat = [{**row, "tags": ",".join(row["tags"])} for row in rows]
        print(as_csv(flat, (*COLUMNS, *LABELS)), end="")


def _of_launch(options: argparse.Namespace, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if options.launch is None:
        return rows
    together = {run.run_id for run in recorded(options.ledger, launched_with=options.launch)}
    return [row for row in rows if row["run_id"] in together]


def _total(total: ProjectTotal) -> str:
    inside = f", {total.nested} inside others counted there" if total.nested else ""
    amounts = f"{format_energy(total.energy_j)}, {format_co2e(total.co2e_g)} CO2e"
    count = f"{total.runs} run{'s' * (total.runs != 1)}"
    return f"total: {count}{inside}, {format_duration(total.duration_s)}, {amounts}. `fitprint report` says more."


def _run_cells(row: dict[str, Any]) -> list[str]:
    return cells({**row, "project": shortened(row["project"] or ""), "name": shortened(row["name"] or "")})
