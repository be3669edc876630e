"""A Lightning Trainer on two ranks that keeps checkpoints and, where one is there, goes on from the last."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from ranks_of import Marks, record
from torch.utils.data import DataLoader, TensorDataset

from fitprint_lightning import CarbonCallback

STEP_S, STEPS, EPOCHS, SAVED_EVERY = 0.05, 8, 6, 2


class Slow(LightningModule):
    """A linear model whose steps take a while."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        time.sleep(STEP_S)
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Marking(Callback):
    """Writes down where the rank is; behind the CarbonCallback, so that its epochs lie around these."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks

    def on_train_start(self, trainer, pl_module):
        self._marks.write("first", trainer.current_epoch)
        self._marks.mark("started")

    def on_train_epoch_start(self, trainer, pl_module):
        self._marks.mark(f"began-{trainer.current_epoch}")

    def on_train_epoch_end(self, trainer, pl_module):
        self._marks.mark(f"ended-{trainer.current_epoch}")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == STEPS // 2:
            self._marks.mark(f"amid-{trainer.current_epoch}")


def fit(launch: str) -> None:
    marks, carbon = Marks(launch), CarbonCallback()
    marks.write("pid", os.getpid())
    marks.mark("before")
    kept = ModelCheckpoint(dirpath=Path(os.environ["OUT"], "kept"), save_last=True, every_n_epochs=SAVED_EVERY, save_top_k=-1)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=EPOCHS, callbacks=[carbon, Marking(marks), kept], **quiet
    )
    data = DataLoader(TensorDataset(torch.ones(4 * 2 * STEPS, 4)), batch_size=4)
    trainer.fit(Slow(), data, ckpt_path="last")
    marks.mark("after")
    marks.write("footprint", {**record(carbon.footprint), "runs": len(carbon.footprints)})


if __name__ == "__main__":
    fit(*sys.argv[1:])
