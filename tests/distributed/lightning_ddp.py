"""A Lightning Trainer on two processes, started by torchrun or by itself (``spawn``, ``fork``), or on one board with FSDP."""

from __future__ import annotations

import importlib.util
import os
import sys
import time

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from ranks_of import Keeping, counted_j, observed, own_board, record, report
from torch.utils.data import DataLoader, TensorDataset

from fitprint import Budget, Config
from fitprint_lightning import CarbonCallback

RANKS = int(os.environ.get("WORLD_SIZE", "2"))


class Slow(LightningModule):
    """A linear model whose steps take a while."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        time.sleep(0.03)
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch, batch_idx):
        time.sleep(0.03)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class OneRank(CarbonCallback):
    """A budget that only rank 1 has."""

    def setup(self, trainer, pl_module, stage):
        if trainer.global_rank != 1:
            self.series.config = self.series.config.overridden(budget="1 MJ")
        super().setup(trainer, pl_module, stage)


def data(batches: int) -> DataLoader:
    return DataLoader(TensorDataset(torch.ones(4 * RANKS * batches, 4)), batch_size=4)


def trainer(callbacks: list, strategy: str, **options) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(strategy=strategy, callbacks=callbacks, **{"accelerator": "cpu", "devices": RANKS, **quiet, **options})


def by_torchrun(limit: str) -> dict:
    own_board()
    carbon, stopping = CarbonCallback(), OneRank(budget=Budget(limit, check=1))
    seen = observed("fit", carbon, Callback, "setup", "teardown")
    fitted = trainer(seen, "ddp", max_epochs=3, num_sanity_val_steps=1)
    fitted.fit(Slow(), data(8), data(1))
    stopped = trainer(observed("stop", stopping, Callback, "setup", "teardown"), "ddp", max_epochs=200)
    stopped.fit(Slow(), data(10))
    return {
        "fit": {**record(carbon.footprint), "logged": float(fitted.callback_metrics["carbon/total_energy_wh"])},
        "stop": {**record(stopping.footprint), "steps": stopped.global_step},
        **told(),
    }


def told() -> dict:
    """Into MLflow, where the first rank alone has a run, and into a sink of one's own on every rank."""
    if importlib.util.find_spec("mlflow") is not None and os.environ["RANK"] == "0":
        import mlflow

        mlflow.start_run()
    sink = Keeping()
    carbon = CarbonCallback(config=Config(sinks=["mlflow", sink] if importlib.util.find_spec("mlflow") else [sink]))
    trainer([carbon], "ddp", max_epochs=2).fit(Slow(), data(4))
    return {"logged": record(carbon.footprint), "logged told": vars(sink)}


def from_here(strategy: str) -> dict:
    """This process trains nothing itself."""
    carbon = CarbonCallback()
    before_j = counted_j()
    trainer([carbon], strategy, max_epochs=2).fit(Slow(), data(4), data(1))
    return {**record(carbon.footprint), "most_j": counted_j() - before_j, "runs": len(carbon.footprints)}


def by_fsdp() -> dict:
    """On a board, where there is one; Lightning itself says why not."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    carbon = CarbonCallback()
    try:
        fitted = trainer([carbon], "fsdp", accelerator="auto", devices=1, max_epochs=2)
    except ValueError as error:
        return {"refused": str(error)}
    fitted.fit(Slow(), data(4))
    return record(carbon.footprint)


if __name__ == "__main__":
    if sys.argv[1] in ("ddp_spawn", "ddp_fork"):
        report("parent", from_here(sys.argv[1]))
    elif sys.argv[1] == "fsdp":
        report("parent", by_fsdp())
    else:
        report(os.environ["RANK"], by_torchrun(*sys.argv[1:]))
