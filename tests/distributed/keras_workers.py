"""``fit`` of Keras on TensorFlow in two workers that ``TF_CONFIG`` names."""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from ranks_of import counted_j, record, report

import keras
from fitprint import Tracker
from fitprint_keras import CarbonCallback

RANK = json.loads(os.environ["TF_CONFIG"])["task"]["index"]


class Slow(keras.callbacks.Callback):
    """A step takes a while; the strategy keeps the workers in step."""

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.03)


class ForWorkers(keras.Sequential):
    """What ``fit`` of Keras 3.15 needs under this strategy (keras-team/keras issue 20585).

    It averages a batch over workers, which the strategy can only do inside of a graph, and numbers without an axis, too.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        _, _, batches = next(iter(iterator))
        own = tf.nest.map_structure(lambda value: self.distribute_strategy.experimental_local_results(value)[0], next(batches))
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=own)

    def train_step(self, data):
        return {name: tf.reshape(value, [1]) for name, value in super().train_step(data).items()}


def fitted(strategy, budget: str | None, epochs: int) -> dict:
    with strategy.scope():
        model = ForWorkers([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    data = tf.data.Dataset.from_tensor_slices((np.ones((64, 4), "float32"), np.ones((64, 1), "float32"))).batch(8)
    carbon = CarbonCallback(budget=budget)
    before_j = counted_j()
    history = model.fit(data, epochs=epochs, verbose=0, callbacks=[carbon, Slow()])
    return {**record(carbon.footprint), "logged": history.history["total_co2e_g"], "most_j": counted_j() - before_j}


def left_by_one() -> dict:
    """A loop of one's own in the same workers, which one of them leaves with an exception."""
    began_s, error, tracker = time.monotonic(), "", Tracker()
    try:
        with tracker:
            for epoch in tracker.epochs(range(4)):
                time.sleep(0.1)
                if RANK == 1 and epoch == 1:
                    raise ValueError("the loss is NaN")
    except ValueError as caught:
        error = str(caught)
    return {**record(tracker.footprint), "took_s": time.monotonic() - began_s, "error": error}


if __name__ == "__main__":
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    scenes = {"fit": fitted(strategy, None, 2), "stop": fitted(strategy, "60 J" if RANK == 1 else None, 100)}
    report(RANK, {**scenes, "left": left_by_one()})
    sys.stdout.flush()
    strategy.gather(tf.constant([RANK]), axis=0)
    os._exit(0)
