"""What lies between the sensors and the wall, and between the wall and the grid."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from fitprint.assumption import Assumption
from fitprint.carbon.chassis import UNKNOWN, Chassis
from fitprint.carbon.figure import number
from fitprint.data import table
from fitprint.errors import refusal

LARGEST_PUE = 3.0
LARGEST_NODE_FACTOR = 3.0
# Wall power over the sum of GPU, CPU and memory as software reads it. All rows of node_ratio.csv with a
# loaded GPU and a tool that sums these parts (1.22 to 1.37) lie inside; the others are listed there as
# outside this ratio's scope, each with the reason.
NODE_FACTOR, NODE_FACTOR_LOW, NODE_FACTOR_HIGH = 1.3, 1.15, 1.5
NODE_FACTOR_SOURCE, NODE_FACTOR_YEAR = "Jay et al. 2023 and Fischer 2025, wall meters beside software", 2025
NODE_FACTOR_COUNTS = "power at the wall over GPU, CPU and memory; loaded GPUs: 1.22 to 1.37; not for idle or CPU-only machines"
# What a PUE is of.
PUE_SOURCE, PUE_YEAR = "ISO/IEC 30134-2, a figure of data centres", 2016
# The row of pue.csv for servers of which nothing more is known.
SURVEY = "survey"


def check_pue(pue: Any) -> float:
    """Return the figure if it can be a power usage effectiveness.

    Raises:
        ConfigError: If it is below 1 (a facility cannot use less than its servers) or absurd.
    """
    return _ratio("pue", pue, LARGEST_PUE, "total facility power over IT power")


def check_node_factor(factor: Any) -> float:
    """Return the figure if it can be wall power over the sensors' sum.

    Raises:
        ConfigError: If it is below 1 or absurd.
    """
    return _ratio("node_factor", factor, LARGEST_NODE_FACTOR, "power at the wall over the sum of the sensors")


def pue_row(
    pue: float | None, given_by: str, chassis: Chassis = UNKNOWN, *, region: str = "", provider: str | None = None
) -> Assumption:
    """The PUE in use: as given, the cloud region's own, its provider's fleet's, else what the machine suggests.

    Args:
        pue: The user's figure.
        given_by: Where it was set.
        chassis: The machine.
        region: Code of the place, for example ``scaleway:fr-par``.
        provider: The cloud, where one is recognised.
    """
    if pue is not None:
        return _given("pue", pue, given_by)
    published = _published().get(region) or _published().get(provider or "")
    return _published_pue(published) if published else _pue_around(chassis)


def node_factor_row(factor: float | None, given_by: str, chassis: Chassis = UNKNOWN) -> Assumption:
    """The node factor in use: as given, else by the kind of machine.

    Args:
        factor: The user's figure.
        given_by: Where it was set.
        chassis: The machine. Laptops and machines of an unknown kind get 1, with all of the measured
            nodes' range above it.
    """
    if factor is not None:
        return _given("node_factor", factor, given_by)
    if chassis.kind in ("server", "desktop"):
        basis = f"{chassis.kind} ({chassis.found_by}): {NODE_FACTOR_COUNTS}"
        return _row("node_factor", NODE_FACTOR, NODE_FACTOR_LOW, NODE_FACTOR_HIGH, basis, NODE_FACTOR_SOURCE, NODE_FACTOR_YEAR)
    left_out = "power supply, fans and disks of the machine are not counted; the upper end is the range of measured servers"
    basis = f"not set: 1.0 for {_article(chassis)} ({chassis.found_by}): {left_out}"
    return _row("node_factor", 1.0, 1.0, NODE_FACTOR_HIGH, basis, "default", NODE_FACTOR_YEAR)


def _pue_around(chassis: Chassis) -> Assumption:
    (row,) = (row for row in table("pue") if row["code"] == SURVEY)
    survey = _published_pue(row, f"server ({chassis.found_by}): ")
    if chassis.kind == "server":
        return survey
    if chassis.kind == "unknown":
        basis = (
            f"not set: 1.0 ({chassis.found_by}): cooling and losses of a building are not counted; the upper end is {survey.source}"
        )
        return _row("pue", 1.0, 1.0, float(survey.value or 1), basis, "default", survey.year)
    basis = f"{_article(chassis)} ({chassis.found_by}): no data centre stands around it"
    return _row("pue", 1.0, 1.0, 1.0, basis, PUE_SOURCE, PUE_YEAR)


def _article(chassis: Chassis) -> str:
    return "an unknown machine" if chassis.kind == "unknown" else f"a {chassis.kind}"


def _given(name: str, value: float, given_by: str) -> Assumption:
    return _row(name, value, value, value, "as given", f"given by {given_by}", None)


def _published_pue(row: Mapping[str, str], before: str = "") -> Assumption:
    value, low, high = (float(row[key]) for key in ("pue", "low", "high"))
    return _row("pue", value, low, high, f"{before}{row['name']}, {row['basis']}", row["source"], int(row["year"]))


def _row(name: str, value: float, low: float, high: float, basis: str, source: str, year: int | None) -> Assumption:
    return Assumption(name, value, low, high, "1", source, year, basis)


@cache
def _published() -> Mapping[str, Mapping[str, str]]:
    """The rows of clouds and of their regions, by code."""
    return {row["code"]: row for row in table("pue") if row["code"] != SURVEY}


def _ratio(what: str, value: Any, largest: float, meaning: str) -> float:
    ratio = number(value)
    if not 1 <= ratio <= largest:
        hint = f"If {ratio:g} is the overhead alone, write {what}={1 + ratio:g}." if what == "pue" and 0 < ratio < 1 else ""
        raise refusal(what, expected=f"{meaning}: a number from 1 to {largest:g}", came=value, hint=hint)
    return ratio
