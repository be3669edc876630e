"""Turns the events of a run into journal lines, on the clerk's thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fitprint.clock import Clock
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.ledger.claim import Claim
from fitprint.ledger.clerk import PASSING, Clerk, Errand
from fitprint.location import Location
from fitprint.process import this_process

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
FEW_SENSORS = 16

# What the journal's first and last lines say, and `describe` where it changes; a resumed run's joined assumptions are in
# its own first line.
STATIC = (
    "assumptions", "notes", "tags", "project", "name", "kind", "started_at", "run_id", "schema", "hparams", "seed", "git_commit",
)  # fmt: skip


class Recorder:
    """Writes nothing until it is opened; then one line per event.

    Args:
        ledger: The ledger's place, or None where nothing is recorded.
        proc_root: Normally ``/proc``.
        clock: Dates the events.
        errand: What else the clerk is to do; it is started for that alone, too.
        rank: This process's number in a job; those after the first write their journals alone.
    """

    def __init__(self, ledger: Location | None, proc_root: Path, clock: Clock, errand: Errand | None = None, rank: int = 0) -> None:
        self._rank = rank
        self._sensors = 0
        self._errand = errand
        self._ledger = ledger
        self._proc_root = proc_root
        self._clock = clock
        self._clerk: Clerk | None = None
        self._run_id = ""
        # The run as of the last event and that event's number: where the clerk lags, it is written with an earlier one and
        # not again with those up to its own, for it is as large as the run has sensors.
        self._newest: deque[tuple[int, Callable[[], Footprint]]] = deque(maxlen=1)
        self._emitted = self._written = 0

    def open(
        self, run_id: str, run: Callable[[], Footprint], *, claim: Claim | None = None, before: Footprint | None = None
    ) -> None:
        """Begin the journal of a run; does nothing where it is open or switched off.

        Args:
            run_id: The run.
            run: Writes down its record as of now.
            claim: Is taken if it is not yet, and let go of at the end.
            before: The run up to the point from which it goes on.
        """
        if self._clerk is not None or (self._ledger is None and self._errand is None):
            return
        process = this_process(self._proc_root)
        self._run_id = run_id
        self._clerk = Clerk(self._ledger, run_id, process, self._errand, claim, stores=self._rank == 0)
        self._clerk.start()
        where: dict[str, Any] = {"process": {"boot_id": process.boot_id, "pid": process.pid, "started": process.started}}
        if before is not None:
            parts = {"epochs": before.epochs, "blocks": before.blocks}
            where["before"] = {name: [record.to_dict() for record in records] for name, records in parts.items()}
        self.emit("start", run, **where)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the thread that writes."""
        return self._clerk.cpu_s if self._clerk is not None else 0.0

    def emit(self, event: str, run: Callable[[], Footprint] | None = None, **fields: Any) -> None:
        """Hand an event over; it is written down later.

        Args:
            event: One of ``journal.EVENTS``.
            run: Writes down the run's record as of now.
            **fields: What else belongs to the event; an ``epoch`` may be a record.
        """
        if self._clerk is None:
            return
        epoch: EpochFootprint | None = fields.pop("epoch", None)
        head = {"event": event, "run_id": self._run_id, "at": self._clock.time(), **fields}
        if self._rank:
            head["rank"] = self._rank
        static = STATIC if event in PASSING else ()
        number = 0
        if run is not None and event in PASSING:
            self._emitted = number = self._emitted + 1
            self._newest.append((number, run))
            run = None

        def written() -> dict[str, Any]:
            now = run() if run else self._as_of_now(number)
            over_time = {"energy_series": now.energy_series, "readings": list(now.readings) or None} if now else {}
            record = {**now.to_dict(epochs=False), **over_time} if now else {}
            changing = {key: value for key, value in record.items() if key not in static and value is not None}
            self._shorten(event, changing)
            return {**head, **({"epoch": epoch.to_dict()} if epoch else {}), **({"run": changing} if now else {})}

        self._clerk.record(written)

    def _as_of_now(self, number: int) -> Footprint | None:
        """The run as of the newest event; None where what was written last is as new as the event of that number."""
        if number <= self._written:
            return None
        self._written, newest = self._newest.pop()
        return newest()

    def _shorten(self, event: str, record: dict[str, Any]) -> None:
        """A job of many ranks has many sensors, whose rows are written once: after an epoch their joules will do."""
        sensors = record.get("sensors") or ()
        if event in ("epoch", "block") and FEW_SENSORS < len(sensors) == self._sensors:
            record["sensor_j"] = [row["energy_j"] for row in record.pop("sensors")]
        elif sensors:
            self._sensors = len(sensors)

    def ask(self, question: Callable[[], T]) -> Future[T] | None:
        """Have a question answered where disk and network are used; None where nothing is open."""
        return self._clerk.ask(question) if self._clerk is not None else None

    def wait_for_errand(self, seconds: float) -> None:
        """Until the clerk's first errand is done, but no longer than that."""
        if self._clerk is not None:
            self._clerk.wait_for_errand(seconds)

    def close(self) -> None:
        """Write what is left."""
        if self._clerk is not None:
            self._clerk.close()
