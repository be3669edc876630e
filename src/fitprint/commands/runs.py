"""``fitprint runs``: the recorded runs, those that died included."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from fitprint.commands import pots
from fitprint.commands.printing import print_table, shortened
from fitprint.ledger.ledger import Ledger
from fitprint.ledger.selection import recorded
from fitprint.project import ProjectTotal, launch_total, project_total
from fitprint.report.listing import HEAD, cells
from fitprint.units import format_co2e, format_duration, format_energy


def add(commands: Any) -> None:
    """Add the subcommand's parser."""
    parser = commands.add_parser("runs", help="list the recorded runs, those that died included")
    parser.add_argument("--ledger", help="the ledger's file or URL; fitprint.db in this folder by default")
    parser.add_argument("--project", help="only the runs of this project, with their total")
    parser.add_argument("--launch", metavar="ID", help="only this run and those of processes started with it, with their total")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_runs)
    more = parser.add_subparsers(metavar="import | pot", title="more")
    pots.add_import(more)
    pots.add_pot(more)


def _runs(options: argparse.Namespace) -> int:
    ledger = Ledger(options.ledger)
    rows = [row for row in ledger.runs() if options.project in (None, row["project"])]
    if options.launch is not None:
        together = {run.run_id for run in recorded(options.ledger, launched_with=options.launch)}
        rows = [row for row in rows if row["run_id"] in together]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    if not rows:
        whose = "" if options.project is None else f" of a project {options.project!r}"
        print(f"no runs{whose} in {ledger.place}{'' if ledger.place.may_exist else ' (there is no such file)'}", file=sys.stderr)
        return 0
    print_table(HEAD, [_run_cells(row) for row in rows])
    if options.project is not None:
        print(_total(project_total(options.project, ledger=options.ledger)))
    elif options.launch is not None:
        print(_total(launch_total(options.launch, ledger=options.ledger)))
    return 0


def _total(total: ProjectTotal) -> str:
    inside = f", {total.nested} inside others counted there" if total.nested else ""
    amounts = f"{format_energy(total.energy_j)}, {format_co2e(total.co2e_g)} CO2e"
    count = f"{total.runs} run{'s' * (total.runs != 1)}"
    return f"total: {count}{inside}, {format_duration(total.duration_s)}, {amounts}. `fitprint report` says more."


def _run_cells(row: dict[str, Any]) -> list[str]:
    return cells({**row, "project": shortened(row["project"] or ""), "name": shortened(row["name"] or "")})
