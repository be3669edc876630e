"""Which run is meant where none is named."""

from __future__ import annotations

import sys

from fitprint.errors import FitprintError
from fitprint.footprint import TRAINING_KINDS, Footprint
from fitprint.ledger.ledger import Ledger
from fitprint.notices import printable


def last_run(ledger: Ledger) -> Footprint:
    """The last training or command, the last run of another kind where there is none; standard error says which.

    Raises:
        FitprintError: If there are no runs.
    """
    rows = ledger.runs()
    if not rows:
        raise FitprintError(f"no runs in {ledger.place}. Name another file with --ledger.")
    row = next((row for row in reversed(rows) if row["kind"] in TRAINING_KINDS), rows[-1])
    words = [str(row[name]) for name in ("kind", "name", "status") if row[name]]
    print(printable(f"fitprint: no run was named; this is {row['run_id']} ({', '.join(words)})"), file=sys.stderr)
    return ledger.footprint(row["run_id"])
