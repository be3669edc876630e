"""``fitprint advise``: what would have made a run smaller, from its own record."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from fitprint.advice import NOTHING, OVERLAP, advise
from fitprint.carbon.series_file import read_series
from fitprint.commands.chosen import last_run
from fitprint.errors import refusal
from fitprint.footprint import Footprint
from fitprint.ledger.ledger import Ledger


def add(commands: Any) -> None:
    """Add the subcommand's parser."""
    parser = commands.add_parser("advise", help="what would have made a run smaller, with its grams and the evidence")
    parser.add_argument("named", nargs="?", metavar="RUN", help="id, as `fitprint runs` lists it; by default the last training")
    parser.add_argument("--run", metavar="ID", help="the same")
    parser.add_argument("--ledger", metavar="FILE", help="file or URL, fitprint.db in this folder by default")
    parser.add_argument("--series", type=Path, metavar="FILE", help="CSV of g/kWh over time: also look for a cleaner hour")
    parser.add_argument("--tz", help="zone of times without one in that file, for example Europe/Paris")
    parser.add_argument("--column", help="its column of figures, where it has several")
    parser.add_argument("--unit", help="their unit, for example lb/MWh")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_advise)


def _advise(options: argparse.Namespace) -> int:
    run, others = _chosen(options)
    series = options.series and read_series(options.series, tz=options.tz, column=options.column, unit=options.unit)
    found = advise(run, runs=others, series=series)
    if options.json:
        rows = [advice.to_dict() for advice in found]
        print(json.dumps({"run_id": run.run_id, "co2e_g": run.co2e_g, "advice": rows}, indent=2, allow_nan=False))
        return 0
    if not found:
        print(f"{run.run_id}: {NOTHING}")
        return 0
    for advice in found:
        print(f"- {advice.text}")
    if len(found) > 1:
        print(OVERLAP)
    return 0


def _chosen(options: argparse.Namespace) -> tuple[Footprint, list[Footprint]]:
    """The run, and all of its project."""
    if options.named is not None and options.run is not None:
        raise refusal("run", expected="one run", came=options.run, hint=f"{options.named!r} is named, too: leave one out.")
    ledger, run_id = Ledger(options.ledger), options.named or options.run
    run = ledger.footprint(run_id) if run_id is not None else last_run(ledger)
    return run, of_project(ledger, run)


def of_project(ledger: Ledger, run: Footprint) -> list[Footprint]:
    """The runs of the project of a run; none where it has no project."""
    return [] if run.project is None else [other for other in ledger.footprints() if other.project == run.project]
