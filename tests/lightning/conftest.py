"""Both published packages of Lightning, each with the same tests."""

from __future__ import annotations

import importlib
import warnings
from types import SimpleNamespace

import pytest

pytest.importorskip("lightning")
pytest.importorskip("pytorch_lightning")

from fitprint_lightning import CarbonCallback

STEP_S, VALIDATION_S, BATCHES = 1.0, 0.5, 4


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def pl(request):
    """One of the two packages, with the pieces that tests need."""
    package = importlib.import_module(request.param)
    callbacks = importlib.import_module(f"{request.param}.callbacks")
    boring = importlib.import_module(f"{request.param}.demos.boring_classes")
    warnings.filterwarnings("ignore", module=request.param)
    return SimpleNamespace(
        name=request.param,
        Trainer=package.Trainer,
        Callback=callbacks.Callback,
        EarlyStopping=callbacks.EarlyStopping,
        ModelCheckpoint=callbacks.ModelCheckpoint,
        BoringModel=boring.BoringModel,
        loggers=importlib.import_module(f"{request.param}.loggers"),
        cli=importlib.import_module(f"{request.param}.cli"),
    )


@pytest.fixture
def carbon(on_one_gpu):
    """Makes callbacks that read one scripted GPU."""
    return lambda **options: on_one_gpu(CarbonCallback(**{"ledger": "off", "region": "FR", **options}))


@pytest.fixture
def model(pl, clock):
    """A model whose training batches last a second and whose validation batches half of one."""

    class Paced(pl.BoringModel):
        def training_step(self, batch, batch_idx):
            clock.advance(STEP_S)
            out = super().training_step(batch, batch_idx)
            self.log("train_loss", out["loss"], on_step=False, on_epoch=True)
            return out

        def validation_step(self, batch, batch_idx):
            clock.advance(VALIDATION_S)
            out = super().validation_step(batch, batch_idx)
            self.log("val_loss", out["x"])
            return out

        def test_step(self, batch, batch_idx):
            clock.advance(0.25)
            return super().test_step(batch, batch_idx)

        def on_train_epoch_end(self):
            self.log("late", float(self.current_epoch))

    return Paced


@pytest.fixture
def trainer(pl):
    """Makes small, silent trainers."""

    def make(*callbacks, **options):
        return pl.Trainer(
            **{
                "max_epochs": 3,
                "limit_train_batches": BATCHES,
                "limit_val_batches": 2,
                "limit_test_batches": 2,
                "callbacks": list(callbacks),
                "accelerator": "cpu",
                "logger": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                **options,
            }
        )

    return make
