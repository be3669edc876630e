"""What lies between the sensors and the wall, and between the wall and the grid."""

from __future__ import annotations

import math

from fitprint.assumption import Assumption
from fitprint.errors import refusal

# Uptime Institute's survey mean of data centres, 2025: the upper end where nothing is known.
SURVEY_PUE, SURVEY_YEAR = 1.54, 2025
LARGEST_PUE = 3.0
# Wall power over the sum of GPU, CPU and memory as software reads it: 1.15 to 1.5 on measured
# nodes (recomputed from the raw data of Jay et al. 2023 and Fischer et al. 2025).
LARGEST_NODE_FACTOR, NODE_FACTOR_HIGH = 3.0, 1.5


def check_pue(pue: float) -> float:
    """Return the figure if it can be a power usage effectiveness.

    Raises:
        ConfigError: If it is below 1 (a facility cannot use less than its servers) or absurd.
    """
    return _ratio("pue", pue, LARGEST_PUE, "total facility power over IT power")


def check_node_factor(factor: float) -> float:
    """Return the figure if it can be wall power over the sensors' sum.

    Raises:
        ConfigError: If it is below 1 or absurd.
    """
    return _ratio("node_factor", factor, LARGEST_NODE_FACTOR, "power at the wall over the sum of the sensors")


def pue_row(pue: float | None, given_by: str) -> Assumption:
    """The PUE in use: as given, else 1.0 with the survey mean as its upper end."""
    if pue is not None:
        return Assumption("pue", pue, pue, pue, "1", f"given by {given_by}", None, "as given")
    basis = "not set: 1.0 (cooling and losses of the building not counted); the upper end is the Uptime Institute survey mean"
    return Assumption("pue", 1.0, 1.0, SURVEY_PUE, "1", "default", SURVEY_YEAR, basis)


def node_factor_row(factor: float | None, given_by: str) -> Assumption:
    """The node factor in use: as given, else 1.0 with the measured nodes' range above it."""
    if factor is not None:
        return Assumption("node_factor", factor, factor, factor, "1", f"given by {given_by}", None, "as given")
    basis = (
        "not set: 1.0 (power supply, fans, disks and network of the machine not counted); the upper end is the largest "
        "ratio of wall power to sensors in Jay et al. 2023 and Fischer et al. 2025"
    )
    return Assumption("node_factor", 1.0, 1.0, NODE_FACTOR_HIGH, "1", "default", 2025, basis)


def _ratio(what: str, value: float, largest: float, meaning: str) -> float:
    if isinstance(value, bool) or not math.isfinite(value) or not 1 <= value <= largest:
        overhead = what == "pue" and not isinstance(value, bool) and 0 < value < 1
        hint = f"If {value:g} is the overhead alone, write {what}={1 + value:g}." if overhead else ""
        raise refusal(what, expected=f"{meaning}: a number from 1 to {largest:g}", came=value, hint=hint)
    return float(value)
