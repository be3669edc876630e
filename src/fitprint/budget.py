"""Floor 4: a budget answers yes or no. Pure arithmetic; nothing here reads a sensor or a clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, replace
from typing import Any, Literal

from fitprint.errors import refusal
from fitprint.footprint import EpochFootprint
from fitprint.notices import logger
from fitprint.units import QUANTITY_EXPECTED, Quantity, format_co2e, format_energy, format_quantity, parse_quantity, significant

# How many epochs back the forecast looks: enough to average, few enough to follow a drift.
REMEMBERED_EPOCHS = 10
# The first epoch warms caches and compilers up; it is forgotten once two others are known.
WARM_UP_EPOCHS = 1
# One-sided 95 % normal quantile: the next epoch's upper bound.
UPPER_Z = 1.645
# The bound never exceeds the dearest remembered epoch by more than this.
UPPER_CAP = 1.10
# How far one epoch alone can be from the mean of all: the first is dearer (warm-up) or cheaper (caches).
FIRST_EPOCH_SPREAD = 0.20
# What a validation is assumed to cost before one has been seen, as a share of the training so far.
UNSEEN_VALIDATION = 0.20
# A validation or batch may be this much dearer than the last ones.
CLOSING_MARGIN = 1.10
# Ending a run (last checkpoint, closing files) takes at least this long at the current power.
ENDING_S = 0.1
# check="epoch" looks inside an epoch so often that one interval costs at most this share of what is left.
INTERVAL_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Decision:
    """What a budget answered.

    Attributes:
        code: Why: ``budget``.
        sentence: The reason in one sentence with its numbers.
        spent: Used so far, in ``unit``.
        limit: The budget, in ``unit``.
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
    """A limit for a run.

    Args:
        limit: A mass of CO2e (``"250 g"``, ``"2 kg"``), counted at its central value, or an energy
            at the sensors (``"0.5 kWh"``, ``"900 kJ"``).
        scope: ``"run"``. Project budgets are not available yet.
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
            number = isinstance(self.limit, int | float) and not isinstance(self.limit, bool)
            hint = f"A bare number has no unit. Write for example '{self.limit:g} kg' or '{self.limit:g} kWh'." if number else ""
            raise refusal("budget", expected=QUANTITY_EXPECTED, came=self.limit, hint=hint)
        parse_quantity(self.limit)
        if self.scope != "run":
            hint = "Budgets for a whole project are not available yet; use scope='run'."
            raise refusal("scope", expected="'run'", came=self.scope, hint=hint)
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


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the framework plans, as far as it is known.

    Attributes:
        epochs: Epochs that this run will make in all, or None.
        batches: Training batches of an epoch, or None where an epoch has no known length.
        batches_per_step: Batches of one optimizer step (gradient accumulation).
        validation_batches: Batches of one validation; 0 for none, None if unknown.
        batches_after_stop: Batches that the framework still runs once it has been told to stop.
        steps: Optimizer steps after which the run ends in any case, or None.
    """

    epochs: int | None = None
    batches: int | None = None
    batches_per_step: int = 1
    validation_batches: int | None = None
    batches_after_stop: int = 0
    steps: int | None = None

    @property
    def last_epoch(self) -> int | None:
        """Number of epochs that the run ends after, by epochs or by steps; None if neither is known."""
        by_steps = None
        if self.steps is not None and self.batches:
            by_steps = math.ceil(self.steps * self.batches_per_step / self.batches)
        return min((n for n in (self.epochs, by_steps) if n is not None), default=None)


@dataclass(frozen=True, slots=True)
class Expected:
    """A cost ahead in joules, with its upper bound."""

    mean: float
    upper: float


class Pace:
    """What epochs, validations and the gaps between epochs have cost so far, in joules."""

    def __init__(self) -> None:
        self._epochs: deque[float] = deque(maxlen=REMEMBERED_EPOCHS)
        self._validations: deque[float] = deque(maxlen=3)
        self._gaps: deque[float] = deque(maxlen=3)
        self.epochs_seen = 0

    def epoch(self, joules: float) -> None:
        """An epoch was completed: its cost with all that belongs to it (validation, checkpoint)."""
        self._epochs.append(joules)
        self.epochs_seen += 1
        if self.epochs_seen == WARM_UP_EPOCHS + 2:
            for _ in range(WARM_UP_EPOCHS):
                self._epochs.popleft()

    def remember(self, epoch: EpochFootprint) -> None:
        """Learn from the record of an epoch of this run before it was resumed."""
        if epoch.complete and epoch.energy_j is not None:
            self.epoch(epoch.energy_j)

    def validation(self, joules: float) -> None:
        self._validations.append(joules)

    def gap(self, joules: float) -> None:
        """What was used between the end of one epoch and the start of the next."""
        self._gaps.append(joules)

    def next_epoch(self) -> Expected | None:
        """The next epoch's mean and upper bound, or None before the first has ended."""
        if not self._epochs:
            return None
        mean, most = _mean(self._epochs), max(self._epochs)
        if len(self._epochs) == 1:
            return Expected(mean, UPPER_CAP * mean)
        spread = _deviation(self._epochs) * math.sqrt(1 + 1 / len(self._epochs))
        return Expected(mean, min(max(mean + UPPER_Z * spread, self._epochs[-1]), UPPER_CAP * most))

    def rest_of_run(self, epochs: int) -> tuple[float, float, float]:
        """Mean, low and high of so many further epochs."""
        mean = _mean(self._epochs) if self._epochs else 0.0
        known = len(self._epochs)
        relative = FIRST_EPOCH_SPREAD / max(1, known)
        if known > 1 and mean > 0:
            relative += UPPER_Z * _deviation(self._epochs) / (mean * math.sqrt(known))
        return epochs * mean, epochs * mean * max(0.0, 1 - relative), epochs * mean * (1 + relative)

    def closing(self, training_j: float, batches_done: int, power_w: float, schedule: Schedule) -> float:
        """What the framework will still do once a run is stopped inside an epoch: validate, save, end.

        Args:
            training_j: What the epoch's training has used so far.
            batches_done: Its training batches so far.
            power_w: Recent power.
            schedule: The framework's plan.
        """
        return self._one_validation(training_j, batches_done, schedule) + self.ending(power_w)

    def ending(self, power_w: float) -> float:
        """What ending costs at an epoch's end."""
        return max([ENDING_S * power_w, *self._gaps])

    def _one_validation(self, training_j: float, batches_done: int, schedule: Schedule) -> float:
        if self._validations:
            return CLOSING_MARGIN * max(self._validations)
        if schedule.validation_batches is None:
            return UNSEEN_VALIDATION * training_j
        # A validation batch has no backward pass: it costs no more than a training batch.
        return schedule.validation_batches * training_j / max(1, batches_done)


@dataclass(frozen=True, slots=True)
class Spent:
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


class Watch:
    """Holds the budgets of a run against what is spent; warns once, decides once.

    Args:
        budgets: The budgets.
        say: Takes the sentences that a person should read.
    """

    def __init__(self, budgets: Sequence[Budget], say: Callable[[str], None]) -> None:
        self.budgets = tuple(budgets)
        self.decision: Decision | None = None
        self._say = say
        self._said: set[tuple[str, int]] = set()
        self._undelivered: list[Callable[[Decision], object]] = []
        self._looks_inside = False

    @property
    def should_stop(self) -> bool:
        return self.decision is not None

    def before(
        self, spent: Spent, pace: Pace, *, epochs_done: int, power_w: float, what: str = "epoch", number: int | None = None
    ) -> None:
        """Decide whether another epoch, or another block of a long one, may begin.

        Args:
            spent: What counts so far.
            pace: What epochs (or blocks) have cost.
            epochs_done: Epochs completed, for ``min_epochs``.
            power_w: Recent power.
            what: ``epoch`` or ``block``.
            number: Number of the one that would begin; ``epochs_done`` by default.
        """
        ahead = pace.next_epoch()
        for budget in self.budgets:
            self._warn(budget, spent)
            need = Expected(0.0, 0.0)
            # By batches the budget is used to the last one, but only where there is a hook between batches.
            if ahead is not None and (budget.check == "epoch" or not self._looks_inside):
                need = Expected(ahead.mean, ahead.upper + ENDING_S * power_w)
            number = epochs_done if number is None else number
            self._decide(budget, spent, need, epochs_done, f"before {what} {number}", f"the next {what}")

    def inside_epoch(self, spent: Spent, interval_j: float, closing_j: float, *, epochs_done: int) -> None:
        """Decide whether the batches up to the next look, and closing after them, still fit."""
        self._looks_inside = True
        for budget in self.budgets:
            self._warn(budget, spent)
            need = Expected(interval_j + closing_j, CLOSING_MARGIN * interval_j + closing_j)
            what = "the next batches and the closing validation and checkpoint"
            self._decide(budget, spent, need, epochs_done, f"inside epoch {epochs_done}", what)

    def during(self, spent: Spent, interval_j: float) -> None:
        """Decide, in a run without epochs, whether the time up to the next look still fits."""
        for budget in self.budgets:
            self._warn(budget, spent)
            need = Expected(interval_j, CLOSING_MARGIN * interval_j)
            self._decide(budget, spent, need, budget.min_epochs, "in mid-run", "going on until the next look")

    def batches_to_next_look(self, spent: Spent, per_batch_j: float) -> int:
        """How many batches may pass before the next look inside the epoch, by the strictest budget."""
        return min(self._interval(budget, spent, per_batch_j) for budget in self.budgets)

    def nearest(self, spent: Spent) -> tuple[Budget, float] | None:
        """The budget nearest its limit and the share of it that is used."""
        shares = [(budget, spent.of(budget.quantity) / budget.quantity.value) for budget in self.budgets]
        return max(shares, key=lambda pair: pair[1], default=None)

    def _interval(self, budget: Budget, spent: Spent, per_batch_j: float) -> int:
        quantity = budget.quantity
        per_batch = spent.ahead(per_batch_j, quantity)
        left = quantity.value - spent.of(quantity)
        interval = max(1, int(INTERVAL_SHARE * left / per_batch)) if per_batch > 0 and left > 0 else 1
        return interval if budget.check == "epoch" else min(interval, int(budget.check))

    def _warn(self, budget: Budget, spent: Spent) -> None:
        quantity = budget.quantity
        share = spent.of(quantity) / quantity.value
        if share >= budget.warn_at and self._first_time("warning", budget):
            used = format_quantity(spent.of(quantity), quantity.unit)
            self._say(f"{significant(100 * share)} % of the budget of {budget.limit} is used ({used}).")

    def _decide(self, budget: Budget, spent: Spent, need: Expected, epochs_done: int, where: str, what: str) -> None:
        quantity = budget.quantity
        used, upper = spent.of(quantity), spent.ahead(need.upper, quantity)
        if used + upper <= quantity.value and used < quantity.value:
            return
        if epochs_done < budget.min_epochs:
            self._forced(budget, used)
            return
        expected = spent.ahead(need.mean, quantity)
        sentence = _sentence(budget, spent, expected, upper, where, what)
        if ("forced", self.budgets.index(budget)) in self._said:
            sentence += f" min_epochs={budget.min_epochs} had forced more than the budget allowed."
        self._exceeded(budget, Decision("budget", sentence, used, quantity.value, quantity.unit, expected or None))

    def _exceeded(self, budget: Budget, decision: Decision) -> None:
        if budget.on_exceed == "warn":
            if self._first_time("exceeded", budget):
                self._say(f"on_exceed='warn', training goes on. {decision.sentence}")
            return
        if self.decision is None:
            self.decision = decision
            self._say(decision.sentence)
            if callable(budget.on_exceed):
                self._undelivered.append(budget.on_exceed)

    def conclude(self, spent: Spent) -> None:
        """At the run's end: if the framework's own minimum forced more than the budget allowed, the reason says so."""
        if self.decision is None:
            return
        used = spent.co2e_g if self.decision.unit == "g" else spent.energy_j
        if used > self.decision.limit and self.decision.spent < self.decision.limit:
            in_the_end = format_quantity(used, self.decision.unit)
            more = f" The framework went on all the same (min_epochs or min_steps): {in_the_end} in the end."
            self.decision = replace(self.decision, sentence=self.decision.sentence + more)

    def deliver(self) -> None:
        """Call the user's own code that waits for a decision; outside of every lock, for it may take its time."""
        while self._undelivered and self.decision is not None:
            _call(self._undelivered.pop(), self.decision)

    def _forced(self, budget: Budget, used: float) -> None:
        if self._first_time("forced", budget):
            amount = format_quantity(used, budget.quantity.unit)
            self._say(
                f"the budget of {budget.limit} does not suffice ({amount} used), but min_epochs={budget.min_epochs} forces on."
            )

    def _first_time(self, what: str, budget: Budget) -> bool:
        key = (what, self.budgets.index(budget))
        first = key not in self._said
        self._said.add(key)
        return first


def _call(action: Callable[[Decision], object], decision: Decision) -> None:
    """The user's own code: its failure must not end the measuring, nor the training."""
    try:
        action(decision)
    except Exception:
        logger().warning("the budget's on_exceed failed; the run stops all the same", exc_info=True)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    """Sample standard deviation of two values or more."""
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _sentence(budget: Budget, spent: Spent, expected: float, upper: float, where: str, what: str) -> str:
    unit = budget.quantity.unit
    if unit == "g":
        interval = f"95 % interval {format_co2e(spent.co2e_low_g)} to {format_co2e(spent.co2e_high_g)}"
        boundary = f"operational, location-based CO2e; {interval}"
    else:
        boundary = f"energy at the sensors, {format_energy(spent.energy_j)}"
    used = format_quantity(spent.of(budget.quantity), unit)
    if not expected:
        return f"Stopped {where}: {used} of the budget of {budget.limit} are used ({boundary})."
    ahead = f"{what} would cost about {format_quantity(expected, unit)} (up to {format_quantity(upper, unit)})"
    return f"Stopped {where}: {used} of the budget of {budget.limit} are used ({boundary}), and {ahead}."
