"""What a project's pot reads after a sweep of which a third was killed: nothing lost, nothing charged twice."""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.sheet import QUICK, Sheet
from fitprint.ledger.connection import open_pots
from fitprint.ledger.pot import Pot
from fitprint.location import Location
from ledger.postgres_server import programs, running
from ledger.trials import run_trials

TRIALS, KILLS, LIMIT_J, EPOCH_J = (8, 3, 20_000.0, 100.0) if QUICK else (64, 21, 100_000.0, 100.0)
COLUMNS = (
    "database",
    "trials",
    "killed",
    "limit J",
    "truly used J",
    "charged J",
    "held by killed J",
    "least spare J",
    "wall s",
)


def sheets() -> list[Sheet]:
    """One table: SQLite on this machine, and PostgreSQL where it is installed."""
    found, rows = programs(), []
    with tempfile.TemporaryDirectory() as folder:
        rows.append(_row("SQLite", str(Path(folder) / "fitprint.db"), Path(folder)))
    if found is None:
        logging.getLogger("fitprint").error("PostgreSQL is not installed here (no initdb)")
    else:
        with running(found) as server, tempfile.TemporaryDirectory() as folder:
            rows.append(_row("PostgreSQL", server.create(), Path(folder)))
    note = (
        f"Each trial uses {EPOCH_J:g} J an epoch and reserves before it. Charged: what the pot reads, open reservations of killed "
        "trials included. Least spare: the least that a trial is charged beyond what it truly used; below 0 the pot would have "
        "lost some. The limit may be exceeded by one epoch a live trial at most."
    )
    return [Sheet("A pot under concurrent trials with random kill -9", COLUMNS, rows, note)]


def _row(name: str, ledger: str, folder: Path) -> tuple[str, ...]:
    began = time.monotonic()
    used, _, victims = run_trials(ledger, folder, TRIALS, KILLS, limit=f"{LIMIT_J:g} J", seconds=600)
    wall_s = time.monotonic() - began
    with closing(open_pots(Location.of(ledger), create=False)) as database:
        charges = {charge.run_id: charge for charge in Pot(database, "sweep", "J").charges()}
    total = sum(charge.used + charge.reserved for charge in charges.values())
    spare = min(charges[run].used + charges[run].reserved - joules for run, joules in used.items() if joules)
    held = sum(charges[run].reserved for run in victims if run in charges)
    figures = (LIMIT_J, sum(used.values()), total, held, spare)
    return (name, str(TRIALS), str(len(victims)), *(f"{joules:,.1f}" for joules in figures), f"{wall_s:.1f}")
