"""The Hugging Face Trainer on two processes, and an Accelerate loop in the same ones."""

from __future__ import annotations

import os
import sys
import time

import torch
from accelerate import Accelerator
from ranks_of import Keeping, mark, observed, own_board, record, report
from torch.utils.data import DataLoader, TensorDataset

from fitprint import Budget, Config, Tracker
from fitprint_transformers import CarbonCallback
from transformers import Trainer, TrainerCallback, TrainingArguments

RANKS = int(os.environ["WORLD_SIZE"])


class Model(torch.nn.Module):
    """A linear model whose steps take a while."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x, labels):
        time.sleep(0.03)
        return {"loss": (self.layer(x)[:, 0] - labels).square().mean()}


class Rows(torch.utils.data.Dataset):
    """Ones, with their sum as the label."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index):
        return {"x": torch.ones(4), "labels": torch.tensor(4.0)}


def trained(name: str, rank: int, budget: str | Budget | None, epochs: int, **options) -> dict:
    args = TrainingArguments(
        output_dir=f"out-{rank}",
        num_train_epochs=epochs,
        per_device_train_batch_size=4,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        eval_strategy="epoch",
        disable_tqdm=True,
    )
    carbon = CarbonCallback(budget=budget, **options)
    seen = observed(name, carbon, TrainerCallback, "on_train_begin", "on_train_end")
    trainer = Trainer(Model(), args, train_dataset=Rows(32 * RANKS), eval_dataset=Rows(4 * RANKS), callbacks=seen)
    trainer.train()
    return {**record(carbon.footprint), "steps": trainer.state.global_step}


def accelerated() -> dict:
    """As the documentation shows it."""
    accelerator = Accelerator(cpu=True)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(torch.ones(32 * RANKS, 4)), batch_size=4)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    mark("accelerate", "begin")
    with Tracker() as tracker:
        mark("accelerate", "begun")
        for _ in tracker.epochs(range(2)):
            for (x,) in loader:
                optimizer.zero_grad()
                accelerator.backward(model(x).square().mean())
                optimizer.step()
                time.sleep(0.03)
        mark("accelerate", "ending")
    mark("accelerate", "ended")
    return record(tracker.footprint)


if __name__ == "__main__":
    own_board()
    rank, limit, sink = int(os.environ["RANK"]), sys.argv[1], Keeping()
    report(
        rank,
        {
            "fit": trained("fit", rank, None, 2),
            "stop": trained("stop", rank, Budget(limit, check=1) if rank == 1 else "1 MJ", 100),
            "logged": trained("logged", rank, None, 1, config=Config(sinks=[sink])),
            "logged told": vars(sink),
            "accelerate": accelerated(),
        },
    )
