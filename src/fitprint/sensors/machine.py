"""What a machine is, how much of it this job owns, and whose CPU time is counted.

One reader per operating system lies beside this module; only the one that is needed is loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

US_PER_S = 1_000_000
BYTES_PER_GB = 1e9

T = TypeVar("T")
CpuIdentity = tuple[str, int, int, int]
UNKNOWN_CPU: CpuIdentity = ("", 0, 0, 0)


class Machine(NamedTuple):
    """What the model needs to know.

    Attributes:
        cpu_name: As the system prints it; empty if unknown.
        threads: Hardware threads of the whole machine.
        sockets: CPU packages.
        virtual: True under a hypervisor.
        memory_gb: Installed memory in 10^9 bytes; 0 if unknown.
        cpu_limit: Threads that this job may use (quota, cpuset or affinity), or None if it may use all.
        cpu_identity: Vendor, family, model and stepping; empty and zeros if unknown.
        memory_limit_gb: Memory that this job may use in 10^9 bytes, or None without a limit below what is installed.
    """

    cpu_name: str
    threads: int
    sockets: int
    virtual: bool
    memory_gb: float
    cpu_limit: float | None
    cpu_identity: CpuIdentity = UNKNOWN_CPU
    memory_limit_gb: float | None = None

    @property
    def owned_threads(self) -> float:
        """Threads that this job owns."""
        return float(self.threads) if self.cpu_limit is None else self.cpu_limit

    @property
    def owned_share(self) -> float:
        """Share of the threads that this job owns: above 0, at most 1."""
        return self.owned_threads / self.threads


def architecture() -> str:
    """As ``platform.machine()``, without the milliseconds that importing it takes where the system itself tells."""
    if hasattr(os, "uname"):
        return os.uname().machine
    import platform

    return platform.machine()


class Native(Protocol):
    """The interface of a system without /proc. A question that it cannot answer raises."""

    def cpu_name(self) -> str:
        """The name that the processor gives itself."""

    def cpu_identity(self) -> CpuIdentity:
        """Vendor, family, model and stepping."""

    def threads(self) -> int:
        """Hardware threads."""

    def sockets(self) -> int:
        """CPU packages."""

    def virtual(self) -> bool:
        """Whether a hypervisor lies below."""

    def memory_bytes(self) -> int:
        """Installed memory."""

    def machine_clock(self) -> Callable[[], int]:
        """Open the reader of the whole machine's busy CPU microseconds, ever growing."""


def read_machine(
    sys_root: Path,
    proc_root: Path,
    environ: Mapping[str, str] | None = None,
    *,
    platform: str = sys.platform,
    native: Native | None = None,
) -> Machine:
    """Describe this machine and this job's part of it; what cannot be read takes its least presumptuous value.

    Args:
        sys_root: Normally ``/sys``.
        proc_root: Normally ``/proc``.
        environ: The process environment (SLURM, OpenMP); this process's by default.
        platform: As ``sys.platform``.
        native: The system's own interface; the real one by default. Linux needs none.
    """
    if platform == "linux":
        from fitprint.sensors import linux

        return linux.read_machine(sys_root, proc_root, os.environ if environ is None else environ)
    native = native or _native(platform)
    return Machine(
        cpu_name=_ask(native, lambda system: system.cpu_name(), ""),
        threads=_ask(native, lambda system: system.threads(), 0) or os.cpu_count() or 1,
        sockets=_ask(native, lambda system: system.sockets(), 0) or 1,
        virtual=_ask(native, lambda system: system.virtual(), False),
        memory_gb=(_ask(native, lambda system: system.memory_bytes(), 0) or _memory_in_pages()) / BYTES_PER_GB,
        cpu_limit=None,
        cpu_identity=_ask(native, lambda system: system.cpu_identity(), UNKNOWN_CPU),
    )


def machine_clock(proc_root: Path, *, platform: str = sys.platform, native: Native | None = None) -> Callable[[], int]:
    """Open the reader of the whole machine's busy CPU microseconds, ever growing.

    Where a system other than Linux does not tell, it is this process's and its ended children's.

    Raises:
        OSError: If Linux's cannot be read.
        ValueError: If what is read is not what the kernel writes.
    """
    if platform == "linux":
        from fitprint.sensors import linux

        return linux.machine_clock(proc_root)
    return _ask(native or _native(platform), lambda system: system.machine_clock(), own_clock)


def job_clock(
    sys_root: Path,
    proc_root: Path,
    environ: Mapping[str, str] | None = None,
    *,
    platform: str = sys.platform,
    pids: Sequence[int] = (),
) -> Callable[[], int]:
    """Open the reader of this job's busy CPU microseconds, ever growing; it never raises.

    The job is SLURM's job, else the cgroup that limits this process, else this process, the others
    that are named (``pids``) and all that descend from them; where there is no /proc, this process and its ended children.
    """
    if platform != "linux":
        return own_clock
    from fitprint.sensors import linux

    try:
        return linux.job_clock(sys_root, proc_root, os.environ if environ is None else environ, pids)
    except (OSError, ValueError, IndexError):
        return own_clock


def tree_clock(proc_root: Path, pids: Sequence[int] = ()) -> Callable[[], int]:
    """Open the reader of the busy CPU microseconds of these processes and of all that descend from them; it never raises."""
    from fitprint.sensors import linux

    try:
        return linux.ProcessTree(proc_root, pids)
    except (OSError, ValueError, IndexError):
        return own_clock


def job_name(sys_root: Path, proc_root: Path, environ: Mapping[str, str] | None = None, *, platform: str = sys.platform) -> str:
    """What tells the job whose time ``job_clock`` reads from other jobs of this machine; it never raises."""
    from fitprint.sensors import linux

    if platform != "linux":
        return f"process {os.getpid()}"
    try:
        return linux.job_name(sys_root, proc_root, os.environ if environ is None else environ)
    except (OSError, ValueError, IndexError):
        return f"process {os.getpid()}"


def busy_clock(
    machine: Machine,
    sys_root: Path,
    proc_root: Path,
    environ: Mapping[str, str] | None = None,
    *,
    platform: str = sys.platform,
    native: Native | None = None,
    pids: Sequence[int] = (),
) -> Callable[[], int]:
    """Open the clock of the busy time that the model charges for: the job's where it owns part of the machine.

    Raises:
        OSError: If the whole machine's is wanted and cannot be read.
        ValueError: If what is read is not what the kernel writes.
    """
    if machine.cpu_limit is None:
        return machine_clock(proc_root, platform=platform, native=native)
    return job_clock(sys_root, proc_root, environ, platform=platform, pids=pids)


def own_clock() -> int:
    """Busy CPU microseconds of this process and of its children that have ended."""
    times = os.times()
    return round((times.user + times.system + times.children_user + times.children_system) * US_PER_S)


def _native(platform: str) -> Native | None:
    """The system's own interface; None on a system that is not known or does not have it."""
    try:
        if platform == "darwin":
            from fitprint.sensors import macos

            return macos.load()
        if platform == "win32":
            from fitprint.sensors import windows

            return windows.load()
    except (ImportError, AttributeError, OSError):
        return None
    return None


def _ask(native: Native | None, question: Callable[[Native], T], otherwise: T) -> T:
    """The system's answer; whatever a foreign library raises, the model goes on with less."""
    if native is None:
        return otherwise
    try:
        return question(native)
    except Exception:
        return otherwise


def _memory_in_pages() -> int:
    """Installed memory as POSIX systems tell; 0 where that is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
