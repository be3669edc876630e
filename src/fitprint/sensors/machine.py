"""The CPU, the memory and the limits of this machine or container, read from /proc and /sys."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

US_PER_S = 1_000_000
NS_PER_US = 1_000
_UNLIMITED_BYTES = 1 << 60  # cgroup v1 writes a huge number where there is no limit


@dataclass(frozen=True, slots=True)
class Machine:
    """What the model needs to know.

    Attributes:
        cpu_name: As /proc/cpuinfo prints it; empty if unknown.
        threads: Hardware threads of the whole machine.
        sockets: CPU packages.
        virtual: True under a hypervisor.
        memory_gb: Installed memory in 10^9 bytes, or the cgroup's limit where that is less.
        cpu_limit: Threads that the cgroup may use, or None without a limit.
        cpu_identity: Vendor, family, model and stepping; empty and zeros if unknown.
    """

    cpu_name: str
    threads: int
    sockets: int
    virtual: bool
    memory_gb: float
    cpu_limit: float | None
    cpu_identity: tuple[str, int, int, int] = ("", 0, 0, 0)


def read_machine(sys_root: Path, proc_root: Path) -> Machine:
    """Describe this machine; what cannot be read takes its least presumptuous value."""
    info = _text(proc_root / "cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    threads = len(re.findall(r"^processor\s*:", info, re.MULTILINE)) or os.cpu_count() or 1
    return Machine(
        cpu_name=names[0].strip() if names else "",
        threads=threads,
        sockets=len(set(re.findall(r"^physical id\s*:\s*(\d+)", info, re.MULTILINE))) or 1,
        virtual=bool(re.search(r"^flags\s*:.*\bhypervisor\b", info, re.MULTILINE)),
        memory_gb=_memory_bytes(sys_root, proc_root) / 1e9,
        cpu_identity=_identity(info),
        cpu_limit=min((limit for limit, _ in _cpu_limits(sys_root, proc_root, threads)), default=None),
    )


def _identity(info: str) -> tuple[str, int, int, int]:
    vendor = re.search(r"^vendor_id\s*:\s*(\S+)", info, re.MULTILINE)
    found = [re.search(rf"^{name}\s*:\s*(\d+)$", info, re.MULTILINE) for name in ("cpu family", "model", "stepping")]
    family, model, stepping = (int(match.group(1)) if match else 0 for match in found)
    return vendor.group(1) if vendor else "", family, model, stepping


def busy_clock(machine: Machine, sys_root: Path, proc_root: Path) -> Callable[[], int]:
    """Return a function that gives busy CPU time in microseconds, ever growing.

    That of the cgroup that has the limit (child processes such as DataLoader workers are in it),
    else the whole machine's.

    Raises:
        OSError: If neither can be read.
        ValueError: If what is read is not what the kernel writes.
    """
    if machine.cpu_limit is not None:
        limited = min(_cpu_limits(sys_root, proc_root, machine.threads))[1]
        for folder in cgroup_folders(sys_root, proc_root, "cpuacct", limited):
            for read in (_v2_usage(folder), _v1_usage(folder)):
                if _works(read):
                    return read
    stat = proc_root / "stat"
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    _stat_busy_us(stat, ticks_per_s)
    return lambda: _stat_busy_us(stat, ticks_per_s)


def cgroup_paths(proc_root: Path) -> list[PurePosixPath]:
    """This process's cgroup and all that contain it, the innermost first; ``/`` is the last."""
    lines = [line.split(":", 2) for line in _text(proc_root / "self" / "cgroup").splitlines()]
    own = {PurePosixPath("/", fields[2].lstrip("/")) for fields in lines if len(fields) == 3}
    every = {path for leaf in own for path in (leaf, *leaf.parents)} | {PurePosixPath("/")}
    return sorted(every, key=lambda path: (-len(path.parts), str(path)))


def cgroup_folders(sys_root: Path, proc_root: Path, controller: str, path: PurePosixPath) -> list[Path]:
    """Where the files of one cgroup may lie: under the unified hierarchy (v2), else its controller's (v1)."""
    mount = sys_root / "fs" / "cgroup"
    lines = [line.split(":", 2) for line in _text(proc_root / "self" / "cgroup").splitlines()]
    names = [fields[1] for fields in lines if len(fields) == 3 and controller in fields[1].split(",")]
    return [mount.joinpath(name, *path.parts[1:]) for name in ("", *names, controller)]


def _cpu_limits(sys_root: Path, proc_root: Path, threads: int) -> list[tuple[float, PurePosixPath]]:
    """Every limit on CPU time that lies below the machine's, with its cgroup."""
    limits = []
    for path in cgroup_paths(proc_root):
        for folder in cgroup_folders(sys_root, proc_root, "cpu", path):
            quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
            if not quota:
                quota, period = _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
            if quota.isdecimal() and period.isdecimal() and 0 < int(quota) < threads * int(period):
                limits.append((int(quota) / int(period), path))
    return limits


def _memory_bytes(sys_root: Path, proc_root: Path) -> int:
    """Installed memory, or the smallest limit of any cgroup around this process."""
    match = re.search(r"^MemTotal:\s*(\d+) kB", _text(proc_root / "meminfo"), re.MULTILINE)
    sizes = [int(match.group(1)) * 1024] if match else []
    for path in cgroup_paths(proc_root):
        for folder in cgroup_folders(sys_root, proc_root, "memory", path):
            texts = [_text(folder / name).strip() for name in ("memory.max", "memory.limit_in_bytes")]
            sizes += [int(text) for text in texts if text.isdecimal() and int(text) < _UNLIMITED_BYTES]
    return min(sizes, default=0)


def _v2_usage(folder: Path) -> Callable[[], int]:
    def read() -> int:
        match = re.search(r"^usage_usec (\d+)", (folder / "cpu.stat").read_text(), re.MULTILINE)
        if match is None:
            raise OSError(f"{folder}/cpu.stat has no usage_usec")
        return int(match.group(1))

    return read


def _v1_usage(folder: Path) -> Callable[[], int]:
    return lambda: int((folder / "cpuacct.usage").read_text()) // NS_PER_US


def _works(read: Callable[[], int]) -> bool:
    try:
        read()
    except (OSError, ValueError):
        return False
    return True


def _stat_busy_us(stat: Path, ticks_per_s: int) -> int:
    """User + nice + system + irq + softirq; idle, iowait and steal are not this machine's work."""
    with stat.open() as file:
        fields = file.readline().split()
    if fields[:1] != ["cpu"] or len(fields) < 8:
        raise OSError(f"{stat} does not begin with the machine's cpu times")
    user, nice, system, _idle, _iowait, irq, softirq = (int(field) for field in fields[1:8])
    return (user + nice + system + irq + softirq) * US_PER_S // ticks_per_s


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
