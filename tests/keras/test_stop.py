"""What a budget does to a real model.fit, on the backend under test."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras
from fitprint import Budget, Config
from fitprint_keras import CarbonCallback
from scripts import SCRIPTS, expected, name, outcome, read_by, watts_of


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_scripted_energy_stops_like_every_framework(script, pace, model, data, clock):
    callback = CarbonCallback(budget=script.budget, ledger="off", region="FR")
    gpu = read_by(callback, clock)

    class Power(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            gpu.watts = watts_of(script, epoch)

    model.fit(**data, epochs=script.planned, callbacks=[Power(), callback, pace])
    assert outcome(callback.footprint) == expected(script)


def test_a_budget_below_one_step_stops_after_the_first_look_and_says_so(carbon, pace, model, data):
    callback = carbon(budget="50 J")
    model.fit(**data, epochs=50, callbacks=[callback, pace])
    # Keras makes one more batch after it was told to stop.
    assert callback.footprint.phases["train"] == 200.0
    assert "does not cover the first step" in callback.footprint.stop_reason["sentence"]


def test_energy_and_co2e_are_watched_together(carbon, pace, model, data):
    # 1,000 J of 360 g/kWh are 0.1 g.
    config = Config(node_factor=1.0)
    callback = carbon(budget=["1 kWh", Budget("0.13 g")], intensity=360.0, pue=1.0, config=config)
    model.fit(**data, epochs=50, callbacks=[callback, pace])
    footprint = callback.footprint
    assert (footprint.stop_reason["unit"], len(footprint.epochs)) == ("g", 2)
    assert [row["unit"] for row in footprint.budget] == ["J", "g"]
    assert footprint.co2e_g <= 0.13


def test_a_callable_gets_the_decision_once_on_the_main_thread_and_may_look_at_the_run(carbon, pace, model, data):
    calls = []

    def ask(decision):
        other = threading.Thread(target=lambda: calls.append((decision.code, callback.footprint.status)))
        other.start()
        other.join(timeout=10)
        calls.append(threading.current_thread() is threading.main_thread())

    callback = carbon(budget=Budget("1300 J", on_exceed=ask))
    model.fit(**data, epochs=50, callbacks=[callback, pace])
    assert calls == [("budget", "running"), True]
    assert callback.footprint.status == "stopped"


def test_a_callable_that_fails_costs_a_log_line(carbon, pace, model, data, caplog):
    callback = carbon(budget=Budget("1300 J", on_exceed=lambda decision: 1 / 0))
    model.fit(**data, epochs=50, callbacks=[callback, pace])
    assert callback.footprint.status == "stopped"
    assert sum("on_exceed failed" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("log_dir", [None, "logs"])
def test_the_model_is_saved_on_a_stop_where_it_is_asked_for(carbon, pace, model, data, log_dir):
    callback = carbon(budget="1300 J", config=Config(save_on_stop=True), log_dir=log_dir)
    model.fit(**data, epochs=50, callbacks=[callback, pace])
    saved = keras.saving.load_model(Path(log_dir or ".") / f"fitprint-{callback.footprint.run_id}.keras")
    kept = [weight.tolist() for weight in saved.get_weights()]
    assert kept == [weight.tolist() for weight in model.get_weights()]
    assert "checkpoint" in callback.footprint.phases


def test_nothing_is_saved_without_a_stop_nor_unasked(carbon, pace, model, data):
    model.fit(**data, epochs=1, callbacks=[carbon(budget="1 kWh", config=Config(save_on_stop=True)), pace])
    model.fit(**data, epochs=50, callbacks=[carbon(budget="1300 J"), pace])
    assert list(Path().rglob("*.keras")) == []


def test_the_frameworks_own_checkpoint_of_a_cut_epoch_is_made(carbon, pace, model, data):
    callback = carbon(budget=Budget("1500 J", check=1))
    keep = keras.callbacks.ModelCheckpoint("kept-{epoch}.keras")
    model.fit(**data, epochs=50, callbacks=[callback, pace, keep])
    assert callback.footprint.epochs[-1].complete is False
    assert Path(f"kept-{len(callback.footprint.epochs)}.keras").exists()


def test_a_model_that_cannot_be_saved_costs_a_log_line(carbon, pace, model, data, monkeypatch, caplog):
    def refuse(*args, **kwargs):
        raise PermissionError("no space for you")

    monkeypatch.setattr(model, "save", refuse)
    callback = carbon(budget="1300 J", config=Config(save_on_stop=True))
    model.fit(**data, epochs=50, callbacks=[callback, pace])
    assert callback.footprint.status == "stopped"
    assert any("saving the model failed" in record.getMessage() for record in caplog.records)


def test_validations_every_other_epoch_are_learned(carbon, pace, model, data):
    class Watching(keras.callbacks.Callback):
        said = None

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 4:
                self.said = callback.series.tracker.forecast

    callback, watching = carbon(), Watching()
    model.fit(**data, epochs=10, validation_freq=2, callbacks=[pace, callback, watching])
    assert watching.said.mean == pytest.approx(callback.footprint.co2e_g, rel=0.01)


def test_the_logged_forecast_ends_at_what_was_emitted(carbon, pace, model, data):
    callback = carbon(log_dir="logs")
    model.fit(**data, epochs=5, callbacks=[pace, callback])
    events = EventAccumulator("logs/train")
    events.Reload()
    forecasts = [event.value for event in events.Scalars("carbon/forecast_co2e_g")]
    assert len(forecasts) == 5
    assert forecasts[-1] == pytest.approx(callback.footprint.co2e_g, rel=0.01)


def test_the_warning_says_when_the_budget_will_be_reached(carbon, pace, model, data, caplog):
    callback = carbon(budget=Budget("10 kJ", warn_at=0.5))
    model.fit(**data, epochs=50, callbacks=[callback, pace])
    said = [record.getMessage() for record in caplog.records if "is used" in record.getMessage()]
    assert len(said) == 1
    assert "at this pace the budget is reached in epoch 19 of 0-49 (" in said[0]
