"""What a run's devices counted, and what of it the run was charged, over the machine's own time: to compare runs later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from fitprint.clock import NS_PER_S
from fitprint.energy import Energy
from fitprint.sensors.counter import COUNTED, NODE, Sensor
from fitprint.sensors.divided import Device

CAPACITY = 100
_SUFFIXES = (":overlap:gross", ":overlap", ":share")

Row = list[tuple[int, float]]


class Readings:
    """Counts at moments of a run: at most ``capacity`` of them, the first and the last among them.

    The time is the machine's since it booted, which all its processes share; counts are differences since the
    run began, so that counters that begin at 0 in each process (perf events) can be compared as well.

    Args:
        machine: The machine's boot (``process.machine_id``).
        devices: By sensor id, what runs of the machine divide; counters that somebody brought along are known to nobody else.
        capacity: Largest number of moments.
    """

    def __init__(self, machine: str, devices: Mapping[str, Device], capacity: int = CAPACITY) -> None:
        self._machine = machine
        self._devices = devices
        self._capacity = capacity
        self._marks: list[tuple[int, Energy]] = []
        self._apart_ns = 0

    def mark(self, boot_ns: int, energy: Energy) -> None:
        """Note what has been counted by now.

        Args:
            boot_ns: Nanoseconds since the machine booted, its sleep included.
            energy: All of the run.
        """
        mark = (boot_ns, energy)
        if len(self._marks) > 1 and self._marks[-1][0] - self._marks[-2][0] < self._apart_ns:
            self._marks[-1] = mark
            return
        self._marks.append(mark)
        if len(self._marks) > self._capacity:
            del self._marks[1:-1:2]
            steps = sorted(b - a for (a, _), (b, _) in pairwise(self._marks))
            self._apart_ns = steps[len(steps) // 2]

    def to_dict(self) -> dict[str, Any] | None:
        """Plain types; None where nothing was counted or the machine cannot be told from others."""
        if not self._machine or not self._marks:
            return None
        rows = {name: of for name, of in _rows(self._marks[-1][1].sensors).items() if name in self._devices}
        if not rows:
            return None
        return {
            "machine": self._machine,
            "boot_s": [round(time_ns / NS_PER_S, 3) for time_ns, _ in self._marks],
            "devices": {self._devices[name].key: {"id": name, **self._series(*of)} for name, of in rows.items()},
        }

    def _series(self, whole: Row, own: Row) -> dict[str, list[float]]:
        """All that the device counted, and what of it is the run's where that is less."""
        whole_j, own_j = ([_joules(energy, row) for _, energy in self._marks] for row in (whole, own))
        return {"whole_j": whole_j} if own_j == whole_j else {"whole_j": whole_j, "own_j": own_j}


def _rows(sensors: Sequence[Sensor]) -> dict[str, tuple[Row, Row]]:
    """By device, where in a reading all of it stands, and what of it is the run's, with the unit of each."""
    rows: dict[str, tuple[Row, Row]] = {}
    for place, sensor in enumerate(sensors):
        if sensor.role == NODE:
            continue
        whole, own = rows.setdefault(plain(sensor), ([], []))
        if sensor.role in ("counted", "gross"):
            whole.append((place, sensor.unit_j))
        if sensor.role in COUNTED:
            own.append((place, sensor.unit_j))
    return rows


def plain(sensor: Sensor) -> str:
    """The id of the device that a sensor's row is about."""
    return device_of(sensor.id)


def device_of(name: str) -> str:
    """The id of the device that a sensor id is about: a part of it that is the run's is no device of its own."""
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _joules(energy: Energy, row: Row) -> float:
    """Earlier readings lack the rows that came later."""
    counts = energy.counts
    return round(sum(counts[place] * unit_j for place, unit_j in row if place < len(counts)), 3)
