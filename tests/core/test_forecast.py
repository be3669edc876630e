"""What is said about the rest of a run, without clocks or sensors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.drift import Drift, Range
from fitprint.forecast import Position, look_ahead
from fitprint.pace import Pace, Schedule


def pace_of(*epochs, length=None):
    """Epochs as their joules, or as (joules, of which validation)."""
    pace = Pace()
    for index, epoch in enumerate(epochs):
        joules, validation_j = epoch if isinstance(epoch, tuple) else (epoch, 0.0)
        pace.epoch(joules, validation_j, index=index, length=length)
    return pace


def rest(pace, schedule, position=None):
    return look_ahead(pace, schedule, position or Position(pace.epochs_seen)).rest()


def test_epochs_that_are_alike_go_on_alike():
    assert rest(pace_of(100, 100, 100, 100), Schedule(epochs=10)).mean == pytest.approx(600)


def test_a_trend_is_followed():
    assert rest(pace_of(*range(100, 130), length=50), Schedule(epochs=50)).mean == pytest.approx(sum(range(130, 150)), rel=0.05)


def test_one_dear_epoch_does_not_move_the_others():
    steady, with_one = pace_of(*[100] * 10), pace_of(*[100] * 9, 180)
    assert with_one.training.ahead(1)[0] < 1.2 * steady.training.ahead(1)[0]


def test_two_dear_epochs_in_a_row_are_a_new_level():
    assert pace_of(*[100] * 10, 180, 180).training.ahead(1)[0] == pytest.approx(180, rel=0.05)


@given(st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=40), st.integers(1, 200))
def test_the_interval_is_finite_and_holds_the_mean(costs, length):
    drift = Drift()
    for cost in costs:
        drift.learn(cost, length)
    mean, deviation = drift.ahead(length)
    interval = Range.of(mean, deviation)
    assert 0 <= interval.low <= interval.mean <= interval.high
    assert math.isfinite(interval.high)


@given(st.lists(st.floats(50, 150), min_size=1, max_size=40), st.integers(1, 100), st.integers(1, 100))
def test_more_epochs_cost_more(costs, some, more):
    drift = Drift()
    for cost in costs:
        drift.learn(cost)
    assert drift.ahead(some)[0] < drift.ahead(some + more)[0]


def test_the_interval_narrows_as_epochs_pass():
    widths = []
    for count in (1, 3, 10, 30, 48):
        ahead = rest(pace_of(*([100, 103, 97] * 16)[:count], length=50), Schedule(epochs=50))
        widths.append(ahead.high - ahead.low)
    assert widths == sorted(widths, reverse=True)


def test_validations_are_counted_where_the_plan_has_them():
    pace = pace_of(100, 130, 100, 130, 100)  # the pace does not know them as validations
    known = pace_of(100, (130, 30), 100, (130, 30), 100)
    plan = Schedule(epochs=10, validation_batches=2, validate_every=2)
    assert rest(known, plan).mean == pytest.approx(5 * 100 + 3 * 30, rel=0.01)
    assert rest(pace, Schedule(epochs=10)).mean == pytest.approx(5 * 115, rel=0.05)


def test_a_plan_of_validations_that_is_not_known_is_learned():
    epochs = [(130, 30) if index % 3 == 2 else 100 for index in range(7)]
    assert rest(pace_of(*epochs), Schedule(epochs=12)).mean == pytest.approx(5 * 100 + 2 * 30, rel=0.01)


def test_an_epoch_that_will_validate_is_expected_to_cost_it():
    pace, plan = pace_of(100, (130, 30), 100, (130, 30)), Schedule(validation_batches=2, validate_every=2)
    assert pace.next_epoch(4, plan).mean == pytest.approx(100)
    assert pace.next_epoch(5, plan).mean == pytest.approx(130)


def test_no_reserve_is_kept_for_a_validation_that_will_not_come():
    plan = Schedule(batches=10, validation_batches=5, validate_every=2)
    assert Pace().closing(80.0, 10, 0.0, plan, index=0).upper == 0.0
    assert Pace().closing(80.0, 10, 0.0, plan, index=1).upper == pytest.approx(40.0)


def test_a_part_of_the_first_epoch_says_something_already():
    plan = Schedule(epochs=10, batches=100, validation_batches=0)
    ahead = rest(Pace(), plan, Position(0, 0.25, 25.0))
    assert ahead.mean == pytest.approx(975)
    assert ahead.low < 700 < 1300 < ahead.high


def test_in_the_first_epoch_validations_of_known_length_count_half_a_training_batch_each():
    plan = Schedule(epochs=10, batches=100, validation_batches=20, validate_every=5)
    assert rest(Pace(), plan, Position(0, 0.5, 50.0)).mean == pytest.approx(950 + 2 * 10)


def test_before_anything_was_seen_nothing_is_said():
    assert look_ahead(Pace(), Schedule(epochs=10, batches=100), Position()) is None


def test_at_the_end_nothing_is_left():
    assert rest(pace_of(100, 100), Schedule(epochs=2)) == Range(0.0, 0.0, 0.0)


def test_a_run_of_steps_ends_within_an_epoch():
    plan = Schedule(batches=100, steps=450)
    assert rest(pace_of(100, 100), plan).mean == pytest.approx(250, rel=0.01)


def test_the_epoch_in_which_a_budget_is_reached():
    reached = look_ahead(pace_of(*[100] * 10, length=50), Schedule(epochs=50), Position(10)).reached(1950)
    assert reached.epoch == 29
    assert reached.low < 29 < reached.high


def test_a_budget_beyond_the_end_is_not_reached():
    forecast = look_ahead(pace_of(*[100] * 10, length=20), Schedule(epochs=20), Position(10))
    assert forecast.reached(5000) == type(forecast.reached(5000))(None, None, None)
    assert forecast.reached(1050).low is not None  # only if epochs turn out dearer


def test_a_run_of_unknown_length_has_no_end_but_reaches_its_budget():
    forecast = look_ahead(pace_of(*[100] * 10), Schedule(), Position(10))
    assert forecast.rest() is None
    assert forecast.reached(1000 - 50).epoch == 19
