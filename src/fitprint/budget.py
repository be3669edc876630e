"""Floor 4: what a budget is, what counts against it, and what it can answer. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any, Literal, NamedTuple

from fitprint.errors import refusal
from fitprint.units import QUANTITY_EXPECTED, Quantity, bare_number, parse_quantity


@dataclass(frozen=True, slots=True)
class Decision:
    """What a budget answered.

    Attributes:
        code: Why: ``budget``, ``pot_spent``, ``pot_unreachable`` or ``efficiency``.
        sentence: The reason in one sentence with its numbers.
        spent: Used so far, in ``unit``; of a project's budget by all its runs, with what they have reserved.
        limit: The budget, in ``unit``; for ``efficiency`` the use that was worth its gain.
        unit: ``g`` (of CO2e) or ``J``.
        next_expected: What the work ahead was expected to cost, in ``unit``; None if unknown.
    """

    code: str
    sentence: str
    spent: float
    limit: float
    unit: str
    next_expected: float | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Budget:
    """A limit for a run, or for all runs of a project together.

    It is the total of a run, however often that is resumed. A run that is forked from another's checkpoint counts what
    that one had spent by then as well: the same command stops at the same point, whether it goes on first or second.

    Args:
        limit: A mass of CO2e (``"250 g"``, ``"2 kg"``), counted at its central value, or an energy
            at the sensors (``"0.5 kWh"``, ``"900 kJ"``).
        scope: ``"run"``, or ``"project"``: all runs of the project draw on one pot, at once and from
            many machines. It needs ``project`` and a ``ledger`` with an absolute path or a URL.
        check: ``"epoch"`` begins an epoch only if it is expected to fit; a number looks at least
            every so many batches and uses the budget up to the last batch that fits.
        on_exceed: ``"stop"``, ``"warn"``, or a callable that gets the Decision once, after which
            the run stops.
        warn_at: Share of the limit at which one warning is given.
        min_epochs: Epochs to run whatever they cost.

    Raises:
        ConfigError: If a value makes no sense; the message says what would.

    Example:
        >>> Budget("250 g").quantity
        Quantity(value=250.0, unit='g')
    """

    limit: str
    _: KW_ONLY
    scope: Literal["run", "project"] = "run"
    check: Literal["epoch"] | int = "epoch"
    on_exceed: Literal["stop", "warn"] | Callable[[Decision], object] = "stop"
    warn_at: float = 0.8
    min_epochs: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.limit, str):
            number = isinstance(self.limit, int | float) and not isinstance(self.limit, bool) and abs(self.limit) < 1e15
            hint = bare_number(self.limit, f"{self.limit:g}") if number else ""
            raise refusal("budget", expected=QUANTITY_EXPECTED, came=self.limit, hint=hint)
        parse_quantity(self.limit)
        if self.scope not in ("run", "project"):
            raise refusal("scope", expected="'run' or 'project'", came=self.scope, near=["run", "project"])
        if self.check != "epoch" and (isinstance(self.check, bool) or not isinstance(self.check, int) or self.check < 1):
            raise refusal("check", expected="'epoch' or a number of batches from 1 up", came=self.check, near=["epoch"])
        if not callable(self.on_exceed) and self.on_exceed not in ("stop", "warn"):
            raise refusal("on_exceed", expected="'stop', 'warn' or a callable", came=self.on_exceed, near=["stop", "warn"])
        if isinstance(self.warn_at, bool) or not isinstance(self.warn_at, int | float) or not 0 < self.warn_at <= 1:
            raise refusal("warn_at", expected="a share of the limit, more than 0 and at most 1, such as 0.8", came=self.warn_at)
        if isinstance(self.min_epochs, bool) or not isinstance(self.min_epochs, int) or self.min_epochs < 0:
            raise refusal("min_epochs", expected="a number of epochs from 0 up", came=self.min_epochs)

    @property
    def quantity(self) -> Quantity:
        """The limit in grams or joules."""
        return parse_quantity(self.limit)

    @classmethod
    def several(cls, value: object) -> tuple[Budget, ...]:
        """Read the option ``budget``: None, one budget, or a list of them, each text or Budget.

        Raises:
            ConfigError: If one of them is neither.
        """
        if value is None:
            return ()
        items: Iterable[object] = value if isinstance(value, list | tuple) else [value]
        return tuple(item if isinstance(item, Budget) else cls(item) for item in items)  # type: ignore[arg-type]


class Spent(NamedTuple):
    """What counts against budgets now.

    Attributes:
        energy_j: Joules at the sensors.
        co2e_g: Central grams.
        co2e_low_g: Lower end of their interval.
        co2e_high_g: Upper end of their interval.
        g_per_j: Grams per further joule.
    """

    energy_j: float
    co2e_g: float
    co2e_low_g: float
    co2e_high_g: float
    g_per_j: float

    def of(self, quantity: Quantity) -> float:
        """The amount in the quantity's unit."""
        return self.co2e_g if quantity.unit == "g" else self.energy_j

    def ahead(self, joules: float, quantity: Quantity) -> float:
        """Further joules in the quantity's unit."""
        return joules * self.g_per_j if quantity.unit == "g" else joules
