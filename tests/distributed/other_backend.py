"""Two processes whose group, like NCCL's, carries nothing that lies on the CPU: PyTorch's stand-in, which moves no data at all."""

from __future__ import annotations

import os
import time

import torch
import torch.distributed as dist
import torch.testing._internal.distributed.fake_pg  # registers the back end
from ranks_of import counted_j, record, report

from fitprint import Tracker

rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), size, is_master=False)
dist.init_process_group("fake", store=dist.PrefixStore("program", store), rank=rank, world_size=size)
summed = torch.ones(1)
dist.all_reduce(summed)
before_j = counted_j()
with Tracker() as tracker:
    for _ in tracker.epochs(range(2)):
        time.sleep(0.2)
fit = {**record(tracker.footprint), "most_j": counted_j() - before_j}
report(dist.get_rank(), {"fit": fit, "backend": dist.get_backend(), "summed": float(summed)})
time.sleep(0.5)
