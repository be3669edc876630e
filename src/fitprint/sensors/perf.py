"""CPU packages and DRAM through Linux perf events: RAPL where powercap is kept to root and perf is not."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from fitprint.errors import SensorError
from fitprint.sensors.counter import Sensor
from fitprint.sensors.finding import Absent, Finding, Found
from fitprint.sensors.machine import architecture
from fitprint.sensors.rapl import P_MAX_W, PSYS_ERROR, PSYS_P_MAX_W, RAPL_ERROR, TICK_S

SOURCE = "RAPL (perf events)"
# Cores and the integrated GPU are inside the package and never added.
_PARTS = {"energy-pkg": "cpu", "energy-ram": "dram"}
_PSYS = "energy-psys"
_COUNT_BYTES = 8

# From Linux: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_PERF_EVENT_OPEN = {("linux", "x86_64"): 298, ("linux", "aarch64"): 241}
# struct perf_event_attr in its first size, which every kernel takes: type, size, config, all else 0.
_ATTR = "=IIQ48x"
_ALL_PROCESSES, _NO_GROUP, _CLOSE_ON_EXEC = -1, -1, 1 << 3

# AMD and Hygon count a package once for all of its dies (Linux, arch/x86/events/rapl.c); the vendors'
# numbers in the CPU's modalias are the kernel's own (arch/x86/include/asm/processor.h).
_ONE_COUNTER_A_PACKAGE = re.compile(r"ven000[29]")

# Counting all processes on a CPU takes CAP_PERFMON, or this setting for everybody: at 1 and above
# it is refused (EACCES; Linux, admin-guide/sysctl/kernel.rst). Containers refuse the call itself (EPERM).
_REMEDIES = {
    errno.EACCES: "sudo sysctl kernel.perf_event_paranoid=0",
    errno.EPERM: "in a container, start it with --cap-add PERFMON",
}


class PerfOpener(Protocol):
    """Opens a counting event of a PMU on one CPU, over all processes."""

    def __call__(self, pmu_type: int, config: int, cpu: int) -> int:
        """Return a file descriptor that gives the count in 8 bytes; raise OSError where refused."""


class _Event(NamedTuple):
    """What the kernel says about one event."""

    pmu_type: int
    config: int
    unit_j: float


class PerfCounter:
    """One event on one or more CPUs, counted together since it was opened.

    The kernel adds the hardware's 32 bits up to 64 at every read, and by itself often enough for
    200 W. Reads at most 30 s apart, as the keeper's are, are enough for 1,092 W on AMD (32,768 J).
    """

    modulus = None
    min_interval_s = 0.0

    def __init__(self, sensor: Sensor, p_max_w: float) -> None:
        self.sensor = sensor
        self.p_max_w = p_max_w
        self._fds: list[int] = []

    def add(self, fd: int) -> None:
        """Count what this descriptor gives; it is closed with the counter."""
        self._fds.append(fd)

    def read(self) -> int:
        if not self._fds:
            raise SensorError(f"{self.sensor.id}: no event is open")
        return sum(self._count(fd) for fd in self._fds)

    def _count(self, fd: int) -> int:
        count = os.read(fd, _COUNT_BYTES)
        if len(count) < _COUNT_BYTES:
            raise SensorError(f"{self.sensor.id}: the event has stopped")
        return int.from_bytes(count, sys.byteorder, signed=True)

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())


def open_event(pmu_type: int, config: int, cpu: int) -> int:
    """Open an event through the system call perf_event_open."""
    number = _PERF_EVENT_OPEN.get((sys.platform, architecture()))
    if number is None:
        raise OSError(errno.ENOSYS, f"no perf events on {sys.platform} {architecture()}")
    attr = struct.pack(_ATTR, pmu_type, struct.calcsize(_ATTR), config)
    arguments = (_ALL_PROCESSES, cpu, _NO_GROUP, _CLOSE_ON_EXEC)
    fd = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), attr, *map(ctypes.c_long, arguments))
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(fd)


def probe(sys_root: Path, opener: PerfOpener = open_event) -> list[Finding]:
    """Find the events of packages, DRAM and psys of the PMU ``power``; their ids are those of powercap's zones.

    Args:
        sys_root: Normally ``/sys``.
        opener: Opens an event on a CPU.
    """
    pmu = sys_root / "bus" / "event_source" / "devices" / "power"
    if not pmu.exists():
        return []
    try:
        cpus = _cpus((pmu / "cpumask").read_text())
        events = {name: _event(pmu, name) for name in (*_PARTS, _PSYS) if (pmu / "events" / name).exists()}
    except (OSError, ValueError) as error:
        return [Absent(SOURCE, f"the PMU named power is not understood ({error})")]
    leads = _leads(sys_root, cpus)
    findings: list[Finding] = []
    for package, cpu in leads.items():
        findings += [_open_part(_PARTS[name], package, cpu, events[name], opener) for name in _PARTS if name in events]
    if _PSYS in events:
        findings.append(_open_psys(leads.values(), events[_PSYS], opener))
    if len(leads) < len(cpus):
        findings.append(Found((), notes=(f"{len(cpus)} dies show the counters of {len(leads)} packages: each counted once",)))
    return findings or [Absent(SOURCE, "the PMU named power has no event for packages or DRAM")]


def _cpus(mask: str) -> list[int]:
    """The CPUs of a mask such as ``0``, ``0,18`` or ``0-1``."""
    cpus: list[int] = []
    for span in mask.strip().split(","):
        first, _, last = span.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus


def _event(pmu: Path, name: str) -> _Event:
    config, unit, scale = ((pmu / "events" / f"{name}{suffix}").read_text().strip() for suffix in ("", ".unit", ".scale"))
    if unit != "Joules":
        raise ValueError(f"{name} is in {unit}")
    return _Event(int((pmu / "type").read_text()), int(config.removeprefix("event="), 16), float(scale))


def _leads(sys_root: Path, cpus: Sequence[int]) -> dict[str, int]:
    """A CPU for each counter by powercap's name of it, which has the die where a package has several."""
    root = sys_root / "devices" / "system" / "cpu"
    places = {cpu: _place(root / f"cpu{cpu}" / "topology", cpu) for cpu in cpus}
    firsts = {package: cpu for cpu, (package, _) in reversed(places.items())}
    if len(firsts) == len(places):
        return {package: cpu for cpu, (package, _) in places.items()}
    shared = _ONE_COUNTER_A_PACKAGE.search(_text(root / "modalias"))
    return {"-die-".join(place): cpu for cpu, place in places.items() if not shared or cpu in firsts.values()}


def _place(topology: Path, cpu: int) -> tuple[str, str]:
    """Package and die of a CPU; Linux before 5.3 knows no dies, and a hidden package is named by its CPU."""
    return f"package-{_text(topology / 'physical_package_id') or f'of-cpu-{cpu}'}", _text(topology / "die_id") or "0"


def _open_part(part: str, package: str, cpu: int, event: _Event, opener: PerfOpener) -> Finding:
    what = f"{part} of {package}"
    source = f"{SOURCE}, {what}"
    sensor = Sensor(f"{part}:{package}", part, "counter", event.unit_j, RAPL_ERROR, RAPL_ERROR, source, tick_s=TICK_S)
    return _open(PerfCounter(sensor, P_MAX_W), [cpu], event, opener, uncounted=what)


def _open_psys(cpus: Collection[int], event: _Event, opener: PerfOpener) -> Finding:
    """The whole machine: one package answers for the platform, the others count nothing (Linux commit f1e8d7560d30)."""
    source = f"{SOURCE}, psys"
    sensor = Sensor("node:psys", "node", "counter", event.unit_j, PSYS_ERROR, PSYS_ERROR, source, tick_s=TICK_S, role="node")
    return _open(PerfCounter(sensor, PSYS_P_MAX_W), cpus, event, opener, uncounted="")


def _open(counter: PerfCounter, cpus: Collection[int], event: _Event, opener: PerfOpener, uncounted: str) -> Finding:
    sensor = counter.sensor
    try:
        for cpu in cpus:
            counter.add(opener(event.pmu_type, event.config, cpu))
        counter.read()
    except (OSError, SensorError) as error:
        counter.close()
        if isinstance(error, PermissionError):
            return Absent(sensor.source, "permission denied", _REMEDIES.get(error.errno or 0, ""), uncounted, sensor.part)
        return Absent(sensor.source, f"cannot be read ({error})", "", uncounted, sensor.part)
    return Found((counter,))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
