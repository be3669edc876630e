"""A run's connection to the pots of its project."""

from __future__ import annotations

from collections.abc import Mapping

from fitprint.ledger.database import Database, open_database
from fitprint.ledger.pot import Grant, Pot
from fitprint.ledger.project import Project
from fitprint.ledger.schema import prepare
from fitprint.location import Location
from fitprint.notices import logger
from fitprint.units import format_quantity


class Connection:
    """One run at the pots of its project; used on the clerk's thread alone.

    Args:
        project: The project.
        run_id: The run.
        parent_run_id: The run inside which it is counted, or None.
    """

    def __init__(self, project: Project, run_id: str, parent_run_id: str | None) -> None:
        self._project = project
        self._run_id = run_id
        self._parent = parent_run_id
        self._database: Database | None = None
        # What the run is charged beyond what it knows of itself, by unit; empty until it has joined a pot.
        self._lost: dict[str, float] = {}

    def reserve(self, unit: str, used: float, need: float) -> Grant:
        """Settle and reserve; the first time the run joins the pot, or comes back to it.

        Raises:
            sqlite3.Error: If the file cannot be used; the next question opens it anew.
            LedgerError: If the server cannot be reached, or the ledger is a later version's.
        """
        try:
            pot = self._pot(unit)
            if unit not in self._lost:
                self._set_limit(pot, unit)
                self._lost[unit] = pot.resume(self._run_id, used)
            return pot.reserve(self._run_id, used + self._lost[unit], need, parent_run_id=self._parent)
        except BaseException:
            self.close()
            raise

    def settle(self, used: Mapping[str, float]) -> None:
        """The run has ended: give back what is reserved."""
        try:
            for unit, lost in self._lost.items():
                self._pot(unit).settle(self._run_id, used[unit] + lost)
        finally:
            self.close()

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _set_limit(self, pot: Pot, unit: str) -> None:
        limit = self._project.limits[unit]
        was = pot.open(limit, self._run_id)
        if was is not None:
            before, now = format_quantity(was, unit), format_quantity(limit, unit)
            logger().warning("the budget of project %r was %s; it is %s now, for all its runs", self._project.name, before, now)

    def _pot(self, unit: str) -> Pot:
        if self._database is None:
            # A pot that has vanished in mid-run must not come back as an empty one.
            self._database = open_pots(self._project.place, create=not self._lost)
        return Pot(self._database, self._project.name, unit)


def open_pots(place: Location, *, create: bool) -> Database:
    """Open the database that holds the pots.

    Args:
        place: The ledger.
        create: Make it where it is missing.
    """
    if place.path is not None and create:
        place.path.parent.mkdir(parents=True, exist_ok=True)
    database = open_database(place, create=create)
    try:
        prepare(database, place)
    except BaseException:
        database.close()
        raise
    return database
