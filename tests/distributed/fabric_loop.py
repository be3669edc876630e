"""A loop with Fabric, which starts the second process itself."""

from __future__ import annotations

import time

import torch
from lightning.fabric import Fabric
from ranks_of import counted_j, record, report
from torch.utils.data import DataLoader, TensorDataset

from fitprint import Tracker

fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
layer = torch.nn.Linear(4, 1)
model, optimizer = fabric.setup(layer, torch.optim.SGD(layer.parameters(), lr=0.01))
loader = fabric.setup_dataloaders(DataLoader(TensorDataset(torch.ones(32, 4)), batch_size=4))
before_j = counted_j()
with Tracker() as tracker:
    for _ in tracker.epochs(range(2)):
        for (x,) in loader:
            optimizer.zero_grad()
            fabric.backward(model(x).square().mean())
            optimizer.step()
            time.sleep(0.03)
fabric.barrier()
report(fabric.global_rank, {"fit": {**record(tracker.footprint), "most_j": counted_j() - before_j}})
