"""What a model costs over its life: its training, and queries x energy per query."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from fitprint.assumption import Assumption
from fitprint.carbon.factors import Factors
from fitprint.carbon.figure import Figure, figure, number
from fitprint.energy import Energy
from fitprint.errors import ConfigError, refusal
from fitprint.footprint import Footprint
from fitprint.sensors.counter import Sensor
from fitprint.units import J_PER_WH, format_co2e, significant, wh

LARGEST_QUERIES = 1e18
LARGEST_WH = 1e6
MEASURED_KINDS = ("predict", "test", "validate")


@dataclass(frozen=True, kw_only=True)
class Lifetime:
    """Training and queries, in one place.

    Attributes:
        queries: Their number.
        energy_per_query_wh: At the hardware.
        energy_kwh: Of both at the hardware.
        facility_energy_kwh: Of both, with the rest of the machine and of the building.
        co2e_g: Operational grams of CO2e of both, location-based.
        co2e_low_g: Lower end of their 95 % interval.
        co2e_high_g: Upper end of it.
        queries_like_training: So many queries use as much as the training.
    """

    queries: float
    energy_per_query_wh: float
    energy_kwh: float
    facility_energy_kwh: float
    co2e_g: float
    co2e_low_g: float
    co2e_high_g: float
    queries_like_training: float

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        ends = f"{format_co2e(self.co2e_low_g)} to {format_co2e(self.co2e_high_g)}"
        queries = f"{significant(self.queries)} queries of {significant(self.energy_per_query_wh)} Wh"
        like_training = float(f"{self.queries_like_training:.3g}")  # no more digits than it is sure of
        as_much = f"{significant(like_training)} of them use as much as the training"
        return f"{format_co2e(self.co2e_g)} CO2e ({ends}) with {queries}; {as_much}"


def lifetime(training: Energy, factors: Factors, query_rows: tuple[Assumption, Assumption]) -> Lifetime:
    """Training + queries x energy per query, with one place, PUE and node factor for both.

    Args:
        training: Joules of the training at the hardware.
        factors: Joules to grams.
        query_rows: What ``queries_of`` made.
    """
    queries, each = (figure(row) for row in query_rows)
    total = Figure(*(queries.value * end_wh * J_PER_WH for end_wh in each))
    whole = training + modelled("queries", total, query_rows[1].source)
    grams = factors.grams(whole)
    return Lifetime(
        queries=queries.value,
        energy_per_query_wh=each.value,
        energy_kwh=wh(whole.joules) / 1000,
        facility_energy_kwh=factors.facility_kwh(whole),
        co2e_g=grams.central,
        co2e_low_g=grams.low,
        co2e_high_g=grams.high,
        queries_like_training=wh(training.joules) / each.value,
    )


def queries_of(queries: float | None, energy_per_query_wh: float | Footprint | None) -> tuple[Assumption, Assumption] | None:
    """The rows of the queries' number and of what one takes; None where neither is given.

    Args:
        queries: Their number.
        energy_per_query_wh: Watt-hours of one at the hardware, or the record of a prediction whose samples are queries.

    Raises:
        ConfigError: If one of the two is missing or makes no sense.
    """
    if queries is None and energy_per_query_wh is None:
        return None
    if queries is None or energy_per_query_wh is None:
        raise ConfigError("Expected both the number of queries and the energy of one. Received: one of them. Give the other, too.")
    if not 0 < number(queries) <= LARGEST_QUERIES:
        raise refusal("queries", expected=f"a number, more than 0 and at most {LARGEST_QUERIES:g}", came=queries)
    count = _row("queries", Figure(*[number(queries)] * 3), "1", "given by argument", "as given")
    if isinstance(energy_per_query_wh, Footprint):
        return count, _measured(energy_per_query_wh)
    if not 0 < number(energy_per_query_wh) <= LARGEST_WH:
        expected = f"watt-hours, more than 0 and at most {LARGEST_WH:g}"
        raise refusal("energy_per_query_wh", expected=expected, came=energy_per_query_wh)
    basis = "at the hardware, as given"
    return count, _row("energy_per_query_wh", Figure(*[number(energy_per_query_wh)] * 3), "Wh", "given by argument", basis)


def modelled(name: str, joules: Figure, source: str) -> Energy:
    """Joules of work that is not measured here, with their interval. The one unit of its counter is the whole of it."""
    below, above = 1 - joules.low / joules.value, joules.high / joules.value - 1
    return Energy((Sensor(name, "gpu", "modelled", joules.value, below, above, source),), (1,), (0,), 0)


def _measured(run: Footprint) -> Assumption:
    """What a sample of a recorded prediction took."""
    if run.kind not in MEASURED_KINDS or not run.samples or not run.energy_j:
        came = f"{run.run_id}, a {run.kind} with {run.samples or 'unknown'} samples"
        raise refusal("the run of the queries", expected="a prediction or test whose energy and samples are known", came=came)
    ends = (run.energy_j, run.energy_low_j or run.energy_j, run.energy_high_j or run.energy_j)
    basis = f"at the hardware; a query is a sample of this {run.kind} run, of which it had {run.samples:,}"
    each = Figure(*(wh(joules) / run.samples for joules in ends))
    return _row("energy_per_query_wh", each, "Wh", f"run {run.run_id}", basis)


def _row(name: str, value: Figure, unit: str, source: str, basis: str) -> Assumption:
    return Assumption(name, value.value, value.low, value.high, unit, source, None, basis)
