"""A sweep: many runs, its trials, on one budget. Pure arithmetic on what trials tell their engine."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fitprint.budget import Budget
from fitprint.footprint import Footprint
from fitprint.units import format_quantity, joules, wh

# The figure of an outcome that a budget counts, by the budget's unit.
FIGURES = {"g": "co2e_g", "J": "energy_wh"}
POT_CODES = ("pot_spent", "pot_unreachable")


@dataclass(frozen=True)
class Sweep:
    """What the trials of a sweep may still spend.

    What a trial has cost is its *outcome*, plain values under ``run_id``, ``run_status``, ``co2e_g``,
    ``energy_wh``, ``carbon_stop`` (the sentence, where the sweep's budget ended it) and ``pot_co2e_g`` or
    ``pot_energy_wh`` (what all runs have taken of the project's pot). What is unknown has no key.

    Args:
        budgets: For all trials together. With ``scope="project"`` the pot is asked, else the outcomes are summed.
        each: What every trial has for itself.

    Example:
        >>> sweep = Sweep((Budget("10 g"),))
        >>> [budget.limit for budget in sweep.for_a_trial([{"co2e_g": 4.0}, {"co2e_g": 2.5}])]
        ['3.5 g']
        >>> sweep.reason_to_end([{"co2e_g": 4.0, "run_status": "completed"}] * 2, {}) is not None
        True
    """

    budgets: tuple[Budget, ...] = ()
    each: tuple[Budget, ...] = ()

    def outcome(self, footprint: Footprint) -> dict[str, Any]:
        """What a sweep engine keeps of a trial: plain values, the unknown left out."""
        energy_wh = None if footprint.energy_j is None else wh(footprint.energy_j)
        figures = {
            "run_id": footprint.run_id or None,
            "run_status": footprint.status,
            "co2e_g": footprint.co2e_g,
            "energy_wh": energy_wh,
            "carbon_stop": self._stopped_by_the_sweep(footprint),
            **_pot(footprint),
        }
        return {name: value for name, value in figures.items() if value is not None}

    def for_a_trial(self, outcomes: Collection[Mapping[str, Any]]) -> tuple[Budget, ...] | None:
        """The budgets of a trial that begins now; None where nothing is left for it.

        Args:
            outcomes: Those of the trials so far.
        """
        if self.reason_to_end(outcomes, {}):
            return None
        return self.each + tuple(self._left(budget, outcomes) for budget in self.budgets)

    def reason_to_end(self, outcomes: Collection[Mapping[str, Any]], last: Mapping[str, Any]) -> str | None:
        """Why no other trial should begin, in a sentence, or None.

        Args:
            outcomes: Those of all trials so far.
            last: The latest of them.
        """
        if "carbon_stop" in last:
            return f"The sweep ends: {last['carbon_stop']}"
        reasons = (self._too_little(budget, outcomes, last) for budget in self.budgets if budget.on_exceed != "warn")
        return next(filter(None, reasons), None)

    def _left(self, budget: Budget, outcomes: Collection[Mapping[str, Any]]) -> Budget:
        limit, unit = budget.quantity.value, budget.quantity.unit
        left = limit - math.fsum(_amounts(unit, outcomes))
        # Nothing can be left only where a budget warns; the pot keeps its own books.
        return budget if budget.scope == "project" or left <= 0 else replace(budget, limit=f"{left:.12g} {unit}")

    def _too_little(self, budget: Budget, outcomes: Collection[Mapping[str, Any]], last: Mapping[str, Any]) -> str | None:
        limit, unit = budget.quantity.value, budget.quantity.unit
        used = max(math.fsum(_amounts(unit, outcomes)), *_amounts(unit, [last], "pot_"), 0.0)
        full = [outcome for outcome in outcomes if outcome.get("run_status") == "completed"]
        cheapest = min(_amounts(unit, full), default=0.0)
        if used < limit and used + cheapest <= limit:
            return None
        spent, least = format_quantity(used, unit), format_quantity(cheapest, unit)
        others = f", and its cheapest full trial took {least}" if cheapest else ""
        return f"The sweep ends: {spent} of its budget of {budget.limit} are used{others}."

    def _stopped_by_the_sweep(self, footprint: Footprint) -> str | None:
        reason = footprint.stop_reason or {}
        own = [(budget.quantity.value, budget.quantity.unit) for budget in self.each]
        of_the_sweep = reason.get("code") == "budget" and (reason.get("limit"), reason.get("unit")) not in own
        return str(reason.get("sentence")) if of_the_sweep or reason.get("code") in POT_CODES else None


def _amounts(unit: str, outcomes: Collection[Mapping[str, Any]], prefix: str = "") -> list[float]:
    """What is known of outcomes, in grams or joules."""
    name = prefix + FIGURES[unit]
    known = [float(outcome[name]) for outcome in outcomes if name in outcome]
    return known if unit == "g" else [joules(energy_wh) for energy_wh in known]


def _pot(footprint: Footprint) -> dict[str, float]:
    """What all runs of the project have taken, by each of its pots."""
    rows = [row for row in footprint.budget if row["scope"] == "project"]
    amounts = [(row["unit"], row["used"] * row["limit"]) for row in rows]
    return {f"pot_{FIGURES[unit]}": amount if unit == "g" else wh(amount) for unit, amount in amounts}
