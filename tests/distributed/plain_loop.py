"""Loops of one's own with a Tracker on each rank, one after the other in one process group."""

from __future__ import annotations

import os
import time
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
from ranks_of import counted_j, record, report

from fitprint import Budget, Tracker
from fitprint.pace import Schedule

EPOCH_S = 0.25


def train(seconds: float) -> None:
    """A step with a collective, so that ranks are in step as they are in data-parallel training."""
    time.sleep(seconds)
    dist.all_reduce(torch.ones(1))


def measured(rank: int) -> dict:
    dist.barrier()
    before_j = counted_j()
    with Tracker() as tracker:
        started_j = counted_j()
        for _ in tracker.epochs(range(4)):
            train(EPOCH_S)
            with tracker.phase("validate"):
                train(EPOCH_S / 5)
        ending_j = counted_j()
    dist.barrier()
    return {**record(tracker.footprint), "most_j": counted_j() - before_j, "least_j": ending_j - started_j}


def stopped_by_one_rank(rank: int) -> dict:
    batches = 0
    with Tracker(budget=Budget("60 J", check=1) if rank == 1 else None) as tracker:
        tracker.check_start()
        look_at = tracker.begin_epoch(0, Schedule(epochs=1, batches=400, validation_batches=0))
        while batches < 400 and not tracker.should_stop:
            train(0.01)
            batches += 1
            if batches >= look_at:
                look_at, _ = tracker.look(batches)
        tracker.end_epoch(complete=False)
    return {**record(tracker.footprint), "batches": batches}


def stopped_in_a_counted_loop(rank: int) -> dict:
    """Both count their batches; the loader says its length before the first epoch."""
    done = 0
    with Tracker(budget=Budget("60 J", check=1) if rank == 1 else None) as tracker:
        batches = tracker.batches(range(400))
        for _ in tracker.epochs(range(2)):
            for _ in batches:
                train(0.01)
                done += 1
    return {**record(tracker.footprint), "batches": done}


def of_uneven_batches(rank: int) -> dict:
    """As data that does not divide evenly is: now the one rank has more batches, now the other; more epochs, fewer batches."""
    began_s, lengths = time.monotonic(), ((6, 5), (5, 6), (6, 6), (2, 6), (6, 1))
    with Tracker(budget=Budget("1 MJ", check=1)) as tracker:
        for epoch in tracker.epochs(range(len(lengths))):
            dist.all_reduce(torch.ones(1))
            for _ in range(lengths[epoch][rank]):
                with tracker.batch(8):
                    time.sleep(0.01)
    return {**record(tracker.footprint), "took_s": time.monotonic() - began_s}


def broken_on_one_rank(rank: int) -> dict:
    with Tracker(budget="1 MJ") as tracker:
        for epoch in tracker.epochs(range(3)):
            train(EPOCH_S / 5)
            if rank == 1 and epoch == 1:
                tracker._guard.safely(lambda run: 1 / 0, None)
    return record(tracker.footprint)


def on_two_machines(rank: int) -> dict:
    """Each rank on a machine of its own boot, in a place of its own; the counters that both read are the same files."""
    proc = Path(os.environ["OUT"]).parent / f"proc-{rank}"
    (proc / "sys" / "kernel" / "random").mkdir(parents=True)
    (proc / "sys" / "kernel" / "random" / "boot_id").write_text(f"machine-{rank}\n")
    for name in ("cpuinfo", "meminfo", "stat", "self"):
        (proc / name).symlink_to(Path("/proc") / name)
    before_j = counted_j()
    with mock.patch.dict(os.environ, FITPRINT_PROC_ROOT=str(proc), FITPRINT_REGION=("FR", "DE")[rank]), Tracker() as tracker:
        started_j = counted_j()
        for _ in tracker.epochs(range(2)):
            train(EPOCH_S)
        ending_j = counted_j()
    hosts = [
        {name: host[name] for name in ("host", "region", "energy_j", "co2e_g", "intensity")} for host in tracker.footprint.segments
    ]
    return {**record(tracker.footprint), "hosts": hosts, "least_j": ending_j - started_j, "most_j": counted_j() - before_j}


def missing_on_one_rank(rank: int) -> dict:
    began_s = time.monotonic()
    if rank == 0:
        with Tracker() as tracker:
            time.sleep(EPOCH_S)
        return {**record(tracker.footprint), "took_s": time.monotonic() - began_s}
    return {}


def raised_on_one_rank(rank: int) -> dict:
    began_s, error = time.monotonic(), ""
    tracker = Tracker()
    try:
        with tracker:
            for epoch in tracker.epochs(range(4)):
                time.sleep(EPOCH_S / 2)
                if rank == 1 and epoch == 1:
                    raise ValueError("the loss is NaN")
    except ValueError as caught:
        error = str(caught)
    return {**record(tracker.footprint), "took_s": time.monotonic() - began_s, "error": error}


if __name__ == "__main__":
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    together = (measured, stopped_by_one_rank, stopped_in_a_counted_loop, of_uneven_batches, broken_on_one_rank, on_two_machines)
    scenes = (*together, raised_on_one_rank, missing_on_one_rank)
    report(os.environ["RANK"], {scene.__name__: scene(rank) for scene in scenes})
    dist.barrier()
    dist.destroy_process_group()
