"""What a run that draws on its project's pots has to know, and its connection to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fitprint.config import Config
from fitprint.errors import ConfigError
from fitprint.ledger.database import Database, open_database
from fitprint.ledger.pot import Grant, Pot
from fitprint.ledger.schema import prepare
from fitprint.location import Location
from fitprint.notices import logger
from fitprint.settings import Settings, resolve
from fitprint.units import format_quantity

EXAMPLE = "Budget('10 kg', scope='project') with project='llm-sweep', ledger='/shared/fitprint.db'"


class Project(NamedTuple):
    """The pots of a project.

    Attributes:
        place: The ledger that holds them.
        name: The project.
        limits: What this run sets as the limit of each, by unit.
    """

    place: Location
    name: str
    limits: Mapping[str, float]

    @classmethod
    def of(cls, settings: Settings) -> Project | None:
        """The pots that the settings ask for; None where no budget is a project's.

        Raises:
            ConfigError: If a project's budget lacks the project, or a ledger that all runs find.
        """
        quantities = [budget.quantity for budget in settings.budgets if budget.scope == "project"]
        if not quantities:
            return None
        limits: dict[str, float] = {quantity.unit: quantity.value for quantity in quantities}
        name, place = settings.config.project, settings.ledger
        if len(limits) < len(quantities):
            raise ConfigError("two project budgets in one unit. A pot has one limit: keep one in grams and one in energy.")
        if not name:
            raise ConfigError(f"scope='project' needs the project's name. Expected project='...'. Received: none. Write {EXAMPLE}.")
        if place is None:
            raise ConfigError(f"scope='project' needs a ledger, which keeps the pot. Received: ledger='off'. Write {EXAMPLE}.")
        if not place.everywhere_the_same:
            raise ConfigError(
                "scope='project' needs an absolute path or a URL as ledger: runs in other folders would draw on other pots. "
                f"Received: ledger={place.given!r}. Write ledger={str(place.path)!r} or ledger='postgresql://user@host/database'."
            )
        return cls(place, name, limits)


def check_project(config: Config) -> None:
    """Refuse a project's budget that no other run could find.

    Raises:
        ConfigError: If there is one.
    """
    budgets = config.budget if isinstance(config.budget, tuple) else ()
    if any(getattr(budget, "scope", "run") == "project" for budget in budgets):
        settings = resolve(config, quiet=True)
        if not settings.disabled:
            Project.of(settings)


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
