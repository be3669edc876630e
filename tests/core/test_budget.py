"""Budgets and their arithmetic, without clocks or sensors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.budget import Budget, Spent
from fitprint.drift import Range
from fitprint.errors import ConfigError
from fitprint.footprint import EpochFootprint
from fitprint.forecast import Position, Reached, look_ahead
from fitprint.pace import Expected, Pace, Schedule
from fitprint.per_batch import PerBatch
from fitprint.sentences import at_this_pace
from fitprint.watch import Watch


def spent(energy_j, g_per_j=1e-3):
    grams = energy_j * g_per_j
    return Spent(energy_j, grams, 0.9 * grams, 1.1 * grams, g_per_j)


def closing(joules):
    return Expected(joules, joules)


def pace_of(*epochs):
    pace = Pace()
    for joules in epochs:
        pace.epoch(joules)
    return pace


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0.5}, "A bare number has no unit"),
        ({"limit": "2kgs"}, "Did you mean '2 kg'"),
        ({"limit": "-3 g"}, "more than zero"),
        ({"limit": "0 kWh"}, "more than zero"),
        ({"limit": "nan g"}, "a mass of CO2e such as"),
        ({"limit": "1e999 g"}, "more than zero"),
        ({"limit": "250 g 2 kWh"}, "a mass of CO2e such as"),
        ({"limit": "5 g/kWh"}, "a mass of CO2e such as"),
        ({"limit": ["5 g"]}, "a mass of CO2e such as"),
        ({"limit": "5 g", "scope": "projects"}, "Did you mean .project."),
        ({"limit": "5 g", "check": 0}, "from 1 up"),
        ({"limit": "5 g", "check": "epochs"}, "Did you mean 'epoch'"),
        ({"limit": "5 g", "on_exceed": "halt"}, "'stop', 'warn' or a callable"),
        ({"limit": "5 g", "warn_at": 1.5}, "at most 1"),
        ({"limit": "5 g", "min_epochs": -1}, "from 0 up"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_with_the_way_to_mend_it(options, message):
    with pytest.raises(ConfigError, match=message):
        Budget(**options)


def test_several_budgets_may_be_text_or_objects():
    assert [b.limit for b in Budget.several(["1 kg", Budget("2 kWh")])] == ["1 kg", "2 kWh"]
    assert Budget.several(None) == ()


def test_a_warm_up_epoch_is_forgotten_once_two_others_are_known():
    assert pace_of(300, 100, 100).next_epoch().mean == 100


def test_one_epoch_is_expected_to_repeat_with_a_margin():
    expected = pace_of(100).next_epoch()
    assert (expected.mean, expected.upper) == (100, pytest.approx(110))


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=30))
def test_the_upper_bound_is_never_below_the_mean_nor_far_above_the_dearest(epochs):
    expected = pace_of(*epochs).next_epoch()
    assert expected.mean * (1 - 1e-9) <= expected.upper <= 1.1 * max(epochs) * (1 + 1e-9)


def test_the_bound_follows_epochs_that_grow():
    assert pace_of(100, 110, 120, 130, 140).next_epoch().upper >= 140


def test_closing_keeps_the_dearest_of_the_last_validations():
    pace = pace_of(100)
    for joules in (10.0, 30.0, 20.0):
        pace.validation(joules)
    assert pace.closing(80.0, 10, 0.0, Schedule()) == Expected(pytest.approx(20.0), pytest.approx(33.0))


def test_before_the_first_validation_each_of_its_batches_counts_as_a_training_batch_at_most_and_half_of_one_on_average():
    plan = Schedule(validation_batches=30)
    assert Pace().closing(80.0, 10, 0.0, plan, batch_j=2.0) == Expected(pytest.approx(30.0), pytest.approx(60.0))


def test_while_only_the_first_batches_are_known_no_more_batches_of_a_validation_are_reckoned_with_than_they_are():
    assert Pace().closing(500.0, 1, 0.0, Schedule(validation_batches=1000)).upper == pytest.approx(500.0)
    assert Pace().closing(500.0, 5, 0.0, Schedule(validation_batches=2)).upper == pytest.approx(200.0)


def test_a_resumed_run_expects_the_validations_that_its_epochs_had():
    pace = Pace()
    pace.remember(EpochFootprint(index=0, started_at="", duration_s=1.0, energy_j=130.0, phases={"validate": 30.0}))
    assert pace.closing(500.0, 1, 0.0, Schedule(validation_batches=1000)).upper == pytest.approx(33.0)


def test_a_validation_of_unknown_length_is_assumed_a_fifth_of_the_training_at_most():
    assert Pace().closing(100.0, 10, 0.0, Schedule()) == Expected(pytest.approx(10.0), pytest.approx(20.0))


@given(st.floats(0, 1e6), st.integers(1, 8), st.floats(0.1, 1e3), st.integers(2, 1000), st.sampled_from([1, 2, 7, 50]))
def test_a_batch_costs_what_it_does_after_any_warm_up_by_four_times_the_batches_of_that(warm_up_j, warm, batch_j, batches, every):
    seen = PerBatch()
    for done in range(1, batches + 1):
        if done == 1 or done % every == 0:
            seen.see(done, batch_j * done + warm_up_j * min(1.0, done / warm))
    last = max(done for done in range(1, batches + 1) if done == 1 or done % every == 0)
    if last >= 4 * max(warm, every):
        assert seen.energy_j == pytest.approx(batch_j, rel=1e-6, abs=1e-9 * warm_up_j)


def seen_of(batches, warm_up_j, *, at=None, batch_s=1.0):
    """Looks at powers of two; the first batch costs so much more."""
    seen = PerBatch()
    for done in at or [2**k for k in range(12) if 2**k < batches] + [batches]:
        seen.see(done, warm_up_j + done, done * batch_s)
    return seen


@pytest.mark.parametrize("batches", [16, 100, 1000])
def test_what_the_first_batches_have_cost_beyond_the_others_is_warm_up(batches):
    assert seen_of(batches, 500.0).warm_up_j(1.0) == pytest.approx(500.0)


def test_a_little_warm_up_is_none():
    assert seen_of(100, 20.0).warm_up_j(1.0) == 0.0


def test_few_batches_tell_of_no_warm_up():
    assert seen_of(15, 500.0).warm_up_j(1.0) == 0.0
    assert seen_of(100, 500.0, at=[100]).warm_up_j(0.2) == 0.0


def test_where_the_later_batches_are_too_short_for_the_sensors_their_time_tells_what_they_cost():
    """A counter that has moved once, while the first batch compiled for 9.9 s; the others took 1 ms each."""
    seen = PerBatch()
    for done in (1, 2, 4, 8, 16, 32, 64, 100):
        seen.see(done, 1000.0, 9.9 + 0.001 * done)
    assert seen.energy_j == 0.0
    assert seen.usual_j(1.0) == pytest.approx(0.1)
    assert seen.warm_up_j(1.0) == pytest.approx(990.0)


def test_ending_keeps_the_dearest_gap_between_epochs():
    pace = pace_of(100)
    pace.gap(7.0)
    assert pace.ending(power_w=10.0) == 7.0
    assert pace.ending(power_w=200.0) == pytest.approx(20.0)


def watch(*budgets):
    said = []
    return Watch(Budget.several(list(budgets)), said.append), said


def test_an_epoch_that_would_not_fit_is_not_begun():
    w, said = watch("1000 J")
    w.before(spent(800), pace_of(300, 300, 300), epochs_done=3, power_w=0)
    assert w.should_stop
    assert "before epoch 3" in said[-1]


def test_an_epoch_that_fits_is_begun():
    w, _ = watch("1000 J")
    w.before(spent(700), pace_of(280, 280, 280), epochs_done=3, power_w=0)
    assert not w.should_stop


def test_inside_an_epoch_the_closing_work_is_kept_back():
    w, _ = watch("1000 J")
    w.inside_epoch(spent(900), 10.0, closing(85.0), epochs_done=1)
    assert not w.should_stop
    w.inside_epoch(spent(910), 10.0, closing(85.0), epochs_done=1)
    assert w.should_stop


def test_the_decision_is_made_once_and_kept():
    w, said = watch("1000 J")
    w.before(spent(1000), pace_of(10), epochs_done=1, power_w=0)
    first = w.decision
    w.before(spent(2000), pace_of(10), epochs_done=2, power_w=0)
    assert w.decision is first
    assert sum("Stopped" in sentence for sentence in said) == 1


def test_the_interval_of_looks_costs_at_most_a_hundredth_of_what_is_left():
    w, _ = watch("1000 J")
    assert w.batches_to_next_look(spent(0), per_batch_j=1.0) == 10
    assert w.batches_to_next_look(spent(900), per_batch_j=1.0) == 1
    assert w.batches_to_next_look(spent(0), per_batch_j=0.0) == 1


def test_check_by_batches_looks_at_least_so_often():
    w, _ = watch(Budget("1000 J", check=4))
    assert w.batches_to_next_look(spent(0), per_batch_j=1.0) == 4
    assert w.batches_to_next_look(spent(950), per_batch_j=1.0) == 1


def test_the_budget_nearest_its_limit_is_the_one_shown():
    w, _ = watch("1 kg", "1000 J")
    budget, share = w.nearest(spent(500))
    assert (budget.limit, share) == ("1000 J", 0.5)


def test_a_mass_is_stopped_by_grams_and_an_energy_by_joules():
    grams, _ = watch("0.5 g")
    joules, _ = watch("1000 J")
    for w in (grams, joules):
        w.before(spent(500), pace_of(1), epochs_done=1, power_w=0)
    assert grams.should_stop
    assert not joules.should_stop


def test_a_budget_below_one_step_says_so():
    w, said = watch("10 J")
    w.inside_epoch(spent(100), 100.0, closing(0.0), epochs_done=0)
    assert "does not cover the first step" in said[-1]


def test_a_later_overrun_is_not_blamed_on_the_first_step():
    w, said = watch("1000 J")
    w.inside_epoch(spent(100), 100.0, closing(0.0), epochs_done=0)
    w.inside_epoch(spent(1100), 100.0, closing(0.0), epochs_done=0)
    assert w.should_stop
    assert "first step" not in said[-1]


def test_what_was_trained_against_a_stop_is_in_its_reason_and_dear_closing_work_is_not():
    obeyed, forced = watch("1000 J")[0], watch("1000 J")[0]
    for w in (obeyed, forced):
        w.before(spent(950), pace_of(100, 100), epochs_done=2, power_w=0)
    forced.goes_on()
    for w in (obeyed, forced):
        w.conclude(spent(1100))
    assert "went on" not in obeyed.decision.sentence
    assert "went on all the same" in forced.decision.sentence
    assert "1,100 J in the end" in forced.decision.sentence


def test_by_batches_an_epoch_is_begun_only_if_its_first_batches_and_the_closing_fit():
    plan = Schedule(batches=100, validation_batches=10, validate_every=1)
    tight, loose = watch(Budget("1000 J", check=1))[0], watch(Budget("1020 J", check=1))[0]
    pace = Pace()
    for _ in range(2):
        pace.validation(10.0)
        pace.epoch(110.0, 10.0)
    for w in (tight, loose):
        w.inside_epoch(spent(0), 1.0, closing(10.0), epochs_done=0)
        w.before(spent(990), pace, epochs_done=2, power_w=0, schedule=plan)
    assert tight.should_stop
    assert not loose.should_stop


def test_the_warning_foretells_by_grams_or_joules():
    forecast = look_ahead(pace_of(*[100] * 10), Schedule(epochs=50), Position(10))
    said = []
    w = Watch(Budget.several(["1.1 g", "2000 J"]), said.append, lambda: forecast)
    w.before(spent(1001), pace_of(*[100] * 10), epochs_done=10, power_w=0)
    assert said[0].startswith(
        "91 % of the budget of 1.1 g is used (1 g); at this pace the budget is reached in epoch 10 of 0-49 (10 to "
    )
    assert "the run would need 5 g (" in said[0]


def test_a_run_that_will_fit_is_told_so():
    forecast = look_ahead(pace_of(*[100] * 10), Schedule(epochs=11), Position(10))
    said = []
    Watch(Budget.several(["1200 J"]), said.append, lambda: forecast).before(spent(1000), pace_of(10), epochs_done=10, power_w=0)
    assert "; at this pace the run ends within it, at 1,100 J (" in said[0]


def test_a_budget_that_only_warns_says_where_it_is_used_up_and_of_no_stop():
    said = []
    Watch((Budget("100 J", on_exceed="warn", warn_at=1.0),), said.append).before(spent(90), pace_of(30), epochs_done=1, power_w=0)
    (sentence,) = said
    assert sentence.startswith("the budget only warns, training goes on. Before epoch 1: 90 J of the budget of 100 J are used")
    assert "topped" not in sentence


def test_the_warning_of_a_budget_that_is_used_up_says_so_and_foretells_nothing():
    forecast = look_ahead(pace_of(*[100] * 10), Schedule(epochs=11), Position(10))
    said = []
    w = Watch((Budget("500 J", on_exceed="warn"),), said.append, lambda: forecast)
    w.before(spent(1540), pace_of(10), epochs_done=10, power_w=0)
    assert said[0].startswith("308 % of the budget of 500 J is used (1,540 J); it is exceeded, and the run would need 1,640 J (")
    said.clear()
    Watch((Budget("500 J"),), said.append).before(spent(500), pace_of(10), epochs_done=10, power_w=0)
    assert said[0] == "100 % of the budget of 500 J is used (500 J); it is exceeded."


def test_a_forecast_whose_interval_is_one_epoch_has_no_brackets():
    forecast = look_ahead(pace_of(*[100] * 20), Schedule(epochs=22), Position(20))
    assert at_this_pace(forecast, Reached(21, 21, 21), None, "J").endswith("reached in epoch 21")
    assert at_this_pace(forecast, Reached(21, 20, 21), None, "J").endswith("reached in epoch 21 (20 to 21)")


def test_what_a_run_would_need_and_its_interval_have_one_unit():
    forecast = look_ahead(pace_of(100), Schedule(epochs=50), Position(1))
    said = at_this_pace(forecast, Reached(None, None, None), Range(3074, 1737, 5472), "J")
    assert said == "; at this pace the run ends within it, at 3,074 J (1,737 J to 5,472 J)"
