"""Training + queries x energy per query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint import Footprint
from fitprint.calculator import estimate
from fitprint.errors import ConfigError

TRAINING = {"power_w": 300.0, "hours": 100.0, "intensity": 400.0, "pue": 1.2, "node_factor": 1.25}  # 30 kWh at the hardware


def prediction(**changes):
    figures = {"energy_j": 3600.0, "energy_low_j": 3240.0, "energy_high_j": 4320.0, "samples": 10}  # 0.1 Wh a sample
    return Footprint(**{"run_id": "run-1", "kind": "predict", **figures, **changes})


def test_training_and_queries_are_in_one_sum():
    found = estimate(**TRAINING, queries=600_000, energy_per_query_wh=0.1).lifetime
    assert found.energy_kwh == pytest.approx(30 + 60)
    assert found.facility_energy_kwh == pytest.approx(90 * 1.25 * 1.2)
    assert found.co2e_g == pytest.approx(90 * 1.25 * 1.2 * 400)
    assert found.queries_like_training == pytest.approx(300_000)


@given(st.floats(1, 1e12), st.floats(1e-6, 1e3))
def test_the_training_alone_stays_what_it_was_and_the_life_is_never_less(queries, each_wh):
    alone, whole = estimate(**TRAINING), estimate(**TRAINING, queries=queries, energy_per_query_wh=each_wh)
    assert whole.co2e_g == alone.co2e_g
    assert whole.lifetime.co2e_low_g <= whole.lifetime.co2e_g <= whole.lifetime.co2e_high_g
    assert whole.lifetime.co2e_g > alone.co2e_g
    share = queries / whole.lifetime.queries_like_training
    assert whole.lifetime.co2e_g == pytest.approx(alone.co2e_g * (1 + share), rel=1e-6)


def test_a_recorded_prediction_tells_what_a_query_takes_and_how_sure_that_is():
    found = estimate(**TRAINING, queries=1e9, energy_per_query_wh=prediction())
    row = next(row for row in found.assumptions if row["name"] == "energy_per_query_wh")
    assert [row[end] for end in ("low", "value", "high")] == pytest.approx([0.09, 0.1, 0.12])
    assert (row["source"], "a query is a sample of this predict run" in row["basis"]) == ("run run-1", True)
    # Of so many queries the training is next to nothing: the interval is theirs.
    life = found.lifetime
    assert (life.co2e_low_g / life.co2e_g, life.co2e_high_g / life.co2e_g) == pytest.approx((0.9, 1.2), rel=0.001)


def test_every_figure_is_in_the_assumptions_and_in_the_text():
    found = estimate(**TRAINING, queries=600_000, energy_per_query_wh=0.1)
    rows = {row["name"]: row["value"] for row in found.assumptions}
    assert (rows["queries"], rows["energy_per_query_wh"]) == (600_000, 0.1)
    assert "with 600,000 queries of 0.1 Wh; 300,000 of them use as much as the training" in str(found)
    assert found.to_dict()["lifetime"]["queries"] == 600_000
    assert "lifetime" not in estimate(**TRAINING).to_dict()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"queries": 5}, "both the number of queries and the energy of one"),
        ({"energy_per_query_wh": 0.1}, "both the number of queries and the energy of one"),
        ({"queries": 0, "energy_per_query_wh": 0.1}, "queries"),
        ({"queries": -1, "energy_per_query_wh": 0.1}, "queries"),
        ({"queries": float("nan"), "energy_per_query_wh": 0.1}, "queries"),
        ({"queries": True, "energy_per_query_wh": 0.1}, "queries"),
        ({"queries": 5, "energy_per_query_wh": 0}, "energy_per_query_wh"),
        ({"queries": 5, "energy_per_query_wh": 1e9}, "energy_per_query_wh"),
        ({"queries": 5, "energy_per_query_wh": prediction(kind="fit")}, "a fit with 10 samples"),
        ({"queries": 5, "energy_per_query_wh": prediction(samples=None)}, "a predict with unknown samples"),
        ({"queries": 5, "energy_per_query_wh": prediction(energy_j=None)}, "whose energy and samples are known"),
    ],
)
def test_what_makes_no_sense_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        estimate(**TRAINING, **options)
