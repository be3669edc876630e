"""A loop of one's own on the ranks of two machines, which writes down where it is and what the machine's counters show there."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from ranks_of import Marks, record

from fitprint import Tracker

STEP_S, STEPS, EPOCHS = 0.1, 5, 4


def step() -> None:
    """Ranks are in step, as they are in data-parallel training."""
    time.sleep(STEP_S)
    dist.all_reduce(torch.ones(1))


def first_epoch(checkpoint: Path) -> int:
    """Where all machines can go on from."""
    done = torch.tensor(int(checkpoint.read_text()) if checkpoint.exists() else 0)
    dist.all_reduce(done, op=dist.ReduceOp.MIN)
    return int(done)


def train(tracker: Tracker, marks: Marks, checkpoint: Path | None = None) -> None:
    """Epochs from where the checkpoint says."""
    first = first_epoch(checkpoint) if checkpoint else 0
    marks.write("first", first)
    marks.mark("before")
    with tracker:
        marks.mark("started")
        for epoch in tracker.epochs(range(first, EPOCHS)):
            marks.mark(f"began-{epoch}")
            try:
                for _ in range(STEPS):
                    step()
            except RuntimeError:
                marks.mark("broken")
                raise
            marks.mark(f"ended-{epoch}")
            if checkpoint and os.environ["LOCAL_RANK"] == "0":
                checkpoint.write_text(str(epoch + 1))
        marks.mark("ending")
    marks.mark("after")
    hosts = [{name: host[name] for name in ("host", "region", "energy_j", "co2e_g", "pue")} for host in tracker.footprint.segments]
    marks.write("footprint", {**record(tracker.footprint), "hosts": hosts})


def measured() -> None:
    train(Tracker(), Marks("measured"))


def carried_on() -> None:
    """Under the job's own name: torchrun's id is the same in all its launches."""
    launch = f"launch-{os.environ['TORCHELASTIC_RESTART_COUNT']}{os.environ.get('LAUNCH', '')}"
    train(Tracker(), Marks(launch), Path(os.environ["OUT"], "checkpoint"))


if __name__ == "__main__":
    if os.environ.get("EACH_ITS_OWN_GPU"):
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["LOCAL_RANK"]
    dist.init_process_group("gloo")
    for scene in sys.argv[1:]:
        {"measured": measured, "carried_on": carried_on}[scene]()
    dist.barrier()
    dist.destroy_process_group()
