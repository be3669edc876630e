"""Two processes that train in step; one is killed with SIGKILL in the middle of an epoch."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
from ranks_of import counted_j, record, report

from fitprint import Tracker


def train(rank: int, port: str, victim: int) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    tracker = Tracker()
    Path("out", f"run-{rank}").touch()
    before_j = counted_j()
    try:
        with tracker:
            for epoch in tracker.epochs(range(5)):
                for _ in range(5):
                    time.sleep(0.05)
                    if rank == victim and epoch == 2:
                        report(f"victim-{rank}", {"run_id": tracker.footprint.run_id, "least_j": counted_j() - before_j})
                        os.kill(os.getpid(), signal.SIGKILL)
                    dist.all_reduce(torch.ones(1))
    except RuntimeError as error:
        report(rank, {**record(tracker.footprint), "error": str(error)[-300:], "at": time.time()})
        os._exit(1)


if __name__ == "__main__":
    port, victim = sys.argv[1:]
    context = torch.multiprocessing.start_processes(train, (port, int(victim)), nprocs=2, join=False, start_method="spawn")
    for process in context.processes:
        process.join()
