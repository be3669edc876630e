"""The Lightning adapter keeps what every adapter keeps."""

from __future__ import annotations

import pytest
import torch

from fitprint.contract import STEPS, AdapterContract
from fitprint_lightning import CarbonCallback


class TestContract(AdapterContract):
    @pytest.fixture(autouse=True)
    def _package(self, pl, trainer):
        self.pl, self.trainer = pl, trainer

    def callback(self, **options):
        return CarbonCallback(**options)

    def train(self, callback, epochs, step):
        class Paced(self.pl.BoringModel):
            def training_step(self, batch, batch_idx):
                step()
                return super().training_step(batch, batch_idx)

        torch.manual_seed(1)
        model = Paced()
        callbacks = [] if callback is None else [callback]
        self.trainer(*callbacks, max_epochs=epochs, limit_train_batches=STEPS, limit_val_batches=0).fit(model)
        return [value for parameter in model.parameters() for value in parameter.flatten().tolist()]
