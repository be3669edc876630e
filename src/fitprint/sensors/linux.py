"""Linux: the CPU and the memory out of /proc, and a job's part of them out of cgroups, affinity and SLURM."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Self

from fitprint.sensors.machine import BYTES_PER_GB, US_PER_S, CpuIdentity, Machine

NS_PER_US = 1_000
OWN_SYS, OWN_PROC = Path("/sys"), Path("/proc")
_UNLIMITED_BYTES = 1 << 60  # cgroup v1 writes a huge number where there is no limit
_BYTES_PER_SLURM_MB = 1 << 20
# OpenMP binds the main thread alone to its first place when a library that uses it is loaded.
_BINDINGS = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
# Of a 64-bit number there are 20 digits at most.
_TOO_LONG = re.compile(r"\d{21,}")
# A process may end while its tree is read; it is read again.
_ATTEMPTS = 3


class _Limit(NamedTuple):
    """Fewer threads than the machine has, and who is held to them: a cgroup, or None for this process's tree."""

    threads: float
    cgroup: PurePosixPath | None


def read_machine(sys_root: Path, proc_root: Path, environ: Mapping[str, str]) -> Machine:
    """Describe this machine and this job's part of it; what cannot be read takes its least presumptuous value."""
    info = _text(proc_root / "cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    cgroups = Cgroups.of_this_process(sys_root, proc_root, environ)
    limit = _tightest(cgroups, proc_root, environ, _online(info))
    installed = _installed_bytes(proc_root)
    granted = _granted_bytes(environ) if limit else []
    memory_limit = _smallest(cgroups.memory_limits(), installed) or _smallest(granted, installed)
    return Machine(
        cpu_name=names[0].strip() if names else "",
        threads=len(_online(info)),
        sockets=len(set(re.findall(r"^physical id\s*:\s*(\d+)", info, re.MULTILINE))) or 1,
        virtual=bool(re.search(r"^flags\s*:.*\bhypervisor\b", info, re.MULTILINE)),
        memory_gb=installed / BYTES_PER_GB,
        cpu_limit=limit.threads if limit else None,
        cpu_identity=_identity(info),
        memory_limit_gb=memory_limit / BYTES_PER_GB if memory_limit else None,
    )


def machine_clock(proc_root: Path) -> Callable[[], int]:
    """Open the reader of the whole machine's busy CPU microseconds.

    Raises:
        OSError: If it cannot be read.
        ValueError: If what is read is not what the kernel writes.
    """
    stat = proc_root / "stat"
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    _stat_busy_us(stat, ticks_per_s)
    return lambda: _stat_busy_us(stat, ticks_per_s)


def job_clock(sys_root: Path, proc_root: Path, environ: Mapping[str, str], pids: Sequence[int] = ()) -> Callable[[], int]:
    """Open the reader of the job's busy CPU microseconds: its cgroup's, else those of this process's tree.

    Raises:
        OSError: If neither can be read.
        ValueError: If what is read is not what the kernel writes.
    """
    read, _ = _cgroup_clock(sys_root, proc_root, environ)
    return read or ProcessTree(proc_root, pids)


def job_name(sys_root: Path, proc_root: Path, environ: Mapping[str, str]) -> str:
    """What tells the job whose time ``job_clock`` reads from others of this machine: its cgroup, else this process."""
    read, job = _cgroup_clock(sys_root, proc_root, environ)
    return str(job) if read else f"process {os.getpid()}"


def _cgroup_clock(
    sys_root: Path, proc_root: Path, environ: Mapping[str, str]
) -> tuple[Callable[[], int] | None, PurePosixPath | None]:
    """The reader of the job's cgroup, and which that is; None where it has none that tells."""
    cgroups = Cgroups.of_this_process(sys_root, proc_root, environ)
    limit = _tightest(cgroups, proc_root, environ, _online(_text(proc_root / "cpuinfo")))
    job = cgroups.slurm_job or (limit.cgroup if limit else None)
    for folder in cgroups.folders("cpuacct", job) if job else []:
        for read in (_v2_usage(folder), _v1_usage(folder)):
            if _works(read):
                return read, job
    return None, job


@dataclass(frozen=True)
class Cgroups:
    """The cgroups that hold this process.

    Attributes:
        mount: Normally ``/sys/fs/cgroup``.
        lines: Of ``/proc/self/cgroup``: number, controllers and path.
        slurm_job: The one that SLURM made for this job: ``.../uid_1000/job_7`` (v1), ``.../slurmstepd.scope/job_7`` (v2),
            or, from SLURM 26.05 on, ``.../slurmstepd.scope/<SLUID>``.
    """

    mount: Path
    lines: tuple[list[str], ...]
    slurm_job: PurePosixPath | None = None

    @classmethod
    def of_this_process(cls, sys_root: Path, proc_root: Path, environ: Mapping[str, str]) -> Self:
        split = (line.split(":", 2) for line in _text(proc_root / "self" / "cgroup").splitlines())
        # Where only /sys is another (a host's, in a container) the cgroups are still this process's own.
        mount = (OWN_SYS if proc_root == OWN_PROC else sys_root) / "fs" / "cgroup"
        every = cls(mount, tuple(fields for fields in split if len(fields) == 3))
        job = environ.get("SLURM_JOB_ID")
        return replace(every, slurm_job=next((path for path in every.paths() if _is_job(path, job)), None) if job else None)

    def paths(self) -> list[PurePosixPath]:
        """Those whose limits are the job's, the innermost first, ``/`` last; a SLURM job's steps and tasks share the job."""
        own = {PurePosixPath("/", path.lstrip("/")) for _, _, path in self.lines}
        every = {path for leaf in own for path in (leaf, *leaf.parents)} | {PurePosixPath("/")}
        jobs = [path for path in every if self.slurm_job is None or path in (self.slurm_job, *self.slurm_job.parents)]
        return sorted(jobs, key=lambda path: (-len(path.parts), str(path)))

    def folders(self, controller: str, path: PurePosixPath) -> list[Path]:
        """Where the files of one may lie: under the unified hierarchy (v2), else its controller's (v1)."""
        names = [names for _, names, _ in self.lines if controller in names.split(",")]
        return [self.mount.joinpath(name, *path.parts[1:]) for name in dict.fromkeys(("", *names, controller))]

    @property
    def slurm_pins(self) -> bool:
        """Whether SLURM tells which threads are its job's; a task may be pinned to some of them."""
        return self.slurm_job is not None and any(_cpuset(folder) for folder in self.folders("cpuset", self.slurm_job))

    def thread_limits(self, online: set[int]) -> list[_Limit]:
        """Every quota and cpuset that leaves fewer threads than are online."""
        limits = [(_quota(folder), path) for path in self.paths() for folder in self.folders("cpu", path)]
        limits += [(_allowed(_cpuset(folder), online), path) for path in self.paths() for folder in self.folders("cpuset", path)]
        return [_Limit(threads, path) for threads, path in limits if threads and threads < len(online)]

    def memory_limits(self) -> list[int]:
        """Every limit in bytes, those that mean none included."""
        folders = [folder for path in self.paths() for folder in self.folders("memory", path)]
        texts = [_text(folder / name).strip() for folder in folders for name in ("memory.max", "memory.limit_in_bytes")]
        return [int(text) for text in texts if text.isdecimal()]


def _is_job(path: PurePosixPath, job: str) -> bool:
    by_sluid = path.parent.name.endswith("slurmstepd.scope") and not path.name.startswith("job_")
    return by_sluid or path.name == f"job_{job}"


class ProcessTree:
    """Busy CPU microseconds of this process, of others of its job and of all that descend from them, ever growing.

    What a process used moves into its parent's count when the parent collects it, so that the sum over
    the living keeps it. Where init collects it instead, it leaves the sum: that takes nothing back.

    Raises:
        OSError: If this process cannot be read.
        ValueError: If what is read is not what the kernel writes.
    """

    def __init__(self, proc_root: Path, pids: Sequence[int] = ()) -> None:
        self._proc_root = proc_root
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        # In the order of their generations: who is collected while the sum is made is then missing, never counted twice.
        self._members = {(proc_root / "self" / "stat").read_text(errors="replace").split()[0]: None}
        self._members |= dict.fromkeys(str(pid) for pid in pids)
        self._strangers: set[str] = set()
        self._sum = self._total = 0

    def __call__(self) -> int:
        for _ in range(_ATTEMPTS):
            self._look_around()
            try:
                ticks = sum(self._ticks(pid) for pid in self._members)
            except (OSError, IndexError):  # one has ended meanwhile
                continue
            self._total += max(0, ticks - self._sum)
            self._sum = ticks
            break
        return self._total * US_PER_S // self._ticks_per_s

    def _look_around(self) -> None:
        """Drop who has ended and take in the descendants that are new; strangers are looked at once."""
        pids = {name for name in os.listdir(self._proc_root) if name.isdecimal()}  # noqa: PTH208 - names, not paths
        self._members = {pid: None for pid in self._members if pid in pids}
        self._strangers &= pids
        new = {pid: self._parent(pid) for pid in pids - self._members.keys() - self._strangers}
        while children := [pid for pid, parent in new.items() if parent in self._members]:
            self._members |= dict.fromkeys(children)
            new = {pid: parent for pid, parent in new.items() if pid not in self._members}
        self._strangers |= new.keys()

    def _parent(self, pid: str) -> str:
        try:
            return self._fields(pid)[1]
        except (OSError, IndexError):
            return ""

    def _ticks(self, pid: str) -> int:
        """User and system time, its own and that of its collected children."""
        return sum(int(field) for field in self._fields(pid)[11:15])

    def _fields(self, pid: str) -> list[str]:
        """What follows the name, which stands in parentheses and may hold spaces: state, parent, ..."""
        with open(f"{self._proc_root}/{pid}/stat", "rb", buffering=0) as file:  # twice as fast as Path does it
            return file.read().decode(errors="replace").rpartition(")")[2].split()


def _tightest(cgroups: Cgroups, proc_root: Path, environ: Mapping[str, str], online: set[int]) -> _Limit | None:
    """What leaves this job the fewest threads, the innermost of equals; None if it may use all."""
    limits = cgroups.thread_limits(online)
    if not cgroups.slurm_pins:
        pinned = _affinity(proc_root, environ, online) or len(online)
        limits += [_Limit(pinned, None)] if pinned < len(online) else []
    return min(limits, key=lambda limit: limit.threads, default=None)


def _quota(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _cpuset(folder: Path) -> str:
    """What is in force; v1 kernels before 3.17 tell only what was asked for."""
    names = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")
    return next((text for name in names if (text := _text(folder / name).strip())), "")


def _allowed(cpus: str, online: set[int]) -> int | None:
    """How many of the machine's threads a list such as ``0-3,8`` holds; None if all, or if it is empty.

    A list may hold CPUs that could be plugged in, and a container may number its own from 0.
    """
    ranges = re.findall(r"\b(\d{1,6})(?:-(\d{1,6}))?\b", cpus)
    listed = {cpu for first, last in ranges for cpu in range(int(first), int(last or first) + 1)}
    return None if not listed or len(listed) >= len(online) else len(listed & online) or len(listed)


def _affinity(proc_root: Path, environ: Mapping[str, str], online: set[int]) -> int | None:
    """How many CPUs this process is pinned to, as by taskset; None if it is not.

    A main thread that is bound to one CPU says nothing: some builds of OpenMP do that on import (PyTorch's
    issues 49971 and 91989 show it), while their other threads use all. A task of SLURM is pinned to some of
    the CPUs that its job was granted.
    """
    match = re.search(r"^Cpus_allowed_list:\s*(\S+)", _text(proc_root / "self" / "status"), re.MULTILINE)
    if match is None or any(environ.get(name) for name in _BINDINGS):
        return None
    threads = _allowed(match.group(1), online)
    granted = environ.get("SLURM_CPUS_ON_NODE", "") if environ.get("SLURM_JOB_ID") else ""
    return max(threads, int(granted) if granted.isdecimal() else 0) if threads and threads > 1 else None


def _installed_bytes(proc_root: Path) -> int:
    match = re.search(r"^MemTotal:\s*(\d+) kB", _text(proc_root / "meminfo"), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def _granted_bytes(environ: Mapping[str, str]) -> list[int]:
    """What SLURM granted the job on this node, where it does not hold it to that."""
    megabytes = environ.get("SLURM_MEM_PER_NODE", "") if environ.get("SLURM_JOB_ID") else ""
    return [int(megabytes) * _BYTES_PER_SLURM_MB] if megabytes.isdecimal() else []


def _smallest(sizes: list[int], installed: int) -> int | None:
    """The smallest that is a limit at all: below what is installed."""
    return min((size for size in sizes if 0 < size < (installed or _UNLIMITED_BYTES)), default=None)


def _online(info: str) -> set[int]:
    """The numbers of the machine's hardware threads."""
    return {int(number) for number in re.findall(r"^processor\s*:\s*(\d+)", info, re.MULTILINE)} or set(range(os.cpu_count() or 1))


def _identity(info: str) -> CpuIdentity:
    vendor = re.search(r"^vendor_id\s*:\s*(\S+)", info, re.MULTILINE)
    found = [re.search(rf"^{name}\s*:\s*(\d+)$", info, re.MULTILINE) for name in ("cpu family", "model", "stepping")]
    family, model, stepping = (int(match.group(1)) if match else 0 for match in found)
    return vendor.group(1) if vendor else "", family, model, stepping


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
    """What stands there; a number longer than any is none of the kernel's, and Python would not read it."""
    try:
        return _TOO_LONG.sub("", path.read_text(errors="replace"))
    except OSError:
        return ""
