"""A loop of one's own on the ranks of two machines, which writes down where it is and what the machine's counters show there."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from ranks_of import counted_j, record

from fitprint import Tracker

STEP_S, STEPS, EPOCHS = 0.1, 5, 4


class Observer:
    """Writes a rank's marks, so that they survive a kill."""

    def __init__(self, launch: str) -> None:
        self._path = Path(os.environ["OUT"], f"{launch}-{os.environ['LOCAL_RANK']}.json")
        self._marks: dict[str, object] = {}

    def mark(self, where: str) -> None:
        self.write(where, {"cpu_j": counted_j(), "s": time.monotonic()})

    def write(self, name: str, value: object) -> None:
        self._marks[name] = value
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._marks))
        new.replace(self._path)


def step() -> None:
    """Ranks are in step, as they are in data-parallel training."""
    time.sleep(STEP_S)
    dist.all_reduce(torch.ones(1))


def first_epoch(checkpoint: Path) -> int:
    """Where all machines can go on from."""
    done = torch.tensor(int(checkpoint.read_text()) if checkpoint.exists() else 0)
    dist.all_reduce(done, op=dist.ReduceOp.MIN)
    return int(done)


def train(tracker: Tracker, observer: Observer, checkpoint: Path | None = None) -> None:
    """Epochs from where the checkpoint says."""
    first = first_epoch(checkpoint) if checkpoint else 0
    observer.write("first", first)
    observer.mark("before")
    with tracker:
        observer.mark("started")
        for epoch in tracker.epochs(range(first, EPOCHS)):
            observer.mark(f"began-{epoch}")
            try:
                for _ in range(STEPS):
                    step()
            except RuntimeError:
                observer.mark("broken")
                raise
            observer.mark(f"ended-{epoch}")
            if checkpoint and os.environ["LOCAL_RANK"] == "0":
                checkpoint.write_text(str(epoch + 1))
        observer.mark("ending")
    observer.mark("after")
    hosts = [{name: host[name] for name in ("host", "region", "energy_j", "co2e_g", "pue")} for host in tracker.footprint.segments]
    observer.write("footprint", {**record(tracker.footprint), "hosts": hosts})


def measured() -> None:
    train(Tracker(), Observer("measured"))


def carried_on() -> None:
    """Under the job's own name: torchrun's id is the same in all its launches."""
    launch = f"launch-{os.environ['TORCHELASTIC_RESTART_COUNT']}{os.environ.get('LAUNCH', '')}"
    train(Tracker(), Observer(launch), Path(os.environ["OUT"], "checkpoint"))


if __name__ == "__main__":
    if os.environ.get("EACH_ITS_OWN_GPU"):
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["LOCAL_RANK"]
    dist.init_process_group("gloo")
    for scene in sys.argv[1:]:
        {"measured": measured, "carried_on": carried_on}[scene]()
    dist.barrier()
    dist.destroy_process_group()
