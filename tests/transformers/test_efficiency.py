"""The efficiency rule in a real Trainer, in both orders of the callbacks."""

from __future__ import annotations

import pytest

from fitprint.errors import ConfigError
from fitprint_transformers import EfficiencyStopping

EPOCH_WH = (4 * 100 + 2 * 50) / 3600


def scores(*values):
    """Metrics of the evaluations, one after the other, whatever the model says."""
    told = iter(values)
    return lambda prediction: {"score": next(told)}


@pytest.mark.parametrize("carbon_first", [True, False])
def test_training_ends_when_an_evaluation_gains_too_little_for_its_carbon(carbon, trainer, carbon_first):
    callback = carbon()
    stopping = EfficiencyStopping("eval_score", callback, min_gain_per_wh=0.1 / EPOCH_WH, mode="max", patience=1, smoothing=0.0)
    made = trainer(*([callback, stopping] if carbon_first else [stopping, callback]), num_train_epochs=10)
    made.compute_metrics = scores(0.2, 0.5, 0.7, 0.75, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9)
    made.train()
    f = callback.footprint
    assert (len(f.epochs), f.status, f.stop_reason["code"]) == (4, "stopped", "efficiency")
    assert "eval_score" in f.stop_reason["sentence"]
    assert made.state.global_step == 16


def test_a_gain_that_pays_goes_on(carbon, trainer):
    callback = carbon()
    stopping = EfficiencyStopping("eval_score", callback, min_gain_per_wh=0.01 / EPOCH_WH, mode="max", patience=1, smoothing=0.0)
    made = trainer(callback, stopping, num_train_epochs=3)
    made.compute_metrics = scores(0.2, 0.5, 0.7)
    made.train()
    assert callback.footprint.status == "completed"


def test_without_a_carbon_callback_it_is_refused():
    with pytest.raises(ConfigError, match="CarbonCallback"):
        EfficiencyStopping("eval_score", None, min_gain_per_g=1.0)
