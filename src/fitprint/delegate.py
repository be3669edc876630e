"""A run among the ranks of its job: what it tells the others, and what it makes of their words."""

from __future__ import annotations

from fitprint.assembly import Parts
from fitprint.opening import Opening


class Delegate:
    """Speaks and listens for the run at the meetings of its job; does nothing where it is alone.

    Args:
        parts: The run's.
        opening: Who it is.
        budgets: The limits of its budgets, as they were written.
    """

    def __init__(self, parts: Parts, opening: Opening, budgets: tuple[str, ...]) -> None:
        self._parts = parts
        self._opening = opening
        self._budgets = budgets
        self._team = parts.books.team

    def tell(self, *, fresh: bool = True, cut: bool = True) -> list[int] | None:
        """What this rank tells the others, with a reading; None where it is alone.

        Args:
            fresh: As for a reading.
            cut: False takes no reading: the run was over at its last event.
        """
        if self._team is None:
            return None
        with self._parts.lock:
            books, records = self._parts.books, self._parts.chronicle.records
            if fresh:
                books.fence()
            if cut:
                books.cut(fresh=fresh)
            self._opening.settle()
            self._team.announce(self._parts.identity, records, books.meter.sensors)
            told, cpu_s = self._parts.periods.intensities(), self._parts.effort.cpu_s
            return self._team.row(records, told, power_w=books.meter.power_w, unseen_j=books.meter.unseen_j(), cpu_s=cpu_s)

    def hear(self) -> None:
        """Book what the others have told."""
        if self._team is None:
            return
        with self._parts.lock:
            self._opening.follow()
            before, pace = self._parts.identity.before, self._parts.outlook.pace
            earlier = before.segments if before is not None else ()
            for joules in self._team.settle(self._parts.books.time_s(), earlier, self._budgets):
                pace.validation(joules)
            self._parts.chronicle.amend(of_many=bool(self._team.job.tally.sensors))

    def leave_epoch(self, *, complete: bool) -> None:
        """The epoch is over on this rank; it is closed at the next exchange, when it is known what all have used in it."""
        with self._parts.lock:
            if self._team is not None and self._parts.periods.open is not None:
                self._parts.books.cut()
                self._team.left = complete
