"""Which counters this job shares with others, by what its share goes, and what its runs divide among themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fitprint.clock import Clock
from fitprint.sensors.counter import HOST_PARTS, NODE, Counter
from fitprint.sensors.divided import Device
from fitprint.sensors.machine import Machine, job_clock, machine_clock
from fitprint.sensors.modelled import idle_over_dynamic
from fitprint.sensors.nvml_share import PartOfBoard
from fitprint.sensors.share import CpuShare, Shared
from fitprint.sensors.siblings import digest


def shared(
    counters: Sequence[Counter],
    attribute: str,
    boards: Mapping[str, Callable[[], float]],
    machine: Machine,
    *,
    clock: Clock,
    sys_root: Path,
    proc_root: Path,
    environ: Mapping[str, str],
    pids: Sequence[int] = (),
) -> tuple[Counter | Shared, ...]:
    """Put a share around each counter of a device that this job owns only a part of.

    A modelled part is its share already, and the whole machine's power is nobody's.

    Args:
        counters: What was found.
        attribute: ``all``, ``share`` or ``auto``.
        boards: By sensor id, this job's share of a board that others use too.
        machine: The machine and this job's part of it.
        clock: Wall time.
        sys_root: Normally ``/sys``.
        proc_root: Normally ``/proc``.
        environ: The process environment (SLURM).
        pids: Processes that belong to the job beside this one.
    """
    if attribute == "all":
        return tuple(counters)
    host = attribute == "share" or machine.owned_share < 1

    def cpu_share() -> CpuShare:
        return CpuShare(
            own_us=job_clock(sys_root, proc_root, environ, pids=pids),
            all_us=machine_clock(proc_root),
            own_threads=machine.owned_threads,
            all_threads=machine.threads,
            rho=idle_over_dynamic(machine),
            clock=clock,
        )

    def put(counter: Counter) -> Counter | Shared:
        sensor = counter.sensor
        if sensor.id in boards:
            return Shared(counter, boards[sensor.id], "its use of the board")
        if not host or sensor.role != "counted" or sensor.method == "modelled" or sensor.part not in HOST_PARTS:
            return counter
        if sensor.part == "dram":
            memory = memory_share(machine)
            return Shared(counter, lambda: memory, "memory")
        try:
            return Shared(counter, cpu_share(), "CPU time")
        except (OSError, ValueError):  # without the machine's CPU time the reserved threads are all that is known
            return Shared(counter, lambda: machine.owned_share, "threads")

    return tuple(put(counter) for counter in counters)


def memory_share(machine: Machine) -> float:
    """Share of the memory that this job may use; that of its threads where nothing limits it."""
    if machine.memory_limit_gb is None or machine.memory_gb <= 0:
        return machine.owned_share
    return min(1.0, machine.memory_limit_gb / machine.memory_gb)


def devices(counters: Sequence[Counter | Shared], machine: Machine, job: str) -> dict[str, Device]:
    """What is divided with runs that overlap, by sensor id: whole devices with all of the machine, shares with those of the job.

    Args:
        counters: What is read.
        machine: The machine and this job's part of it.
        job: The job's name among those of the machine.
    """
    found: dict[str, Device] = {}
    for counter in counters:
        sensor = counter.counter.sensor if isinstance(counter, Shared) else counter.sensor
        if sensor.part != NODE:
            found[sensor.id] = Device.of(sensor, digest(f"{_owner(counter, machine, job)} {sensor.id}"))
    return found


def _owner(counter: Counter | Shared, machine: Machine, job: str) -> str:
    """Whose it is as a whole: the machine's, the job's of which the share is, or its MIG devices'."""
    if isinstance(counter, Shared):
        if isinstance(counter.share, PartOfBoard):
            return " ".join(counter.share.parts)
        return job if counter.counter.sensor.part in HOST_PARTS else ""
    sensor = counter.sensor
    partly = sensor.method == "modelled" and sensor.part in HOST_PARTS and machine.cpu_limit is not None
    return job if partly else ""
