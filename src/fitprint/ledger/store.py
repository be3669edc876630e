"""The ledger: an SQLite file with a row for every run, its epochs and its sensors."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fitprint.config import resolve
from fitprint.errors import LedgerError
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.ledger.journal import journals, read_events
from fitprint.ledger.process import Process, is_alive

VERSION = 1
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
        LedgerError: If a later version of fitprint wrote it.
    """

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            self._db.close()
            raise LedgerError(f"{path} was written by a later version of fitprint (ledger {version}, this one reads {VERSION}).")
        if version < VERSION:
            self._db.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")

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
        for row in rows:
            process = Process(row.pop("boot_id") or "", row.pop("pid") or 0, row.pop("pid_started") or "")
            heard_at = row.pop("heard_at")
            if row["status"] == "running" and self._is_lost(process, heard_at):
                row["status"] = "lost"
        return rows

    def footprint(self, run_id: str) -> Footprint:
        """The full record of one run.

        Raises:
            LedgerError: If there is no such run.
        """
        store = self._open()
        try:
            found = store.footprint(run_id)
        finally:
            store.close()
        if found is None:
            raise LedgerError(f"{self.path} has no run {run_id!r}. `fitprint runs` lists those it has.")
        return found

    def _is_lost(self, process: Process, heard_at: float | None) -> bool:
        alive = is_alive(process, self._proc_root)
        return time.time() - (heard_at or 0) > SILENCE_S if alive is None else not alive

    def _open(self) -> Store:
        """The database, or one in memory from the journals where it is missing or broken."""
        if self.path.is_file():
            try:
                store = Store(self.path)
                store.rows()
                return store
            except sqlite3.Error as error:
                paths = journals(self.path)
                if not paths:
                    raise LedgerError(f"{self.path} cannot be read as a ledger: {error}.") from error
        store = Store(":memory:")
        for path in journals(self.path):
            store.apply(read_events(path))
        return store
