"""EfficiencyStopping in real model.fit, on the backend under test."""

from __future__ import annotations

import pytest

import keras
from fitprint.errors import ConfigError
from fitprint_keras import EfficiencyStopping

# Epochs of 500 J: 0.1389 Wh each. The rate falls below 0.1 a watt-hour in epoch 4.
CURVE = [0.5, 0.7, 0.8, 0.82, 0.825, 0.99]


@pytest.fixture
def teacher():
    """A callback that puts a known accuracy into the logs, which has to be listed first."""

    class Teacher(keras.callbacks.Callback):
        every = 1

        def on_epoch_end(self, epoch, logs=None):
            if epoch % self.every == 0:
                logs["val_acc"] = CURVE[min(epoch, len(CURVE) - 1)]

    return Teacher()


def stopping(**options):
    return EfficiencyStopping("val_acc", **{"min_gain_per_wh": 0.1, "patience": 1, "smoothing": 0.0, **options})


@pytest.mark.parametrize("first", [True, False])
def test_training_ends_with_the_epoch_that_did_not_pay_in_both_orders(carbon, pace, teacher, model, data, first):
    callback = carbon()
    both = [stopping(), callback] if first else [callback, stopping()]
    model.fit(**data, epochs=50, callbacks=[pace, teacher, *both])
    footprint = callback.footprint
    assert [epoch.index for epoch in footprint.epochs] == [0, 1, 2, 3, 4]
    assert all(epoch.complete for epoch in footprint.epochs)
    assert (footprint.status, footprint.stop_reason["code"]) == ("stopped", "efficiency")
    assert footprint.stop_reason["sentence"].startswith("Stopped after epoch 4: epoch 4 cost 500 J and raised val_acc")


def test_it_works_beside_early_stopping_and_the_first_to_stop_wins(carbon, pace, teacher, model, data):
    callback = carbon()
    early = keras.callbacks.EarlyStopping(monitor="val_acc", mode="max", baseline=0.6, patience=1)
    teacher_of_nothing = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_acc=0.1))
    model.fit(**data, epochs=50, callbacks=[teacher_of_nothing, early, callback, pace, stopping(patience=9)])
    assert len(callback.footprint.epochs) <= 3
    assert callback.footprint.stop_reason is None


def test_a_metric_that_comes_every_other_epoch_is_judged_when_it_comes(carbon, pace, teacher, model, data):
    callback = carbon()
    teacher.every = 2
    model.fit(**data, epochs=50, callbacks=[teacher, callback, pace, stopping()])
    assert len(callback.footprint.epochs) == 5
    assert "epochs 3 to 4 cost 1,000 J" in callback.footprint.stop_reason["sentence"]


def test_after_the_last_planned_epoch_there_is_nothing_to_stop(carbon, pace, teacher, model, data):
    callback = carbon()
    model.fit(**data, epochs=5, callbacks=[teacher, callback, pace, stopping()])
    assert (callback.footprint.status, callback.footprint.stop_reason) == ("completed", None)


def test_a_carbon_callback_of_another_fit_does_not_count(carbon, pace, teacher, model, data):
    model.fit(**data, epochs=1, callbacks=[carbon(), pace])
    with pytest.raises(ConfigError, match="no CarbonCallback among the callbacks"):
        model.fit(**data, epochs=1, callbacks=[teacher, stopping()])


def test_a_metric_that_never_comes_is_named_with_those_that_are_there(carbon, pace, model, data, caplog):
    callback = carbon()
    model.fit(**data, epochs=4, callbacks=[callback, pace, stopping()])
    assert len(callback.footprint.epochs) == 4
    assert "Available: loss, val_loss." in caplog.text


def test_it_is_reusable(carbon, pace, teacher, model, data):
    callback, rule = carbon(), stopping()
    for _ in range(2):
        model.fit(**data, epochs=50, callbacks=[teacher, callback, pace, rule])
    assert [len(footprint.epochs) for footprint in callback.footprints] == [5, 5]
