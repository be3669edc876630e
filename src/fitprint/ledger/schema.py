"""The ledger's tables, version by version; an older database is brought up to date when it is opened."""

from __future__ import annotations

import json
from collections.abc import Callable

from fitprint.errors import LedgerError
from fitprint.ledger.database import Database

RECORDS = (
    "CREATE TABLE IF NOT EXISTS runs (run_id TEXT PRIMARY KEY, project TEXT, name TEXT, kind TEXT, status TEXT, "
    "started_at TEXT, duration_s DOUBLE PRECISION, energy_j DOUBLE PRECISION, co2e_g DOUBLE PRECISION, boot_id TEXT, "
    "pid INTEGER, pid_started TEXT, heard_at DOUBLE PRECISION, record TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS epochs (run_id TEXT NOT NULL, block INTEGER NOT NULL, position INTEGER NOT NULL, "
    "record TEXT NOT NULL, PRIMARY KEY (run_id, block, position))",
    "CREATE TABLE IF NOT EXISTS sensors (run_id TEXT NOT NULL, sensor_id TEXT NOT NULL, part TEXT, method TEXT, "
    "source TEXT, energy_j DOUBLE PRECISION, PRIMARY KEY (run_id, sensor_id))",
)
POTS = (
    "ALTER TABLE runs ADD COLUMN parent_run_id TEXT",
    # Holds all that a pot asks of a run, so that the long records are not read.
    "CREATE INDEX runs_of_project ON runs (project, run_id, parent_run_id, energy_j, co2e_g)",
    "CREATE TABLE pots (project TEXT NOT NULL, unit TEXT NOT NULL, most DOUBLE PRECISION NOT NULL, PRIMARY KEY (project, unit))",
    "CREATE TABLE pot_runs (project TEXT NOT NULL, unit TEXT NOT NULL, run_id TEXT NOT NULL, parent_run_id TEXT, "
    "used DOUBLE PRECISION NOT NULL, reserved DOUBLE PRECISION NOT NULL, PRIMARY KEY (project, unit, run_id))",
    "CREATE TABLE pot_changes (project TEXT NOT NULL, unit TEXT NOT NULL, position INTEGER NOT NULL, run_id TEXT, "
    "was DOUBLE PRECISION NOT NULL, most DOUBLE PRECISION NOT NULL, PRIMARY KEY (project, unit, position))",
)


def _records(db: Database) -> None:
    for statement in RECORDS:
        db.execute(statement)


def _pots(db: Database) -> None:
    for statement in POTS:
        db.execute(statement)
    for run_id, record in db.execute("SELECT run_id, record FROM runs"):
        parent = json.loads(record).get("parent_run_id")
        if parent:
            db.execute("UPDATE runs SET parent_run_id = :parent WHERE run_id = :run_id", parent=parent, run_id=run_id)


# Each takes the tables from one version to the next.
STEPS: tuple[Callable[[Database], None], ...] = (_records, _pots)
VERSION = len(STEPS)


def prepare(db: Database, name: object) -> None:
    """Make the tables, or bring them up to date.

    Args:
        db: The database.
        name: How it is called in messages.

    Raises:
        LedgerError: If a later version of fitprint, or another program, wrote it.
    """
    if check_version(db, name) == VERSION:
        return
    with db.transaction():
        db.claim()
        for step in STEPS[check_version(db, name) :]:
            step(db)
        db.set_version(VERSION)


def check_version(db: Database, name: object) -> int:
    """The version of its tables.

    Raises:
        LedgerError: If a later version of fitprint, or another program, wrote it.
    """
    version = db.version()
    if version > VERSION:
        raise LedgerError(f"{name} was written by a later version of fitprint (ledger {version}, this one reads {VERSION}).")
    return version
