"""Keras 3 on the backend that KERAS_BACKEND names; the whole folder is run once per backend."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

keras = pytest.importorskip("keras")

import numpy as np

from fitprint_keras import CarbonCallback


@pytest.fixture
def carbon(on_one_gpu):
    """Makes callbacks that read one scripted GPU."""
    return lambda **options: on_one_gpu(CarbonCallback(**{"ledger": "off", "region": "FR", **options}))


@pytest.fixture
def pace(clock):
    """A callback under which a training batch lasts a second and a test batch half of one."""

    class Pace(keras.callbacks.Callback):
        async_safe = True

        def on_train_batch_begin(self, batch, logs=None):
            clock.advance(1.0)

        def on_test_batch_begin(self, batch, logs=None):
            clock.advance(0.5)

        def on_predict_batch_begin(self, batch, logs=None):
            clock.advance(0.25)

    return Pace()


@pytest.fixture
def model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.fixture
def data():
    """Four training batches and two validation batches of eight."""
    rows = np.random.default_rng(1).random((48, 5), dtype="float32")
    return {
        "x": rows[:32, :4],
        "y": rows[:32, 4:],
        "validation_data": (rows[32:, :4], rows[32:, 4:]),
        "batch_size": 8,
        "verbose": 0,
    }
