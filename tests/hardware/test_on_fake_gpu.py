"""The main job end to end: Lightning and Keras train on a board whose true joules are known."""

from __future__ import annotations

import random
import time

import pytest

from fitprint import Config
from fitprint_lightning import CarbonCallback

pl = pytest.importorskip("lightning.pytorch")
boring = pytest.importorskip("lightning.pytorch.demos.boring_classes")

WATTS = 500.0
TICK_S = 0.1


class Paced(boring.BoringModel):
    """Each epoch lasts as long as the test says."""

    def __init__(self, epoch_s, batches):
        super().__init__()
        self.epoch_s, self.batches = epoch_s, batches

    def training_step(self, batch, batch_idx):
        time.sleep(self.epoch_s(self.current_epoch) / self.batches)
        return super().training_step(batch, batch_idx)


class Truth(pl.Callback):
    """Reads the driver's exact energy at the hooks; listed first, so that our logging is not between."""

    def __init__(self, gpu):
        self.gpu, self.epochs = gpu, []

    def on_train_epoch_start(self, trainer, pl_module):
        self.began = self.gpu.joules()

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs.append(self.gpu.joules() - self.began)


def trainer_with(*callbacks, epochs, batches, **options):
    return pl.Trainer(
        max_epochs=epochs,
        limit_train_batches=batches,
        limit_val_batches=2,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


@pytest.fixture
def only_gpu():
    return Config(parts=["gpu"], ledger="off", region="FR")


def test_each_epochs_joules_are_the_drivers_within_a_tick_at_either_end(gpu, only_gpu):
    gpu.set_watts(WATTS)
    callback, truth = CarbonCallback(config=only_gpu), Truth(gpu)
    trainer = trainer_with(truth, callback, epochs=4, batches=5)
    trainer.fit(Paced(lambda epoch: 0.3 + 0.2 * epoch, batches=5))
    measured = [epoch.energy_j for epoch in callback.footprint.epochs]
    assert len(measured) == 4
    assert measured == pytest.approx(truth.epochs, abs=WATTS * TICK_S + 5)
    assert sum(measured) == pytest.approx(sum(truth.epochs), rel=0.05)


def test_epochs_parts_and_phases_each_sum_to_the_run(gpu, only_gpu):
    gpu.set_watts(WATTS)
    callback = CarbonCallback(config=only_gpu.overridden(parts=["gpu", "cpu", "dram"]))
    trainer_with(callback, epochs=3, batches=4).fit(Paced(lambda epoch: 0.2, batches=4))
    f = callback.footprint
    assert sum(e.energy_j for e in f.epochs) + f.outside_epochs_j == pytest.approx(f.energy_j, abs=1e-6)
    assert sum(f.by_part.values()) == pytest.approx(f.energy_j, abs=1e-6)
    assert sum(f.phases.values()) == pytest.approx(f.energy_j, abs=1e-6)
    assert set(f.phases) == {"other", "sanity_check", "train", "validate"}
    for epoch in f.epochs:
        assert sum(epoch.by_part.values()) == pytest.approx(epoch.energy_j, abs=1e-6)
        assert sum(epoch.phases.values()) == pytest.approx(epoch.energy_j, abs=1e-6)
        assert "sanity_check" not in epoch.phases


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_budget_of_one_watt_hour_is_used_and_never_overrun(gpu, only_gpu, seed):
    lengths = random.Random(seed)
    epoch_s = [lengths.uniform(0.7, 1.5) for _ in range(50)]
    gpu.set_watts(WATTS)
    callback = CarbonCallback(budget="1 Wh", config=only_gpu)
    before = gpu.joules()
    trainer_with(callback, epochs=50, batches=10).fit(Paced(lambda epoch: epoch_s[epoch], batches=10))
    truth = gpu.joules() - before
    assert callback.footprint.status == "stopped"
    assert 2700 <= callback.footprint.energy_j <= 3600
    assert truth <= 3600
    assert callback.footprint.stop_reason["code"] == "budget"


def test_a_budget_by_batches_is_used_to_the_last_batch_that_fits(gpu, only_gpu):
    gpu.set_watts(WATTS)
    from fitprint import Budget

    callback = CarbonCallback(budget=Budget("1 Wh", check=1), config=only_gpu)
    trainer_with(callback, epochs=50, batches=40).fit(Paced(lambda epoch: 1.2, batches=40))
    # What is kept back for ending is a tenth of a second; a busy machine may stall for longer than that.
    assert 0.9 * 3600 <= callback.footprint.energy_j <= 3600 + 0.2 * WATTS
    assert not callback.footprint.epochs[-1].complete


def test_a_budget_that_the_first_epoch_exceeds_is_caught_inside_it(gpu, only_gpu):
    gpu.set_watts(WATTS)
    callback = CarbonCallback(budget="0.5 Wh", config=only_gpu)
    trainer_with(callback, epochs=3, batches=60).fit(Paced(lambda epoch: 10.0, batches=60))
    # The closing validation has not been seen yet: up to one training batch is kept for each of its batches, and on
    # a busy machine batches are long.
    assert 0.7 * 1800 <= callback.footprint.energy_j <= 1800
    assert [epoch.complete for epoch in callback.footprint.epochs] == [False]
