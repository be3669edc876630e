"""The demo: a small convolutional network on 1,797 real handwritten digits, with Lightning."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from fitprint import Config, Footprint
from fitprint_lightning.callback import CarbonCallback

SEED, BATCH, TRAINING_SHARE = 1, 32, 0.8


class Digits(LightningModule):  # type: ignore[misc]  # the framework is not followed by the type checker
    """Two convolutions and a linear layer for 8 x 8 images.

    Args:
        width: Channels of the first convolution; the second has twice as many.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * width * 16, 10),
        )

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        images, labels = batch
        loss = nn.functional.cross_entropy(self.net(images), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, labels = batch
        scores = self.net(images)
        self.log("val_loss", nn.functional.cross_entropy(scores, labels))
        self.log("val_acc", (scores.argmax(1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def train(out: Path, epochs: int, config: Config) -> tuple[Footprint, Path]:
    """Train, measured; returns the record and the folder of the TensorBoard events."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|LeafSpec|exists and is not empty).*")
    seed_everything(SEED)
    training, validation = loaders()
    callback = CarbonCallback(config=config)
    logger = TensorBoardLogger(out / "tensorboard", name="lightning")
    trainer = Trainer(max_epochs=epochs, accelerator="cpu", callbacks=[callback], logger=logger, log_every_n_steps=10)
    trainer.fit(Digits(), training, validation)
    if callback.footprint is None:
        raise RuntimeError("the demo was not measured")
    return callback.footprint, out / "tensorboard"


def loaders() -> tuple[Any, Any]:
    """The digits to train on, and those to validate with."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    whole = TensorDataset(images, torch.tensor(digits.target))
    training, validation = random_split(whole, [TRAINING_SHARE, 1 - TRAINING_SHARE])
    return DataLoader(training, BATCH, shuffle=True), DataLoader(validation, 4 * BATCH)
