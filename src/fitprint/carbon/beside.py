"""What stands beside the grams and never in them: water, market-based grams, money."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from fitprint.assumption import Assumption
from fitprint.carbon.figure import number
from fitprint.carbon.intensity import LARGEST_G_PER_KWH
from fitprint.errors import refusal
from fitprint.units import kwh

# Litres per kWh. Sites publish 0 to 3 of their own; a grid's are tens at most where reservoirs evaporate.
# A larger figure is a wrong unit.
LARGEST_WUE, LARGEST_EWIF = 20.0, 200.0
WATER = "the litres per kWh of the site (wue) and of the grid (ewif), both, such as (0.4, 3.1)"
WATER_NAMES = ("wue", "ewif")
# Stands behind an amount of money.
NO_CURRENCY = "(no currency given)"


def check_water(value: Any) -> tuple[float, float]:
    """Return water use of the site (WUE) and of the grid (EWIF) in litres per kWh.

    Raises:
        ConfigError: If it is neither two numbers nor a mapping of ``wue`` and ``ewif``.
    """
    if isinstance(value, Mapping):
        value = [value.get(name) for name in WATER_NAMES] if set(value) == set(WATER_NAMES) else value
    pair = list(value) if isinstance(value, Iterable) and not isinstance(value, str | Mapping) else []
    if len(pair) != len(WATER_NAMES):
        raise refusal("water", expected=WATER, came=value)
    wue, ewif = pair
    return check_amount("water", wue, WATER, LARGEST_WUE), check_amount("water", ewif, WATER, LARGEST_EWIF)


def parse_water(text: str) -> tuple[float, ...]:
    """Read ``0.4,3.1``.

    Raises:
        ValueError: If a part of it is no number.
    """
    return tuple(float(item) for item in text.split(","))


def check_market_intensity(value: Any) -> float:
    """Return grams per kWh of the electricity that was bought; contracts for clean power may make it 0.

    Raises:
        ConfigError: If it is negative or too large for its unit.
    """
    expected = f"grams of CO2e per kWh of the contract, from 0 to {LARGEST_G_PER_KWH:g}"
    return check_amount("market_intensity", value, expected, LARGEST_G_PER_KWH)


def check_price(value: Any, what: str = "price") -> float:
    """Return a price: of a kWh, or of a device for an hour.

    Raises:
        ConfigError: If it is negative or no number.
    """
    return check_amount(what, value, "an amount of money from 0 up", math.inf)


def check_currency(value: Any) -> str:
    """Return the currency, which is only a text beside the amount.

    Raises:
        ConfigError: If it is empty or no text.
    """
    if not isinstance(value, str) or not value.strip():
        raise refusal("currency", expected="a text such as 'EUR'", came=value)
    return value.strip()


def check_amount(what: str, value: Any, expected: str, largest: float) -> float:
    """Return a finite number from 0 to the largest that makes sense.

    Raises:
        ConfigError: If it is none.
    """
    amount = number(value)
    if not 0 <= amount <= largest:
        raise refusal(what, expected=expected, came=value)
    return amount


def water_l(wall_j: float, pue: float, water: tuple[float, float]) -> float:
    """Litres that are consumed: kWh of the machines x (WUE + PUE x EWIF).

    Args:
        wall_j: Joules at the wall of the machines (IT energy).
        pue: Facility power over IT power.
        water: Litres per kWh of the site, per kWh of IT energy, and of the grid, per kWh that it delivers.
    """
    wue, ewif = water
    return kwh(wall_j) * (wue + pue * ewif)


def market_based_g(facility_kwh: float, g_per_kwh: float) -> float:
    """Grams of the electricity by its contract (GHG Protocol, scope 2, market-based).

    Args:
        facility_kwh: Energy with the machine's and the building's losses.
        g_per_kwh: Grams per kWh of the contract.
    """
    return facility_kwh * g_per_kwh


def cost(facility_kwh: float, device_hours: float, price: float | None, price_per_hour: float | None) -> float | None:
    """Price of the electricity and of the hired devices together; None where neither price is given.

    Args:
        facility_kwh: Energy with the machine's and the building's losses.
        device_hours: Hours times devices.
        price: Of a kWh.
        price_per_hour: Of a device for an hour.
    """
    if price is None and price_per_hour is None:
        return None
    return facility_kwh * (price or 0.0) + device_hours * (price_per_hour or 0.0)


def beside_rows(
    given_by: Mapping[str, str],
    *,
    water: tuple[float, float] | None = None,
    market_intensity: float | None = None,
    price: float | None = None,
    price_per_hour: float | None = None,
    currency: str | None = None,
) -> tuple[Assumption, ...]:
    """The figures that these rest on, each as somebody gave it.

    Args:
        given_by: Where each option was set.
        water: Litres per kWh of the site and of the grid.
        market_intensity: Grams per kWh of the contract.
        price: Of a kWh.
        price_per_hour: Of a device for an hour.
        currency: Of both prices.
    """
    money = currency or "1"
    wue, ewif = water or (None, None)
    rows = (
        ("wue", wue, "L/kWh", "water", "water of the site per kWh of IT energy"),
        ("ewif", ewif, "L/kWh", "water", "water of the grid per kWh"),
        (
            "market_intensity",
            market_intensity,
            "g/kWh",
            "market_intensity",
            "contract, market-based; beside the location-based grams",
        ),
        ("price", price, f"{money}/kWh", "price", "of a kWh of the facility"),
        ("price_per_hour", price_per_hour, f"{money}/h", "price_per_hour", "of a device for an hour"),
    )
    return tuple(
        Assumption(name, value, value, value, unit, f"given by {given_by.get(option, 'argument')}", None, basis)
        for name, value, unit, option, basis in rows
        if value is not None
    )
