"""The clerk: the one thread that writes. A run hands it events and never waits for a disk."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fitprint.errors import LedgerError
from fitprint.ledger.claim import Claim
from fitprint.ledger.fork import FORKS
from fitprint.ledger.journal import Journal
from fitprint.ledger.store import Store
from fitprint.location import Location
from fitprint.notices import logger
from fitprint.open_files import leave_room
from fitprint.process import Process

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

# Events whose record of the run counts until the next one's.
PASSING = ("epoch", "block", "progress")

RETRY_S = 1.0
# Records kept in memory while the ledger cannot be written; older ones are in the journal.
MOST_WAITING = 100_000
CLOSE_WITHIN_S = 5.0
# Goes to whoever tells intensities; they decide whether it is time to ask again.
ERRAND_EVERY_S = 15.0

# Stands where there is no ledger; nothing comes to it.
NOWHERE = Path("off")

# Something to fetch from elsewhere. It may take its time, but calls what it is given all the while, and ends when that is true.
Errand = Callable[[Callable[[], bool]], object]


class Clerk:
    """Writes a run's events to its journal first and to the ledger second, in order.

    Events wait in memory while the ledger is locked or its disk is full, and are tried again.

    Args:
        ledger: The ledger's place, or None where nothing is written.
        run_id: The run.
        process: The process that writes.
        errand: What else is to be done now and then; must not raise.
        claim: The right to write for the run; taken here where it is not held yet, and let go of at the end.
        stores: Whether the ledger is written too, or the journal alone.

    Attributes:
        cpu_s: CPU seconds that its thread has used.
    """

    def __init__(
        self,
        ledger: Location | Path | None,
        run_id: str,
        process: Process,
        errand: Errand | None = None,
        claim: Claim | None = None,
        *,
        stores: bool = True,
    ) -> None:
        self._claim = claim
        self._stores = stores
        self._ledger = Location.of(NOWHERE if ledger is None else ledger)
        self._records = ledger is not None
        self._errand = errand
        self._errand_done = threading.Event()
        self._journal_path = self._ledger.journals / run_id / f"{process.label}.jsonl"
        self._journal: Journal | None = None
        self._store: Store | None = None
        self._queue: deque[Callable[[], Mapping[str, Any]]] = deque()
        self._questions: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._unstored: deque[dict[str, Any]] = deque(maxlen=MOST_WAITING)
        self._bearing: dict[str, Any] = {}  # the last of them that has the run with it
        self._wake = threading.Event()
        self._closing = False
        self._warned = False
        self.cpu_s = 0.0
        self._worth_waiting = True
        self._thread = threading.Thread(target=self._work, name="fitprint-clerk", daemon=True)

    def start(self) -> None:
        FORKS.register()
        self._thread.start()

    def record(self, event: Callable[[], Mapping[str, Any]]) -> None:
        """Hand over what will write an event down, on this thread; returns at once."""
        if self._records:
            self._queue.append(event)
            self._wake.set()

    def wait_for_errand(self, seconds: float) -> None:
        """Until the first errand is done, but no longer than that."""
        if self._errand is not None and self._thread is not threading.current_thread():
            self._errand_done.wait(seconds)

    def ask(self, question: Callable[[], T]) -> Future[T]:
        """Have a question answered on this thread, before what waits to be written; returns at once."""
        from concurrent.futures import Future  # only pots are asked

        answer: Future[T] = Future()
        self._questions.append((answer, question))
        self._wake.set()
        return answer

    def close(self) -> None:
        """Write what is left, for at most CLOSE_WITHIN_S."""
        self._closing = True
        self._wake.set()
        if self._thread is threading.current_thread():  # the garbage collector may come by on this thread
            return
        self._thread.join(timeout=CLOSE_WITHIN_S)
        if self._thread.is_alive() or self._queue or self._unstored:
            self._warn("not everything could be written in time")

    def _work(self) -> None:
        give_up_at: float | None = None
        while True:
            self._run_errand()
            self._wake.wait(RETRY_S if self._queue or self._unstored else ERRAND_EVERY_S if self._errand else None)
            self._wake.clear()
            closing = self._closing
            with FORKS.writing():
                self._answer()
                self._write()
            self.cpu_s = time.thread_time()
            if not closing:
                continue
            give_up_at = give_up_at or time.monotonic() + CLOSE_WITHIN_S - RETRY_S
            waiting = (self._queue or self._unstored) and self._worth_waiting
            if not waiting or time.monotonic() > give_up_at:
                break
        with FORKS.writing():
            for file in (self._journal, self._store):
                if file is not None:
                    file.close()
            if self._claim is not None:
                self._claim.release()

    def _answer(self) -> None:
        while self._questions:
            answer, question = self._questions.popleft()
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)

    def _run_errand(self) -> None:
        if self._errand is not None and not self._closing:
            self._errand(self._meanwhile)
        self._errand_done.set()

    def _meanwhile(self) -> bool:
        """Questions are answered, and what has come is written down, all the while; true once the run is over."""
        if self._questions or self._queue:
            with FORKS.writing():
                self._answer()
                self._write()
        return self._closing

    def _write(self) -> None:
        for _ in range(len(self._queue)):  # not those that come meanwhile: the ledger is waiting
            self._append(self._queue.popleft())
        try:
            self._apply()
        except (sqlite3.Error, OSError, LedgerError) as error:
            self._worth_waiting = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
            if not self._worth_waiting:
                self._warn(f"the ledger {self._ledger} cannot be written ({error})")
        except Exception as error:
            self._unstored.clear()
            self._warn(f"a record could not be written ({error!r})")

    def _append(self, write_down: Callable[[], Mapping[str, Any]]) -> None:
        """Move an event through the journal; without one it still goes to the ledger.

        A record that cannot be written down must not end the thread that writes the others.
        """
        try:
            event = write_down()
            if self._stores:
                self._put_by(event)
            if self._journal is None:
                leave_room()
            self._take_claim()
            self._journal = self._journal or Journal(self._journal_path)
            self._journal.append(event)
        except OSError as error:
            self._warn(f"the journal {self._journal_path} cannot be written ({error.strerror or error})")
        except Exception as error:
            self._warn(f"a record could not be written ({error!r})")

    def _put_by(self, event: Mapping[str, Any]) -> None:
        """Keep an event until the ledger can be written; of what the run was at several of them the last is enough."""
        event, last = dict(event), self._bearing
        if "run" in event:
            if last.get("event") in PASSING:
                earlier = last.pop("run")
                earlier.pop("sensor_j", None)
                event["run"] = {**earlier, **event["run"]}
            self._bearing = event
        self._unstored.append(event)

    def _take_claim(self) -> None:
        if self._claim is not None and not self._claim.held:
            self._claim.take()

    def _apply(self) -> None:
        if not self._unstored:
            return
        leave_room()  # SQLite opens a journal of its own with each transaction
        if self._ledger.path is not None:
            self._ledger.path.parent.mkdir(parents=True, exist_ok=True)
        self._store = self._store or Store(self._ledger)
        count = len(self._unstored)
        self._store.apply([self._unstored[i] for i in range(count)])
        for _ in range(count):
            self._unstored.popleft()
        self._bearing = {}

    def _warn(self, what: str) -> None:
        if self._warned:
            return
        self._warned = True
        logger().warning(
            "%s; the run is measured but may not be recorded. Choose a place that can be written with "
            "ledger='/some/folder/fitprint.db' (or FITPRINT_LEDGER), or switch recording off with ledger='off'.",
            what,
        )
