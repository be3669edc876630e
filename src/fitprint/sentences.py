"""What a run says to a person while it lasts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fitprint.budget import Budget, Spent
from fitprint.carbon.factors import Factors
from fitprint.drift import Range
from fitprint.forecast import Forecast, Reached
from fitprint.sensors.counter import Sensor
from fitprint.units import format_alike, format_co2e, format_energy, format_quantity, significant


def defaults(factors: Factors, sensors: Sequence[Sensor] = ()) -> str:
    """The factors in use and how each was found, said once a run.

    Args:
        factors: The run's.
        sensors: What it reads: parts that are modelled at the wall need no node factor.
    """
    place, intensity = factors.place, factors.intensity
    year = f" ({intensity.year})" if intensity.year else ""
    figure = f"{significant(intensity.g_per_kwh)} g CO2e/kWh{year}, {intensity.source}"
    if factors.source is not None:
        figure = f"intensity over time by {getattr(factors.source, 'source', 'the given source')}, else {figure}"
    pue, node = factors.pue, factors.foreseen_node_factor(sensors)
    mixed = ", 1 for modelled parts" if node.value != 1 and node.basis != factors.node_factor.basis else ""
    return (
        f"region {place.name}, {place.found_by}; {figure}; "
        f"PUE {pue.value:g} ({pue.source}), node factor {node.value:g} ({node.source}){mixed}"
    )


def at_this_pace(forecast: Forecast, reached: Reached, needs: Range | None, unit: str) -> str:
    """When a budget will be reached and what the whole run would need, as the second half of a sentence.

    Args:
        forecast: The run's.
        reached: Where the budget is reached.
        needs: The whole run, where its length is known.
        unit: ``g`` or ``J``.
    """
    if reached.epoch is None:
        return f"; at this pace the run ends within it, at {_amount(needs, unit)}" if needs is not None else ""
    where = f"; at this pace the budget is reached in {forecast.unit} {reached.epoch}"
    if needs is None or forecast.end is None:
        return f"{where}{_epochs(reached)}"
    return f"{where} of 0-{math.ceil(forecast.end) - 1}{_epochs(reached)}; the run would need {_amount(needs, unit)}"


def exceeded(needs: Range | None, unit: str) -> str:
    """What is said in place of a forecast of a budget that is used up.

    Args:
        needs: The whole run, where its length is known.
        unit: ``g`` or ``J``.
    """
    return "; it is exceeded" if needs is None else f"; it is exceeded, and the run would need {_amount(needs, unit)}"


def stopped(budget: Budget, spent: Spent, expected: float, upper: float, where: str, what: str, *, named: str, used: float) -> str:
    """Why a budget ends the run, with its numbers.

    Args:
        budget: The budget.
        spent: What counts against it of this run.
        expected: What the work ahead costs, in the budget's unit; 0 if unknown.
        upper: The end of what it may cost.
        where: The run stops.
        what: The work ahead.
        named: The budget, in words.
        used: All that is used of it, in its unit.
    """
    unit = budget.quantity.unit
    if unit == "g":
        interval = f"95 % interval {format_co2e(spent.co2e_low_g)} to {format_co2e(spent.co2e_high_g)}"
        boundary = f"operational, location-based CO2e; {interval}"
    else:
        boundary = f"energy at the sensors, {format_energy(spent.energy_j)}"
    if budget.scope == "project":
        boundary = f"this run {format_quantity(spent.of(budget.quantity), unit)}; {boundary}"
    # What other runs have reserved, dead ones too, is not there for this one.
    taken = f"{format_quantity(used, unit)} of {named} are used{' or reserved' if budget.scope == 'project' else ''} ({boundary})"
    if not expected:
        return f"Stopped {where}: {taken}."
    about, up_to = format_alike((expected, upper), unit)
    return f"Stopped {where}: {taken}, and {what} would cost about {about} (up to {up_to})."


def unreachable(budget: Budget, spent: Spent, why: str, where: str, *, named: str) -> str:
    """Why a run ends whose project's budget cannot be asked.

    Args:
        budget: The budget.
        spent: What counts against it of this run.
        why: It cannot be asked.
        where: The run stops.
        named: The budget, in words.
    """
    mine = format_quantity(spent.of(budget.quantity), budget.quantity.unit)
    return (
        f"Stopped {where}: the pot that keeps {named} cannot be reached ({why}), and what this run had reserved "
        f"does not suffice to go on ({mine} used)."
    )


def _epochs(reached: Reached) -> str:
    """The interval in brackets; empty where it is one epoch."""
    low = reached.epoch if reached.low is None else reached.low
    if reached.high is None:
        return f" ({low} or later)"
    return "" if low == reached.high else f" ({low} to {reached.high})"


def _amount(range_: Range | None, unit: str) -> str:
    if range_ is None:
        return "unknown"
    mean, low, high = format_alike((range_.mean, range_.low, range_.high), unit)
    return f"{mean} ({low} to {high})"


def price_of_an_epoch(epoch_g: float, epochs: int | None, forecast_g: Range | None, warm_up: float = 0.0) -> str:
    """What one epoch costs, so that a first-time user can choose a budget.

    Args:
        epoch_g: The first epoch.
        epochs: Planned epochs, or None.
        forecast_g: The whole run in grams.
        warm_up: Share of the first epoch's energy that the later ones will not need.
    """
    price = f"an epoch costs {format_co2e(epoch_g)} CO2e"
    if warm_up:
        price = f"the first epoch cost {format_co2e(epoch_g)} CO2e, {warm_up:.0%} of it warm-up or compilation".replace("%", " %")
    if epochs is None or epochs < 2 or forecast_g is None:
        return price
    return f"{price}; {epochs} epochs about {_amount(forecast_g, 'g')}"
