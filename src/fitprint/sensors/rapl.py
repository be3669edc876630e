"""CPU packages and DRAM through Linux powercap (RAPL on Intel and AMD)."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from fitprint.errors import SensorError
from fitprint.open_files import leave_room
from fitprint.sensors.counter import UJ_IN_J, Counter, Sensor
from fitprint.sensors.finding import Absent, Finding, Found

SOURCE = "RAPL (powercap)"
# A zone's own limit is often its TDP, which boost exceeds: it only ever raises this.
P_MAX_W = 1000.0
# RAPL against external meters: package and DRAM readings of server parts follow the truth within a
# few percent (Khan et al. 2016: at most 5.6 % after calibration); +-5 % is stated here.
RAPL_ERROR = 0.05
# The counters are updated about once a millisecond (Intel SDM; Linux amd_energy.rst).
TICK_S = 0.001

# A range that P_MAX_W passes within less is nonsense: the least that hardware has is 65,536 J (AMD), a minute of it.
SHORTEST_RANGE_S = 0.01

# psys is the whole machine: a DGX B200 draws 14.3 kW (NVIDIA's data sheet).
PSYS_P_MAX_W = 20_000.0
# psys against the battery's own figure on idle laptops: 6.66 W for 6 W and 12.21 W for 9.31 W, which
# is 31 % off (CodeCarbon's RAPL documentation).
PSYS_ERROR = 0.31

# Zones that may show one and the same counter are looked at twice, this long apart: a few updates.
LOOKS_APART_S = 0.004
# Two views of a counter may be brought up to date at different times: two updates' worth at most.
LAG_UJ = round(2 * TICK_S * P_MAX_W / UJ_IN_J)
# Counters that began at 0 together agree until their powers have led them apart, so below 10 J
# agreement proves nothing. That misses a true copy in 10 of the 65,536 J after which AMD's counters
# start again: in 0.015 % of the starts.
TELLING_UJ = 10_000_000

_ZONE = re.compile(r"intel-rapl(-mmio)?:\d+")
_PSYS = re.compile(r"psys(-\d+)?")


VIRTUAL = Absent(SOURCE, "the hypervisor shows this virtual machine no zone of its host")
NO_ZONE = Absent(SOURCE, "no zone under class/powercap", "sudo modprobe intel_rapl_msr")
OTHER_CPU = Absent(SOURCE, "only processors of Intel and AMD have it")
# Docker hides what the links under class/powercap lead to (GMS-2023-3981).
MASKED = Absent(
    SOURCE,
    "the zones are masked in this container",
    "start the container with -v /sys:/host/sys:ro -e FITPRINT_SYS_ROOT=/host/sys",
)


class RaplZone:
    """One zone's ``energy_uj``, kept open: re-reading at offset 0 costs microseconds."""

    min_interval_s = 0.0

    def __init__(self, folder: Path, sensor: Sensor, p_max_w: float) -> None:
        leave_room()
        self._fd = os.open(folder / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)
        self.p_max_w = max([p_max_w, *_limits_w(folder)])
        self.modulus = _range(folder, self.p_max_w)
        self.sensor = sensor

    def read(self) -> int:
        text = os.pread(self._fd, 64, 0)
        try:
            return int(text)
        except ValueError as error:
            raise SensorError(f"{self.sensor.id}: {text!r} is no number") from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def probe(sys_root: Path, sleep: Callable[[float], None] = time.sleep, *, virtual: bool = False, x86: bool = True) -> list[Finding]:
    """Find package, DRAM and psys zones under ``<sys_root>/class/powercap``.

    ``psys`` contains the packages and is only shown beside them; core and uncore are contained in
    them and never added. ``intel-rapl-mmio`` shows the same counters as ``intel-rapl`` and serves
    where that has none.

    Args:
        sys_root: Normally ``/sys``.
        sleep: Waits some seconds; called once, and only where zones seem to show one counter.
        virtual: A hypervisor lies below, which shows no zones unless it is told to.
        x86: The processor is Intel's or AMD's; others have no such counters.
    """
    root = sys_root / "class" / "powercap"
    zones = [path for path in root.glob("intel-rapl*") if _ZONE.fullmatch(path.name)]
    zones.sort(key=lambda path: ("mmio" in path.name, path.name))
    if not zones:
        return [VIRTUAL if virtual else NO_ZONE if x86 else OTHER_CPU]
    if all(zone.is_symlink() and not zone.exists() for zone in zones):
        return [MASKED]
    folders: dict[tuple[str, str], Path] = {}
    for zone in zones:
        folders = dict(_countable(zone, root)) | folders
    parts = [_open_part(part, package, folder, root) for (package, part), folder in sorted(folders.items())]
    copies = _copies(_counters(parts), sleep)
    findings = [_counted_once(finding, copies) for finding in parts]
    return (findings or [Absent(SOURCE, "no package or dram zone under class/powercap")]) + _psys(zones, root)


def _countable(zone: Path, root: Path) -> Iterator[tuple[tuple[str, str], Path]]:
    """The folders of a package and of its DRAM, by package and part; none of any other zone."""
    package = _name(zone)
    if not package.startswith("package"):
        return
    yield (package, "cpu"), zone
    for child in sorted(zone.glob(f"{zone.name}:*")) or sorted(root.glob(f"{zone.name}:*")):
        if _name(child) == "dram":
            yield (package, "dram"), child


def _open_part(part: str, package: str, folder: Path, root: Path) -> Finding:
    what = f"{part} of {package}"
    source = f"{SOURCE}, {what}"
    sensor = Sensor(f"{part}:{package}", part, "counter", UJ_IN_J, RAPL_ERROR, RAPL_ERROR, source, tick_s=TICK_S)
    return _open(folder, sensor, P_MAX_W, root, uncounted=what)


def _psys(zones: Sequence[Path], root: Path) -> list[Finding]:
    """The whole machine: the kernel has it once, from the package that answers for the platform."""
    source = f"{SOURCE}, psys"
    sensor = Sensor("node:psys", "node", "counter", UJ_IN_J, PSYS_ERROR, PSYS_ERROR, source, tick_s=TICK_S, role="node")
    folders = [zone for zone in zones if _PSYS.fullmatch(_name(zone))]
    return [_open(folder, sensor, PSYS_P_MAX_W, root, uncounted="") for folder in folders[:1]]


def _open(folder: Path, sensor: Sensor, p_max_w: float, root: Path, uncounted: str) -> Finding:
    zone = None
    try:
        zone = RaplZone(folder, sensor, p_max_w)
        zone.read()
    except (OSError, SensorError) as error:
        if zone is not None:
            zone.close()
        if isinstance(error, PermissionError):
            return Absent(sensor.source, "permission denied", permission_remedy(root), uncounted, sensor.part)
        return Absent(sensor.source, f"cannot be read ({error})", "", uncounted, sensor.part)
    return Found((zone,))


def _counters(findings: Sequence[Finding]) -> list[Counter]:
    return [counter for finding in findings if isinstance(finding, Found) for counter in finding.counters]


def _counted_once(finding: Finding, copies: Mapping[str, str]) -> Finding:
    """The finding, or a note in its place where another zone shows the same counter."""
    for counter in _counters([finding]):
        if counter.sensor.id in copies:
            counter.close()
            return Found((), notes=(f"{counter.sensor.id} shows the counter of {copies[counter.sensor.id]}: counted once",))
    return finding


def _copies(zones: Sequence[Counter], sleep: Callable[[float], None]) -> dict[str, str]:
    """Ids of zones that show another zone's counter, with the id of that zone.

    AMD counts whole packages, yet Linux before 6.12 may list a zone for each die. Zones show one
    counter if they agree, move, and agree still: zones that stand still are kept. Counters of their
    own are within 2 J of each other (0.2 J at 100 W) in 4 of the 65,536 J after which they start
    again: in 6 of 100,000 starts at most (6 of 1,000,000).
    """
    pairs = [(a.sensor.id, b.sensor.id) for a, b in combinations(zones, 2) if a.sensor.part == b.sensor.part]
    try:
        before = _look(zones)
        suspects = [(a, b) for a, b in pairs if _alike(before[a], before[b])]
        if not suspects:
            return {}
        sleep(LOOKS_APART_S)
        after = _look(zones)
    except (OSError, SensorError):  # what cannot be compared is kept
        return {}
    return {b: a for a, b in reversed(suspects) if _moved_together((before[a], after[a]), (before[b], after[b]))}


def _look(zones: Sequence[Counter]) -> dict[str, tuple[int, int]]:
    """Two readings of each zone with one of each other zone in between."""
    first = [zone.read() for zone in zones]
    return {zone.sensor.id: (reading, zone.read()) for zone, reading in zip(zones, first, strict=True)}


def _alike(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return min(a[0], b[0]) >= TELLING_UJ and _distance(a, b) <= LAG_UJ


def _distance(a: tuple[int, int], b: tuple[int, int]) -> int:
    """How far b's first reading lies outside of a's two, between which it was taken."""
    return max(a[0] - b[0], b[0] - a[1], 0)


def _moved_together(a: Sequence[tuple[int, int]], b: Sequence[tuple[int, int]]) -> bool:
    """Both moved from look to look and differed in each by half of that, two updates' worth, at most."""
    moved = min(a[1][0] - a[0][1], b[1][0] - b[0][1])
    return moved > 0 and max(map(_distance, a, b)) <= min(moved // 2, LAG_UJ)


def permission_remedy(root: Path) -> str:
    """The command that lets every user read the zones until the next boot.

    Kernels since November 2020 keep them to root (CVE-2020-8694).
    """
    return f"sudo chmod a+r {root}/intel-rapl*/energy_uj"


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text(errors="replace").strip()
    except OSError:
        return folder.name


def _range(folder: Path, p_max_w: float) -> int | None:
    """The counter starts again one unit after its largest value; unknown range: any decrease is a reset.

    A range that would be passed at once is none: the keeper would have to read without a pause.
    """
    try:
        units = int((folder / "max_energy_range_uj").read_text()) + 1
    except (OSError, ValueError):
        return None
    return units if units * UJ_IN_J >= SHORTEST_RANGE_S * p_max_w else None


def _limits_w(folder: Path) -> list[float]:
    limits = []
    for path in folder.glob("constraint_*_max_power_uw"):
        try:
            limits.append(int(path.read_text()) * UJ_IN_J)
        except (OSError, ValueError):
            continue
    return limits
