"""The main job end to end on a board whose true joules are known."""

from __future__ import annotations

import random
import time

import pytest

import keras
from fitprint import Config
from fitprint_keras import CarbonCallback

WATTS, BATCHES, TICK_S = 500.0, 4, 0.1


class Paced(keras.callbacks.Callback):
    """Each epoch lasts as long as the test says, and the driver's own energy is noted at its ends."""

    def __init__(self, gpu, epoch_s):
        super().__init__()
        self.gpu, self.epoch_s, self.truth = gpu, epoch_s, []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.began = epoch, self.gpu.joules()

    def on_train_batch_begin(self, batch, logs=None):
        time.sleep(self.epoch_s[self.epoch] / BATCHES)

    def on_epoch_end(self, epoch, logs=None):
        self.truth.append(self.gpu.joules() - self.began)


@pytest.fixture
def only_gpu(gpu):
    gpu.set_watts(WATTS)
    return Config(parts=["gpu"], ledger="off", region="FR")


def test_each_epochs_joules_are_the_drivers_within_a_tick_at_either_end(gpu, only_gpu, model, data):
    callback, paced = CarbonCallback(config=only_gpu), Paced(gpu, [0.4, 0.6, 0.8])
    model.fit(**data, epochs=3, callbacks=[paced, callback])
    measured = [epoch.energy_j for epoch in callback.footprint.epochs]
    assert measured == pytest.approx(paced.truth, abs=WATTS * TICK_S + 10)


def test_a_budget_of_one_watt_hour_is_used_and_never_overrun(gpu, only_gpu, model, data):
    lengths = random.Random(1)
    callback = CarbonCallback(budget="1 Wh", config=only_gpu)
    paced = Paced(gpu, [lengths.uniform(0.7, 1.5) for _ in range(50)])
    before = gpu.joules()
    model.fit(**data, epochs=50, callbacks=[callback, paced])
    assert gpu.joules() - before <= 3600
    # A machine that is busy with other work makes epochs uneven, and the forecast more careful.
    assert 2400 <= callback.footprint.energy_j <= 3600
    assert callback.footprint.status == "stopped"
