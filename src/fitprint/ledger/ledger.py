"""All runs of one place, read: the database with what only journals have, and whose process is gone."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from fitprint.errors import ConfigError, LedgerError
from fitprint.footprint import Footprint
from fitprint.ledger.claim import SILENCE_S
from fitprint.ledger.database import MEMORY
from fitprint.ledger.journal import journals, read_events
from fitprint.ledger.labels import labels
from fitprint.ledger.store import Store
from fitprint.ledger.united import ENDED_TOGETHER, united
from fitprint.location import Location, check_url
from fitprint.notices import logger
from fitprint.options import check_run_id
from fitprint.process import Process, is_alive
from fitprint.report.listing import Runs
from fitprint.settings import resolve


class Ledger:
    """All runs that were recorded in one place, dead ones included.

    Args:
        where: The ledger's file or URL; by default the one that a run started here would use.

    Raises:
        LedgerError: If the file is no ledger, or a later version's.

    Example:
        >>> Ledger("no-such-folder/fitprint.db").runs()
        []
    """

    def __init__(self, where: str | Path | Location | None = None) -> None:
        settings = resolve()
        chosen = Location.of(where) if where is not None else settings.ledger
        if chosen is None:
            raise LedgerError("The ledger is switched off (ledger='off'). Name a file to read one.")
        if chosen.url:
            check_url(chosen.url)
        self.place = chosen
        self._proc_root = settings.proc_root

    @property
    def path(self) -> Path | None:
        """The file; None where the ledger is a database by URL."""
        return self.place.path

    def runs(self) -> Runs[dict[str, Any]]:
        """One mapping per run: run_id, project, name, kind, status, started_at, duration_s, energy_j, co2e_g, epochs.

        Notebooks show the list as a table.
        """
        with closing(self.open()) as store:
            now = store.database.heard_at(time.time())
            rows = [self._with_status(row, now) for row in store.rows()]
            apart = {row["run_id"]: self._known(store, row["run_id"]) for row in rows if self._may_lie_apart(row)}
        whole = {run_id: self._of_all_ranks(record) for run_id, record in apart.items() if record is not None}
        return Runs(_row_of(row, whole.get(row["run_id"])) for row in rows)

    def labelled(self, rows: Iterable[Mapping[str, Any]]) -> Runs[dict[str, Any]]:
        """Rows of ``runs``, each with parent_run_id, tags and stop_reason (its sentence) from the record of its run.

        A run is inside its parent: what is added up leaves out those whose parent is there.
        """
        with closing(self.open()) as store:
            return Runs({**row, **labels(store, row["run_id"])} for row in rows)

    def footprint(self, run_id: str) -> Footprint:
        """The full record of one run.

        Raises:
            LedgerError: If there is no such run.
        """
        found = self.find(run_id)
        if found is None:
            raise LedgerError(f"{self.place} has no run {run_id!r}. `fitprint runs` lists those it has.")
        return found

    def find(self, run_id: str) -> Footprint | None:
        """The full record of one run; None if there is no such run."""
        with closing(self.open(run_id)) as store:
            found = self._known(store, run_id)
        return self._of_all_ranks(found) if found is not None else None

    def footprints(self, run_ids: Collection[str] | None = None) -> Runs[Footprint]:
        """The full records of all runs, oldest first.

        Args:
            run_ids: Of these alone; those that are not there are left out.
        """
        with closing(self.open()) as store:
            wanted = [row["run_id"] for row in store.rows() if run_ids is None or row["run_id"] in run_ids]
            found = [self._known(store, run_id) for run_id in wanted]
        return Runs(self._of_all_ranks(record) for record in found if record is not None)

    def _repr_html_(self) -> str:
        return self.runs()._repr_html_()

    def _known(self, store: Store, run_id: str) -> Footprint | None:
        """A run as a store has it, lost where its process is gone."""
        record = store.footprint(run_id)
        if record is None:
            return None
        row = self._with_status(store.row(run_id), store.database.heard_at(time.time()))
        return replace(_whole(record) if row["status"] == "lost" else record, status=row["status"])

    def _may_lie_apart(self, row: Mapping[str, Any]) -> bool:
        """Whether other ranks may have written of a run what its row does not have."""
        return row["status"] not in ENDED_TOGETHER and len(self._journals(row["run_id"])) > 1

    def _journals(self, run_id: str) -> list[Path]:
        """Those of one run; what a record calls it may be anything."""
        if self.place.path is None:
            return []
        try:
            return sorted((self.place.journals / check_run_id(run_id)).glob("*.jsonl"))
        except (ConfigError, OSError):  # no folder has that name
            return []

    def _of_all_ranks(self, record: Footprint) -> Footprint:
        """With what the other ranks of a job knew, where it has not ended on all of them alike; their journals tell.

        Where one of them is epochs further, the run has gone on elsewhere since, and may have ended there.
        """
        if record.status in ENDED_TOGETHER:
            return record
        for path in self._journals(record.run_id):
            with closing(Store(MEMORY)) as store:
                store.apply_what_can_be((event for event in read_events(path) if event.get("rank")), path)
                other = self._known(store, record.run_id)
            if other is not None:
                went_on = len(other.epochs) > len(record.epochs) and other.status in ("running", *ENDED_TOGETHER)
                record = replace(united(record, other), status=other.status if went_on else record.status)
        return record

    def annotate(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to the last epoch of a run that has ended; those that the run recorded itself stay.

        Nothing is done where there is no such run, or where it has no epoch.

        Args:
            run_id: The run.
            metrics: What became known after its end, for example ``{"test_acc": 0.91}``.

        Raises:
            sqlite3.Error: If the file cannot be written.
            LedgerError: If a server fails.
        """
        if self.place.path is not None and not self.place.path.is_file():
            return
        with closing(Store(self.place)) as store:
            found = store.footprint(run_id)
            if found is None or not found.epochs:
                return
            own = {name for epoch in found.epochs for name in epoch.metrics}
            told = {name: value for name, value in metrics.items() if name not in own and math.isfinite(value)}
            position = max(place for block, place, _ in store.epochs(run_id) if not block)
            merged = {**found.epochs[-1].to_dict()["metrics"], **told}
            store.apply([{"event": "metrics", "run_id": run_id, "position": position, "metrics": merged}])

    def _with_status(self, row: dict[str, Any], now: float) -> dict[str, Any]:
        """The public columns of a row; a run without an end whose process is gone is lost."""
        process = Process(row["boot_id"] or "", row["pid"] or 0, row["pid_started"] or "")
        public = {key: value for key, value in row.items() if key not in ("boot_id", "pid", "pid_started", "heard_at")}
        if row["status"] == "running" and self._is_lost(process, now - (row["heard_at"] or 0)):
            public["status"] = "lost"
        return public

    def _is_lost(self, process: Process, silent_s: float) -> bool:
        alive = is_alive(process, self._proc_root)
        return silent_s > SILENCE_S if alive is None else not alive

    def open(self, run_id: str | None = None) -> Store:
        """What the place holds. A file is copied into memory with what only the journals have: reading writes nothing.

        Args:
            run_id: This run alone.

        Raises:
            LedgerError: If it cannot be read.
        """
        try:
            return self._open(run_id)
        except sqlite3.Error as error:
            raise LedgerError(f"{self.place} cannot be read as a ledger: {error}.") from error
        except OSError as error:
            raise LedgerError(f"{error.filename or self.place} cannot be read: {error.strerror or error}.") from error

    def _open(self, run_id: str | None) -> Store:
        if self.place.path is None:
            return Store(self.place)
        store = Store(MEMORY)
        paths = [path for path in journals(self.place) if run_id in (None, path.parent.name)]
        if self.place.path.is_file():
            try:
                store.copy_from(self.place.path, run_id)
            except sqlite3.Error as error:
                if not paths:
                    raise
                logger().warning("%s cannot be read (%s); the journals beside it are read instead", self.place, error)
                store = Store(MEMORY)
        # What a killed process wrote last may be in its journal only.
        known = {row["run_id"] for row in store.rows() if row["status"] != "running"}
        unknown = [path for path in paths if path.parent.name not in known]
        for path in unknown:
            store.apply_what_can_be((event for event in read_events(path) if not event.get("rank")), path)
        known = {row["run_id"] for row in store.rows()}
        for path in (path for path in unknown if path.parent.name not in known):  # of a job, and its first rank wrote nothing
            store.apply_what_can_be(read_events(path), path)
        return store


def _row_of(row: dict[str, Any], whole: Footprint | None) -> dict[str, Any]:
    """A run's row with what all ranks have written of it."""
    if whole is None:
        return row
    told = {name: getattr(whole, name) for name in ("status", "duration_s", "energy_j", "co2e_g")}
    return {**row, **told, "epochs": len(whole.epochs)}


def _whole(lost: Footprint) -> Footprint:
    """The record of a run that was killed inside an epoch: what the epoch had used by then lies outside of those that ended."""
    if lost.energy_j is None:
        return lost
    return replace(lost, outside_epochs_j=math.fsum([lost.energy_j, *(-(epoch.energy_j or 0.0) for epoch in lost.epochs)]))
