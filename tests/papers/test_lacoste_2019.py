"""Lacoste, Luccioni, Schmidt and Dandres, Quantifying the Carbon Emissions of Machine Learning (2019).

The formula of their calculator (mlco2/impact, commit d0d3ee5): kg = kWh x kg per kWh, without PUE, where kWh and
the factor are rounded to two decimals and the factor's grams are cut to whole ones first.
"""

from __future__ import annotations

import pytest

from fitprint.calculator import estimate

US_CENTRAL1_G_PER_KWH = 566.3
# What it takes for private infrastructure: the OECD's mean of 2014.
PRIVATE_G_PER_KWH = 432


def their_kg(watts: float, hours: float, g_per_kwh: float) -> float:
    return round(round(watts * hours / 1000, 2) * round(int(g_per_kwh) / 1000, 2), 2)


def their_factor(g_per_kwh: float) -> float:
    return 1000 * round(int(g_per_kwh) / 1000, 2)


@pytest.mark.parametrize(
    ("hardware", "watts", "hours", "g_per_kwh"),
    [
        ("Tesla V100-SXM2-32GB", 300, 100, US_CENTRAL1_G_PER_KWH),
        ("A100 SXM4 80 GB", 400, 250, PRIVATE_G_PER_KWH),
        ("RTX 2080 Ti", 250, 72, 20),
        ("AMD EPYC 7763", 280, 24, 735),
    ],
)
def test_their_formula_is_ours_without_node_factor_and_pue_at_their_rounded_factor(hardware, watts, hours, g_per_kwh):
    answer = estimate(hardware=hardware, hours=hours, intensity=their_factor(g_per_kwh), pue=1, node_factor=1)
    assert answer.energy_kwh == answer.facility_energy_kwh == pytest.approx(watts * hours / 1000)
    assert answer.co2e_g / 1000 == pytest.approx(their_kg(watts, hours, g_per_kwh), abs=0.005)


def test_their_worked_example_is_17_point_1_kg():
    answer = estimate(power_w=300, hours=100, intensity=570)
    assert answer.energy_kwh == pytest.approx(30)
    assert answer.co2e_g == pytest.approx(17_100)


def test_rounding_the_factor_of_566_point_3_g_to_two_decimals_adds_two_thirds_of_a_percent():
    exact = estimate(power_w=300, hours=100, intensity=US_CENTRAL1_G_PER_KWH).co2e_g
    assert 1000 * their_kg(300, 100, US_CENTRAL1_G_PER_KWH) / exact == pytest.approx(570 / 566.3)
    assert round(570 / 566.3, 4) == 1.0065


def test_the_watts_that_their_table_gives_the_two_forms_of_v100_are_swapped():
    assert estimate(hardware="Tesla V100-SXM2-16GB", hours=1, node_factor=1).energy_kwh == pytest.approx(0.300)  # theirs: 250 W
    assert estimate(hardware="Tesla V100-PCIE-16GB", hours=1, node_factor=1).energy_kwh == pytest.approx(0.250)  # theirs: 300 W
