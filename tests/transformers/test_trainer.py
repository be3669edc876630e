"""The Hugging Face callback through real trainers."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from board import Board
from fitprint import Budget, Config, Ledger
from fitprint.errors import ConfigError
from fitprint.listed import TWICE
from fitprint_transformers import CarbonCallback

EPOCH_J = 4 * 100 + 2 * 50  # four steps of 1 s and two evaluation batches of 0.5 s at 100 W


def energies(callback):
    return [epoch.energy_j for epoch in callback.footprint.epochs]


def of_epochs(history):
    return [row for row in history if "carbon/epoch_energy_wh" in row]


def test_each_epoch_holds_its_training_and_the_evaluation_after_it(carbon, trainer):
    callback = carbon()
    trainer(callback).train()
    assert energies(callback) == [EPOCH_J] * 3
    assert callback.footprint.epochs[0].phases == {"train": 400.0, "validate": 100.0}
    assert [epoch.steps for epoch in callback.footprint.epochs] == [4, 4, 4]
    assert [epoch.index for epoch in callback.footprint.epochs] == [0, 1, 2]
    assert callback.footprint.status == "completed"
    assert all(epoch.complete for epoch in callback.footprint.epochs)


def test_the_parts_of_a_run_sum_to_it(carbon, trainer):
    callback = carbon()
    trainer(callback, save_strategy="epoch").train()
    f = callback.footprint
    assert f.energy_j == pytest.approx(sum(energies(callback)) + f.outside_epochs_j, abs=1e-6)
    assert f.energy_j == pytest.approx(sum(f.phases.values()), abs=1e-6)


def test_an_evaluation_in_mid_epoch_is_a_phase_of_it(carbon, trainer):
    callback = carbon()
    trainer(callback, eval_strategy="steps", eval_steps=2).train()
    assert [epoch.phases for epoch in callback.footprint.epochs] == [{"train": 400.0, "validate": 200.0}] * 3


def test_an_evaluation_before_training_is_in_no_epoch(carbon, trainer):
    callback = carbon()
    trainer(callback, eval_on_start=True).train()
    assert callback.footprint.outside_epochs_j == 100.0
    assert energies(callback) == [EPOCH_J] * 3


def test_without_evaluation_an_epoch_is_its_training(carbon, trainer):
    callback = carbon()
    trainer(callback, eval_strategy="no").train()
    assert energies(callback) == [400.0] * 3


def test_gradient_accumulation_counts_optimizer_steps(carbon, trainer):
    callback = carbon()
    trainer(callback, gradient_accumulation_steps=2).train()
    assert [epoch.steps for epoch in callback.footprint.epochs] == [2, 2, 2]
    assert energies(callback) == [EPOCH_J] * 3


@pytest.mark.parametrize("attach", [False, True])
def test_every_epoch_is_in_the_log_history(carbon, trainer, attach):
    callback = carbon()
    made = trainer(callback, attach=attach)
    made.train()
    rows = of_epochs(made.state.log_history)
    assert [row["epoch"] for row in rows] == [1.0, 2.0, 3.0]
    assert [row["carbon/epoch_energy_wh"] for row in rows] == pytest.approx([EPOCH_J / 3600] * 3)
    assert rows[2]["carbon/total_energy_wh"] == pytest.approx(3 * EPOCH_J / 3600)


def test_the_trainers_own_log_is_not_lost(carbon, trainer):
    with_us, without = trainer(carbon(), attach=True), trainer()
    with_us.train()
    without.train()
    names = [sorted(row) for row in with_us.state.log_history if not any(name.startswith("carbon/") for name in row)]
    assert names == [sorted(row) for row in without.state.log_history]


def test_its_metrics_are_with_their_epoch(carbon, trainer):
    callback = carbon()
    trainer(callback).train()
    for epoch in callback.footprint.epochs:
        assert {"eval_loss", "loss"} <= set(epoch.metrics)
        assert not any(name.startswith("carbon/") for name in epoch.metrics)


def test_an_attached_callback_reaches_tensorboard(carbon, trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tb"))
    callback = carbon(budget="1 kg")
    trainer(callback, attach=True, report_to=["tensorboard"]).train()
    folder = next(Path(tmp_path).rglob("events.out.tfevents.*")).parent
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    assert [e.value for e in events.Scalars("train/carbon/epoch_energy_wh")] == pytest.approx([EPOCH_J / 3600] * 3)
    text = events.Tensors("fitprint/run/text_summary")[-1].tensor_proto.string_val[0]
    assert json.loads(text)["status"] == "completed"
    assert b", completed" in events.Tensors("fitprint/summary/text_summary")[-1].tensor_proto.string_val[0]
    assert b"train/carbon/epoch_co2e_low_g" in events.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0]


def test_the_carbon_tab_finds_epochs_metrics_and_totals(carbon, trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tb"))  # transformers 4: below the output
    callback = carbon(budget="1 kg", region="FR")
    trainer(callback, attach=True, report_to=["tensorboard"]).train()
    board = Board(tmp_path)
    (row,) = board.ask("runs")
    columns = board.ask("series", run=row["run"])
    assert (columns["axis"], columns["x"]) == ("epoch", [0, 1, 2])
    assert columns["epoch_energy_wh"] == pytest.approx([EPOCH_J / 3600] * 3)
    assert columns["budget"] == {"limit": 1000, "unit": "g"}
    assert (row["co2e_g"], row["status"], row["place"]) == (callback.footprint.co2e_g, "completed", "France")
    answer = board.ask("metric", run=row["run"], metric="eval/loss")
    assert answer["co2e_g"] == pytest.approx(columns["total_co2e_g"])


def test_one_who_reports_without_attaching_is_told_how(carbon, trainer, caplog, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tb"))
    with caplog.at_level(logging.WARNING, "fitprint"):
        trainer(carbon(), report_to=["tensorboard"]).train()
    assert "carbon.attach(trainer)" in caplog.text


def test_a_budget_stops_before_the_epoch_that_would_overrun_it(carbon, trainer):
    callback = carbon(budget=f"{2.5 * EPOCH_J} J")
    made = trainer(callback, num_train_epochs=10, save_strategy="epoch")
    made.train()
    f = callback.footprint
    assert (len(f.epochs), f.status, f.stop_reason["code"]) == (2, "stopped", "budget")
    assert f.energy_j == 2 * EPOCH_J
    assert made.state.global_step == 8
    assert (Path(made.args.output_dir) / "checkpoint-8").is_dir()


def test_a_stop_inside_an_epoch_evaluates_and_saves_before_it_leaves(carbon, trainer):
    callback = carbon(budget=Budget("1400 J", check=1))
    made = trainer(callback, num_train_epochs=10, eval_strategy="steps", eval_steps=100, save_strategy="steps", save_steps=100)
    made.train()
    f = callback.footprint
    assert f.status == "stopped"
    assert 1000 < f.energy_j <= 1400
    assert any("eval_loss" in row for row in made.state.log_history)
    assert (Path(made.args.output_dir) / f"checkpoint-{made.state.global_step}").is_dir()


def test_a_resumed_run_goes_on_with_what_it_had_spent(carbon, trainer):
    first = carbon()
    made = trainer(first, num_train_epochs=2, save_strategy="epoch")
    made.train()
    second = carbon()
    again = trainer(second, num_train_epochs=4, save_strategy="epoch")
    again.train(resume_from_checkpoint=str(Path(made.args.output_dir) / "checkpoint-8"))
    f = second.footprint
    assert f.run_id == first.footprint.run_id
    assert [epoch.index for epoch in f.epochs] == [0, 1, 2, 3]
    assert f.energy_j == 4 * EPOCH_J


def test_a_budget_that_is_spent_on_resume_leaves_at_once(carbon, trainer):
    first = carbon()
    made = trainer(first, num_train_epochs=2, save_strategy="epoch")
    made.train()
    second = carbon(budget=f"{2 * EPOCH_J} J")
    again = trainer(second, num_train_epochs=4, save_strategy="no", eval_strategy="no")
    again.train(resume_from_checkpoint=str(Path(made.args.output_dir) / "checkpoint-8"))
    assert second.footprint.stop_reason["code"] == "budget"
    assert again.state.global_step == 9  # the Trainer asks its callbacks after a step, never before the first


def test_a_run_that_is_resumed_in_mid_epoch_goes_on_in_it(carbon, trainer):
    first = carbon()
    made = trainer(first, num_train_epochs=2, save_strategy="steps", save_steps=2, max_steps=6, eval_strategy="no")
    made.train()
    second = carbon()
    again = trainer(second, num_train_epochs=2, eval_strategy="no")
    again.train(resume_from_checkpoint=str(Path(made.args.output_dir) / "checkpoint-6"))
    f = second.footprint
    assert [(epoch.index, epoch.steps, epoch.complete) for epoch in f.epochs] == [(0, 4, True), (1, None, False), (1, 2, True)]
    assert f.energy_j == 800.0


def test_fit_twice_with_one_callback_is_two_runs(carbon, trainer):
    callback = carbon()
    made = trainer(callback, num_train_epochs=1)
    made.train()
    made.train()
    assert [f.energy_j for f in callback.footprints] == [EPOCH_J] * 2


def test_an_evaluation_outside_of_training_is_not_taken_for_a_phase(carbon, trainer):
    callback = carbon()
    made = trainer(callback, num_train_epochs=1)
    made.train()
    made.evaluate()
    assert callback.footprint.energy_j == EPOCH_J


def test_evaluate_and_predict_of_an_attached_trainer_are_runs_of_their_kind(carbon, trainer, data, tmp_path):
    callback = carbon(ledger=str(tmp_path / "fitprint.db"))
    made = trainer(callback, attach=True, num_train_epochs=1)
    made.evaluate()
    made.train()
    made.predict(data["train_dataset"])
    runs = callback.footprints
    assert [(f.kind, f.energy_j, f.status) for f in runs] == [
        ("validate", 2 * 50, "completed"),
        ("fit", EPOCH_J, "completed"),
        ("predict", 4 * 50, "completed"),
    ]
    assert [f.phases for f in (runs[0], runs[2])] == [{"validate": 100.0}, {"predict": 200.0}]
    assert [(f.samples, f.batch_size) for f in (runs[0], runs[2])] == [(4, 2), (8, 2)]
    assert all(f.parameters == sum(p.numel() for p in made.model.parameters()) for f in runs)
    assert callback.footprint is runs[1]
    ledger = Ledger(tmp_path / "fitprint.db")
    assert [ledger.footprint(f.run_id).kind for f in runs] == ["validate", "fit", "predict"]


def test_an_evaluation_of_several_datasets_is_one_run(carbon, trainer, data):
    callback = carbon()
    made = trainer(callback, attach=True)
    made.evaluate({"one": data["eval_dataset"], "two": data["train_dataset"]})
    assert [(f.kind, f.energy_j, f.samples) for f in callback.footprints] == [("validate", 2 * 50 + 4 * 50, 12)]


def test_an_evaluation_that_fails_is_on_record_and_the_next_is_a_run_of_its_own(carbon, trainer, data):
    callback = carbon()
    made = trainer(callback, attach=True)
    with pytest.raises(TypeError):
        made.predict([1, 2])
    made.predict(data["eval_dataset"])
    assert [(f.kind, f.status) for f in callback.footprints] == [("predict", "failed"), ("predict", "completed")]


def test_an_attached_training_that_raises_has_failed_at_once(carbon, trainer, monkeypatch):
    callback = carbon()
    made = trainer(callback, attach=True)

    def broken(*_, **__):
        raise ZeroDivisionError("mine")

    monkeypatch.setattr(made, "training_step", broken)
    with pytest.raises(ZeroDivisionError, match="mine"):
        made.train()
    made.evaluate()
    assert [(f.kind, f.status) for f in callback.footprints] == [("fit", "failed"), ("validate", "completed")]


def test_attaching_twice_measures_once(carbon, trainer):
    callback = carbon()
    made = trainer(callback, attach=True)
    callback.attach(made)
    made.evaluate()
    assert [f.energy_j for f in callback.footprints] == [100.0]


def test_one_who_evaluates_without_attaching_is_told_how_once(carbon, trainer, data, caplog):
    callback = carbon()
    made = trainer(callback)
    with caplog.at_level(logging.WARNING, "fitprint"):
        made.evaluate()
        made.predict(data["eval_dataset"])
    assert caplog.text.count("carbon.attach(trainer)") == 1
    assert callback.footprints == []


def test_the_run_is_in_the_ledger(carbon, trainer, tmp_path):
    callback = carbon(ledger=str(tmp_path / "fitprint.db"))
    trainer(callback).train()
    recorded = Ledger(tmp_path / "fitprint.db").footprint(callback.footprint.run_id)
    assert [epoch.energy_j for epoch in recorded.epochs] == [EPOCH_J] * 3


def test_a_failing_step_ends_as_without_us_and_the_run_is_recorded_as_failed(carbon, trainer, monkeypatch):
    callback = carbon()
    made = trainer(callback)

    def broken(*_, **__):
        raise ZeroDivisionError("mine")

    monkeypatch.setattr(made, "training_step", broken)
    with pytest.raises(ZeroDivisionError, match="mine"):
        made.train()
    trainer(callback, num_train_epochs=1).train()
    assert [f.status for f in callback.footprints] == ["failed", "completed"]


def test_a_reporter_that_fails_costs_a_log_line(carbon, trainer, caplog):
    from transformers import TrainerCallback

    class Broken(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if any(name.startswith("carbon/") for name in logs):
                raise OSError("disk full")

    callback = carbon()
    made = trainer(callback, attach=True, num_train_epochs=2)
    made.add_callback(Broken())
    with caplog.at_level(logging.WARNING, "fitprint"):
        made.train()
    assert len(callback.footprint.epochs) == 2
    assert caplog.text.count("logging failed") == 1


def test_a_second_measuring_tool_is_warned_about(carbon, trainer, caplog, monkeypatch):
    callback = carbon()
    made = trainer(callback)
    made.args.report_to = ["codecarbon"]
    with caplog.at_level(logging.WARNING, "fitprint"):
        made.train()
    assert "codecarbon measures this run too" in caplog.text


def test_a_callback_can_be_copied_and_pickled_before_it_starts():
    callback = CarbonCallback(budget="1 kg", config=Config(tags=["a"]))
    assert pickle.loads(pickle.dumps(callback)).series.config == callback.series.config
    assert copy.deepcopy(callback).series.config == callback.series.config


def test_switched_off_it_keeps_the_keys_and_writes_nothing(carbon, trainer, monkeypatch, tmp_path):
    monkeypatch.setenv("FITPRINT_DISABLE", "1")
    made = trainer(CarbonCallback())
    made.train()
    assert [row["carbon/epoch_co2e_g"] for row in of_epochs(made.state.log_history)] == [0.0] * 3
    assert not list(tmp_path.glob("fitprint*"))


def test_the_run_keeps_how_the_model_is_trained_and_the_seed(carbon, trainer):
    callback = carbon()
    trainer(callback, num_train_epochs=1, learning_rate=0.01, seed=7, hub_token="secret").train()
    hparams = callback.footprint.hparams
    assert (hparams["learning_rate"], hparams["lr_scheduler_type"]) == (0.01, "linear")
    assert hparams["per_device_train_batch_size"] == 2
    assert callback.footprint.seed == 7
    assert "secret" not in callback.footprint.to_json()


@pytest.mark.parametrize("came", [None, "trainer"])
def test_what_is_no_trainer_is_refused_as_one_to_attach_to(came):
    with pytest.raises(ConfigError, match=r"Expected a Trainer of transformers\. Received: trainer=.*attach\(trainer\)"):
        CarbonCallback(ledger="off").attach(came)


@pytest.mark.parametrize("attach", [True, False])
def test_a_callback_that_is_added_twice_is_called_once(carbon, trainer, caplog, attach):
    callback = carbon()
    made = trainer(callback, attach=attach)
    made.add_callback(callback)
    made.train()
    assert [f.status for f in callback.footprints] == ["completed"]
    assert energies(callback) == [EPOCH_J] * 3
    assert [record.getMessage() for record in caplog.records].count(TWICE) == 1


def test_of_two_callbacks_of_a_trainer_is_said_once_that_one_is_enough(carbon, trainer, caplog):
    trainer(carbon(), carbon(), num_train_epochs=1).train()
    assert sum("one is enough" in record.getMessage() for record in caplog.records) == 1
