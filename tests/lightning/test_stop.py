"""What a budget does to a real Trainer."""

from __future__ import annotations

import threading

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fitprint import Budget, Config
from fitprint_lightning import CarbonCallback
from scripts import BATCH_S, BATCHES, SCRIPTS, VALIDATION_BATCHES, expected, name, outcome, read_by, watts_of

EPOCH_J = 500.0


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_scripted_energy_stops_like_every_framework(script, model, trainer, clock, pl):
    callback = CarbonCallback(budget=script.budget, ledger="off", region="FR")
    gpu = read_by(callback, clock)

    class Power(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            gpu.watts = watts_of(script, trainer.current_epoch)

    options = {"limit_train_batches": BATCHES, "limit_val_batches": VALIDATION_BATCHES, "num_sanity_val_steps": 0}
    trainer(Power(), callback, max_epochs=script.planned, **options).fit(model())
    assert outcome(callback.footprint) == expected(script)


def test_fast_dev_run_is_not_stopped_by_a_budget(carbon, model, trainer, caplog):
    callback = carbon(budget="1 J")
    t = trainer(callback, fast_dev_run=3)
    t.fit(model())
    assert t.global_step == 3
    assert callback.footprint.status == "completed"
    assert "fast_dev_run: budgets only warn" in caplog.text
    assert "the budget only warns, training goes on" in caplog.text
    assert "on_exceed" not in caplog.text


def test_the_trainers_min_steps_are_made_and_the_reason_says_so(carbon, model, trainer):
    callback = carbon(budget="300 J")
    t = trainer(callback, max_epochs=50, min_steps=10)
    t.fit(model())
    assert t.global_step >= 10
    assert callback.footprint.status == "stopped"
    assert "went on all the same" in callback.footprint.stop_reason["sentence"]


def test_a_stop_that_was_obeyed_blames_nobody(carbon, model, trainer):
    callback = carbon(budget="450 J")
    trainer(callback, max_epochs=50).fit(model())
    assert "went on" not in callback.footprint.stop_reason["sentence"]


def test_a_budget_below_one_step_stops_after_it_and_says_so(carbon, model, trainer):
    callback = carbon(budget="50 J")
    t = trainer(callback, max_epochs=50, num_sanity_val_steps=0)
    t.fit(model())
    assert t.global_step == 1
    assert "does not cover the first step" in callback.footprint.stop_reason["sentence"]


def test_energy_and_co2e_are_watched_together(carbon, model, trainer):
    # 1,000 J of 360 g/kWh are 0.1 g.
    callback = carbon(budget=["1 kWh", Budget("0.13 g")], intensity=360.0, pue=1.0, config=Config(node_factor=1.0))
    trainer(callback, max_epochs=50, num_sanity_val_steps=0).fit(model())
    footprint = callback.footprint
    assert (footprint.stop_reason["unit"], len(footprint.epochs)) == ("g", 2)
    assert [row["unit"] for row in footprint.budget] == ["J", "g"]
    assert footprint.co2e_g <= 0.13


def test_a_callable_gets_the_decision_once_on_the_main_thread_and_may_look_at_the_run(carbon, model, trainer):
    calls = []

    def ask(decision):
        other = threading.Thread(target=lambda: calls.append((decision.code, callback.footprint.status)))
        other.start()
        other.join(timeout=10)
        calls.append(threading.current_thread() is threading.main_thread())

    callback = carbon(budget=Budget("1300 J", on_exceed=ask))
    trainer(callback, max_epochs=50).fit(model())
    assert calls == [("budget", "running"), True]
    assert callback.footprint.status == "stopped"


def test_a_callable_that_fails_costs_a_log_line(carbon, model, trainer, caplog):
    callback = carbon(budget=Budget("1300 J", on_exceed=lambda decision: 1 / 0))
    trainer(callback, max_epochs=50).fit(model())
    assert callback.footprint.status == "stopped"
    assert sum("on_exceed failed" in record.getMessage() for record in caplog.records) == 1


def test_the_model_is_saved_on_a_stop_where_nothing_else_saves_it(carbon, model, trainer, tmp_path):
    callback = carbon(budget="1300 J", config=Config(save_on_stop=True))
    trainer(callback, max_epochs=50, default_root_dir=tmp_path).fit(model())
    saved = torch.load(tmp_path / f"fitprint-{callback.footprint.run_id}.ckpt", weights_only=True)
    assert saved["global_step"] == 8
    assert saved["callbacks"]["fitprint.CarbonCallback"]["footprint"]["run_id"] == callback.footprint.run_id
    assert "checkpoint" in callback.footprint.phases
    again = carbon(budget="2 kJ")
    trainer(again, max_epochs=50).fit(model(), ckpt_path=tmp_path / f"fitprint-{callback.footprint.run_id}.ckpt")
    assert again.footprint.run_id == callback.footprint.run_id
    assert again.footprint.energy_j <= 2000


def test_nothing_is_saved_twice_nor_without_a_stop_nor_unasked(carbon, model, trainer, pl, tmp_path):
    keep = pl.ModelCheckpoint(tmp_path / "kept", filename="{epoch}-{step}", save_top_k=-1)
    config = Config(save_on_stop=True)
    stopped = carbon(budget="1300 J", config=config)
    trainer(stopped, keep, max_epochs=50, enable_checkpointing=True, default_root_dir=tmp_path).fit(model())
    trainer(carbon(budget="1 kWh", config=config), max_epochs=1, default_root_dir=tmp_path).fit(model())
    trainer(carbon(budget="1300 J"), max_epochs=50, default_root_dir=tmp_path).fit(model())
    assert sorted(path.name for path in tmp_path.rglob("*.ckpt")) == ["epoch=0-step=4.ckpt", "epoch=1-step=8.ckpt"]


def test_the_frameworks_own_checkpoint_of_a_cut_epoch_is_made(carbon, model, trainer, pl, tmp_path):
    keep = pl.ModelCheckpoint(tmp_path / "kept", filename="{epoch}-{step}", save_top_k=-1)
    callback = carbon(budget=Budget("1500 J", check=1))
    t = trainer(callback, keep, max_epochs=50, enable_checkpointing=True, num_sanity_val_steps=0)
    t.fit(model())
    assert callback.footprint.epochs[-1].complete is False
    assert f"epoch=2-step={t.global_step}.ckpt" in [path.name for path in (tmp_path / "kept").iterdir()]


def test_a_model_that_cannot_be_saved_costs_a_log_line(carbon, model, trainer, tmp_path, caplog):
    class Locked(model):
        def on_save_checkpoint(self, checkpoint):
            raise PermissionError("no space for you")

    callback = carbon(budget="1300 J", config=Config(save_on_stop=True))
    trainer(callback, max_epochs=50, default_root_dir=tmp_path).fit(Locked())
    assert callback.footprint.status == "stopped"
    assert any("saving the model failed" in record.getMessage() for record in caplog.records)


def test_no_reserve_is_kept_for_a_validation_that_does_not_come(carbon, model, trainer):
    callback = carbon(budget=Budget("850 J", check=1))
    options = {"check_val_every_n_epoch": 3, "num_sanity_val_steps": 0}
    trainer(callback, max_epochs=50, **options).fit(model())
    assert callback.footprint.energy_j == 800
    assert "validate" not in callback.footprint.phases


def test_validations_that_are_not_loaded_yet_are_expected_all_the_same(carbon, model, trainer, pl):
    class Watching(pl.Callback):
        said = None

        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 2:
                self.said = callback.series.tracker.forecast

    callback, watching = carbon(), Watching()
    options = {"check_val_every_n_epoch": 3, "num_sanity_val_steps": 0}
    trainer(callback, watching, max_epochs=9, **options).fit(model())
    assert watching.said.mean == pytest.approx(callback.footprint.co2e_g, rel=0.02)


def test_the_forecast_is_on_the_progress_bar_from_inside_the_first_epoch_on(carbon, model, trainer, pl):
    shown = []

    class Bar(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            shown.append(trainer.progress_bar_metrics.get("carbon/forecast_co2e_g"))

    callback = carbon(budget="1 kWh")
    trainer(Bar(), callback, max_epochs=3, num_sanity_val_steps=0, enable_progress_bar=True).fit(model())
    truth_g = callback.footprint.co2e_g
    assert shown[:2] == [None, None]  # of the first batch nobody can tell how much was warm-up
    assert shown[2] == pytest.approx(truth_g, rel=0.15)
    assert shown[-1] == pytest.approx(truth_g, rel=0.01)


def test_the_logged_forecast_ends_at_what_was_emitted(carbon, model, trainer, pl, tmp_path):
    logger = pl.loggers.TensorBoardLogger(tmp_path, name="tb", version="v")
    callback = carbon()
    trainer(callback, logger=logger, max_epochs=5).fit(model())
    events = EventAccumulator(str(tmp_path / "tb" / "v"))
    events.Reload()
    forecasts = [event.value for event in events.Scalars("carbon/forecast_co2e_g")]
    assert len(forecasts) == 5
    assert forecasts[-1] == pytest.approx(sum(e.co2e_g for e in callback.footprint.epochs), rel=0.1)


def test_a_run_of_steps_over_endless_data_is_foretold_from_its_blocks(carbon, pl, trainer, clock, tmp_path):
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            while True:
                yield torch.randn(32)

    class Model(pl.BoringModel):
        def training_step(self, batch, batch_idx):
            clock.advance(BATCH_S)
            return super().training_step(batch, batch_idx)

        def train_dataloader(self):
            return torch.utils.data.DataLoader(Endless(), batch_size=2)

    logger = pl.loggers.TensorBoardLogger(tmp_path, name="tb", version="v")
    callback = carbon(config=Config(block=5))
    options = {"max_epochs": -1, "max_steps": 30, "limit_train_batches": None, "limit_val_batches": 0, "log_every_n_steps": 1}
    trainer(callback, logger=logger, **options).fit(Model())
    events = EventAccumulator(str(tmp_path / "tb" / "v"))
    events.Reload()
    forecasts = [event.value for event in events.Scalars("carbon/forecast_co2e_g")]
    assert forecasts[0] == pytest.approx(callback.footprint.co2e_g, rel=0.01)
    assert len(forecasts) >= 5


def test_the_warning_says_when_the_budget_will_be_reached(carbon, model, trainer, caplog):
    callback = carbon(budget=Budget("10 kJ", warn_at=0.5))
    trainer(callback, max_epochs=50, num_sanity_val_steps=0).fit(model())
    said = [record.getMessage() for record in caplog.records if "is used" in record.getMessage()]
    assert len(said) == 1
    assert "at this pace the budget is reached in epoch 19 of 0-49 (" in said[0]
    assert "the run would need 6.94 Wh (" in said[0]
