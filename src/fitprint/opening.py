"""Until when a run may turn out to go on with an earlier one, and the beginning of its record on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fitprint.assembly import Parts


class Opening:
    """Settles who a run is before its first line is written.

    Args:
        parts: The run's.
        awaits_state: A checkpoint may still say which run this is.

    Attributes:
        awaits_state: Whether one may still come; nothing is written before.
    """

    def __init__(self, parts: Parts, *, awaits_state: bool) -> None:
        self.awaits_state = awaits_state
        self._lock = parts.lock
        self._identity = parts.identity
        self._books, self._team = parts.books, parts.books.team
        self._chronicle = parts.chronicle
        self._pace = parts.outlook.pace
        self._work = parts.work

    def await_no_state(self) -> None:
        """From here on no state can come any more."""
        self.awaits_state = False

    def settle(self) -> None:
        """Decide who this run is, where no state can say so any more."""
        if not self.awaits_state and self._identity.settle():
            self._remember()

    def open(self) -> None:
        """Begin the record; not before a state can no longer come, so that a resumed run has its own id by then."""
        if not self.awaits_state and (self._team is None or self._team.has_met):
            self.settle()
            self._chronicle.open()

    def resume(self, state: Mapping[str, Any], *, own: bool = False) -> None:
        """Go on with the run that ``state`` came from; see ``Identity.restore``."""
        with self._lock:
            if self._identity.restore(state, own=own):
                self._remember()

    def state(self) -> dict[str, Any]:
        """Plain types from which a later process can go on with this run."""
        with self._lock:
            self._books.cut(fresh=False)  # what was used by now is in the checkpoint
            return self._identity.state(self._chronicle.footprint())

    def follow(self) -> None:
        """Be the run that the ranks of the job have agreed on."""
        if self._team is None or self._identity.opened:
            return
        job, known = self._team.job, self._identity.before
        if self._identity.follow(job.tally.leader, self._team.spent_before()):
            self._remember()
        before = self._identity.before
        if before is not None and (before is not known or job.leads):
            job.tally.recall(before.segments)
        self._team.heard = not self.awaits_state

    def _remember(self) -> None:
        for epoch in self._identity.past_epochs:
            self._pace.remember(epoch)
        if self._identity.before is not None:
            self._work.go_on(self._identity.before)
