"""The ledger: an SQLite file with a row for every run, its epochs and its sensors."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fitprint.config import resolve
from fitprint.errors import LedgerError
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.ledger.journal import journals, read_events
from fitprint.ledger.process import Process, is_alive
from fitprint.notices import logger

VERSION = 1
# "fprt": tells our files from those of other programs.
APPLICATION_ID = 0x66707274
BUSY_TIMEOUT_S = 2.0
# A run on another machine that has not been heard of for so long counts as lost (it writes every 30 s).
SILENCE_S = 120.0

TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    run_id TEXT PRIMARY KEY, project TEXT, name TEXT, kind TEXT, status TEXT, started_at TEXT, duration_s REAL,
    energy_j REAL, co2e_g REAL, boot_id TEXT, pid INTEGER, pid_started TEXT, heard_at REAL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS epochs (
    run_id TEXT NOT NULL, block INTEGER NOT NULL, position INTEGER NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (run_id, block, position));
CREATE TABLE IF NOT EXISTS sensors (
    run_id TEXT NOT NULL, sensor_id TEXT NOT NULL, part TEXT, method TEXT, source TEXT, energy_j REAL,
    PRIMARY KEY (run_id, sensor_id));
"""


class Store:
    """Applies journal events to a database. Applying an event twice changes nothing.

    Args:
        path: The file, or ``":memory:"``.

    Raises:
        sqlite3.Error: If it cannot be opened or is no database.
        LedgerError: If a later version of fitprint, or another program, wrote it.
    """

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(path)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, path: Path | str) -> None:
        empty = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty:
            self._db.executescript(
                f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
            )
        check_is_ledger(self._db, path)

    def apply(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Apply events in one transaction.

        Raises:
            sqlite3.Error: If that fails; then nothing is applied.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for event in events:
                getattr(self, f"_{event['event']}")(event)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _start(self, event: Mapping[str, Any]) -> None:
        process = event.get("process", {})
        self._db.execute(
            "INSERT INTO runs (run_id, boot_id, pid, pid_started, heard_at, record) VALUES (?, ?, ?, ?, ?, '{}') "
            "ON CONFLICT (run_id) DO UPDATE SET boot_id = excluded.boot_id, pid = excluded.pid, "
            "pid_started = excluded.pid_started",
            (event["run_id"], process.get("boot_id"), process.get("pid"), process.get("started"), event["at"]),
        )
        self._progress(event)

    def _progress(self, event: Mapping[str, Any]) -> None:
        row = self._db.execute("SELECT record FROM runs WHERE run_id = ?", (event["run_id"],)).fetchone()
        record = {**(json.loads(row[0]) if row else {}), **event["run"]}
        columns = ("project", "name", "kind", "status", "started_at", "duration_s", "energy_j", "co2e_g")
        values = [record.get(column) for column in columns]
        self._db.execute(
            f"INSERT INTO runs (run_id, heard_at, record, {', '.join(columns)}) VALUES (?, ?, ?{', ?' * len(columns)}) "
            "ON CONFLICT (run_id) DO UPDATE SET heard_at = excluded.heard_at, record = excluded.record, "
            + ", ".join(f"{column} = excluded.{column}" for column in columns),
            (event["run_id"], event["at"], json.dumps(record), *values),
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO sensors VALUES (?, ?, ?, ?, ?, ?)",
            [(event["run_id"], s["id"], s["part"], s["method"], s["source"], s.get("energy_j")) for s in record.get("sensors", ())],
        )

    def _describe(self, event: Mapping[str, Any]) -> None:
        self._progress(event)

    def _end(self, event: Mapping[str, Any]) -> None:
        self._progress(event)

    def _epoch(self, event: Mapping[str, Any], block: bool = False) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO epochs VALUES (?, ?, ?, ?)",
            (event["run_id"], block, event["position"], json.dumps(event["epoch"])),
        )
        self._progress(event)

    def _block(self, event: Mapping[str, Any]) -> None:
        self._epoch(event, block=True)

    def _metrics(self, event: Mapping[str, Any]) -> None:
        key = (event["run_id"], event["position"])
        row = self._db.execute("SELECT record FROM epochs WHERE run_id = ? AND block = 0 AND position = ?", key).fetchone()
        if row is not None:
            record = {**json.loads(row[0]), "metrics": event["metrics"]}
            self._db.execute(
                "UPDATE epochs SET record = ? WHERE run_id = ? AND block = 0 AND position = ?", (json.dumps(record), *key)
            )

    def apply_what_can_be(self, events: Iterable[Mapping[str, Any]], path: Path) -> None:
        """Apply events of a journal one by one; one that is incomplete costs only itself."""
        for event in events:
            try:
                self.apply([event])
            except (KeyError, TypeError, AttributeError, sqlite3.Error) as error:
                logger().warning("journal %s: skipped an incomplete record (%r)", path, error)

    def copy_from(self, path: Path) -> None:
        """Take over what a ledger's file holds, without writing to it."""
        source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
        try:
            if source.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                check_is_ledger(source, path)
                source.backup(self._db)
        finally:
            source.close()

    def rows(self) -> list[dict[str, Any]]:
        """All runs, oldest first, as the database has them."""
        columns = (
            "run_id", "project", "name", "status", "started_at", "duration_s", "energy_j", "co2e_g",
            "boot_id", "pid", "pid_started", "heard_at",
        )  # fmt: skip
        query = (
            f"SELECT {', '.join(columns)}, (SELECT count(*) FROM epochs e WHERE e.run_id = r.run_id AND e.block = 0) "
            "FROM runs r ORDER BY started_at, run_id"
        )
        return [dict(zip((*columns, "epochs"), row, strict=True)) for row in self._db.execute(query)]

    def footprint(self, run_id: str) -> Footprint | None:
        """The record of one run with its epochs and blocks."""
        row = self._db.execute("SELECT record FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            return None
        query = "SELECT block, record FROM epochs WHERE run_id = ? ORDER BY block, position"
        records = [
            (block, EpochFootprint.from_dict(json.loads(text)).to_dict()) for block, text in self._db.execute(query, (run_id,))
        ]
        parts: dict[str, list[dict[str, Any]]] = {"epochs": [], "blocks": []}
        for block, record in records:
            parts["blocks" if block else "epochs"].append(record)
        return Footprint.from_dict({**json.loads(row[0]), "run_id": run_id, **parts})

    def close(self) -> None:
        self._db.close()


def check_is_ledger(db: sqlite3.Connection, path: Path | str) -> None:
    """Refuse a database that another program, or a later version, wrote.

    Raises:
        LedgerError: Says which of the two.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LedgerError(f"{path} is a database of another program. Choose another file as ledger.")
    if version > VERSION:
        raise LedgerError(f"{path} was written by a later version of fitprint (ledger {version}, this one reads {VERSION}).")


class Ledger:
    """All runs that were recorded in one place, dead ones included.

    Args:
        path: The ledger's file; by default the one that a run started here would use.

    Raises:
        LedgerError: If the file is no ledger, or a later version's.

    Example:
        >>> Ledger("no-such-folder/fitprint.db").runs()
        []
    """

    def __init__(self, path: str | Path | None = None) -> None:
        settings = resolve()
        chosen = Path(path) if path is not None else settings.ledger
        if chosen is None:
            raise LedgerError("The ledger is switched off (ledger='off'). Name a file to read one.")
        self.path = chosen
        self._proc_root = settings.proc_root

    def runs(self) -> list[dict[str, Any]]:
        """One mapping per run: run_id, project, name, status, started_at, duration_s, energy_j, co2e_g, epochs."""
        store = self._open()
        try:
            rows = store.rows()
        finally:
            store.close()
        return [self._with_status(row) for row in rows]

    def footprint(self, run_id: str) -> Footprint:
        """The full record of one run.

        Raises:
            LedgerError: If there is no such run.
        """
        store = self._open()
        try:
            found = store.footprint(run_id)
            rows = [self._with_status(row) for row in store.rows() if row["run_id"] == run_id]
        finally:
            store.close()
        if found is None:
            raise LedgerError(f"{self.path} has no run {run_id!r}. `fitprint runs` lists those it has.")
        return replace(found, status=rows[0]["status"])

    def _with_status(self, row: dict[str, Any]) -> dict[str, Any]:
        """The public columns of a row; a run without an end whose process is gone is lost."""
        process = Process(row["boot_id"] or "", row["pid"] or 0, row["pid_started"] or "")
        public = {key: value for key, value in row.items() if key not in ("boot_id", "pid", "pid_started", "heard_at")}
        if row["status"] == "running" and self._is_lost(process, row["heard_at"]):
            public["status"] = "lost"
        return public

    def _is_lost(self, process: Process, heard_at: float | None) -> bool:
        alive = is_alive(process, self._proc_root)
        return time.time() - (heard_at or 0) > SILENCE_S if alive is None else not alive

    def _open(self) -> Store:
        """A copy in memory: what the file holds, and what only the journals do. Reading writes nothing."""
        store = Store(":memory:")
        paths = journals(self.path)
        if self.path.is_file():
            try:
                store.copy_from(self.path)
            except sqlite3.Error as error:
                if not paths:
                    raise LedgerError(f"{self.path} cannot be read as a ledger: {error}.") from error
                logger().warning("%s cannot be read (%s); the journals beside it are read instead", self.path, error)
                store = Store(":memory:")
        known = {row["run_id"] for row in store.rows()}
        for path in (path for path in paths if path.parent.name not in known):
            store.apply_what_can_be(read_events(path), path)
        return store
