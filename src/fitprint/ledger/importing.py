"""Merges ledgers and journals of other machines into one ledger, by run id: done twice it changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitprint.errors import LedgerError
from fitprint.ledger.connection import open_pots
from fitprint.ledger.database import MEMORY, Database, SqliteDatabase
from fitprint.ledger.journal import read_events
from fitprint.ledger.ledger import Ledger
from fitprint.ledger.pot import Pot
from fitprint.ledger.store import Store
from fitprint.location import Location
from fitprint.notices import warn

SHARE = ("project", "unit", "run_id", "parent_run_id", "used", "reserved")


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        new: Runs that the ledger did not have.
        renewed: Runs of which it had an earlier state.
        same: Runs that it had.
    """

    new: int = 0
    renewed: int = 0
    same: int = 0

    def __add__(self, other: Imported) -> Imported:
        return Imported(self.new + other.new, self.renewed + other.renewed, self.same + other.same)


def import_runs(target: Location, paths: Sequence[Path | str]) -> Imported:
    """Merge ledgers' files and folders of journals into a ledger; the runs are charged to its pots once.

    Args:
        target: The ledger; it is made where it is missing.
        paths: SQLite files, ``fitprint.d`` folders, or folders that hold either; a text is a database's URL. None: the
            journals that runs on this machine have written for ``target``.

    Raises:
        LedgerError: If a path holds no record of runs, or the target cannot be written.
    """
    done = Imported()
    with closing(Store(_made(target))) as store:
        for path in paths or [target.journals]:
            with closing(_read(path)) as source:
                done += merge(source, store)
    return done


def merge(source: Store, target: Store) -> Imported:
    """Take over the runs of which a store knows more, and what they have reserved."""
    done = Imported()
    with target.database.transaction():
        for row in source.rows():
            done += _take_run(source, target, row)
        _take_pots(source.database, target.database)
    for row in source.rows():
        if (target.record(row["run_id"]) or {}).get("status") not in ("running", None):
            _settle(target.database, row["run_id"])
    return done


def _take_run(source: Store, target: Store, row: Mapping[str, Any]) -> Imported:
    run_id = row["run_id"]
    record, known = source.record(run_id) or {}, target.record(run_id)
    if known is not None and _progress(known) >= _progress(record):
        return Imported(same=1)
    process = {"boot_id": row["boot_id"], "pid": row["pid"], "started": row["pid_started"]}
    target.take_over(run_id, record, process, row["heard_at"])
    for block, position, text in source.epochs(run_id):
        target.write_epoch(run_id, block, position, text)
    return Imported(new=1) if known is None else Imported(renewed=1)


def _progress(record: Mapping[str, Any]) -> tuple[float, bool]:
    """How far a run had come: what it had used only grows, and its end is written last."""
    return record.get("energy_j") or 0.0, record.get("status") != "running"


def _take_pots(source: Database, target: Database) -> None:
    """What a killed run had reserved elsewhere is reserved here, unless it has gone on here; limits stay as they are."""
    for project, unit, most in source.execute("SELECT project, unit, most FROM pots ORDER BY project, unit"):
        target.execute(
            "INSERT INTO pots VALUES (:project, :unit, :most) ON CONFLICT (project, unit) DO NOTHING",
            project=project, unit=unit, most=most,
        )  # fmt: skip
    for row in source.execute(f"SELECT {', '.join(SHARE)} FROM pot_runs ORDER BY project, unit, run_id"):
        target.execute(
            f"INSERT INTO pot_runs ({', '.join(SHARE)}) VALUES ({', '.join(f':{name}' for name in SHARE)}) "
            "ON CONFLICT (project, unit, run_id) DO UPDATE SET used = excluded.used, reserved = excluded.reserved "
            "WHERE excluded.used > pot_runs.used",
            **dict(zip(SHARE, row, strict=True)),
        )


def _settle(db: Database, run_id: str) -> None:
    """A run whose end has been imported has nothing reserved any more."""
    query = "SELECT project, unit FROM pot_runs WHERE run_id = :run_id AND reserved > 0"
    for project, unit in db.execute(query, run_id=run_id):
        Pot(db, project, unit).settle(run_id)


def _made(target: Location) -> Location:
    open_pots(target, create=True).close()
    return target


def _may_be_ours(file: Path) -> bool:
    """False for the database of another program, such as a study's, that lies in the folder as well; it is told."""
    try:
        with closing(SqliteDatabase(file, create=False)) as database:
            database.version()
    except (LedgerError, sqlite3.Error) as error:
        if not (isinstance(error, LedgerError) or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB):
            return True
        warn("%s is no ledger and is left out", file)
        return False
    return True


def _read(path: Path | str) -> Store:
    """Everything that a file or folder holds, in memory; or the database that a URL names."""
    if isinstance(path, str):
        return Ledger(path).open()
    if path.is_file():
        return Ledger(path).open()
    store = Store(MEMORY)
    try:
        for file in filter(_may_be_ours, sorted(path.glob("*.db"))):
            with closing(Ledger(file).open()) as ledger:
                merge(ledger, store)
        journals = sorted([*path.glob("*/*.jsonl"), *path.glob("*.d/*/*.jsonl"), *path.glob("*.jsonl")])
        with closing(Store(MEMORY)) as written:
            for journal in journals:
                written.apply_what_can_be(read_events(journal), journal)
            merge(written, store)
        if not store.rows():
            raise LedgerError(f"{path} holds no record of runs. Expected a ledger's file (fitprint.db) or its folder (fitprint.d).")
    except BaseException:
        store.close()
        raise
    return store
