"""The Keras adapter keeps what every adapter keeps, on the backend under test."""

from __future__ import annotations

import numpy as np

import keras
from fitprint.contract import STEPS, AdapterContract
from fitprint_keras import CarbonCallback


class TestContract(AdapterContract):
    def callback(self, **options):
        return CarbonCallback(**options)

    def train(self, callback, epochs, step):
        class Pace(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                step()

        keras.utils.set_random_seed(1)
        rows = np.random.default_rng(1).random((8 * STEPS, 5), dtype="float32")
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        callbacks = [Pace()] if callback is None else [Pace(), callback]
        model.fit(rows[:, :4], rows[:, 4:], batch_size=8, epochs=epochs, verbose=0, callbacks=callbacks)
        return [value for weight in model.get_weights() for value in weight.flatten().tolist()]
