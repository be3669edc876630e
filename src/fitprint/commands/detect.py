"""``fitprint detect``: what is measured here, what is modelled, what is absent and why."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fitprint.commands.printing import print_table
from fitprint.config import Config
from fitprint.detection import detect
from fitprint.doctor import CALM_S, DENSE_S, examine
from fitprint.errors import FitprintError
from fitprint.units import significant


def add(commands: Any) -> None:
    """Add the subcommand's parser."""
    parser = commands.add_parser("detect", help="what is measured here, what is modelled, what is absent and why")
    parser.add_argument("--region", help="place, as a run would get it")
    parser.add_argument(
        "--doctor",
        type=Path,
        nargs="?",
        const=Path("fitprint-doctor.json"),
        metavar="FILE",
        help="read all sensors for 20 s and write a report that you can send to us",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_detect)


def _detect(options: argparse.Namespace) -> int:
    if options.doctor is not None:
        return _doctor(options)
    found = detect(Config(region=options.region))
    print(json.dumps(found.to_dict(), indent=2) if options.json else found)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    try:
        file = options.doctor.open("w", encoding="utf-8")
    except OSError as error:
        raise FitprintError(f"cannot write {str(options.doctor)!r}: {error.strerror or error}. Name another file.") from error
    print(f"reading all sensors for {CALM_S + DENSE_S:g} s", file=sys.stderr)
    with file:
        report = examine(Config(region=options.region))
        json.dump(report, file, indent=1)
    if options.json:
        print(json.dumps({key: value for key, value in report.items() if key != "trace"}, indent=2))
        return 0
    head = ("sensor", "readings", "failed", "call p50", "call p99", "period")
    print_table(head, [_behaviour_cells(row) for row in report["sensors"]])
    print(f"{options.doctor} holds all of it: no host name, no user name, no path.")
    return 0


def _behaviour_cells(row: dict[str, Any]) -> list[str]:
    calls = ["" if row[key] is None else f"{significant(row[key])} µs" for key in ("call_p50_us", "call_p99_us")]
    period = "" if row["period_s"] is None else f"{significant(1000 * row['period_s'])} ms"
    return [row["id"], str(row["readings"]), str(row["failures"]), *calls, period]
