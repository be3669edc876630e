"""The Lightning callback through real trainers."""

from __future__ import annotations

import copy
import importlib
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from board import Board
from fitprint import Budget, Config, Ledger
from fitprint.advice import advise
from fitprint.carbon.hourly import HourlySeries
from fitprint.contract import measuring
from fitprint.testing import ScriptedCounter
from fitprint.units import format_co2e
from fitprint_lightning import CarbonCallback

EPOCH_J = 4 * 100 + 2 * 50  # four training batches of 1 s and two validation batches of 0.5 s at 100 W


def energies(callback):
    return [epoch.energy_j for epoch in callback.footprint.epochs]


def test_each_epoch_holds_its_training_and_its_validation(carbon, model, trainer):
    callback = carbon()
    trainer(callback).fit(model())
    assert energies(callback) == [EPOCH_J] * 3
    assert callback.footprint.epochs[0].phases == {"train": 400.0, "validate": 100.0}
    assert [epoch.steps for epoch in callback.footprint.epochs] == [4, 4, 4]


def test_the_sanity_check_is_kept_out_of_the_first_epoch(carbon, model, trainer):
    callback = carbon()
    trainer(callback, num_sanity_val_steps=2).fit(model())
    assert callback.footprint.phases["sanity_check"] == 100.0
    assert energies(callback) == [EPOCH_J] * 3


def test_the_users_metrics_are_with_their_epoch_even_if_logged_after_our_hook(carbon, model, trainer):
    callback = carbon()
    trainer(callback).fit(model())
    metrics = [epoch.metrics for epoch in callback.footprint.epochs]
    assert [m["late"] for m in metrics] == [0.0, 1.0, 2.0]
    assert {"train_loss", "val_loss"} <= set(metrics[2])
    assert not any(name.startswith("carbon/") for m in metrics for name in m)


def test_fit_then_test_then_fit_are_three_runs_on_one_instance(carbon, model, trainer):
    callback = carbon(run_id="mine")
    t = trainer(callback, max_epochs=1)
    t.fit(model())
    t.test(model(), verbose=False)
    t.fit_loop.max_epochs = 3
    t.fit(model())
    assert [(f.kind, len(f.epochs), f.run_id) for f in callback.footprints] == [
        ("fit", 1, "mine"),
        ("test", 0, "mine-2"),
        ("fit", 2, "mine-3"),
    ]
    assert callback.footprints[1].phases == {"test": 50.0}
    assert callback.footprint is callback.footprints[2]


def test_validate_and_predict_are_runs_of_their_kind(carbon, model, trainer):
    callback = carbon()
    t = trainer(callback)
    t.validate(model(), verbose=False)
    t.predict(model())
    assert [(f.kind, set(f.phases)) for f in callback.footprints] == [("validate", {"validate"}), ("predict", {"predict"})]
    assert callback.footprint is None


def test_early_stopping_monitors_our_metrics(carbon, model, trainer, pl):
    stop = pl.EarlyStopping(monitor="carbon/total_energy_wh", mode="max", stopping_threshold=0.2, patience=100)
    callback = carbon()
    trainer(callback, stop, max_epochs=50).fit(model())
    assert len(callback.footprint.epochs) == 2  # 1,000 J are 0.28 Wh


def test_a_checkpoint_is_named_after_our_metrics(carbon, model, trainer, pl, tmp_path):
    keep = pl.ModelCheckpoint(
        tmp_path / "kept",
        filename="{epoch}-{carbon/epoch_energy_wh:.4f}",
        auto_insert_metric_name=False,
        monitor="carbon/epoch_energy_wh",
        mode="max",
        save_top_k=-1,
    )
    trainer(carbon(), keep, max_epochs=2, enable_checkpointing=True).fit(model())
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["0-0.1389.ckpt", "1-0.1389.ckpt"]


def test_tensorboard_gets_every_epoch_and_the_runs_record(carbon, model, trainer, pl, tmp_path):
    logger = pl.loggers.TensorBoardLogger(tmp_path, name="tb", version="v")
    callback = carbon(budget="1 kWh")
    trainer(callback, logger=logger).fit(model())
    events = EventAccumulator(str(tmp_path / "tb" / "v"))
    events.Reload()
    assert [e.value for e in events.Scalars("carbon/epoch_co2e_g")] == pytest.approx([e.co2e_g for e in callback.footprint.epochs])
    assert {"carbon/part/gpu_wh", "carbon/phase/validate_wh", "carbon/budget_used", "carbon/forecast_co2e_g"} <= set(
        events.Tags()["scalars"]
    )
    texts = [e.tensor_proto.string_val[0].decode() for e in events.Tensors("fitprint/run/text_summary")]
    assert '"status": "running"' in texts[0]
    assert '"status": "completed"' in texts[-1]


def test_the_carbon_tab_finds_epochs_metrics_and_totals(carbon, model, trainer, pl, tmp_path):
    logger = pl.loggers.TensorBoardLogger(tmp_path, name="tb", version="v")
    callback = carbon(budget="1 kWh", region="FR")
    trainer(callback, logger=logger).fit(model())
    board, epochs = Board(tmp_path / "tb"), callback.footprint.epochs
    columns, row = board.ask("series", run="v"), board.run("v")
    assert (columns["axis"], columns["x"]) == ("epoch", [0, 1, 2])
    assert columns["epoch_co2e_g"] == pytest.approx([epoch.co2e_g for epoch in epochs])
    assert columns["phases"]["validate"] == pytest.approx([epoch.phases["validate"] / 3600 for epoch in epochs])
    assert columns["budget"] == {"limit": 1000, "unit": "Wh"}
    assert (row["co2e_g"], row["status"], row["place"]) == (callback.footprint.co2e_g, "completed", "France")
    assert len(board.ask("metric", run="v", metric=columns["metrics"][0])["value"]) == 3


def test_the_carbon_tab_says_at_the_runs_end_what_the_command_says_with_waiting_and_a_cleaner_hour(
    model, trainer, pl, clock, tmp_path
):
    gpu = ScriptedCounter(clock, watts=300.0)

    class SlowCheckpoint(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            gpu.watts = 300.0

        def on_train_epoch_end(self, trainer, pl_module):
            gpu.watts = 40.0
            clock.advance(2.0)

    hours = HourlySeries([(clock.time() + 3600 * i, g) for i, g in enumerate((400.0, 300.0, 100.0, 500.0))], "grid.csv", "given")
    callback = measuring(CarbonCallback(ledger="off", region="FR", intensity=hours), [gpu], clock)
    logger = pl.loggers.TensorBoardLogger(tmp_path, name="tb", version="v")
    trainer(SlowCheckpoint(), callback, logger=logger, max_epochs=4).fit(model())
    answer, said = Board(tmp_path / "tb").ask("advice", run="v"), advise(callback.footprint, series=hours)
    assert [piece["text"] for piece in answer["pieces"]] == [advice.text for advice in said]
    found = {piece["kind"]: piece for piece in answer["pieces"]}
    assert found["hour"]["share"] == "75 %"
    assert "2 h 00 min later" in found["hour"]["text"]
    waited = next(advice for advice in said if advice.kind == "waiting")
    assert waited.evidence["time_s"] == pytest.approx(4 * 2.0, abs=0.1)
    assert found["waiting"]["saved"] == format_co2e(callback.footprint.co2e_g * 8.0 * 40.0 / callback.footprint.energy_j)


def test_tensorboards_own_tabs_get_a_layout_and_a_summary(carbon, model, trainer, pl, tmp_path):
    logger = pl.loggers.TensorBoardLogger(tmp_path, name="tb", version="v")
    trainer(carbon(), logger=logger).fit(model())
    events = EventAccumulator(str(tmp_path / "tb" / "v"))
    events.Reload()
    assert len(events.Tensors("custom_scalars__config__")) == 1
    assert b", completed" in events.Tensors("fitprint/summary/text_summary")[-1].tensor_proto.string_val[0]


def test_csv_logger_and_no_logger_work_too(carbon, model, trainer, pl, tmp_path):
    logger = pl.loggers.CSVLogger(tmp_path, name="csv", version="v")
    trainer(carbon(), logger=logger, log_every_n_steps=1).fit(model())
    assert "carbon/epoch_co2e_g" in (tmp_path / "csv" / "v" / "metrics.csv").read_text().splitlines()[0]


def test_log_false_records_without_logging(carbon, model, trainer):
    callback = carbon(log=False)
    t = trainer(callback)
    t.fit(model())
    assert not any(name.startswith("carbon/") for name in t.callback_metrics)
    assert energies(callback) == [EPOCH_J] * 3


def test_the_next_epoch_is_begun_only_if_it_fits(carbon, model, trainer):
    callback = carbon(budget="1300 J")
    t = trainer(callback, max_epochs=50)
    t.fit(model())
    assert energies(callback) == [EPOCH_J] * 2
    assert callback.footprint.status == "stopped"
    assert "before epoch 2" in callback.footprint.stop_reason["sentence"]


def test_by_batches_the_closing_validation_is_kept_back(carbon, model, trainer):
    callback = carbon(budget=Budget("1400 J", check=1))
    trainer(callback, max_epochs=50).fit(model())
    assert 1200 <= callback.footprint.energy_j <= 1400
    assert callback.footprint.epochs[-1].complete is False
    assert callback.footprint.epochs[-1].phases["validate"] == 100.0


def test_the_first_epoch_is_looked_into_in_any_case(carbon, model, trainer):
    callback = carbon(budget="350 J")
    trainer(callback, max_epochs=50).fit(model())
    assert callback.footprint.energy_j <= 350
    assert len(callback.footprint.epochs) == 1


def test_a_first_batch_that_warms_up_does_not_end_the_run(carbon, model, trainer, clock):
    class Compiled(model):
        def on_train_batch_start(self, batch, batch_idx):
            clock.advance(59.0 if self.global_step == 0 else 0.0)

    callback = carbon(budget="20 kJ")
    trainer(callback).fit(Compiled())
    assert callback.footprint.status == "completed"
    assert energies(callback) == [5900 + EPOCH_J, EPOCH_J, EPOCH_J]


def test_the_trainers_own_minimum_is_respected(carbon, model, trainer):
    callback = carbon(budget="600 J")
    trainer(callback, max_epochs=50, min_epochs=3).fit(model())
    assert len(callback.footprint.epochs) >= 3


def test_state_survives_a_checkpoint_and_a_changed_budget(carbon, model, trainer, tmp_path):
    keep = trainer(checkpoint := carbon(budget="1 kWh"), max_epochs=2, enable_checkpointing=True, default_root_dir=tmp_path)
    keep.fit(model())
    path = keep.checkpoint_callback.best_model_path
    state = torch.load(path, weights_only=True)["callbacks"]["fitprint.CarbonCallback"]
    assert len(state["footprint"]["epochs"]) == 2
    second = carbon(budget="1300 J")
    trainer(second, max_epochs=50).fit(model(), ckpt_path=path)
    assert second.footprint.run_id == checkpoint.footprint.run_id
    assert second.footprint.status == "stopped"
    assert second.footprint.energy_j <= 1300
    assert len(second.footprint.segments) == 2


def test_an_already_spent_budget_trains_nothing_on_resume(carbon, model, trainer, tmp_path):
    keep = trainer(carbon(), max_epochs=2, enable_checkpointing=True, default_root_dir=tmp_path)
    keep.fit(model())
    callback = carbon(budget="500 J")
    t = trainer(callback, max_epochs=50)
    t.fit(model(), ckpt_path=keep.checkpoint_callback.best_model_path)
    assert t.global_step == 8
    assert len(callback.footprint.epochs) == 2


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_a_long_stage_outside_fit_is_on_record_while_it_lasts(carbon, model, trainer, monkeypatch, stage):
    """So that what it has used survives a kill."""
    monkeypatch.setattr("fitprint.meter.LONGEST_PERIOD_S", 0.02)
    seen = []

    class Waiting(model):
        def step(self, *_):
            until = time.monotonic() + 10
            while not seen and time.monotonic() < until:
                seen.extend(Ledger("fitprint.db").runs())
                time.sleep(0.02)

        validation_step = test_step = predict_step = step

    getattr(trainer(carbon(ledger="fitprint.db")), stage)(Waiting())
    assert [(row["kind"], row["status"]) for row in seen] == [(stage, "running")]


def test_an_exception_in_the_users_step_closes_the_record(carbon, model, trainer):
    class Failing(model):
        def training_step(self, batch, batch_idx):
            if self.current_epoch == 1:
                raise ZeroDivisionError("the user's own")
            return super().training_step(batch, batch_idx)

    callback = carbon()
    with pytest.raises(ZeroDivisionError, match="the user's own"):
        trainer(callback).fit(Failing())
    assert callback.footprint.status == "failed"
    assert [epoch.complete for epoch in callback.footprint.epochs] == [True, False]


def test_ctrl_c_closes_the_record(carbon, model, trainer):
    class Interrupted(model):
        def training_step(self, batch, batch_idx):
            raise KeyboardInterrupt

    callback = carbon()
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        trainer(callback).fit(Interrupted())
    assert callback.footprint.status == "interrupted"


def test_max_steps_over_an_endless_dataset_are_recorded_in_blocks(carbon, pl, trainer, clock):
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            while True:
                yield torch.randn(32)

    class Model(pl.BoringModel):
        def training_step(self, batch, batch_idx):
            clock.advance(1.0)
            return super().training_step(batch, batch_idx)

        def train_dataloader(self):
            return torch.utils.data.DataLoader(Endless(), batch_size=2)

    callback = carbon(config=Config(block=5))
    t = trainer(callback, max_epochs=-1, max_steps=12, limit_train_batches=None, limit_val_batches=0, log_every_n_steps=1)
    t.fit(Model())
    assert [(block.energy_j, block.complete) for block in callback.footprint.blocks] == [(500, True), (500, True), (200, False)]
    assert energies(callback) == [1200.0]


def test_blocks_count_optimizer_steps_under_gradient_accumulation(carbon, model, trainer):
    callback = carbon(config=Config(block=2))
    trainer(callback, max_epochs=1, limit_train_batches=12, accumulate_grad_batches=3, limit_val_batches=0).fit(model())
    assert [block.energy_j for block in callback.footprint.blocks] == [600.0, 600.0]


def test_fast_dev_run_and_barebones_do_not_stumble(carbon, model, trainer, pl):
    callback = carbon(budget="1 g")
    trainer(callback, fast_dev_run=True).fit(model())
    assert callback.footprint.status == "completed"
    bare = carbon()
    options = {"max_epochs": 1, "limit_train_batches": 2, "accelerator": "cpu", "barebones": True}
    pl.Trainer(callbacks=[bare], **options).fit(model())
    assert bare.footprint.epochs[0].phases["train"] == 200.0


def test_it_pickles_and_copies_before_and_while_it_runs(carbon, model, trainer, pl):
    class Copying(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            self.copied = pickle.loads(pickle.dumps(callback.series))

    callback = CarbonCallback(budget="1 kWh", ledger="off")
    assert copy.deepcopy(callback).series.config == callback.series.config
    trainer(callback, copying := Copying()).fit(model())
    assert copying.copied.open is None
    assert callback.footprint.status == "completed"


def test_one_class_is_a_callback_of_both_packages():
    from lightning.pytorch.callbacks import Callback as One
    from pytorch_lightning.callbacks import Callback as Other

    assert issubclass(CarbonCallback, One)
    assert issubclass(CarbonCallback, Other)


def test_lightning_cli_builds_it(pl, tmp_path, monkeypatch):
    arguments = ["--trainer.callbacks+=fitprint_lightning.CarbonCallback", "--trainer.callbacks.budget=250 g"]
    arguments += ["--trainer.callbacks.region=FR", "--trainer.callbacks.config.block=7", "--trainer.accelerator=cpu"]
    cli = pl.cli.LightningCLI(pl.BoringModel, run=False, args=arguments)
    built = [callback for callback in cli.trainer.callbacks if isinstance(callback, CarbonCallback)]
    assert [(c.series.config.budget[0].limit, c.series.config.region, c.series.config.block) for c in built] == [("250 g", "FR", 7)]


@pytest.mark.parametrize(("text", "intensity"), [("41.5", 41.5), ("electricitymaps:FR", "electricitymaps:FR")])
def test_lightning_cli_takes_a_number_or_a_service_as_intensity(pl, monkeypatch, text, intensity):
    monkeypatch.setenv("FITPRINT_ALLOW_NETWORK", "1")
    monkeypatch.setenv("ELECTRICITYMAPS_TOKEN", "x")
    arguments = ["--trainer.callbacks+=fitprint_lightning.CarbonCallback", f"--trainer.callbacks.intensity={text}"]
    cli = pl.cli.LightningCLI(pl.BoringModel, run=False, args=[*arguments, "--trainer.accelerator=cpu"])
    built = [callback for callback in cli.trainer.callbacks if isinstance(callback, CarbonCallback)]
    assert [callback.series.config.intensity for callback in built] == [intensity]


def test_a_broken_second_package_does_not_hurt_the_first(tmp_path):
    (tmp_path / "pytorch_lightning").mkdir()
    (tmp_path / "pytorch_lightning" / "__init__.py").write_text("raise RuntimeError('broken on purpose')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import lightning.pytorch as pl; from fitprint_lightning import CarbonCallback\n"
        "print(issubclass(CarbonCallback, pl.Callback))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert out.stdout.strip() == "True"


def test_without_any_lightning_the_install_command_is_named(tmp_path):
    for name in ("lightning", "pytorch_lightning"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport fitprint_lightning"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'fitprint[lightning]'" in out.stderr


def test_disabled_it_leaves_no_file_and_keeps_its_keys(model, trainer, monkeypatch, pl):
    monkeypatch.setenv("FITPRINT_DISABLE", "1")
    stop = pl.EarlyStopping(monitor="carbon/epoch_co2e_g", mode="min", patience=50)
    callback = CarbonCallback(budget="1 g")
    t = trainer(callback, stop)
    t.fit(model())
    assert t.callback_metrics["carbon/epoch_co2e_g"] == 0.0
    assert list(Path().iterdir()) == []


def test_metrics_that_are_no_numbers_and_loggers_that_fail_do_not_end_the_training(carbon, model, trainer, pl, caplog):
    class Odd(model):
        def on_train_epoch_end(self):
            self.trainer.callback_metrics["vector"] = torch.ones(3)
            self.trainer.callback_metrics["text"] = "hello"

    class Failing(pl.loggers.CSVLogger):
        def log_metrics(self, metrics, step=None):
            if "carbon/block_co2e_g" in metrics:
                raise ConnectionError("the tracker's server is gone")

    callback = carbon(config=Config(block=2))
    trainer(callback, logger=Failing("logs")).fit(Odd())
    assert len(callback.footprint.epochs) == 3
    assert sum("logging a block failed" in record.getMessage() for record in caplog.records) == 1


def test_a_run_resumed_inside_an_epoch_is_still_measured_and_stopped(carbon, model, trainer, pl, tmp_path):
    keep = pl.ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1, filename="{step}")
    trainer(carbon(), keep, max_epochs=1, limit_train_batches=8, limit_val_batches=0, enable_checkpointing=True).fit(model())
    callback = carbon(budget="650 J")
    options = {"max_epochs": 1, "limit_train_batches": 8, "limit_val_batches": 0}
    t = trainer(callback, **options)
    t.fit(model(), ckpt_path=tmp_path / "step=3.ckpt")
    footprint = callback.footprint
    assert footprint.status == "stopped"
    assert footprint.energy_j <= 650
    assert sum(e.energy_j for e in footprint.epochs) + footprint.outside_epochs_j == pytest.approx(footprint.energy_j)
    assert t.global_step < 8


def test_a_learning_rate_finder_that_restores_a_state_in_mid_run_counts_nothing_twice(carbon, model, trainer, pl, clock):
    class Model(model):
        def __init__(self):
            super().__init__()
            self.lr = 0.01

    finder = importlib.import_module(f"{pl.name}.callbacks").LearningRateFinder(num_training_steps=4, min_lr=1e-4, max_lr=1e-2)
    callback = carbon()
    began = clock.monotonic_ns()
    trainer(callback, finder, max_epochs=1, enable_checkpointing=True).fit(Model())
    true_j = 100.0 * (clock.monotonic_ns() - began) / 1e9
    assert callback.footprint.energy_j == pytest.approx(true_j)


def test_a_checkpoint_saved_after_the_fit_still_holds_what_was_spent(carbon, model, trainer, tmp_path):
    first = carbon()
    t = trainer(first, max_epochs=2)
    t.fit(model())
    t.save_checkpoint(tmp_path / "late.ckpt")
    second = carbon(budget="500 J")
    trainer(second, max_epochs=50).fit(model(), ckpt_path=tmp_path / "late.ckpt")
    assert second.footprint.run_id == first.footprint.run_id
    assert second.footprint.energy_j >= first.footprint.energy_j


def test_metrics_of_an_earlier_epoch_are_not_taken_for_this_ones(carbon, model, trainer):
    callback = carbon()
    trainer(callback, max_epochs=4, check_val_every_n_epoch=2).fit(model())
    assert ["val_loss" in epoch.metrics for epoch in callback.footprint.epochs] == [False, True, False, True]


def test_after_an_exception_tensorboard_has_the_last_word_on_it(carbon, model, trainer, pl, tmp_path):
    class Failing(model):
        def training_step(self, batch, batch_idx):
            raise ZeroDivisionError

    logger = pl.loggers.TensorBoardLogger(tmp_path, name="tb", version="v")
    with pytest.raises(ZeroDivisionError):
        trainer(carbon(), logger=logger).fit(Failing())
    events = EventAccumulator(str(tmp_path / "tb" / "v"))
    events.Reload()
    assert b'"status": "failed"' in events.Tensors("fitprint/run/text_summary")[-1].tensor_proto.string_val[0]


def test_what_a_run_used_between_its_last_checkpoint_and_its_death_is_spent(carbon, model, trainer, pl, tmp_path):
    class Dying(model):
        def training_step(self, batch, batch_idx):
            if (self.current_epoch, batch_idx) == (2, 3):
                raise MemoryError
            return super().training_step(batch, batch_idx)

    keep = pl.ModelCheckpoint(tmp_path / "kept", filename="{epoch}")
    first = carbon(ledger="fitprint.db")
    with pytest.raises(MemoryError):
        trainer(first, keep, max_epochs=9, enable_checkpointing=True).fit(Dying())
    assert first.footprint.energy_j == 100 + 2 * EPOCH_J + 300
    second = carbon(ledger="fitprint.db", budget="2100 J")
    trainer(second, max_epochs=9, num_sanity_val_steps=0).fit(model(), ckpt_path=tmp_path / "kept" / "epoch=1.ckpt")
    footprint = second.footprint
    assert footprint.run_id == first.footprint.run_id
    assert footprint.energy_j == 1400 + EPOCH_J
    assert footprint.status == "stopped"
    assert sum(e.energy_j for e in footprint.epochs) + footprint.outside_epochs_j == pytest.approx(footprint.energy_j)
    assert Ledger("fitprint.db").footprint(footprint.run_id).to_dict() == footprint.to_dict()


def test_the_run_keeps_the_modules_hyperparameters_and_the_seed(pl, carbon, clock, tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    importlib.import_module(pl.name).seed_everything(11)

    class WithOptions(pl.BoringModel):
        def __init__(self, lr=0.1, width=64, api_key="x", backbone=None):
            super().__init__()
            self.save_hyperparameters(ignore=["backbone"])

    callback = carbon()
    callback.describe(hparams={"data": "digits"})
    pl.Trainer(
        max_epochs=1, callbacks=[callback], logger=False, enable_checkpointing=False, limit_train_batches=1, limit_val_batches=0
    ).fit(WithOptions(lr=0.2))
    assert callback.footprint.hparams == {"data": "digits", "lr": 0.2, "width": 64}
    assert callback.footprint.seed == 11


def test_without_a_seed_of_the_users_none_is_kept(pl, carbon, monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    callback = carbon()
    pl.Trainer(
        max_epochs=1, callbacks=[callback], logger=False, enable_checkpointing=False, limit_train_batches=1, limit_val_batches=0
    ).fit(pl.BoringModel())
    assert (callback.footprint.hparams, callback.footprint.seed) == (None, None)


def test_a_projects_pot_that_is_spent_trains_nothing(carbon, model, trainer, tmp_path):
    options = {"ledger": str(tmp_path / "fitprint.db"), "project": "sweep"}
    spender = carbon(**options, budget=Budget("700 J", scope="project", on_exceed="warn"))
    trainer(spender, max_epochs=2).fit(model())
    last = carbon(**options, budget=Budget("700 J", scope="project"))
    t = trainer(last, max_epochs=10)
    t.fit(model())
    assert t.global_step == 0
    assert last.footprint.stop_reason["code"] == "pot_spent"
