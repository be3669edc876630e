"""``fitprint runs import`` merges ledgers; ``fitprint runs pot`` shows what a project's budget has left."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from fitprint.commands.printing import print_table
from fitprint.errors import LedgerError, refusal
from fitprint.ledger.connection import open_pots
from fitprint.ledger.importing import import_runs
from fitprint.ledger.ledger import Ledger
from fitprint.ledger.pot import COLUMNS, Pot
from fitprint.location import Location
from fitprint.units import format_quantity

# The exit status of `runs pot` where nothing is left for another run.
SPENT = 3
STATUS = (
    "What the runs of a project have used and reserved of its budget. The exit status is 0 while something is left, 3 where "
    "nothing is: all is used or reserved; 1 where there is no such pot, as before its first run; 2 is bad usage."
)


def add_import(commands: Any) -> None:
    """Add the parser of ``runs import``."""
    parser = commands.add_parser("import", help="merge other ledgers and journals into this one, by run id")
    parser.add_argument(
        "paths", nargs="*", type=_source, metavar="PATH", help="a fitprint.db, a fitprint.d, a folder of these, or a database's URL"
    )
    _add_common(parser)
    parser.set_defaults(command=_import)


def _source(text: str) -> Path | str:
    return text if "://" in text else Path(text)


def add_pot(commands: Any) -> None:
    """Add the parser of ``runs pot``."""
    parser = commands.add_parser("pot", help="what the runs of a project have used and reserved of its budget", description=STATUS)
    parser.add_argument("named", nargs="?", metavar="NAME", help="the project")
    # Given before the word, it is not undone here.
    parser.add_argument("--project", default=argparse.SUPPRESS, help="the same")
    parser.add_argument(
        "--settle",
        action="append",
        default=[],
        metavar="RUN",
        help="give back what a killed run, which will not be resumed, had reserved; may be repeated",
    )
    parser.add_argument("--settle-lost", action="store_true", help="likewise, of all runs that are lost")
    _add_common(parser)
    parser.set_defaults(command=_pot)


def _add_common(parser: argparse.ArgumentParser) -> None:
    # Given before the word or after it; what is not given after it does not undo what was given before.
    parser.add_argument(
        "--ledger", default=argparse.SUPPRESS, help="the ledger's file or URL; fitprint.db in this folder by default"
    )
    parser.add_argument("--json", action="store_const", dest="format", const="json", default=argparse.SUPPRESS, help="print JSON")


def _import(options: argparse.Namespace) -> int:
    place = Ledger(options.ledger).place
    with _writing(place):
        done = import_runs(place, options.paths)
    if options.format == "json":
        print(json.dumps(dataclasses.asdict(done)))
    else:
        are = "run is" if done.new == 1 else "runs are"
        print(f"{place}: {done.new} {are} new, {done.renewed} went on since, {done.same} were there")
    return 0


def _pot(options: argparse.Namespace) -> int:
    project, ledger = _project(options), Ledger(options.ledger)
    if not ledger.place.may_exist:
        raise LedgerError(f"there is no ledger {ledger.place}. Name another with --ledger.")
    status = {row["run_id"]: row["status"] for row in ledger.runs()}
    with closing(open_pots(ledger.place, create=False)) as database:
        pots = {unit: Pot(database, project, unit) for unit in COLUMNS}
        pots = {unit: pot for unit, pot in pots.items() if pot.limit() is not None}
        if not pots:
            known = ", ".join(row[0] for row in database.execute("SELECT DISTINCT project FROM pots ORDER BY project")) or "none"
            raise LedgerError(f"no pot of project {project!r} in {ledger.place}. Projects that have one: {known}.")
        lost = _lost(pots, status) if options.settle_lost else []
        with _writing(ledger.place):
            for run_id in dict.fromkeys([*options.settle, *lost]):
                _settle(pots, run_id, status.get(run_id))
        rows = [_row(project, unit, pot, status) for unit, pot in pots.items()]
    if options.format == "json":
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            _show(row)
    return SPENT if any(row["left"] <= 0 for row in rows) else 0


def _project(options: argparse.Namespace) -> str:
    given = [name for name in (options.named, options.project) if name is not None]
    if len(set(given)) != 1:
        came = " and ".join(given) or None
        raise refusal("project", expected="the name of one project", came=came, hint="For example fitprint runs pot digits.")
    return str(given[0])


@contextmanager
def _writing(place: Location) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(f"{place} cannot be written: {error}.") from error


def _lost(pots: dict[str, Pot], status: dict[str, Any]) -> list[str]:
    """The lost runs that still have something reserved."""
    holding = dict.fromkeys(charge.run_id for pot in pots.values() for charge in pot.charges() if charge.reserved > 0)
    lost = [run_id for run_id in holding if status.get(run_id) == "lost"]
    if not lost:
        print("nothing to settle: no lost run has anything reserved", file=sys.stderr)
    return lost


def _settle(pots: dict[str, Pot], run_id: str, status: str | None) -> None:
    if status == "running":
        raise LedgerError(f"run {run_id!r} is running and will settle by itself. A killed one shows as lost after two minutes.")
    held = [pot for pot in pots.values() if run_id in {charge.run_id for charge in pot.charges()}]
    if not held:
        raise LedgerError(f"run {run_id!r} has nothing in this pot.")
    for pot in held:
        pot.settle(run_id)
    print(f"{run_id} is settled", file=sys.stderr)


def _row(project: str, unit: str, pot: Pot, status: dict[str, Any]) -> dict[str, Any]:
    charges = pot.charges()
    used, reserved = (sum(getattr(charge, name) for charge in charges) for name in ("used", "reserved"))
    limit = pot.limit() or 0.0
    runs = [{**charge._asdict(), "status": status.get(charge.run_id)} for charge in charges]
    whole = {"limit": limit, "used": used, "reserved": reserved, "left": limit - used - reserved}
    return {"project": project, "unit": unit, **whole, "runs": runs}


def _show(row: dict[str, Any]) -> None:
    limit, used, reserved, left = (format_quantity(row[name], row["unit"]) for name in ("limit", "used", "reserved", "left"))
    print(f"{row['project']}: {used} of {limit} used, {reserved} reserved, {left} left")
    cells = [_cells(run, row["unit"]) for run in row["runs"]]
    if cells:
        print_table(("run", "status", "used", "reserved"), cells)


def _cells(run: dict[str, Any], unit: str) -> list[str]:
    return [run["run_id"], run["status"] or "", format_quantity(run["used"], unit), format_quantity(run["reserved"], unit)]
