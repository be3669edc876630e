"""CPU packages and DRAM through Linux powercap (RAPL on Intel and AMD)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fitprint.sensors.counter import UJ_IN_J, Sensor
from fitprint.sensors.finding import Absent, Finding, Found

SOURCE = "RAPL (powercap)"
# A zone's own limit is often its TDP, which boost exceeds: it only ever raises this.
P_MAX_W = 1000.0
# RAPL against external meters: package and DRAM readings of server parts follow the truth within a
# few percent (Khan et al. 2016: at most 5.6 % after calibration); +-5 % is stated here.
RAPL_ERROR = 0.05
# The counters are updated about once a millisecond (Intel SDM; Linux amd_energy.rst).
TICK_S = 0.001

_TOP_ZONE = re.compile(r"intel-rapl:\d+")


class RaplZone:
    """One zone's ``energy_uj``, kept open: re-reading at offset 0 costs microseconds."""

    min_interval_s = 0.0

    def __init__(self, folder: Path, package: str, part: str) -> None:
        self._fd = os.open(folder / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)
        self.modulus = _range(folder)
        self.p_max_w = max([P_MAX_W, *_limits_w(folder)])
        self.sensor = Sensor(
            id=f"{part}:{package}",
            part=part,
            method="counter",
            unit_j=UJ_IN_J,
            low=RAPL_ERROR,
            high=RAPL_ERROR,
            source=f"{SOURCE}, {part} of {package}",
            tick_s=TICK_S,
        )

    def read(self) -> int:
        return int(os.pread(self._fd, 64, 0))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def probe(sys_root: Path) -> list[Finding]:
    """Find package and DRAM zones under ``<sys_root>/class/powercap``.

    ``psys`` contains the packages and core/uncore are contained in them, so neither is added.
    """
    root = sys_root / "class" / "powercap"
    zones = sorted(path for path in root.glob("intel-rapl:*") if _TOP_ZONE.fullmatch(path.name))
    if not zones:
        return [
            Absent(SOURCE, "no zone under class/powercap", "on bare metal: modprobe intel_rapl_msr; virtual machines have none")
        ]
    findings: list[Finding] = []
    for zone in zones:
        package = _name(zone)
        if not package.startswith("package"):
            continue
        findings.append(_open(zone, package, "cpu", root))
        children = sorted(zone.glob("intel-rapl:*:*")) or sorted(root.glob(f"{zone.name}:*"))
        findings += [_open(child, package, "dram", root) for child in children if _name(child) == "dram"]
    return findings or [Absent(SOURCE, "no package or dram zone under class/powercap")]


def _open(folder: Path, package: str, part: str, root: Path) -> Finding:
    source, left_out = f"{SOURCE}, {part} of {package}", f"{part} of {package}"
    counter = None
    try:
        counter = RaplZone(folder, package, part)
        counter.read()
    except PermissionError:
        return Absent(source, "permission denied", permission_remedy(root), left_out, part)
    except (OSError, ValueError) as error:
        if counter is not None:
            counter.close()
        return Absent(source, f"cannot be read ({error})", "", left_out, part)
    return Found((counter,))


def permission_remedy(root: Path) -> str:
    """The command that lets every user read the zones until the next boot.

    Kernels since November 2020 keep them to root (CVE-2020-8694).
    """
    return f"sudo chmod a+r {root}/intel-rapl*/energy_uj"


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text().strip()
    except OSError:
        return folder.name


def _range(folder: Path) -> int | None:
    """The counter starts again one unit after its largest value; unknown range: any decrease is a reset."""
    try:
        return int((folder / "max_energy_range_uj").read_text()) + 1
    except (OSError, ValueError):
        return None


def _limits_w(folder: Path) -> list[float]:
    limits = []
    for path in folder.glob("constraint_*_max_power_uw"):
        try:
            limits.append(int(path.read_text()) * UJ_IN_J)
        except (OSError, ValueError):
            continue
    return limits
