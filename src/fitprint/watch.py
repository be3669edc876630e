"""A run's budgets answer yes or no. Pure arithmetic; nothing here reads a sensor or a clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fitprint.budget import Budget, Decision, Spent
from fitprint.forecast import Forecast
from fitprint.notices import logger
from fitprint.pace import CLOSING_MARGIN, ENDING_S, Expected, Pace, Schedule
from fitprint.sentences import at_this_pace, exceeded, stopped, unreachable
from fitprint.shared import UNREACHABLE, Level, Pots, Refused
from fitprint.units import format_quantity, format_used

# check="epoch" looks inside an epoch so often that one interval costs at most this share of what is left.
INTERVAL_SHARE = 0.01
TOO_SMALL = " The budget does not cover the first step."
# Who trains on after a decision, and how a loop asks for one.
GOES_ON = "a framework by its own minimum of epochs or steps, or a loop that does not look at should_stop"
ASK = "write `for epoch in tracker.epochs(range(n)):`, or `with tracker.batch():` around batches inside it"


class Watch:
    """Holds the budgets of a run against what is spent; warns once, decides once.

    Args:
        budgets: The budgets.
        say: Takes the sentences that a person should read.
        look_ahead: Forecasts the run; asked as a warning is given.
        pots: What the project's budgets draw on; without it they hold for this run alone.
    """

    def __init__(
        self,
        budgets: Sequence[Budget],
        say: Callable[[str], None],
        look_ahead: Callable[[], Forecast | None] = lambda: None,
        pots: Pots | None = None,
    ) -> None:
        self.budgets = tuple(budgets)
        self._pots = pots
        self.decision: Decision | None = None
        self._say = say
        self._look_ahead = look_ahead
        self._said: set[tuple[str, int]] = set()
        self._undelivered: list[Callable[[Decision], object]] = []
        self._looks_inside = False
        self._went_on = self._asked = False

    @property
    def should_stop(self) -> bool:
        return self.decision is not None

    def before(
        self,
        spent: Spent,
        pace: Pace,
        *,
        epochs_done: int,
        power_w: float,
        what: str = "epoch",
        number: int | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        """Decide whether another epoch, or another block of a long one, may begin.

        Args:
            spent: What counts so far.
            pace: What epochs (or blocks) have cost.
            epochs_done: Epochs completed, for ``min_epochs``.
            power_w: Recent power.
            what: ``epoch`` or ``block``.
            number: Number of the one that would begin; ``epochs_done`` by default.
            schedule: The framework's plan.
        """
        self._asked = True
        number = epochs_done if number is None else number
        ahead = pace.next_epoch(number, schedule)
        for budget in self.budgets:
            self._warn(budget, spent)
            where, need, cost = f"before {what} {number}", Expected(0.0, 0.0), f"the next {what}"
            # By batches the budget is used to the last one, but only where there is a hook between batches.
            if ahead is not None and (budget.check == "epoch" or not self._looks_inside):
                need = Expected(ahead.mean, ahead.upper + ENDING_S * power_w)
            elif schedule is not None and self._looks_inside:
                need, cost = pace.least_of_next(number, power_w, schedule), f"{cost}'s first batches and the closing work"
            self._decide(budget, spent, need, epochs_done, where, cost)

    def goes_on(self) -> None:
        """Something more is trained: after a stop, against it."""
        self._went_on = self._went_on or self.should_stop

    def inside_epoch(
        self, spent: Spent, interval_j: float, closing: Expected, *, epochs_done: int, number: int | None = None
    ) -> None:
        """Decide whether the batches up to the next look, and closing after them, still fit.

        Args:
            spent: What counts so far.
            interval_j: What the batches up to the next look cost.
            closing: What closing after them costs.
            epochs_done: Epochs completed, for ``min_epochs``.
            number: The epoch's number; ``epochs_done`` by default.
        """
        first, self._looks_inside = not self._looks_inside, True
        self.goes_on()
        number = epochs_done if number is None else number
        for budget in self.budgets:
            self._warn(budget, spent)
            need = Expected(interval_j + closing.mean, CLOSING_MARGIN * interval_j + closing.upper)
            what = "the next batches and the closing validation and checkpoint"
            note = TOO_SMALL if first and spent.of(budget.quantity) >= budget.quantity.value else ""
            self._decide(budget, spent, need, epochs_done, f"inside epoch {number}", what, note)

    def during(self, spent: Spent, interval_j: float) -> None:
        """Decide, in a run without epochs, whether the time up to the next look still fits."""
        self._asked = True
        for budget in self.budgets:
            self._warn(budget, spent)
            need = Expected(interval_j, CLOSING_MARGIN * interval_j)
            self._decide(budget, spent, need, budget.min_epochs, "in mid-run", "going on until the next look")

    def unasked(self, spent: Spent) -> None:
        """Warn where the program never asks whether to go on: then no budget can stop it."""
        for budget in () if self._asked else self.budgets:
            self._warn(budget, spent)
            if spent.of(budget.quantity) >= budget.quantity.value and self._first_time("unasked", budget):
                self._say(f"nobody has asked the budget of {budget.limit}, which is used up: {ASK}")

    def batches_to_next_look(self, spent: Spent, per_batch_j: float) -> int:
        """How many batches may pass before the next look inside the epoch, by the strictest budget."""
        return min(self._interval(budget, spent, per_batch_j) for budget in self.budgets)

    def nearest(self, spent: Spent) -> tuple[Budget, float] | None:
        """The budget nearest its limit and the share of it that is used."""
        shares = [(budget, self._level(budget).used(spent.of(budget.quantity))) for budget in self.budgets]
        return max(shares, key=lambda pair: pair[1], default=None)

    def _interval(self, budget: Budget, spent: Spent, per_batch_j: float) -> int:
        quantity = budget.quantity
        per_batch = spent.ahead(per_batch_j, quantity)
        level = self._level(budget)
        left = level.limit - level.others - spent.of(quantity)
        interval = max(1, int(INTERVAL_SHARE * left / per_batch)) if per_batch > 0 and left > 0 else 1
        return interval if budget.check == "epoch" else min(interval, int(budget.check))

    def _warn(self, budget: Budget, spent: Spent) -> None:
        quantity, level = budget.quantity, self._level(budget)
        share = level.used(spent.of(quantity))
        if share >= budget.warn_at and self._first_time("warning", budget):
            used = format_quantity(level.others + spent.of(quantity), quantity.unit)
            ahead = self._ahead_of(budget, spent)
            self._say(f"{format_used(share)} of {self._named(budget)} is used ({used}){ahead}.")

    def _ahead_of(self, budget: Budget, spent: Spent) -> str:
        """When the budget will be reached, as the second half of a sentence; empty where nothing is known."""
        forecast, quantity = self._look_ahead(), budget.quantity
        per_j, level = spent.ahead(1.0, quantity), self._level(budget)
        used = level.others + spent.of(quantity)
        rest = forecast.rest() if forecast is not None and per_j > 0 else None
        needs = rest.scaled(per_j, used) if rest is not None else None
        if used >= level.limit:
            return exceeded(needs, quantity.unit)
        if forecast is None or per_j <= 0:
            return ""
        return at_this_pace(forecast, forecast.reached((level.limit - used) / per_j), needs, quantity.unit)

    def _decide(
        self, budget: Budget, spent: Spent, need: Expected, epochs_done: int, where: str, what: str, note: str = ""
    ) -> None:
        quantity = budget.quantity
        used, upper = spent.of(quantity), spent.ahead(need.upper, quantity)
        refused = self._refused(budget, used, upper, where)
        if refused is None:
            return
        level = self._level(budget)
        used += level.others
        if epochs_done < budget.min_epochs:
            self._forced(budget, used)
            return
        expected = spent.ahead(need.mean, quantity)
        sentence = self._sentence(budget, spent, refused, expected, upper, where, what) + note
        if ("forced", self.budgets.index(budget)) in self._said:
            sentence += f" min_epochs={budget.min_epochs} had forced more than the budget allowed."
        self._exceeded(budget, Decision(refused.code, sentence, used, level.limit, quantity.unit, expected or None))

    def _refused(self, budget: Budget, used: float, upper: float, where: str) -> Refused | None:
        """Why the work ahead may not be done; the run's own budgets answer here, a project's pot asks the others."""
        unit, most = budget.quantity.unit, budget.quantity.value
        if budget.scope == "project" and self._pots is not None:
            boundary = where.startswith("before")
            return self._pots.reserve(unit, used, upper, boundary=boundary, looks_inside=self._looks_inside)
        return None if used + upper <= most and used < most else Refused("budget")

    def _level(self, budget: Budget) -> Level:
        """The limit, and what others have taken of it."""
        shared = self._pots is not None and budget.scope == "project"
        level = self._pots.level(budget.quantity.unit) if shared and self._pots is not None else None
        return level or Level(0.0, budget.quantity.value)

    def _named(self, budget: Budget) -> str:
        if self._pots is None or budget.scope == "run":
            return f"the budget of {budget.limit}"
        limit = format_quantity(self._level(budget).limit, budget.quantity.unit)
        return f"the budget of {limit} of project {self._pots.project!r}"

    def _sentence(
        self, budget: Budget, spent: Spent, refused: Refused, expected: float, upper: float, where: str, what: str
    ) -> str:
        named, used = self._named(budget), self._level(budget).others + spent.of(budget.quantity)
        if refused.code == UNREACHABLE:
            return unreachable(budget, spent, refused.why, where, named=named)
        return stopped(budget, spent, expected, upper, where, what, named=named, used=used)

    def _exceeded(self, budget: Budget, decision: Decision) -> None:
        if budget.on_exceed == "warn":
            if self._first_time("exceeded", budget):
                said = decision.sentence.removeprefix("Stopped ")
                self._say(f"the budget only warns, training goes on. {said[0].upper()}{said[1:]}")
            return
        if self.decision is None:
            self.decision = decision
            self._say(decision.sentence)
            if callable(budget.on_exceed):
                self._undelivered.append(budget.on_exceed)

    def accept(self, decision: Decision) -> None:
        """Stop for a reason that is no budget's; what was decided before stays."""
        if self.decision is None:
            self.decision = decision
            self._say(decision.sentence)

    def adopt(self, decision: Decision | None) -> None:
        """Take what all ranks of a job have agreed on in place of an answer of one's own."""
        if decision is not None and self.decision is None and decision.code != "efficiency":
            self._undelivered += [budget.on_exceed for budget in self.budgets if callable(budget.on_exceed)]
        self.decision = decision

    def conclude(self, spent: Spent) -> None:
        """At the run's end: if the framework's own minimum forced more than the budget allowed, the reason says so."""
        if self.decision is None or not self._went_on:
            return
        used = spent.co2e_g if self.decision.unit == "g" else spent.energy_j
        if self.decision.code != "budget" and self._pots is not None:
            level = self._pots.level(self.decision.unit)
            used += level.others if level is not None else 0.0
        if used > self.decision.limit:
            in_the_end = format_quantity(used, self.decision.unit)
            more = f" The training went on all the same ({GOES_ON}): {in_the_end} in the end."
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
