"""The Keras callback through real model.fit, on the backend under test."""

from __future__ import annotations

import copy
import csv
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras
from board import Board
from fitprint import Budget, Config, Ledger
from fitprint.listed import TWICE
from fitprint_keras import CarbonCallback

EPOCH_J = 4 * 100 + 2 * 50  # four training batches of 1 s and two validation batches of 0.5 s at 100 W
KEYS = {"co2e_g", "energy_wh", "total_co2e_g"}


def energies(callback):
    return [epoch.energy_j for epoch in callback.footprint.epochs]


def test_the_backend_is_the_one_under_test():
    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]


def test_each_epoch_holds_its_training_and_its_validation(carbon, pace, model, data):
    callback = carbon()
    model.fit(**data, epochs=3, callbacks=[pace, callback])
    assert energies(callback)[1:] == [EPOCH_J] * 2
    assert callback.footprint.epochs[1].phases == {"train": 400.0, "validate": 100.0}
    assert [epoch.steps for epoch in callback.footprint.epochs] == [4, 4, 4]


def test_history_has_our_keys_from_the_first_epoch_on(carbon, pace, model, data):
    callback = carbon(budget="1 kWh")
    history = model.fit(**data, epochs=3, callbacks=[callback, pace]).history
    assert {*KEYS, "budget_used"} <= set(history)
    assert history["energy_wh"] == pytest.approx([EPOCH_J / 3600] * 3)
    assert history["co2e_g"] == pytest.approx([epoch.co2e_g for epoch in callback.footprint.epochs])


@pytest.mark.parametrize("first", [True, False])
def test_callbacks_behind_ours_see_the_keys_and_those_before_do_not(carbon, pace, model, data, first):
    logger = keras.callbacks.CSVLogger("log.csv")
    callbacks = [carbon(), pace, logger] if first else [logger, carbon(), pace]
    model.fit(**data, epochs=2, callbacks=callbacks)
    with open("log.csv") as file:
        columns = set(next(csv.reader(file)))
    assert (columns >= KEYS) is first


def test_the_progress_bar_shows_them(carbon, pace, model, data, capsys):
    model.fit(**{**data, "verbose": 2}, epochs=1, callbacks=[carbon(), pace])
    assert "co2e_g:" in capsys.readouterr().out


def test_the_users_metrics_are_with_their_epoch(carbon, pace, model, data):
    callback = carbon()
    history = model.fit(**data, epochs=2, callbacks=[callback, pace]).history
    assert [epoch.metrics["val_loss"] for epoch in callback.footprint.epochs] == pytest.approx(history["val_loss"])
    assert set(callback.footprint.epochs[0].metrics) == {"loss", "val_loss"}


def test_an_instance_is_reusable(carbon, pace, model, data):
    callback = carbon()
    for _ in range(2):
        model.fit(**data, epochs=2, callbacks=[callback, pace])
    model.evaluate(data["x"], data["y"], batch_size=8, verbose=0, callbacks=[callback, pace])
    model.predict(data["x"], batch_size=8, verbose=0, callbacks=[callback, pace])
    assert [(f.kind, f.status, len(f.epochs)) for f in callback.footprints] == [
        ("fit", "completed", 2),
        ("fit", "completed", 2),
        ("test", "completed", 0),
        ("predict", "completed", 0),
    ]
    assert callback.footprints[2].phases == {"test": 200.0}
    assert callback.footprint is callback.footprints[1]


def test_with_a_log_dir_the_tags_are_written_beside_the_tensorboard_callbacks(carbon, pace, model, data):
    callback = carbon(log_dir="logs", budget="1 kWh")
    model.fit(**data, epochs=3, callbacks=[callback, pace])
    events = EventAccumulator("logs/train")
    events.Reload()
    points = events.Scalars("carbon/epoch_co2e_g")
    assert [point.step for point in points] == [0, 1, 2]
    assert [point.value for point in points] == pytest.approx([epoch.co2e_g for epoch in callback.footprint.epochs])
    text = events.Tensors("fitprint/run/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert '"status": "completed"' in text


def test_the_carbon_tab_finds_epochs_totals_and_the_hyperparameters_theirs(carbon, pace, model, data):
    callback = carbon(log_dir="logs", region="FR")
    model.fit(**data, epochs=3, callbacks=[callback, pace])
    board = Board("logs")
    columns, row = board.ask("series", run="train"), board.run("train")
    assert (columns["axis"], columns["x"]) == ("epoch", [0, 1, 2])
    assert columns["epoch_co2e_g"] == pytest.approx([epoch.co2e_g for epoch in callback.footprint.epochs])
    assert (row["co2e_g"], row["status"], row["place"]) == (callback.footprint.co2e_g, "completed", "France")
    events = EventAccumulator("logs/train")
    events.Reload()
    assert {"custom_scalars__config__", "_hparams_/session_start_info"} <= set(events.summary_metadata)


def test_writing_events_loads_neither_tensorflow_nor_torch():
    code = (
        "import sys\n"
        "from fitprint_tensorboard import CarbonWriter\n"
        "writer = CarbonWriter('logs'); writer.scalars({'carbon/x': 1.0}, 0); writer.text('t', 'text', 0); writer.close()\n"
        "print([name for name in ('tensorflow', 'torch') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "[]"


def test_the_next_epoch_is_begun_only_if_it_fits(carbon, pace, model, data):
    callback = carbon(budget="1300 J")
    model.fit(**data, epochs=50, callbacks=[callback, pace])
    assert len(callback.footprint.epochs) == 2
    assert callback.footprint.status == "stopped"
    assert callback.footprint.energy_j <= 1300
    assert "before epoch 2" in callback.footprint.stop_reason["sentence"]


def test_by_batches_the_closing_validation_is_kept_back(carbon, pace, model, data):
    callback = carbon(budget=Budget("1500 J", check=1))
    model.fit(**data, epochs=50, callbacks=[callback, pace])
    assert 1200 <= callback.footprint.energy_j <= 1500
    assert callback.footprint.epochs[-1].phases["validate"] == 100.0


def test_the_first_epoch_is_looked_into_in_any_case(carbon, pace, model, data):
    callback = carbon(budget="400 J")
    model.fit(**data, epochs=50, callbacks=[callback, pace])
    assert len(callback.footprint.epochs) == 1
    assert callback.footprint.energy_j <= 400
    assert callback.footprint.epochs[0].complete is False


def test_an_already_spent_budget_does_not_outlive_its_run(carbon, pace, model, data):
    callback = carbon(budget="1300 J")
    for _ in range(2):
        model.fit(**data, epochs=50, callbacks=[callback, pace])
    assert [len(f.epochs) for f in callback.footprints] == [2, 2]


def test_data_of_unknown_length_is_recorded_in_blocks(carbon, pace, model, data):
    def batches():
        for _ in range(14):  # Keras 3.5 leaves the last one or two out
            yield data["x"][:8], data["y"][:8]

    callback = carbon(config=Config(block=5), log_dir="logs")
    model.fit(batches(), epochs=1, verbose=0, callbacks=[pace, callback])
    # Looks happen as a batch begins, after its second has passed: the first block holds five of them.
    assert [block.steps for block in callback.footprint.blocks] == [5, 5, None]
    assert sum(block.energy_j for block in callback.footprint.blocks) == pytest.approx(energies(callback)[0])
    events = EventAccumulator("logs/train")
    events.Reload()
    assert len(events.Scalars("carbon/block_co2e_g")) == 2


def test_an_exception_in_training_leaves_a_failed_record_at_the_next_run(carbon, pace, model, data):
    class Failing(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise ZeroDivisionError

    callback = carbon()
    with pytest.raises(ZeroDivisionError):
        model.fit(**data, epochs=3, callbacks=[callback, pace, Failing()])
    model.fit(**data, epochs=1, callbacks=[callback, pace])
    assert [f.status for f in callback.footprints] == ["failed", "completed"]


def test_no_batch_end_hook_keeps_keras_from_working_asynchronously():
    base = keras.callbacks.Callback
    for hook in ("on_train_batch_end", "on_batch_end", "on_test_batch_end", "on_predict_batch_end"):
        assert getattr(CarbonCallback, hook) is getattr(base, hook)


def test_it_pickles_and_copies_before_it_runs():
    callback = CarbonCallback(budget="250 g", log_dir="logs")
    for twin in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        assert twin.series.config == callback.series.config
    assert not Path("logs").exists()


def test_hooks_called_by_hand_without_a_model_do_no_harm(carbon):
    callback = carbon()
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    callback.on_train_batch_begin(0)
    logs = {}
    callback.on_epoch_end(0, logs)
    callback.on_train_end()
    assert set(logs) >= KEYS
    assert len(callback.footprint.epochs) == 1


def test_disabled_it_leaves_no_file_and_keeps_its_keys(pace, model, data, monkeypatch):
    monkeypatch.setenv("FITPRINT_DISABLE", "1")
    history = model.fit(**data, epochs=2, callbacks=[CarbonCallback(budget="1 g"), pace]).history
    assert history["co2e_g"] == [0.0, 0.0]
    assert list(Path().iterdir()) == []


def test_time_after_an_interrupted_fit_is_not_its_own(carbon, pace, model, data, clock):
    class Failing(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    callback = carbon()
    with pytest.raises(KeyboardInterrupt):
        model.fit(**data, epochs=3, callbacks=[callback, pace, Failing()])
    clock.advance(3600.0)
    assert callback.footprint.status == "failed"  # whoever asks is told so, before anything else is run
    model.evaluate(data["x"], data["y"], batch_size=8, verbose=0, callbacks=[callback, pace])
    assert [(f.kind, f.status) for f in callback.footprints] == [("fit", "failed"), ("test", "completed")]
    assert callback.footprints[0].energy_j <= 2 * EPOCH_J


class Fails(keras.callbacks.Callback):
    """Raises in the middle of the second epoch."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_begin(self, batch, logs=None):
        if self.params["epochs"] > 1 and self.model.optimizer.iterations == 6:
            raise self.error


def test_a_fit_whose_exception_is_kept_ends_at_its_last_event_as_the_next_callbacks_run_begins(carbon, pace, model, data, clock):
    """As in a notebook, which keeps the interrupt of a cell, and in it the callback, while the cell is run once more."""
    first, again = carbon(), carbon()
    with pytest.raises(KeyboardInterrupt) as kept:
        model.fit(**data, epochs=3, callbacks=[first, pace, Fails(KeyboardInterrupt())])
    clock.advance(3600.0)
    model.fit(**data, epochs=2, callbacks=[again, pace])
    assert kept.value
    assert (first.footprint.status, again.footprint.status) == ("failed", "completed")
    assert [epoch.complete for epoch in first.footprint.epochs] == [True, False]
    assert EPOCH_J <= first.footprint.energy_j < 2 * EPOCH_J
    assert energies(again) == [EPOCH_J] * 2


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "interrupted"), (ValueError("loss"), "failed")])
def test_the_last_exception_that_a_notebook_keeps_says_how_its_fit_ended(carbon, pace, model, data, monkeypatch, error, status):
    first = carbon(log_dir="logs")
    with pytest.raises(type(error)) as kept:
        model.fit(**data, epochs=3, callbacks=[first, pace, Fails(error)])
    monkeypatch.setattr(sys, "last_value", kept.value, raising=False)
    model.evaluate(data["x"], data["y"], verbose=0, callbacks=[carbon()])
    assert first.footprint.status == status
    assert Board("logs").run("train")["status"] == status


def test_the_same_callback_listed_twice_is_called_once(carbon, pace, model, data, caplog):
    callback = carbon()
    callbacks = [callback, pace, callback]
    model.fit(**data, epochs=2, callbacks=callbacks)
    assert [f.status for f in callback.footprints] == ["completed"]
    assert energies(callback) == [EPOCH_J] * 2
    assert callbacks == [callback, pace, callback]
    assert [record.getMessage() for record in caplog.records].count(TWICE) == 1


def test_of_two_callbacks_in_one_list_is_said_once_that_one_is_enough(carbon, pace, model, data, caplog):
    callbacks = [carbon(), carbon()]
    model.fit(**data, epochs=1, callbacks=[*callbacks, pace])
    assert sum("one is enough" in record.getMessage() for record in caplog.records) == 1
    assert [callback.footprint.status for callback in callbacks] == ["completed"] * 2


@pytest.mark.parametrize("same", [True, False])
def test_what_a_callback_evaluates_inside_a_fit_does_not_end_the_fit(carbon, pace, model, data, same):
    outer = carbon()
    inner = outer if same else carbon()

    class Evaluating(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.evaluate(data["x"], data["y"], batch_size=8, verbose=0, callbacks=[inner, pace])

    model.fit(**data, epochs=2, callbacks=[Evaluating(), outer, pace])
    assert [f.status for f in outer.footprints] == ["completed"]
    assert energies(outer) == [EPOCH_J + 200.0] * 2
    assert same or [f.kind for f in inner.footprints] == ["test", "test"]


@pytest.mark.timeout(60)
def test_a_fit_of_another_thread_goes_on(carbon, pace, model, data):
    begun, over = threading.Event(), threading.Event()

    class Waiting(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            begun.set()
            over.wait(30)

    callback = carbon()
    other = threading.Thread(target=lambda: model.fit(**data, epochs=2, callbacks=[callback, pace, Waiting()]))
    other.start()
    begun.wait(30)
    keras.models.clone_model(model).predict(data["x"], verbose=0, callbacks=[carbon()])
    over.set()
    other.join()
    assert callback.footprint.status == "completed"
    assert len(callback.footprint.epochs) == 2


@pytest.mark.skipif(os.environ["KERAS_BACKEND"] != "torch", reason="the threads of TensorFlow and JAX do not survive a fork")
@pytest.mark.timeout(120)
def test_at_the_end_of_the_program_what_was_left_earlier_ends_at_its_last_event_and_what_ends_it_now():
    script = """
        import os, sys, time
        import keras, numpy
        from fitprint_keras import CarbonCallback

        class Fails(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                time.sleep(1)
                raise error

        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        data = numpy.ones((8, 4))
        for error, kept in [(SystemExit, False), (KeyboardInterrupt, True)]:
            if os.fork():
                os.wait()
                continue
            carbon = CarbonCallback(region="FR", ledger="fitprint.db", name="kept" if kept else "uncaught")
            try:
                model.fit(data, data[:, :1], epochs=3, verbose=0, callbacks=[carbon, Fails()])
            except KeyboardInterrupt as interrupt:
                held = interrupt
            time.sleep(2)
            break
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=100, check=True)
    runs = {run["name"]: run for run in Ledger("fitprint.db").runs()}
    assert {run["status"] for run in runs.values()} == {"failed"}
    assert 1 < runs["uncaught"]["duration_s"] < 3
    assert runs["kept"]["duration_s"] < 1


@pytest.mark.skipif(os.environ["KERAS_BACKEND"] == "torch", reason="the torch backend runs one step at a time")
def test_several_steps_at_once_are_whole_epochs_that_budgets_learn_from(carbon, pace, data):
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=2)
    callback = carbon(budget="1000 J")
    model.fit(**{**data, "validation_data": None}, epochs=50, callbacks=[callback, pace])
    assert all(epoch.complete for epoch in callback.footprint.epochs)
    assert callback.footprint.status == "stopped"
    assert callback.footprint.energy_j <= 1000


def test_a_tensorboard_that_is_broken_costs_its_events_only(carbon, pace, model, data, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.summary_pb2", None)
    callback = carbon(log_dir="logs")
    model.fit(**data, epochs=2, callbacks=[callback, pace])
    assert len(callback.footprint.epochs) == 2
    assert sum("events cannot be written" in record.getMessage() for record in caplog.records) == 1


def test_importing_the_package_does_not_settle_the_backend():
    code = "import sys, fitprint_keras; print('keras' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "False"


def test_disabled_no_events_are_written(pace, model, data, monkeypatch):
    monkeypatch.setenv("FITPRINT_DISABLE", "1")
    model.fit(**data, epochs=1, callbacks=[CarbonCallback(log_dir="logs"), pace])
    assert not Path("logs").exists()


def test_without_keras_the_install_command_is_named():
    code = (
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name == 'keras' else find(name, package)\n"
        "from fitprint_keras import CarbonCallback"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'fitprint[keras]'" in out.stderr


def test_the_run_keeps_the_optimizers_settings_the_epochs_and_the_seed(carbon, pace, model, data):
    callback = carbon()
    callback.describe(hparams={"width": 1})
    model.fit(**data, epochs=1, callbacks=[callback, pace])
    hparams = callback.footprint.hparams
    told = {name: hparams[name] for name in ("optimizer", "learning_rate", "momentum", "loss", "epochs", "width")}
    learning_rate = pytest.approx(0.01)
    assert told == {"optimizer": "SGD", "learning_rate": learning_rate, "momentum": 0.0, "loss": "mse", "epochs": 1, "width": 1}
    version = tuple(map(int, keras.version().split(".")[:2]))  # before 3.10 Keras keeps the seed nowhere
    assert callback.footprint.seed == (1 if version >= (3, 10) else None)


def test_a_projects_pot_that_is_spent_leaves_the_one_batch_that_keras_always_runs(carbon, pace, model, data, tmp_path):
    options = {"ledger": str(tmp_path / "fitprint.db"), "project": "sweep"}
    spender = carbon(**options, budget=Budget("700 J", scope="project", on_exceed="warn"))
    model.fit(**data, epochs=2, callbacks=[spender, pace])
    steps = int(model.optimizer.iterations)
    last = carbon(**options, budget=Budget("700 J", scope="project"))
    model.fit(**data, epochs=10, callbacks=[last, pace])
    assert int(model.optimizer.iterations) - steps <= 1
    assert last.footprint.stop_reason["code"] == "pot_spent"
