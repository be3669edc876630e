"""What a run that draws on its project's pots has to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fitprint.config import Config
from fitprint.errors import ConfigError
from fitprint.location import Location
from fitprint.settings import Settings, resolve

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
