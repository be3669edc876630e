"""``fit`` of Keras on JAX in two processes, data-parallel as Keras documents it, and a loop of one's own beside it."""

from __future__ import annotations

import os
import sys
import time

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
from ranks_of import counted_j, record, report

import keras
from fitprint import Tracker
from fitprint_keras import CarbonCallback

RANK = int(os.environ["KERAS_DISTRIBUTION_PROCESS_ID"])


class Slow(keras.callbacks.Callback):
    """A step takes a while; what the processes compute together keeps them in step."""

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.03)


def fitted(budget: str | None, epochs: int) -> dict:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    carbon = CarbonCallback(budget=budget)
    before_j = counted_j()
    history = model.fit(np.ones((32, 4)), np.ones(32), batch_size=4, epochs=epochs, verbose=0, callbacks=[carbon, Slow()])
    return {**record(carbon.footprint), "logged": history.history["total_co2e_g"], "most_j": counted_j() - before_j}


def loop() -> dict:
    with Tracker() as tracker:
        for _ in tracker.epochs(range(2)):
            time.sleep(0.1)
    return record(tracker.footprint)


if __name__ == "__main__":
    keras.distribution.initialize()
    devices = keras.distribution.list_devices("cpu")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False))
    scenes = {"fit": fitted(None, 2), "stop": fitted("60 J" if RANK == 1 else None, 100), "loop": loop()}
    report(RANK, {**scenes, "processes": jax.process_count()})
    sys.stdout.flush()
