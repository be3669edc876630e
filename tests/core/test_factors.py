"""Energy x node factor x PUE x intensity, and the rule for the interval of the product."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fitprint.assumption import Assumption
from fitprint.carbon.chassis import Chassis
from fitprint.carbon.facility import node_factor_row, pue_row
from fitprint.carbon.factors import Factors, Grams
from fitprint.carbon.figure import Figure, figure, number, product
from fitprint.carbon.intensity import Intensity, given_intensity
from fitprint.carbon.place import Place
from fitprint.clock import NS_PER_S
from fitprint.energy import Energy
from fitprint.sensors.counter import Sensor
from fitprint.units import J_PER_KWH

FRANCE = Place("FR", "France", "given by argument")
SERVER = Chassis("server", "test")
TWO_KWH = 7_200_000


def sensor(name, low=0.0, high=0.0, **fields):
    return Sensor(name, name.partition(":")[0], "counter", 1.0, low, high, f"source of {name}", **fields)


GPU, CPU, DRAM, VM_CPU = sensor("gpu:0"), sensor("cpu:0"), sensor("dram:0"), sensor("cpu:modelled", at_wall=True)
BMC = sensor("node:bmc", low=0.05, high=0.14, role="node")


def energy(*rows, duration_ns=NS_PER_S):
    sensors, joules = zip(*rows, strict=True) if rows else ((), ())
    return Energy(sensors, joules, (duration_ns,) * len(rows), duration_ns)


def ratio(name, value, low=None, high=None):
    return Assumption(name, value, low, high, "1", "test", None, "test")


def factors(node=1.25, pue=1.2, g_per_kwh=400, **options):
    return Factors(FRANCE, given_intensity(g_per_kwh, "you"), pue_row(pue, "you"), node_factor_row(node, "you"), **options)


def server():
    rows = pue_row(None, "default", SERVER), node_factor_row(None, "default", SERVER)
    return Factors(FRANCE, given_intensity(400, "you"), *rows)


# ---- a figure


def test_a_row_without_an_interval_is_exact():
    assert figure(ratio("pue", 1.2)) == (1.2, 1.2, 1.2)
    assert figure(ratio("pue", 1.2)).exact
    assert not figure(ratio("pue", 1.2, 1.1, 1.3)).exact


def test_relative_half_widths_add_in_quadrature_each_side_apart():
    # Below 30 % and 40 %: 50 %. Above 20 % and 40 %: 45 %.
    value, low, high = product([Figure(10, 7, 12), Figure(100, 60, 140)])
    assert (value, low, high) == pytest.approx((1_000, 500, 1_000 * (1 + math.sqrt(0.2))))


def test_where_lower_half_widths_come_to_more_than_the_whole_the_product_of_the_ends_is_the_end():
    assert product([Figure(1, 0.1, 1), Figure(1, 0.2, 1)]).low == pytest.approx(0.02)


def test_an_end_below_zero_is_taken_for_zero():
    assert product([Figure(1, -0.5, 2.5), Figure(2, 1, 3)]).low == 0


def test_a_factor_of_zero_makes_nothing_of_everything():
    assert product([Figure(0, 0, 0), Figure(2, 1, 3)]) == (0, 0, 0)


FIGURES = st.tuples(st.floats(1e-3, 1e6), st.floats(0, 1), st.floats(0, 3)).map(
    lambda t: Figure(t[0], t[0] * t[1], t[0] * (1 + t[2]))
)


@settings(max_examples=200)
@given(st.lists(FIGURES, min_size=1, max_size=5))
def test_a_product_lies_inside_its_interval_and_never_below_zero(figures):
    value, low, high = product(figures)
    assert value == pytest.approx(math.prod(one.value for one in figures))
    assert 0 <= low <= value * (1 + 1e-12)
    assert value <= high * (1 + 1e-12)


@settings(max_examples=200)
@given(st.lists(FIGURES, min_size=1, max_size=4), FIGURES)
def test_a_further_uncertain_factor_never_narrows_the_interval(figures, another):
    value, low, high = product(figures)
    wider, low_of_wider, high_of_wider = product([*figures, another])
    assert low_of_wider / wider <= low / value + 1e-9
    assert high_of_wider / wider >= high / value - 1e-9


@pytest.mark.parametrize("value", [True, None, "1", [1], float("nan"), float("inf"), -float("inf"), 10**400])
def test_what_is_no_finite_number_fits_into_no_range(value):
    assert math.isnan(number(value))


# ---- grams


def test_grams_are_energy_times_node_factor_times_pue_times_intensity():
    two_kwh = energy((GPU, TWO_KWH))
    assert factors().wall_j(two_kwh) == pytest.approx(TWO_KWH * 1.25)
    assert factors().facility_kwh(two_kwh) == pytest.approx(3.0)
    assert factors().grams(two_kwh) == Grams(*(pytest.approx(1_200),) * 3)
    assert factors().g_per_further_j(two_kwh) == pytest.approx(1_200 / TWO_KWH)


def test_the_interval_of_grams_has_those_of_energy_node_factor_pue_and_intensity():
    # Below: energy 30 %, intensity 40 % -> 50 %. Above: 20 %, 40 %, 50 % and 60 % -> 90 %.
    pue, node_factor = ratio("pue", 1.2, 1.2, 1.8), ratio("node_factor", 1.25, 1.25, 2.0)
    grid = Intensity(400, 240, 560, 2025, "test", "test")
    uncertain = energy((sensor("gpu:0", low=0.3, high=0.2), TWO_KWH))
    grams = Factors(FRANCE, grid, pue, node_factor).grams(uncertain)
    assert (grams.central, grams.low, grams.high) == pytest.approx((1_200, 600, 2_280))


def test_the_lower_end_is_never_below_zero_even_where_a_short_window_says_little():
    ticking = Sensor("gpu:0", "gpu", "counter", 1.0, 0.9, 0.9, "ticks every second", tick_s=1.0)
    grams = factors().grams(energy((ticking, 100), duration_ns=NS_PER_S // 10))
    assert grams.low == 0 < grams.central < grams.high


@pytest.mark.parametrize("rows", [[], [(GPU, 0)]])
def test_no_energy_is_no_grams(rows):
    assert factors().grams(energy(*rows)) == Grams(0, 0, 0)
    assert factors().g_per_further_j(energy(*rows)) > 0


def test_the_headline_without_the_node_factor_is_that_of_the_sensors():
    run = energy((GPU, TWO_KWH))
    assert factors().grams_at_sensors(run).central == pytest.approx(2 * 1.2 * 400)
    assert server().grams(run).central == pytest.approx(1.3 * server().grams_at_sensors(run).central)


def test_a_run_in_a_virtual_machine_is_not_multiplied_twice():
    vm = energy((VM_CPU, TWO_KWH))
    assert server().node_ratio(vm) == 1
    assert server().grams(vm) == server().grams_at_sensors(vm)


def test_a_run_of_both_kinds_of_parts_has_a_factor_between():
    mixed = energy((GPU, 750), (VM_CPU, 250))
    assert server().node_ratio(mixed) == pytest.approx(1.225)
    assert server().wall_j(mixed) == pytest.approx(750 * 1.3 + 250)


def test_a_wall_sensor_tells_the_node_factor_unless_boards_are_hidden():
    metered = energy((GPU, 700), (CPU, 250), (DRAM, 50), (BMC, 1_200))
    one, node = server(), node_factor_row(None, "default", SERVER)
    assert one.node_ratio(metered) == pytest.approx(1.2)
    assert one.wall_j(metered) == pytest.approx(1_200)
    assert Factors(FRANCE, one.intensity, one.pue, node, hidden_boards=True).node_ratio(metered) == 1.3


def test_the_grams_of_epochs_add_up_to_those_of_the_run():
    first, second = energy((GPU, 700), (VM_CPU, 300)), energy((GPU, 10), (VM_CPU, 990))
    whole = server().grams(first + second).central
    assert server().grams(first).central + server().grams(second).central == pytest.approx(whole)


@pytest.mark.parametrize("run", [None, energy((GPU, 5)), energy((VM_CPU, 5)), energy((GPU, 5), (BMC, 9))])
def test_every_figure_has_a_source_and_a_basis(run):
    rows = server().assumptions(run)
    assert [row.name for row in rows] == ["region", "intensity", "pue", "node_factor"]
    assert all(row.source and row.basis for row in rows)


def test_the_node_factor_of_the_run_is_the_effective_one():
    mixed = energy((GPU, 750), (VM_CPU, 250))
    assert server().assumptions()[3].value == 1.3
    row = server().assumptions(mixed)[3]
    assert (row.value, row.low, row.high) == pytest.approx((1.225, 1.1125, 1.375))


ENDS = st.tuples(st.floats(0, 1), st.floats(0, 1))


@settings(max_examples=200)
@given(
    joules=st.lists(st.integers(0, 10**12), min_size=2, max_size=2),
    node=st.floats(1, 3),
    pue=st.floats(1, 3),
    g_per_kwh=st.floats(1, 2_000),
    widths=st.tuples(ENDS, ENDS),
)
def test_grams_are_the_product_of_their_four_factors_and_lie_inside_their_interval(joules, node, pue, g_per_kwh, widths):
    assume(sum(joules) > 0)
    (node_low, node_high), (grid_low, grid_high) = widths
    grid = Intensity(g_per_kwh, g_per_kwh * (1 - grid_low), g_per_kwh * (1 + grid_high), 2025, "test", "test")
    row = ratio("node_factor", node, 1 + (node - 1) * (1 - node_low), node * (1 + node_high))
    made = Factors(FRANCE, grid, ratio("pue", pue), row)
    run = energy(*zip((sensor("gpu:0", low=0.05, high=0.05), VM_CPU), joules, strict=True))
    grams = made.grams(run)
    assert grams.central == pytest.approx(run.joules * made.node_ratio(run) * pue * g_per_kwh / J_PER_KWH)
    assert 0 <= grams.low <= grams.central * (1 + 1e-12)
    assert grams.central <= grams.high * (1 + 1e-12)
    assert grams.central <= made.grams_at_sensors(run).central * made.node_ratio(run) * (1 + 1e-12)
