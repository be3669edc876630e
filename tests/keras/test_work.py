"""Samples, parameters and floating-point operations of Keras models, on the backend under test."""

from __future__ import annotations

import numpy as np
import pytest

import keras
from fitprint import Config

SAMPLES, BATCH = 22, 4
BATCHES = 6  # the last of two samples
FEATURES, UNITS, IMAGE, FILTERS = 8, 16, 6, 5
ON_TORCH = keras.backend.backend() == "torch"

only_on_torch = pytest.mark.skipif(not ON_TORCH, reason="only PyTorch's operators can be watched")
elsewhere = pytest.mark.skipif(ON_TORCH, reason="PyTorch's operators can be watched")


def perceptron(**options):
    layers = keras.layers
    net = keras.Sequential([layers.Input((FEATURES,)), layers.Dense(UNITS, "relu"), layers.Dense(1)])
    net.compile("sgd", "mse", **options)
    return net


def delicate():
    """What an extra forward pass would change: running statistics, dropout, random states."""
    layers = keras.layers
    middle = [layers.Conv2D(FILTERS, 3, padding="same"), layers.BatchNormalization(), layers.Dropout(0.5)]
    net = keras.Sequential([layers.Input((IMAGE, IMAGE, 2)), *middle, layers.Flatten(), layers.Dense(1)])
    net.compile("sgd", "mse")
    return net


def arrays(*shape):
    random = np.random.default_rng(1)
    return {"x": random.random((SAMPLES, *shape), dtype="float32"), "y": random.random((SAMPLES, 1), dtype="float32")}


def fit(callback, model, **options):
    options = {"batch_size": BATCH, "epochs": 2, "verbose": 0, **options}
    model.fit(**options, callbacks=[callback] if callback else [])
    return callback.footprint if callback else None


@only_on_torch
def test_a_multilayer_perceptron_has_the_operations_worked_out_by_hand(carbon):
    # A product for the result and one for the weights; the first layer's input needs no gradient.
    a_sample = 2 * FEATURES * UNITS * 2 + 2 * UNITS * 3
    assert fit(carbon(), perceptron(), **arrays(FEATURES)).flops == 2 * SAMPLES * a_sample


@only_on_torch
def test_a_convolutional_network_has_the_operations_worked_out_by_hand(carbon):
    a_sample = 2 * IMAGE**2 * (2 * FILTERS * 9) * 2 + 2 * IMAGE**2 * FILTERS * 3
    assert fit(carbon(), delicate(), **arrays(IMAGE, IMAGE, 2)).flops == 2 * SAMPLES * a_sample


def test_the_result_is_bitwise_the_same_with_and_without_us(carbon):
    weights = []
    for callback in (None, carbon()):
        keras.utils.clear_session()  # before 3.10 a new seed does not reach the generator of `keras.random`
        keras.utils.set_random_seed(3)
        model = delicate()
        fit(callback, model, **arrays(IMAGE, IMAGE, 2))
        weights.append([*model.get_weights(), np.random.random(3), keras.random.uniform((3,))])
    assert all(np.array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)) for a, b in zip(*weights, strict=True))


@only_on_torch
def test_an_exception_in_the_users_step_is_the_users_own_and_the_watching_is_gone(carbon):
    import torch

    class Broken(keras.Sequential):
        def train_step(self, data):
            super().train_step(data)
            raise ZeroDivisionError("the user's own")

    model = Broken([keras.layers.Input((FEATURES,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callback = carbon()
    with pytest.raises(ZeroDivisionError, match="the user's own"):
        fit(callback, model, **arrays(FEATURES))
    assert "train_step" not in vars(model)
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
    model.predict(arrays(FEATURES)["x"], verbose=0, callbacks=[callback])
    assert [(f.kind, f.status, f.flops) for f in callback.footprints] == [("fit", "failed", None), ("predict", "completed", None)]


@elsewhere
def test_where_no_operator_can_be_watched_the_operations_are_unknown_and_it_is_said(carbon):
    footprint = fit(carbon(), perceptron(), **arrays(FEATURES))
    assert footprint.flops is None
    assert "FLOPs are not known: only PyTorch's operators can be watched" in footprint.notes


def test_counting_can_be_switched_off(carbon):
    footprint = fit(carbon(config=Config(flops=False)), perceptron(), **arrays(FEATURES))
    assert (footprint.flops, footprint.samples, footprint.notes) == (None, 2 * SAMPLES, ())


def test_the_smaller_last_batch_is_counted_as_it_is(carbon):
    footprint = fit(carbon(), perceptron(), **arrays(FEATURES))
    assert [(epoch.samples, epoch.steps) for epoch in footprint.epochs] == [(SAMPLES, BATCHES)] * 2
    assert (footprint.samples, footprint.batch_size) == (2 * SAMPLES, BATCH)
    assert footprint.parameters == FEATURES * UNITS + UNITS + UNITS + 1


def test_samples_of_a_stop_inside_an_epoch_are_those_trained_on(carbon):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    callback = carbon()
    perceptron().fit(**arrays(FEATURES), batch_size=BATCH, epochs=2, verbose=0, callbacks=[callback, Stop()])
    assert [(epoch.samples, epoch.complete) for epoch in callback.footprint.epochs] == [(3 * BATCH, False)]


def test_a_generator_tells_no_sizes(carbon):
    def batches():
        while True:
            yield np.zeros((BATCH, FEATURES), "float32"), np.zeros((BATCH, 1), "float32")

    footprint = fit(carbon(), perceptron(), x=batches(), steps_per_epoch=3, batch_size=None)
    assert (footprint.samples, footprint.batch_size) == (None, None)
    # The operations of a batch are known on PyTorch, and so is the number of batches.
    a_sample = 2 * FEATURES * UNITS * 2 + 2 * UNITS * 3
    assert footprint.flops == (2 * 3 * BATCH * a_sample if ON_TORCH else None)


@pytest.mark.parametrize("kind", ["test", "predict"])
def test_stages_outside_fit_count_their_samples(carbon, pace, kind):
    callback, model = carbon(), perceptron()
    if kind == "test":
        model.evaluate(**arrays(FEATURES), batch_size=BATCH, verbose=0, callbacks=[callback, pace])
    else:
        model.predict(arrays(FEATURES)["x"], batch_size=BATCH, verbose=0, callbacks=[callback, pace])
    (footprint,) = callback.footprints
    assert (footprint.kind, footprint.samples, footprint.batch_size, footprint.flops) == (kind, SAMPLES, BATCH, None)
    assert footprint.energy_per_sample_j == pytest.approx(footprint.energy_j / SAMPLES)
