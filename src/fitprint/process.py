"""Which process a run belongs to, without naming the host or the user."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Enough to tell a run's machines apart, too few to find a name by trying.
HOST_KEY_DIGITS = 4


class Process(NamedTuple):
    """A process as it can be recognised later.

    Attributes:
        boot_id: Identity of the machine's last boot, or empty.
        pid: Process id.
        started: The process's start in clock ticks since boot, so that a reused pid is noticed.
    """

    boot_id: str
    pid: int
    started: str

    @property
    def label(self) -> str:
        """``<host>-<pid>`` for file names; the host is the boot id's beginning, never its name."""
        return f"{self.boot_id[:8] or 'host'}-{self.pid}"


def this_process(proc_root: Path) -> Process:
    """Describe the process that asks."""
    return Process(boot_id(proc_root), os.getpid(), start_of(proc_root, os.getpid()))


def is_alive(process: Process, proc_root: Path) -> bool | None:
    """Whether it still runs; None where it cannot be asked: on another boot or machine, or without /proc."""
    if not process.boot_id or process.boot_id != boot_id(proc_root):
        return None
    return (proc_root / str(process.pid)).exists() and start_of(proc_root, process.pid) == process.started


def boot_id(proc_root: Path) -> str:
    """Identity of this boot and process namespace: elsewhere a process id means another process, or none."""
    try:
        boot = (proc_root / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
    except OSError:
        return ""
    try:
        return f"{boot}/{(proc_root / 'self' / 'ns' / 'pid').readlink()}"
    except OSError:
        return boot


def host_key(proc_root: Path, salt: str) -> str:
    """Tells the machines of one run apart without saying which they are: of use inside that run alone.

    Args:
        proc_root: Normally ``/proc``.
        salt: The run, so that the keys of two runs cannot be compared.
    """
    return key_of(machine(proc_root)[0], salt)


def key_of(host: str, salt: str) -> str:
    """The same of a machine whose name is known."""
    return hashlib.sha256(f"{salt}/{host}".encode()).hexdigest()[:HOST_KEY_DIGITS]


def machine(proc_root: Path) -> tuple[str, str]:
    """What tells this machine from others, the same in all its containers, and in which process namespace this is."""
    boot, _, namespace = boot_id(proc_root).partition("/")
    if not boot:
        import platform

        boot = platform.node()
    return boot, namespace


def host_name(key: str, earlier: Sequence[Mapping[str, Any]]) -> str:
    """``host-1`` for a run's first machine, ``host-2`` for its second; machines have no names here."""
    hosts = {str(segment.get("host_key", segment["host"])): str(segment["host"]) for segment in earlier}
    return hosts.get(key) or f"host-{len(set(hosts.values())) + 1}"


def start_of(proc_root: Path, pid: int) -> str:
    """When a process started, in clock ticks since boot; empty where there is none, or it cannot be asked."""
    try:
        # The name in parentheses may hold spaces; the start time is the 20th field after it.
        return (proc_root / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def ancestors(proc_root: Path, pid: int) -> tuple[int, ...]:
    """The processes that a process descends from, its parent first."""
    above: list[int] = []
    while pid > 1 and pid not in above[:-1]:
        try:
            pid = int((proc_root / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
        above.append(pid)
    return tuple(above)


def machine_id(proc_root: Path) -> str:
    """A name for this machine's boot that says nothing of it, the same in all its containers; empty if unknown."""
    boot = boot_id(proc_root).partition("/")[0]
    return hashlib.sha256(boot.encode()).hexdigest()[:12] if boot else ""
