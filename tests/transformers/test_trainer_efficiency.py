"""EfficiencyStopping in a real Trainer."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitprint.errors import ConfigError
from fitprint_transformers import EfficiencyStopping

# Epochs of 500 J: 0.1389 Wh each. The rate falls below 0.1 a watt-hour in epoch 4.
CURVE = [0.5, 0.7, 0.8, 0.82, 0.825, 0.99, 0.99, 0.99]


def stopping(**options):
    return EfficiencyStopping("acc", **{"min_gain_per_wh": 0.1, "patience": 1, "smoothing": 0.0, **options})


@pytest.fixture
def learner(trainer):
    """Makes trainers whose evaluations reach a known accuracy."""

    def make(*callbacks, first=0, **options):
        made = trainer(*callbacks, **{"num_train_epochs": 8, **options})
        values = iter(CURVE[first:])
        made.compute_metrics = lambda _: {"acc": next(values)}
        return made

    return make


@pytest.mark.parametrize("first", [True, False])
def test_training_ends_with_the_evaluation_that_did_not_pay_in_both_orders(carbon, learner, first):
    callback = carbon()
    learner(*([stopping(), callback] if first else [callback, stopping()])).train()
    footprint = callback.footprint
    assert [epoch.index for epoch in footprint.epochs] == [0, 1, 2, 3, 4]
    assert all(epoch.complete for epoch in footprint.epochs)
    assert (footprint.status, footprint.stop_reason["code"]) == ("stopped", "efficiency")
    assert footprint.stop_reason["sentence"].startswith("Stopped after epoch 4: epoch 4 cost 500 J and raised eval_acc")


def test_a_stop_saves_where_the_trainer_saves(carbon, learner):
    callback = carbon()
    made = learner(callback, stopping(), save_strategy="epoch")
    made.train()
    assert (Path(made.args.output_dir) / "checkpoint-20").is_dir()


def test_after_the_last_planned_epoch_there_is_nothing_to_stop(carbon, learner):
    callback = carbon()
    learner(callback, stopping(), num_train_epochs=5).train()
    assert (callback.footprint.status, callback.footprint.stop_reason) == ("completed", None)


@pytest.mark.parametrize("with_another", [False, True])
def test_without_a_carbon_callback_it_is_refused_as_training_begins(carbon, learner, with_another):
    if with_another:
        learner(carbon(), num_train_epochs=1).train()
    with pytest.raises(ConfigError, match="no CarbonCallback among the callbacks"):
        learner(stopping()).train()


def test_an_evaluation_outside_of_training_is_not_judged(carbon, learner):
    rule = stopping()
    made = learner(carbon(), rule)
    made.evaluate()
    made.evaluate()
    assert rule.rule.decision() is None


def test_a_resumed_run_judges_by_what_it_had_seen(carbon, learner):
    made = learner(carbon(), stopping(patience=2), num_train_epochs=4, save_strategy="epoch")
    made.train()
    callback = carbon()
    again = learner(callback, stopping(patience=2), first=4)
    again.train(resume_from_checkpoint=str(Path(made.args.output_dir) / "checkpoint-16"))
    assert [epoch.index for epoch in callback.footprint.epochs] == [0, 1, 2, 3, 4]
    assert callback.footprint.stop_reason["code"] == "efficiency"
