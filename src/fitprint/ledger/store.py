"""The ledger: a database with a row for every run, its epochs and its sensors."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fitprint.errors import LedgerError
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.ledger.database import SqliteDatabase, open_database
from fitprint.ledger.schema import check_version, prepare
from fitprint.location import Location
from fitprint.notices import logger

COLUMNS = ("project", "name", "kind", "status", "started_at", "duration_s", "energy_j", "co2e_g", "parent_run_id")


class Store:
    """Applies journal events to a database. Applying an event twice changes nothing.

    Args:
        where: The ledger's place, or ``":memory:"``.

    Raises:
        sqlite3.Error: If a file cannot be opened or is no database.
        LedgerError: If a later version of fitprint, or another program, wrote it, or a server is not there.
    """

    def __init__(self, where: Location | Path | str) -> None:
        self.database = open_database(where)
        try:
            prepare(self.database, where)
        except BaseException:
            self.database.close()
            raise

    def apply(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Apply events in one transaction.

        Raises:
            sqlite3.Error: If that fails; then nothing is applied.
            LedgerError: If a server fails.
        """
        with self.database.transaction():
            for event in events:
                getattr(self, f"_{event['event']}")(event)

    def _start(self, event: Mapping[str, Any]) -> None:
        self._begin(event["run_id"], event.get("process", {}), self.database.heard_at(event["at"]))
        if "before" in event:
            self._replace_epochs(event["run_id"], event["before"])
        self._progress(event)

    def _begin(self, run_id: str, process: Mapping[str, Any], heard_at: float | None) -> None:
        self.database.execute(
            "INSERT INTO runs (run_id, boot_id, pid, pid_started, heard_at, record) "
            "VALUES (:run_id, :boot_id, :pid, :started, :heard_at, '{}') ON CONFLICT (run_id) DO UPDATE SET "
            "boot_id = excluded.boot_id, pid = excluded.pid, pid_started = excluded.pid_started",
            run_id=run_id,
            heard_at=heard_at,
            **{name: process.get(name) for name in ("boot_id", "pid", "started")},
        )

    def take_over(self, run_id: str, record: Mapping[str, Any], process: Mapping[str, Any], heard_at: float | None) -> None:
        """Write a run as another store has it, in an open transaction."""
        self._begin(run_id, process, heard_at)
        self._write_run(run_id, heard_at, record)

    def _replace_epochs(self, run_id: str, before: Mapping[str, Any]) -> None:
        """A resumed run brings its epochs along: they may be of another ledger."""
        self.database.execute("DELETE FROM epochs WHERE run_id = :run_id", run_id=run_id)
        for block, name in enumerate(("epochs", "blocks")):
            for position, record in enumerate(before[name]):
                self.database.execute(
                    "INSERT INTO epochs VALUES (:run_id, :block, :position, :record)",
                    run_id=run_id,
                    block=block,
                    position=position,
                    record=json.dumps(record),
                )

    def _progress(self, event: Mapping[str, Any]) -> None:
        if "run" not in event:  # an event beside it has it
            return
        query = f"SELECT record FROM runs WHERE run_id = :run_id{self.database.locking}"
        rows = self.database.execute(query, run_id=event["run_id"])
        known = json.loads(rows[0][0]) if rows else {}
        if event["event"] == "start":  # what has ended the stretch before is over
            known.pop("stop_reason", None)
        record = {**known, **event["run"]}
        if (joules := record.pop("sensor_j", None)) is not None:
            pairs = zip(record.get("sensors", ()), joules, strict=False)
            record["sensors"] = [{**row, "energy_j": energy_j} for row, energy_j in pairs]
        self._write_run(event["run_id"], self.database.heard_at(event["at"]), record)

    def _write_run(self, run_id: str, heard_at: float | None, record: Mapping[str, Any]) -> None:
        """Write a run's row and those of its sensors, in an open transaction."""
        self.database.execute(
            f"INSERT INTO runs (run_id, heard_at, record, {', '.join(COLUMNS)}) "
            f"VALUES (:run_id, :heard_at, :record, {', '.join(f':{column}' for column in COLUMNS)}) "
            "ON CONFLICT (run_id) DO UPDATE SET heard_at = excluded.heard_at, record = excluded.record, "
            + ", ".join(f"{column} = excluded.{column}" for column in COLUMNS),
            run_id=run_id,
            heard_at=heard_at,
            record=json.dumps(record),
            **{column: record.get(column) for column in COLUMNS},
        )
        for sensor in record.get("sensors", ()):
            self.database.execute(
                "INSERT INTO sensors VALUES (:run_id, :id, :part, :method, :source, :energy_j) "
                "ON CONFLICT (run_id, sensor_id) DO UPDATE SET part = excluded.part, method = excluded.method, "
                "source = excluded.source, energy_j = excluded.energy_j",
                run_id=run_id,
                energy_j=sensor.get("energy_j"),
                **{name: sensor[name] for name in ("id", "part", "method", "source")},
            )

    def _describe(self, event: Mapping[str, Any]) -> None:
        self._progress(event)

    def _end(self, event: Mapping[str, Any]) -> None:
        self._progress(event)

    def _epoch(self, event: Mapping[str, Any], block: bool = False) -> None:
        self.write_epoch(event["run_id"], int(block), event["position"], json.dumps(event["epoch"]))
        self._progress(event)

    def write_epoch(self, run_id: str, block: int, position: int, record: str) -> None:
        """Write the row of an epoch (``block`` 0) or a block (1), in an open transaction."""
        self.database.execute(
            "INSERT INTO epochs VALUES (:run_id, :block, :position, :record) "
            "ON CONFLICT (run_id, block, position) DO UPDATE SET record = excluded.record",
            run_id=run_id,
            block=block,
            position=position,
            record=record,
        )

    def _block(self, event: Mapping[str, Any]) -> None:
        self._epoch(event, block=True)

    def _metrics(self, event: Mapping[str, Any]) -> None:
        run_id, position = event["run_id"], event["position"]
        rows = [(place, text) for block, place, text in self.epochs(run_id) if not block and place == position]
        for place, text in rows:
            self.write_epoch(run_id, 0, place, json.dumps({**json.loads(text), "metrics": event["metrics"]}))

    def apply_what_can_be(self, events: Iterable[Mapping[str, Any]], path: Path) -> None:
        """Apply events of a journal one by one; one that is incomplete costs only itself."""
        for event in events:
            try:
                self.apply([event])
            except Exception as error:  # what a file says may be wrong in any way
                logger().warning("journal %s: skipped an incomplete record (%r)", path, error)

    def copy_from(self, path: Path, run_id: str | None = None) -> None:
        """Take over what a ledger's file holds, or one run of it, without writing to it; only in memory."""
        source, own = SqliteDatabase(path, create=False), self.database
        assert isinstance(own, SqliteDatabase)
        try:
            if check_version(source, path):
                self._copy_run(source, own.connection, run_id, path) if run_id else source.connection.backup(own.connection)
        finally:
            source.close()
        prepare(own, path)

    def _copy_run(self, source: SqliteDatabase, own: sqlite3.Connection, run_id: str, path: Path) -> None:
        """Only columns of our own tables are named in the statement: the file may be anybody's."""
        for table in ("runs", "epochs", "sensors"):
            rows = source.connection.execute(f"SELECT * FROM {table} WHERE run_id = :run_id", {"run_id": run_id})
            ours = {column[0] for column in own.execute(f"SELECT * FROM {table} LIMIT 0").description}
            if not ours.issuperset(names := [column[0] for column in rows.description]):
                raise LedgerError(f"{path} has columns that no ledger has. Choose another file as ledger.")
            statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
            for row in rows:
                self.database.execute(statement, **dict(zip(names, row, strict=True)))

    def rows(self) -> list[dict[str, Any]]:
        """All runs, oldest first, as the database has them."""
        return self._rows("ORDER BY started_at, run_id")

    def row(self, run_id: str) -> dict[str, Any]:
        """One run that is there, likewise."""
        return self._rows("WHERE run_id = :run_id", run_id=run_id)[0]

    def _rows(self, which: str, **values: Any) -> list[dict[str, Any]]:
        columns = (
            "run_id", "project", "name", "kind", "status", "started_at", "duration_s", "energy_j", "co2e_g",
            "boot_id", "pid", "pid_started", "heard_at",
        )  # fmt: skip
        query = (
            f"SELECT {', '.join(columns)}, (SELECT count(*) FROM epochs e WHERE e.run_id = r.run_id AND e.block = 0) "
            f"FROM runs r {which}"
        )
        return [dict(zip((*columns, "epochs"), row, strict=True)) for row in self.database.execute(query, **values)]

    def record(self, run_id: str) -> dict[str, Any] | None:
        """A run's record without its epochs; None where it is not known."""
        rows = self.database.execute("SELECT record FROM runs WHERE run_id = :run_id", run_id=run_id)
        return json.loads(rows[0][0]) if rows else None

    def epochs(self, run_id: str) -> list[tuple[int, int, str]]:
        """A run's epochs and then its blocks: 0 or 1, position, record as text."""
        query = "SELECT block, position, record FROM epochs WHERE run_id = :run_id ORDER BY block, position"
        return [(int(block), int(position), text) for block, position, text in self.database.execute(query, run_id=run_id)]

    def footprint(self, run_id: str) -> Footprint | None:
        """The record of one run with its epochs and blocks.

        Raises:
            LedgerError: If what the database holds is no record.
        """
        try:
            record = self.record(run_id)
            return None if record is None else Footprint.from_dict({**record, "run_id": run_id, **self._parts(run_id)})
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise LedgerError(f"the record of run {run_id!r} cannot be read ({type(error).__name__}).") from error

    def _parts(self, run_id: str) -> dict[str, list[dict[str, Any]]]:
        parts: dict[str, list[dict[str, Any]]] = {"epochs": [], "blocks": []}
        for block, _, text in self.epochs(run_id):
            parts["blocks" if block else "epochs"].append(EpochFootprint.from_dict(json.loads(text)).to_dict())
        return parts

    def close(self) -> None:
        self.database.close()
