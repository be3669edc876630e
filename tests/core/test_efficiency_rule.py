"""The efficiency rule: when training is no longer worth its carbon."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.budget import Spent
from fitprint.efficiency import Efficiency
from fitprint.errors import ConfigError
from fitprint.metrics import mode_of, telling


def spent(grams, joules=0.0):
    return Spent(energy_j=joules, co2e_g=grams, co2e_low_g=grams, co2e_high_g=grams, g_per_j=1.0)


def first_stop(rule, values, g_per_epoch=1.0, name="val_acc"):
    """The epoch after which the rule stops, or None; a value that is None is an epoch without the metric."""
    for epoch, value in enumerate(values):
        if rule.observe(epoch, {} if value is None else {name: value}, spent(g_per_epoch * (epoch + 1))):
            return epoch
    return None


def rule(least=0.01, **options):
    return Efficiency("val_acc", min_gain_per_g=least, **{"patience": 1, "smoothing": 0.0, **options})


def test_it_stops_at_the_first_epoch_that_gained_less_than_its_grams_are_worth():
    assert first_stop(rule(), [0.5, 0.7, 0.8, 0.82, 0.829, 0.9]) == 4


def test_dearer_epochs_have_to_gain_more():
    values = [0.5, 0.55, 0.60, 0.65]
    assert first_stop(rule(), values, g_per_epoch=4.9) is None
    assert first_stop(rule(), values, g_per_epoch=5.1) == 1


def test_patience_takes_the_gain_over_more_epochs():
    plateau_then_jump = [0.5, 0.5, 0.5, 0.9, 0.9, 0.9, 0.9]
    assert first_stop(rule(patience=3), plateau_then_jump) == 6
    assert first_stop(rule(patience=1), plateau_then_jump) == 1


def test_one_lucky_epoch_counts_for_less_with_smoothing():
    lucky = [0.5, 0.5, 0.6, 0.5, 0.5, 0.5]
    smooth, plain = (rule(smoothing=weight, patience=2, least=0.04) for weight in (0.8, 0.0))
    assert first_stop(smooth, lucky) == 2
    assert first_stop(plain, lucky) == 4


def test_a_loss_gains_by_falling():
    falling = Efficiency("val_loss", min_gain_per_g=0.1, patience=1, smoothing=0.0)
    assert first_stop(falling, [2.0, 1.0, 0.5, 0.45], name="val_loss") == 3
    assert "lowered val_loss by 0.05" in falling.decision().sentence


def test_a_watt_hour_can_be_the_price():
    by_energy = Efficiency("val_acc", min_gain_per_wh=0.01, patience=1, smoothing=0.0)
    stops = [by_energy.observe(i, {"val_acc": 0.5 + 0.02 * i}, spent(0.0, 3600.0 * i**2)) for i in range(4)]
    assert stops == [False, False, True, True]  # the second epoch cost 3 Wh
    decision = by_energy.decision()
    assert decision.unit == "J"
    assert "0.4 points a watt-hour; at least 1 point a watt-hour was asked for" in decision.sentence


def test_an_epoch_without_the_metric_costs_all_the_same():
    assert first_stop(rule(), [0.5, None, None, 0.52]) == 3
    assert first_stop(rule(), [0.5, None, None, 0.54]) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "n/a", [1, 2]])
def test_a_value_that_is_no_number_gains_nothing(value):
    watching = rule()
    watching.observe(0, {"val_acc": 0.5}, spent(1.0))
    assert watching.observe(1, {"val_acc": value}, spent(2.0))


def test_a_metric_that_begins_as_nan_has_gained_once_it_is_a_number():
    watching = rule()
    assert not watching.observe(0, {"val_acc": math.nan}, spent(1.0))
    assert not watching.observe(1, {"val_acc": 0.1}, spent(2.0))


def test_where_nothing_is_measured_nothing_is_stopped():
    watching = rule()
    assert not any(watching.observe(epoch, {"val_acc": 0.5}, None) for epoch in range(9))
    assert watching.decision() is None


def test_a_metric_that_never_comes_is_said_once_with_those_that_are_there(caplog):
    watching = rule(patience=2)
    for epoch in range(9):
        assert not watching.observe(epoch, {"val_accuracy": 0.5, "loss": 1.0, "carbon/epoch_co2e_g": 1.0}, spent(epoch))
    (message,) = [record.getMessage() for record in caplog.records]
    assert "'val_acc' did not come in the first 3 epochs" in message
    assert message.endswith("Available: loss, val_accuracy.")


def test_the_sentence_and_the_numbers_of_the_decision():
    watching = rule(patience=2, least=0.01)
    assert first_stop(watching, [0.5, 0.9, 0.901, 0.902]) == 3
    decision = watching.decision()
    assert decision.code == "efficiency"
    assert decision.sentence == (
        "Stopped after epoch 3: epochs 2 to 3 cost 2 g and raised val_acc by 0.2 points, "
        "0.1 points a gram; at least 1 point a gram was asked for."
    )
    assert (decision.spent, decision.unit, decision.next_expected) == (4.0, "g", 1.0)
    assert decision.limit == pytest.approx(2.2)


def test_its_state_goes_on_where_it_was():
    values = [0.5, 0.6, 0.65, 0.67, 0.675, 0.676]
    whole, half = rule(patience=2, smoothing=0.3), rule(patience=2, smoothing=0.3)
    expected = first_stop(whole, values)
    first_stop(half, values[:3])
    resumed = rule(patience=2, smoothing=0.3)
    resumed.resume(json.loads(json.dumps(half.state())))
    stops = [resumed.observe(i, {"val_acc": values[i]}, spent(i + 1.0)) for i in range(3, 6)]
    assert stops.index(True) + 3 == expected


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "Received: neither"),
        ({"min_gain_per_g": 1, "min_gain_per_wh": 1}, "one of"),
        ({"min_gain_per_g": 0}, "more than 0"),
        ({"min_gain_per_g": math.nan}, "more than 0"),
        ({"min_gain_per_g": "1"}, "more than 0"),
        ({"min_gain_per_g": 1, "patience": 0}, "patience"),
        ({"min_gain_per_g": 1, "patience": True}, "patience"),
        ({"min_gain_per_g": 1, "smoothing": 1}, "below 1"),
        ({"min_gain_per_g": 1, "mode": "maximum"}, "Did you mean 'max'?"),
    ],
)
def test_what_makes_no_sense_is_refused_at_construction(options, word):
    with pytest.raises(ConfigError, match=word.replace("?", "\\?")):
        Efficiency("val_acc", **options)


def test_a_name_that_does_not_say_which_way_is_better_needs_a_mode():
    with pytest.raises(ConfigError, match=r"metric 'val_accc' .* mode='min'\. Or did you mean 'val_acc'\?"):
        Efficiency("val_accc", min_gain_per_g=1)
    with pytest.raises(ConfigError, match="mode='max' or mode='min'"):
        Efficiency("val_reward", min_gain_per_g=1)
    assert first_stop(Efficiency("val_reward", min_gain_per_g=1, mode="max", patience=1), [1, 1], name="val_reward") == 1
    with pytest.raises(ConfigError, match="monitor"):
        Efficiency("", min_gain_per_g=1)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("val_acc", "max"), ("val/F1", "max"), ("val_loss", "min"), ("eval_WER", "min"), ("lr", None), ("acc_loss", "min")],
)
def test_the_name_of_a_metric_says_which_way_is_better(name, mode):
    assert mode_of(name) == mode


def test_a_held_out_accuracy_tells_more_than_a_loss_and_both_more_than_what_is_trained_on():
    assert telling(["loss", "accuracy", "val_loss", "val_f1", "val_accuracy", "lr"]) == "val_accuracy"
    assert telling(["loss", "accuracy", "val_loss"]) == "val_loss"
    assert telling(["loss", "accuracy"]) == "accuracy"
    assert telling(["lr", "epoch"]) is None


curves = st.lists(st.floats(0, 1), min_size=2, max_size=30)


@given(curves, st.floats(1e-3, 1e3), st.integers(1, 5))
def test_a_curve_that_gains_more_than_asked_in_every_epoch_is_never_stopped(steps, least, patience):
    values, total = [], 0.0
    for step in steps:
        total += least * 1.01 + step
        values.append(total)
    watching = Efficiency("score", min_gain_per_g=least, patience=patience, smoothing=0.0)
    assert first_stop(watching, values, name="score") is None


@given(curves, st.integers(1, 5), st.floats(0, 0.9))
def test_the_best_so_far_never_falls_so_a_plateau_is_always_stopped(values, patience, smoothing):
    watching = Efficiency("val_acc", min_gain_per_g=0.5, patience=patience, smoothing=smoothing)
    plateau = [*values, *[0.0] * (patience + 1)]
    stop = first_stop(watching, plateau, g_per_epoch=10.0)
    assert stop is not None
    assert watching.decision().limit < watching.decision().spent
