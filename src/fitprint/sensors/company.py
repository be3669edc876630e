"""Takes a run's place among those of its machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from functools import partial

from fitprint.process import ancestors, start_of
from fitprint.sensors.divided import Device
from fitprint.sensors.machine import tree_clock
from fitprint.sensors.overlap import Overlap
from fitprint.sensors.siblings import Seat, digest
from fitprint.sensors.surroundings import Surroundings

# What torchrun, Lightning and others tell the ranks of one job: whoever has these in common is one run's rank.
_RENDEZVOUS = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")


def overlap_of(
    run_id: Callable[[], str], parent_run_id: str | None, devices: Mapping[str, Device], around: Surroundings
) -> Overlap | None:
    """A run's view of the runs beside it; None where it reads nothing that others read too, or others cannot be told.

    Args:
        run_id: Tells the run's id, which a checkpoint may change.
        parent_run_id: The run inside which it was started, or None.
        devices: What it reads.
        around: The machine.
    """
    registry = around.registry if devices else None
    if registry is None:
        return None
    pid = os.getpid()
    seat = Seat(
        run=digest(run_id()),
        parent=digest(parent_run_id) if parent_run_id else "",
        unit=_unit(around.environment()),
        pid=pid,
        started=start_of(around.proc_root, pid),
        above=ancestors(around.proc_root, pid),
        devices=frozenset(device.key for device in devices.values()),
        since_ns=0,
    )
    return Overlap(registry, seat, lambda: digest(run_id()), around.clock, partial(tree_clock, around.proc_root, around.pids))


def _unit(environ: Mapping[str, str]) -> str:
    """Ranks of one job are one, each counts what it sees; else a thread is: two runs in it see the same work."""
    world = environ.get("WORLD_SIZE", "1")
    if world.isdecimal() and int(world) > 1:
        return digest(" ".join(environ.get(name, "") for name in _RENDEZVOUS))
    return f"{os.getpid()}-{threading.get_ident()}"
