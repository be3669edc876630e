"""EfficiencyStopping in real trainers."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import subprocess
import sys

import pytest
import torch

from fitprint.errors import ConfigError
from fitprint_lightning import EfficiencyStopping

# Epochs of 500 J: 0.1389 Wh each. The rate falls below 0.1 a watt-hour in epoch 4.
CURVE = [0.5, 0.7, 0.8, 0.82, 0.825, 0.99]


@pytest.fixture
def learner(model, pl):
    """A model with a known accuracy after each epoch."""
    base = type(model())

    class Learner(base):
        every = 1

        def on_validation_epoch_end(self):
            if not self.trainer.sanity_checking and self.current_epoch % self.every == 0:
                self.log("val_acc", CURVE[min(self.current_epoch, len(CURVE) - 1)])

    return Learner


def stopping(**options):
    return EfficiencyStopping("val_acc", **{"min_gain_per_wh": 0.1, "patience": 1, "smoothing": 0.0, **options})


@pytest.mark.parametrize("first", [True, False])
def test_training_ends_with_the_epoch_that_did_not_pay_in_both_orders(carbon, learner, trainer, first):
    callback = carbon()
    trainer(*([stopping(), callback] if first else [callback, stopping()]), max_epochs=50).fit(learner())
    footprint = callback.footprint
    assert [epoch.index for epoch in footprint.epochs] == [0, 1, 2, 3, 4]
    assert all(epoch.complete for epoch in footprint.epochs)
    assert (footprint.status, footprint.stop_reason["code"]) == ("stopped", "efficiency")
    assert footprint.stop_reason["sentence"].startswith("Stopped after epoch 4: epoch 4 cost 500 J and raised val_acc")
    assert footprint.stop_reason["spent"] == pytest.approx(footprint.energy_j)


@pytest.mark.parametrize("first", [True, False])
def test_an_epoch_of_unknown_length_is_complete_all_the_same(carbon, learner, trainer, clock, first):
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(torch.randn(4, 32))

    callback = carbon()
    callbacks = [stopping(), callback] if first else [callback, stopping()]
    data = torch.utils.data.DataLoader(Endless())
    trainer(*callbacks, max_epochs=50, limit_train_batches=1.0).fit(learner(), data)
    assert [epoch.complete for epoch in callback.footprint.epochs] == [True] * 5


def test_it_works_beside_early_stopping_and_the_first_to_stop_wins(carbon, learner, trainer, pl):
    callback = carbon()
    early = pl.EarlyStopping(monitor="val_acc", mode="max", stopping_threshold=0.75)
    trainer(early, callback, stopping(), max_epochs=50).fit(learner())
    assert len(callback.footprint.epochs) == 3
    assert callback.footprint.stop_reason is None


def test_the_trainers_own_minimum_is_respected(carbon, learner, trainer):
    callback = carbon()
    trainer(callback, stopping(), max_epochs=50, min_epochs=8).fit(learner())
    assert len(callback.footprint.epochs) == 8
    assert callback.footprint.stop_reason["code"] == "efficiency"


def test_after_the_last_planned_epoch_there_is_nothing_to_stop(carbon, learner, trainer):
    callback = carbon()
    trainer(callback, stopping(), max_epochs=5).fit(learner())
    assert (callback.footprint.status, callback.footprint.stop_reason) == ("completed", None)


def test_a_metric_that_comes_every_other_epoch_is_judged_when_it_comes(carbon, learner, trainer):
    callback, model = carbon(), learner()
    model.every = 2
    trainer(callback, stopping(), max_epochs=50).fit(model)
    # 0.5, 0.8, 0.825: the third value gained 0.025 for 0.278 Wh.
    assert [epoch.index for epoch in callback.footprint.epochs] == [0, 1, 2, 3, 4]
    assert "epochs 3 to 4 cost 1,000 J" in callback.footprint.stop_reason["sentence"]


def test_without_a_carbon_callback_it_is_refused_as_training_begins(learner, trainer):
    with pytest.raises(ConfigError, match="no CarbonCallback among the callbacks"):
        trainer(stopping()).fit(learner())
    trainer(stopping()).validate(learner(), verbose=False)


def test_a_metric_that_never_comes_is_named_with_those_that_are_there(carbon, model, trainer, caplog):
    with caplog.at_level(logging.WARNING, "fitprint"):
        callback = carbon()
        trainer(callback, stopping(), max_epochs=4).fit(model())
    assert len(callback.footprint.epochs) == 4
    assert "'val_acc' did not come" in caplog.text
    assert "Available: late, train_loss, val_loss." in caplog.text


def test_a_resumed_run_judges_by_what_it_had_seen(carbon, learner, trainer, pl, tmp_path):
    keep = pl.ModelCheckpoint(tmp_path / "kept", save_last=True)
    trainer(carbon(), stopping(patience=2), keep, max_epochs=4, enable_checkpointing=True).fit(learner())
    torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)
    callback = carbon()
    later = trainer(callback, stopping(patience=2), max_epochs=50)
    later.fit(learner(), ckpt_path=tmp_path / "kept" / "last.ckpt")
    # Epochs 3 and 4 together gained 0.025 for 0.278 Wh: seen only by who remembers epoch 2.
    assert [epoch.index for epoch in callback.footprint.epochs] == [0, 1, 2, 3, 4]
    assert callback.footprint.stop_reason["code"] == "efficiency"


def test_with_measuring_switched_off_it_stops_nothing(carbon, learner, trainer, monkeypatch):
    monkeypatch.setenv("FITPRINT_DISABLE", "1")
    from fitprint_lightning import CarbonCallback

    t = trainer(CarbonCallback(), stopping(), max_epochs=7)
    t.fit(learner())
    assert t.current_epoch == 7


def test_it_is_reusable(carbon, learner, trainer):
    callback, rule = carbon(), stopping()
    for _ in range(2):
        trainer(callback, rule, max_epochs=50).fit(learner())
    assert [len(footprint.epochs) for footprint in callback.footprints] == [5, 5]


def test_it_pickles_and_copies():
    assert pickle.loads(pickle.dumps(stopping())).rule.monitor == copy.deepcopy(stopping()).rule.monitor == "val_acc"


def test_two_of_them_watch_two_metrics(carbon, learner, trainer):
    callback = carbon()
    lax = EfficiencyStopping("val_loss", min_gain_per_wh=1e-9, patience=40)
    trainer(callback, lax, stopping(), max_epochs=50).fit(learner())
    assert len(callback.footprint.epochs) == 5


RANKS = """
import json, sys
from functools import partial
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from fitprint import Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.series import Series
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint_lightning import CarbonCallback, EfficiencyStopping

CURVE = [0.5, 0.7, 0.8, 0.82, 0.825, 0.99]

class Rig(Callback):
    "Rank 0 draws 100 W, rank 1 next to nothing: alone it would go on."
    def setup(self, trainer, pl_module, stage):
        self.clock = FakeClock()
        gpu = ScriptedCounter(self.clock, watts=100.0 if trainer.global_rank == 0 else 0.001)
        self.carbon = trainer.callbacks[1]
        make = partial(Tracker, counters=[gpu], around=Surroundings(clock=self.clock, environ={}))
        self.carbon.series = Series(self.carbon.series.config, make)
    def on_train_batch_start(self, *_):
        self.clock.advance(1.0)
    def on_fit_end(self, trainer, pl_module):
        footprint = self.carbon.footprint
        record = {"epochs": len(footprint.epochs), "code": (footprint.stop_reason or {}).get("code")}
        open(f"rank-{trainer.global_rank}.json", "w").write(json.dumps(record))

class Learner(BoringModel):
    def on_validation_epoch_end(self):
        if not self.trainer.sanity_checking:
            self.log("val_acc", CURVE[min(self.current_epoch, 5)], sync_dist=True)

if __name__ == "__main__":
    stopping = EfficiencyStopping("val_acc", min_gain_per_wh=0.1, patience=1, smoothing=0.0)
    callbacks = [Rig(), CarbonCallback(ledger="off", region="FR"), stopping]
    Trainer(
        max_epochs=9, callbacks=callbacks, accelerator="cpu", devices=2, strategy="ddp_spawn", limit_train_batches=5,
        limit_val_batches=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
    ).fit(Learner())
"""


@pytest.mark.timeout(180)
def test_all_ranks_stop_together_though_each_counts_its_own(tmp_path):
    (tmp_path / "ranks.py").write_text(RANKS)
    subprocess.run([sys.executable, "ranks.py"], cwd=tmp_path, check=True, timeout=170, capture_output=True)
    records = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert records == [{"epochs": 5, "code": "efficiency"}] * 2
