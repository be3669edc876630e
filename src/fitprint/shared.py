"""What a budget that several runs share answers: the words between a run's budgets and the pot they draw on."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

SPENT: Literal["pot_spent"] = "pot_spent"
UNREACHABLE: Literal["pot_unreachable"] = "pot_unreachable"


class Level(NamedTuple):
    """How full a pot is, apart from what the asking run has used.

    Attributes:
        others: What all other runs are charged, in the pot's unit.
        limit: The pot's limit.
    """

    others: float
    limit: float

    def used(self, mine: float) -> float:
        """Share of the limit that is used."""
        return (self.others + mine) / self.limit


class Refused(NamedTuple):
    """Why a run has to end.

    Attributes:
        code: ``budget`` (of the run itself), ``pot_spent`` or ``pot_unreachable``.
        why: What the database answered, where it cannot be reached.
    """

    code: Literal["budget", "pot_spent", "pot_unreachable"]
    why: str = ""


class Pots(Protocol):
    """The pots of a run's project, one for grams and one for joules.

    Attributes:
        project: The project's name.
    """

    project: str

    def level(self, unit: str) -> Level | None:
        """How full a pot was when it was asked last; None where it never answered. Costs nothing."""

    def levels(self) -> dict[str, Level]:
        """The levels of all pots that have answered, by unit."""

    def reserve(self, unit: str, used: float, need: float, *, boundary: bool, looks_inside: bool) -> Refused | None:
        """Reserve what the work up to the next check needs; waits for a bounded time.

        Args:
            unit: ``g`` or ``J``.
            used: All that this run has used.
            need: Upper bound of the work ahead.
            boundary: An epoch or block is to begin: what the last one used is settled first.
            looks_inside: There will be checks before its end.
        """
