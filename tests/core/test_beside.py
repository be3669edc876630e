"""What a record shows beside its operational grams."""

from __future__ import annotations

import pytest

from fitprint import Config, Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import ScriptedCounter

HOUR_S = 3600.0


@pytest.fixture
def run(clock, tmp_path):
    """An hour of 1 kW at 100 g/kWh and PUE 1.5, on one board of a machine of which nothing else is known."""

    def measure(**options):
        gpu = ScriptedCounter(clock, watts=1000.0)
        around = Surroundings(tmp_path / "sys", tmp_path / "proc", clock=clock, environ={})
        config = Config(intensity=100.0, pue=1.5, node_factor=1.0, **options)
        with Tracker(counters=[gpu], around=around, ledger="off", config=config) as tracker:
            for _ in tracker.epochs(range(2)):
                clock.advance(HOUR_S / 2)
        return tracker.footprint

    return measure


def named(footprint, name):
    return next(row for row in footprint.assumptions if row["name"] == name)


def test_what_is_not_asked_for_is_none_and_never_0(run):
    footprint = run()
    assert (footprint.embodied_g, footprint.water_l, footprint.market_based_g, footprint.cost) == (None,) * 4
    assert footprint.co2e_g == pytest.approx(150.0)


def test_market_based_grams_water_and_money_stand_beside_the_grams_and_change_none(run):
    footprint = run(market_intensity=20.0, water=(0.4, 3.0), price=0.30, currency="EUR")
    assert footprint.co2e_g == pytest.approx(150.0)
    assert footprint.market_based_g == pytest.approx(1.5 * 20)
    assert footprint.water_l == pytest.approx(1.0 * (0.4 + 1.5 * 3.0))
    assert (footprint.cost, footprint.currency) == (pytest.approx(0.45), "EUR")
    assert named(footprint, "market_intensity")["value"] == 20.0


def test_an_hour_of_the_device_costs_what_the_cloud_says(run):
    assert run(price_per_hour=4.0).cost == pytest.approx(4.0)


def test_embodied_grams_are_the_run_s_share_of_the_lives_of_board_and_machine(run):
    footprint = run(embodied={"years": 5.0, "gpu_kg": 438.0, "host_kg": 876.0})
    per_hour_of_life = 1 / (5 * 8760)
    assert footprint.embodied_g == pytest.approx((438 + 876) * 1000 * per_hour_of_life)
    assert footprint.co2e_g == pytest.approx(150.0)
    assert "embodied" in str(footprint)


def test_a_score_per_functional_unit_needs_embodied_grams_and_the_count(run):
    footprint = run(embodied={"years": 5.0, "gpu_kg": 438.0, "host_kg": 876.0}, functional_unit="epoch")
    assert any("90 g CO2e per epoch" in note for note in footprint.notes)
    assert any("no score per epoch" in note for note in run(functional_unit="epoch").notes)
    assert any("no score per 1,000 samples" in note for note in run(embodied=True, functional_unit="1000 samples").notes)
