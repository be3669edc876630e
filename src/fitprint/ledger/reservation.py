"""A run's side of its pots: asks on the clerk's thread, waits for a bounded time, and knows what it may still use."""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from fitprint.errors import LedgerError
from fitprint.ledger.connection import Connection
from fitprint.ledger.pot import COLUMNS, Grant
from fitprint.ledger.project import Project
from fitprint.ledger.recorder import Recorder
from fitprint.shared import SPENT, UNREACHABLE, Level, Refused

if TYPE_CHECKING:
    from concurrent.futures import Future

# A boundary waits so long while the run has something reserved to go on with.
WAIT_S = 1.0
# Where the run would have to end, a database that cannot be reached is tried for so long (a server that starts anew),
PERSIST_S = 5.0
# a run that begins, beside many others perhaps, tries for so long,
JOIN_S = 30.0
# but not where the file cannot be made at all: waiting is for servers and locks.
HOPELESS_S = 1.0
# every so often,
RETRY_S = 0.2
# and one that is slow is waited for: its client may have to be loaded first, on a busy machine.
ANSWER_S = 60.0
NO_SUCH_PLACE = (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS)


class Reservation:
    """What a run has reserved of one pot.

    Args:
        question: Asks the pot to settle what was used and to reserve what is needed.
    """

    def __init__(self, question: Callable[[float, float], Future[Grant]]) -> None:
        self.level: Level | None = None
        # What the run counts as its own and another run has been charged for: that from whose checkpoint it began.
        self.inherited = 0.0
        self._question = question
        self._ceiling = 0.0
        self._refused: Refused | None = None
        self._hopeless = False
        self._pending: Future[Grant] | None = None
        self._asked = (0.0, 0.0)
        self._asked_at = 0.0

    def reserve(self, used: float, need: float, *, boundary: bool, looks_inside: bool) -> Refused | None:
        """See ``Pots.reserve``."""
        if self._pending is not None:
            self._answer(0.0)
        fits = used < self._ceiling and used + need <= self._ceiling
        if self._refused is not None:
            return self._go_on_refused(used, need, fits)
        if fits and not boundary:
            return None
        can_go_on = fits or (boundary and looks_inside and used < self._ceiling)
        refused = self._ask(used, need, can_go_on=can_go_on)
        if not (can_go_on and refused is not None and refused.code == UNREACHABLE):
            self._refused = refused
        return self._refused

    def _go_on_refused(self, used: float, need: float, fits: bool) -> Refused | None:
        """A run that goes on in spite of it (on_exceed, min_epochs) tells the pot now and then, and never waits."""
        if self._pending is None and time.monotonic() - self._asked_at > WAIT_S:
            self._submit(used, need)
        if fits:
            self._refused = None
        return self._refused

    def _ask(self, used: float, need: float, *, can_go_on: bool) -> Refused | None:
        began = time.monotonic()
        until = began + (WAIT_S if can_go_on else ANSWER_S)
        while True:
            if self._pending is None:
                self._submit(used, need)
            asked = self._asked
            refused = self._answer(max(0.0, until - time.monotonic()))
            if refused is None and asked == (used, need):
                return None
            if refused is not None and (can_go_on or not self._worth_another_try(refused, began)):
                return refused
            if refused is not None:
                time.sleep(RETRY_S)

    def _worth_another_try(self, refused: Refused, began: float) -> bool:
        failed = refused.code == UNREACHABLE and self._pending is None
        join_s = min(HOPELESS_S, JOIN_S) if self._hopeless else JOIN_S
        return failed and time.monotonic() - began < (PERSIST_S if self.level is not None else join_s)

    def _submit(self, used: float, need: float) -> None:
        self._asked, self._asked_at = (used, need), time.monotonic()
        self._pending = self._question(used - self.inherited, need)

    def _answer(self, wait_s: float) -> Refused | None:
        """What the pot says to the question that is open; None is yes. Without an answer the question stays open."""
        assert self._pending is not None
        try:
            grant = self._pending.result(wait_s)
        except TimeoutError:
            return Refused(UNREACHABLE, f"no answer for {time.monotonic() - self._asked_at:.0f} s")
        except Exception as error:
            self._pending, self._hopeless = None, _cannot_be_made(error)
            return Refused(UNREACHABLE, str(error).rstrip("."))
        self._pending = None
        self.level = Level(grant.others - self.inherited, grant.limit)
        self._ceiling = self._asked[0] + grant.reserved
        return None if grant.granted else Refused(SPENT)


def _cannot_be_made(error: Exception) -> bool:
    """Whether the pot's file cannot be made, read or written where it is wanted, however long one waits."""
    if isinstance(error, sqlite3.DatabaseError):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest of it says more exactly what
        return code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
    return isinstance(error, OSError) and error.errno in NO_SUCH_PLACE


class Reservations:
    """The pots that a run draws on, one for grams and one for joules.

    Args:
        project: The project.
        recorder: Its thread is where disk and network are used.
    """

    def __init__(self, project: Project, recorder: Recorder) -> None:
        self.project = project.name
        self._project = project
        self._recorder = recorder
        self._connection: Connection | None = None
        self._reservations = {unit: Reservation(partial(self._question, unit)) for unit in project.limits}

    def open(self, run_id: str, parent_run_id: str | None, inherited: Mapping[str, float] | None = None) -> None:
        """From here on the run's identity is known; a run that was killed before goes on with what it was charged.

        Args:
            run_id: The run.
            parent_run_id: The run inside which it is counted, or None.
            inherited: What the run from whose checkpoint it began had spent (``energy_j``, ``co2e_g``), or None.
        """
        if self._connection is None:
            self._connection = Connection(self._project, run_id, parent_run_id)
            for unit, reservation in self._reservations.items():
                reservation.inherited = (inherited or {}).get(COLUMNS[unit]) or 0.0

    def level(self, unit: str) -> Level | None:
        return self._reservations[unit].level

    def levels(self) -> dict[str, Level]:
        pairs = ((unit, reservation.level) for unit, reservation in self._reservations.items())
        return {unit: level for unit, level in pairs if level is not None}

    def reserve(self, unit: str, used: float, need: float, *, boundary: bool, looks_inside: bool) -> Refused | None:
        return self._reservations[unit].reserve(used, need, boundary=boundary, looks_inside=looks_inside)

    def settle(self, used: Mapping[str, float]) -> None:
        """The run has ended: hand over what it has used; returns at once.

        Args:
            used: All that it has used, by unit.
        """
        if self._connection is not None:
            own = {unit: used[unit] - reservation.inherited for unit, reservation in self._reservations.items()}
            self._recorder.ask(partial(self._connection.settle, own))

    def _question(self, unit: str, used: float, need: float) -> Future[Grant]:
        asked = self._recorder.ask(partial(self._connection.reserve, unit, used, need)) if self._connection else None
        if asked is not None:
            return asked
        from concurrent.futures import Future

        nobody: Future[Grant] = Future()
        nobody.set_exception(LedgerError("its record could not be opened"))
        return nobody
