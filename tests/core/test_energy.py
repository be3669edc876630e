"""Energy: an exact sum over sensors, with an honest interval."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.coverage import draw
from fitprint.clock import NS_PER_S
from fitprint.energy import Energy, united
from fitprint.sensors.counter import Sensor

SENSORS = (
    Sensor("gpu:a", "gpu", "counter", 1e-3, 0.05, 0.05, "one"),
    Sensor("gpu:b", "gpu", "counter", 1e-3, 0.05, 0.05, "two"),
    Sensor("cpu:package-0", "cpu", "counter", 1e-6, 0.05, 0.05, "three"),
    Sensor("dram:modelled", "dram", "modelled", 1e-6, 0.5, 0.5, "four"),
)
UNITS = st.integers(0, 10**15)


@st.composite
def energies(draw, sensors=None):
    chosen = sensors or tuple(draw(st.permutations(SENSORS)))[: draw(st.integers(0, len(SENSORS)))]
    numbers = st.lists(UNITS, min_size=len(chosen), max_size=len(chosen)).map(tuple)
    return Energy(chosen, draw(numbers), draw(numbers), draw(UNITS))


def counts(energy: Energy) -> dict[str, int]:
    return {sensor.id: count for sensor, count in zip(energy.sensors, energy.counts, strict=True)}


def seen(energy: Energy) -> dict[str, int]:
    return {sensor.id: ns for sensor, ns in zip(energy.sensors, energy.observed_ns, strict=True)}


def of(*rows: tuple[str, str, float, float, float], seconds: float = 10.0) -> Energy:
    """An energy from rows of part, method, joules, low and high."""
    return Energy(
        tuple(Sensor(f"{row[0]}:{i}", row[0], row[1], 1e-3, row[3], row[4], "test") for i, row in enumerate(rows)),
        tuple(round(row[2] * 1000) for row in rows),
        (round(seconds * NS_PER_S),) * len(rows),
        round(seconds * NS_PER_S),
    )


@settings(max_examples=100)
@given(a=energies(), b=energies(), sign=st.sampled_from([1, -1]))
def test_sum_and_difference_are_energies_over_the_union_of_sensors(a, b, sign):
    result = a + b if sign == 1 else a - b
    ids = counts(a).keys() | counts(b).keys()
    assert len(result.sensors) == len(ids)
    assert counts(result) == {i: counts(a).get(i, 0) + sign * counts(b).get(i, 0) for i in ids}
    assert seen(result) == {i: seen(a).get(i, 0) + sign * seen(b).get(i, 0) for i in ids}
    assert result.duration_ns == a.duration_ns + sign * b.duration_ns


@settings(max_examples=100)
@given(a=energies(), b=energies())
def test_addition_commutes_up_to_the_order_of_sensors(a, b):
    one, other = a + b, b + a
    assert (counts(one), seen(one), one.duration_ns) == (counts(other), seen(other), other.duration_ns)
    assert one.joules == other.joules


@settings(max_examples=50)
@given(a=energies(SENSORS), b=energies(SENSORS))
def test_subtraction_undoes_addition(a, b):
    assert (a + b) - b == a


@settings(max_examples=50)
@given(a=energies())
def test_an_empty_energy_changes_nothing(a):
    assert a + Energy() == a
    assert Energy() + a == a


@settings(max_examples=50)
@given(windows=st.lists(energies(SENSORS), max_size=20))
def test_windows_add_up_to_the_whole_exactly(windows):
    whole = sum(windows, Energy(SENSORS, (0,) * 4, (0,) * 4, 0))
    assert whole.counts == tuple(sum(window.counts[i] for window in windows) for i in range(4))
    assert whole.duration_ns == sum(window.duration_ns for window in windows)


@settings(max_examples=50)
@given(energy=energies())
def test_parts_and_sensors_sum_to_the_joules(energy):
    assert math.isclose(sum(energy.by_part.values()), energy.joules, rel_tol=1e-12)
    assert math.isclose(sum(energy.by_sensor.values()), energy.joules, rel_tol=1e-12)
    assert energy.by_part.keys() == {sensor.part for sensor in energy.sensors}


@settings(max_examples=50)
@given(energy=energies())
def test_an_energy_survives_json(energy):
    assert Energy.from_dict(json.loads(json.dumps(energy.to_dict()))) == energy


MODELLED = [("cpu", "modelled", 100.0, 0.35, 0.35), ("dram", "modelled", 50.0, 0.5, 0.5)]  # +-35 J and +-25 J
MEASURED = [("gpu", "counter", 300.0, 0.05, 0.05), ("gpu", "integrated", 400.0, 0.05, 0.05)]  # +-15 J and +-20 J


@pytest.mark.parametrize(
    ("rows", "joules", "half_width"),
    [
        pytest.param(MODELLED, 150.0, 60.0, id="modelled parts add linearly"),
        pytest.param(MEASURED, 700.0, 25.0, id="measured ones add in quadrature"),
        pytest.param(MODELLED + MEASURED, 850.0, 65.0, id="both together in quadrature"),
        pytest.param([], 0.0, 0.0, id="nothing is sure"),
    ],
)
def test_the_interval_knows_which_errors_are_shared(rows, joules, half_width):
    energy = of(*rows)
    assert energy.joules == pytest.approx(joules)
    assert energy.low_j == pytest.approx(joules - half_width)
    assert energy.high_j == pytest.approx(joules + half_width)


def test_an_interval_may_be_lopsided():
    energy = of(("cpu", "modelled", 100.0, 0.5, 1.0))
    assert (energy.low_j, energy.high_j) == (pytest.approx(50.0), pytest.approx(200.0))


def test_measured_fraction_is_the_share_of_counters_and_gauges():
    assert of(*MODELLED, *MEASURED).measured_fraction == pytest.approx(700 / 850)
    assert of(*MODELLED).measured_fraction == 0.0
    assert of(*MEASURED).measured_fraction == 1.0


def test_without_joules_no_fraction_is_claimed():
    assert Energy().measured_fraction is None
    assert of(("gpu", "counter", 0.0, 0.05, 0.05)).measured_fraction is None


def test_coverage_is_that_of_the_sensor_seen_least():
    energy = Energy(SENSORS[:3], (1, 1, 1), (8 * NS_PER_S, 3 * NS_PER_S, 10 * NS_PER_S), 10 * NS_PER_S)
    assert energy.coverage == pytest.approx(0.3)


def test_without_sensors_or_time_there_is_no_coverage():
    assert Energy(duration_ns=NS_PER_S).coverage is None
    assert Energy(SENSORS[:1], (1,), (0,), 0).coverage is None


def test_power_is_joules_over_seconds_and_zero_for_an_empty_window():
    assert of(*MEASURED, seconds=10.0).power_w == pytest.approx(70.0)
    assert Energy().power_w == 0.0


@pytest.mark.parametrize(("seconds", "relative"), [(0.3, 0.2667), (1.0, 0.08), (10.0, 0.008)])
def test_a_counter_that_ticks_is_less_sure_of_short_windows(seconds, relative):
    ticking = Sensor("gpu:0", "gpu", "counter", 1.0, 0.0, 0.0, "ticks every 100 ms", tick_s=0.1)
    window = Energy((ticking,), (round(500 * seconds),), (0,), round(seconds * 1e9))
    assert window.high_j / window.joules - 1 == pytest.approx(relative, rel=0.01)
    assert 1 - window.low_j / window.joules == pytest.approx(relative, rel=0.01)


def test_the_interval_of_a_tick_covers_the_truth_as_often_as_it_says():
    draw = random.Random(1)
    covered = 0
    for _ in range(2000):
        began, seconds = draw.uniform(0, 0.1), draw.uniform(0.5, 3.0)
        seen = int((began + seconds) / 0.1) - int(began / 0.1)
        ticking = Sensor("gpu:0", "gpu", "counter", 50.0, 0.0, 0.0, "500 W, a tick is 50 J", tick_s=0.1)
        window = Energy((ticking,), (seen,), (0,), round(seconds * 1e9))
        covered += window.low_j <= 500 * seconds <= window.high_j
    assert 0.93 <= covered / 2000 <= 0.99


@pytest.mark.parametrize("kind", [None, "measured", "modelled", "mixed"])
def test_the_95_percent_interval_holds_the_truth_of_95_percent_of_machines(kind):
    assert 0.93 <= draw(2000, seed=20261123, kind=kind) <= 0.97


@settings(max_examples=100)
@given(seen=st.lists(energies(), min_size=1, max_size=5), data=st.data())
def test_a_union_is_the_same_in_any_order_and_however_often_a_part_comes(seen, data):
    union = united(seen)
    again = data.draw(st.permutations(seen + data.draw(st.lists(st.sampled_from(seen)))))
    assert united(again) == union
    assert united([union, *seen]) == union
    assert united([united(seen[:1]), united(seen[1:])]) == union


def test_a_sensor_that_two_ranks_saw_is_counted_once():
    one, other = of(("gpu", "counter", 100.0, 0.05, 0.05)), of(("gpu", "counter", 100.0, 0.05, 0.05))
    assert united([one, other]).joules == pytest.approx(100.0)
