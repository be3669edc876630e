"""The demo: a small convolutional network on 1,797 real handwritten digits, with Keras 3."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# The demo's extra brings torch; a backend that the user chose is kept.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras
from fitprint import Config, Footprint
from fitprint_keras.callback import CarbonCallback

SEED, BATCH, VALIDATION_SHARE = 1, 32, 0.2


def train(out: Path, epochs: int, config: Config) -> tuple[Footprint, Path]:
    """Train, measured; returns the record and the folder of the TensorBoard events."""
    keras.utils.set_random_seed(SEED)
    digits = load_digits()
    parts = train_test_split(digits.images[..., None] / 16, digits.target, test_size=VALIDATION_SHARE, random_state=SEED)
    images, validation_images, labels, validation_labels = parts
    model = _network()
    callback = CarbonCallback(config=config, log_dir=out / "tensorboard" / "keras")
    validation = (validation_images, validation_labels)
    model.fit(images, labels, batch_size=BATCH, epochs=epochs, validation_data=validation, callbacks=[callback], verbose=2)
    if callback.footprint is None:
        raise RuntimeError("the demo was not measured")
    return callback.footprint, out / "tensorboard"


def _network() -> Any:
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["acc"])
    return model
