"""From a place to its grid, and from joules to grams with an interval."""

from __future__ import annotations

import pytest

from fitprint import Tracker, estimate
from fitprint.assumption import Assumption
from fitprint.carbon.equivalences import equivalent
from fitprint.carbon.facility import node_factor_row, pue_row
from fitprint.carbon.factors import Factors, Grams
from fitprint.carbon.intensity import Intensity, given_intensity, yearly_intensity
from fitprint.carbon.place import Place
from fitprint.energy import Energy
from fitprint.sensors.counter import Sensor

FRANCE = Place("FR", "France", "given by argument")
NOWHERE = Place("WORLD", "World", "unknown")


def energy(joules, low=0.0, high=0.0):
    return Energy((Sensor("gpu:0", "gpu", "counter", 1.0, low, high, "test"),), (joules,), (10**9,), 10**9)


def ratio(name, value, low, high):
    return Assumption(name, value, low, high, "1", "test", None, "test")


def intensity(value, low, high):
    return Intensity(value, low, high, 2025, "test", "test")


def test_the_intensity_of_a_country_reaches_as_far_as_other_published_averages_of_it():
    found = yearly_intensity(FRANCE)
    assert (found.g_per_kwh, found.year, found.basis_kind) == (41.44, 2025, "lifecycle")
    assert (found.low_g_per_kwh, found.high_g_per_kwh) == pytest.approx((41.44 * 0.7, 41.44 * 1.35))


def test_a_given_intensity_has_no_interval_of_ours():
    row = given_intensity(50, "argument").assumption()
    assert (row.value, row.low, row.high, row.unit, row.source) == (50, 50, 50, "g/kWh", "given by argument")


def test_an_intensity_that_no_grid_has_is_taken_with_a_warning(caplog):
    with Tracker(intensity=0.05, ledger="off") as tracker:
        pass
    (said,) = [record.getMessage() for record in caplog.records if "g, not kg?" in record.getMessage()]
    assert "intensity=0.05 is taken as 0.05 g" in said
    assert "write intensity=50." in said
    assert tracker.footprint.intensity == 0.05
    assert estimate(power_w=1000, hours=1, intensity=1.0).co2e_g == 1.0
    assert caplog.text.count("g, not kg?") == 1


@pytest.mark.parametrize(("make", "name", "high"), [(pue_row, "pue", 1.54), (node_factor_row, "node_factor", 1.5)])
def test_a_factor_that_nobody_set_is_one_with_room_above(make, name, high):
    row = make(None, "default")
    assert (row.name, row.value, row.low, row.high, row.unit, row.source) == (name, 1, 1, high, "1", "default")
    assert row.basis.startswith("not set: 1.0")


@pytest.mark.parametrize("make", [pue_row, node_factor_row])
def test_a_factor_that_was_set_is_taken_as_exact(make):
    row = make(1.2, "pyproject.toml")
    assert (row.value, row.low, row.high, row.source) == (1.2, 1.2, 1.2, "given by pyproject.toml")


def test_grams_are_energy_times_node_factor_times_pue_times_intensity():
    factors = Factors(FRANCE, given_intensity(400, "you"), pue_row(1.2, "you"), node_factor_row(1.25, "you"))
    two_kwh = energy(7_200_000)
    grams = factors.grams(two_kwh)
    assert factors.facility_kwh(two_kwh) == pytest.approx(3.0)
    assert factors.g_per_further_j(two_kwh) == pytest.approx(600 / 3_600_000)
    assert (grams.central, grams.low, grams.high) == pytest.approx((1_200, 1_200, 1_200))


def test_relative_half_widths_add_in_quadrature_on_each_side_apart():
    # Below: energy 30 %, intensity 40 % -> 50 %. Above: 20 %, 40 %, 50 % and 60 % -> 90 %.
    pue, node_factor = ratio("pue", 1.2, 1.2, 1.8), ratio("node_factor", 1.25, 1.25, 2.0)
    factors = Factors(FRANCE, intensity(400, 240, 560), pue, node_factor)
    grams = factors.grams(energy(7_200_000, low=0.3, high=0.2))
    assert (grams.central, grams.low, grams.high) == pytest.approx((1_200, 600, 2_280))


def test_the_lower_end_is_never_below_the_product_of_all_lower_ends():
    factors = Factors(FRANCE, intensity(400, 40, 400), pue_row(1, "argument"), node_factor_row(1, "argument"))
    grams = factors.grams(energy(3_600_000, low=0.9))
    assert (grams.central, grams.low) == (pytest.approx(400), pytest.approx(400 * 0.1 * 0.1))


@pytest.mark.parametrize("joules", [0, -5])
def test_no_energy_is_no_grams(joules):
    factors = Factors(FRANCE, yearly_intensity(FRANCE), pue_row(None, ""), node_factor_row(None, ""))
    assert factors.grams(energy(joules)) == Grams(0.0, 0.0, 0.0)


@pytest.mark.parametrize("place", [FRANCE, NOWHERE])
@pytest.mark.parametrize("given", [None, 1.3])
def test_every_assumption_has_a_source_and_a_basis(place, given):
    electricity = yearly_intensity(place) if given is None else given_intensity(given, "argument")
    rows = Factors(place, electricity, pue_row(given, "argument"), node_factor_row(given, "argument")).assumptions()
    assert [row.name for row in rows] == ["region", "intensity", "pue", "node_factor"]
    assert all(row.source and row.basis for row in rows)
    assert rows[0].value == place.code


@pytest.mark.parametrize(
    ("grams", "text"),
    [
        (0.04, "the energy of a 10 W lamp for 36.0 s"),
        (12.4, "as much as 1 smartphone charge"),
        (250, "as much as 1.5 km in a petrol car"),
        (20_000, "as much as 0.4 flights from Paris to London"),
        (42_900_000, "as much as 10 years of driving a petrol car"),
    ],
)
def test_grams_are_compared_with_the_largest_activity_of_which_they_are_a_tenth(grams, text):
    assert equivalent(grams, energy_j=360.0) == text
