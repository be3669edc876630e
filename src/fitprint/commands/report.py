"""``fitprint report``: a recorded run, with better intensities if there are some by now, or a project's total."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fitprint.carbon.hourly import HourlySeries
from fitprint.carbon.provider_names import find_provider
from fitprint.carbon.series_file import read_series
from fitprint.commands.live_series import add_network, fetched
from fitprint.commands.project import report_project
from fitprint.errors import FitprintError
from fitprint.footprint import Footprint
from fitprint.ledger.store import Ledger
from fitprint.regrams import regrams
from fitprint.timeline import Timeline


def add(commands: Any) -> None:
    """Add the subcommand's parser."""
    parser = commands.add_parser(
        "report", help="a recorded run, with better intensities if there are some by now, or a project's total"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", help="its id, as `fitprint runs` lists it; the last run by default")
    which.add_argument("--project", metavar="NAME", help="all runs of a project: their total, failed and repeated runs included")
    parser.add_argument("--ledger", help="the ledger's file or URL; fitprint.db in this folder by default")
    parser.add_argument("--intensity", metavar="FILE", help="CSV of g/kWh over time, or a service such as electricitymaps:FR")
    add_network(parser)
    parser.add_argument("--tz", help="zone of times without one in that file, for example Europe/Paris")
    parser.add_argument("--column", help="its column of figures, where it has several")
    parser.add_argument("--unit", help="their unit, for example lb/MWh")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page instead of printing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    of_project = parser.add_argument_group("of a project")
    of_project.add_argument("--final", metavar="ID", help="the run that came of it; the last that ended well by default")
    of_project.add_argument("--metric", metavar="NAME", help="judges hyperparameters; a held-out score or loss by default")
    of_project.add_argument("--mode", default="auto", metavar="MODE", help="max or min: which is better; by its name by default")
    parser.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> int:
    if options.project is not None:
        return report_project(options)
    footprint = _chosen(options)
    if options.html is not None:
        try:
            options.html.write_text(footprint.to_html(), encoding="utf-8")
        except OSError as error:
            raise FitprintError(f"cannot write {str(options.html)!r}: {error.strerror or error}. Name another file.") from error
        return 0
    print(footprint.to_json() if options.json else footprint)
    return 0


def _chosen(options: argparse.Namespace) -> Footprint:
    ledger = Ledger(options.ledger)
    runs = [] if options.run else ledger.runs()
    if not options.run and not runs:
        raise FitprintError(f"no runs in {ledger.place}. Name another file with --ledger.")
    footprint = ledger.footprint(options.run or runs[-1]["run_id"])
    if options.intensity is None:
        return footprint
    return regrams(footprint, _series(options, footprint))


def _series(options: argparse.Namespace, footprint: Footprint) -> HourlySeries:
    """What grams are worked out again from."""
    if find_provider(options.intensity) is None or footprint.energy_series is None:
        return read_series(options.intensity, tz=options.tz, column=options.column, unit=options.unit)
    timeline = Timeline.from_dict(footprint.energy_series)
    return fetched(options.intensity, options, timeline.start_s, timeline.end_s)
