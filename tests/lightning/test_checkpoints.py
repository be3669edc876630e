"""Lightning checkpoints: the run goes on, a crash gives nothing back, and a second run from one checkpoint is a fork."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fitprint import Footprint, Ledger

LEDGER = "fitprint.db"

# Trains on a machine of 100 W with a checkpoint after each epoch; dies where it is told to.
PROGRAM = """
import os, sys, time
from functools import partial
from pathlib import Path
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel
from fitprint import Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.series import Series
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint_lightning import CarbonCallback

clock = FakeClock()

class Model(BoringModel):
    dies_at = None
    def training_step(self, batch, batch_idx):
        clock.advance(1.0)
        if (self.current_epoch, batch_idx) == self.dies_at:
            run = callback.series.open._guard.run
            run._books.meter.snapshot(); run._tick()
            time.sleep(0.5)  # the clerk writes
            print("now", flush=True)
            time.sleep(60)
        return super().training_step(batch, batch_idx)

callback = CarbonCallback(region="FR", budget=os.environ.get("BUDGET"))
make = partial(Tracker, counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ={}))
callback.series = Series(callback.series.config, make)
trainer = Trainer(
    max_epochs=5, limit_train_batches=4, limit_val_batches=0, logger=False, enable_progress_bar=False,
    enable_model_summary=False, accelerator="cpu",
    callbacks=[callback, ModelCheckpoint("kept", filename="last", enable_version_counter=False)],
)
model = Model()
model.dies_at = eval(os.environ.get("DIES_AT", "None"))
path = Path("kept/last.ckpt")
trainer.fit(model, ckpt_path=path if path.exists() else None)
print(callback.footprint.to_json())
"""


@pytest.fixture
def keep(pl, tmp_path):
    """Keeps a checkpoint of every epoch."""
    return lambda: pl.ModelCheckpoint(tmp_path / "kept", filename="{epoch}", save_top_k=-1)


def start(**environ: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env={**os.environ, **environ})


@pytest.mark.timeout(180)
def test_a_killed_fit_goes_on_from_its_checkpoint_with_all_that_it_used():
    pytest.importorskip("lightning.pytorch")
    process = start(DIES_AT="(2, 2)")
    while process.stdout.readline().strip() != "now":
        assert process.poll() is None
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    process.stdout.close()
    dead = Ledger(LEDGER).runs()[0]
    assert (dead["status"], dead["energy_j"]) == ("lost", 1100.0)
    again = start(BUDGET="2000 J")
    out = again.communicate(timeout=120)[0]
    whole = Footprint.from_json(out.splitlines()[-1])
    assert whole.run_id == dead["run_id"]
    assert whole.status == "stopped"
    assert 1500.0 <= whole.energy_j <= 2000.0
    assert sum(e.energy_j for e in whole.epochs) + whole.outside_epochs_j == pytest.approx(whole.energy_j, abs=1e-6)
    assert [s["energy_j"] for s in whole.segments] == [1100.0, whole.energy_j - 1100.0]
    assert len(Ledger(LEDGER).runs()) == 1
    assert json.loads(json.dumps(Ledger(LEDGER).footprint(whole.run_id).to_dict())) == whole.to_dict()


def test_a_second_fit_from_one_checkpoint_is_a_run_of_its_own(carbon, model, trainer, keep, tmp_path):
    first = carbon(ledger=LEDGER)
    trainer(first, keep(), max_epochs=4, enable_checkpointing=True).fit(model())
    second = carbon(ledger=LEDGER)
    trainer(second, max_epochs=4).fit(model(), ckpt_path=tmp_path / "kept" / "epoch=1.ckpt")
    f = second.footprint
    assert f.run_id != first.footprint.run_id == f.forked_from
    assert [e.index for e in f.epochs] == [2, 3]
    assert f.inherited["epochs"] == 2
    assert f.energy_j < first.footprint.energy_j
    recorded = {row["run_id"]: row["energy_j"] for row in Ledger(LEDGER).runs()}
    assert recorded == {first.footprint.run_id: first.footprint.energy_j, f.run_id: f.energy_j}


def test_more_epochs_from_the_last_checkpoint_of_a_completed_fit_are_the_same_run(carbon, model, trainer, keep, tmp_path):
    first = carbon(ledger=LEDGER)
    trainer(first, keep(), max_epochs=2, enable_checkpointing=True).fit(model())
    second = carbon(ledger=LEDGER)
    trainer(second, max_epochs=4).fit(model(), ckpt_path=tmp_path / "kept" / "epoch=1.ckpt")
    f = second.footprint
    assert (f.run_id, f.forked_from, len(f.epochs), len(f.segments)) == (first.footprint.run_id, None, 4, 2)
    assert Ledger(LEDGER).footprint(f.run_id).to_dict() == f.to_dict()


def test_the_budget_of_a_fork_counts_what_it_inherits(carbon, model, trainer, keep, tmp_path):
    trainer(carbon(ledger=LEDGER), keep(), max_epochs=4, enable_checkpointing=True).fit(model())
    callback = carbon(ledger=LEDGER, budget="1700 J")
    trainer(callback, max_epochs=50).fit(model(), ckpt_path=tmp_path / "kept" / "epoch=1.ckpt")
    f = callback.footprint
    assert f.status == "stopped"
    assert f.energy_j + f.inherited["energy_j"] <= 1700.0


def test_a_state_survives_a_move_of_the_folder_without_its_ledger(carbon, model, trainer, keep, tmp_path):
    first = carbon(ledger=LEDGER)
    trainer(first, keep(), max_epochs=2, enable_checkpointing=True).fit(model())
    second = carbon(ledger=str(tmp_path / "elsewhere" / "fitprint.db"))
    trainer(second, max_epochs=3).fit(model(), ckpt_path=Path(tmp_path) / "kept" / "epoch=1.ckpt")
    assert second.footprint.run_id == first.footprint.run_id
    assert len(Ledger(tmp_path / "elsewhere" / "fitprint.db").footprint(first.footprint.run_id).epochs) == 3
