"""A device's count, divided among the runs that overlap on it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

from fitprint.clock import Clock
from fitprint.sensors.counter import HOST_PARTS, Sensor, Unwrapped
from fitprint.sensors.overlap import Overlap
from fitprint.sensors.share import SHARE_ERROR, Attributed

BY_TIME, EVENLY = "by CPU time, evenly within a process,", "evenly"


class Device(NamedTuple):
    """What runs of a machine divide among themselves.

    Attributes:
        key: Its name among them; those that name the same divide it.
        evenly: By heads, not by CPU time.
    """

    key: str
    evenly: bool

    @classmethod
    def of(cls, sensor: Sensor, key: str) -> Device:
        """CPU and memory go by CPU time, a board by heads."""
        return cls(key, sensor.part not in HOST_PARTS)

    @property
    def how(self) -> str:
        """In words."""
        return EVENLY if self.evenly else BY_TIME


class Stretch:
    """What was counted of a device while other runs overlapped: a row that is added to a meter when the first comes.

    Args:
        sensor: What it counts.
        whole: The device.
    """

    __slots__ = ("_since_ns", "_whole", "sensor", "total")
    power_w = 0.0
    min_interval_s = 0.0
    slow = False

    def __init__(self, sensor: Sensor, whole: Unwrapped | Attributed) -> None:
        self.sensor = sensor
        self.total = 0
        self._whole = whole
        self._since_ns = whole.observed_ns

    @property
    def observed_ns(self) -> int:
        return self._whole.observed_ns - self._since_ns

    @property
    def read_ns(self) -> int:
        return self._whole.read_ns

    def read(self, clock: Clock) -> None:
        """Whoever divides adds to it."""

    def leave_out(self, now_ns: int) -> None:
        """The device has left it out already."""

    def unseen_j(self, now_ns: int) -> float:
        """The device tells."""
        return 0.0


class Divided:
    """A count of which a run is charged all while it is alone, and its part while others overlap.

    Parts are settled a look later, when all have told their CPU time; until then the last part is taken.
    What turned out to be too much is not charged again later, so that nothing ever decreases.

    Args:
        whole: The device.
        device: Its name among the runs, and how it is divided.
    """

    __slots__ = (
        "_before", "_charged", "_due", "_mark", "_now", "_part", "_settled", "device", "gross", "own", "sensor", "total", "whole",
    )  # fmt: skip

    def __init__(self, whole: Unwrapped | Attributed, device: Device) -> None:
        self.sensor = whole.sensor
        self.whole = whole
        self.device = device
        self.total = 0
        self.own: Stretch | None = None
        self.gross: Stretch | None = None
        self._part = 1.0
        self._charged = 0
        self._before = self._now = 0
        self._due = 0.0
        self._settled = self._mark = 0

    @property
    def observed_ns(self) -> int:
        return self.whole.observed_ns

    @property
    def read_ns(self) -> int:
        return self.whole.read_ns

    @property
    def min_interval_s(self) -> float:
        return self.whole.min_interval_s

    @property
    def slow(self) -> bool:
        return self.whole.slow

    @property
    def power_w(self) -> float:
        return self.whole.power_w * self._part

    def read(self, clock: Clock) -> None:
        """Read the device and charge what is due of it."""
        self.whole.read(clock)
        self._before, self._now = self._now, self.whole.total
        if self.own is None:
            self.total = self._now
        else:
            self._charge(self.own)

    def leave_out(self, now_ns: int) -> None:
        self.whole.leave_out(now_ns)

    def unseen_j(self, now_ns: int) -> float:
        return self.whole.unseen_j(now_ns) * self._part

    def settle(self, overlap: Overlap) -> tuple[Stretch, ...]:
        """Take in what the others have told, after a reading; returns rows that are new.

        Args:
            overlap: Has just looked around.
        """
        if overlap.begins:  # up to the reading before this one it was alone, as far as it knew
            self._due += (self._before - self._settled) * self._part
            self._settled = self._before
        else:
            self._due += (self._mark - self._settled) * overlap.part(self.device.key, evenly=self.device.evenly)
            self._settled = self._mark
        self._mark = self._now
        self._part = overlap.part_now(self.device.key, evenly=self.device.evenly)
        if self._part == 1.0 or self.own is not None:
            return ()
        self._charged = self.total
        self.own, self.gross = (Stretch(sensor, self.whole) for sensor in self._rows())
        return (self.own, self.gross) if self.sensor.role == "counted" else (self.own,)

    def _charge(self, own: Stretch) -> None:
        due = math.floor(self._due + (self._now - self._settled) * self._part) - self._charged
        if self._part < 1.0 and self.gross is not None:
            self.gross.total += self._now - self._before
        if due <= 0:
            return
        self._charged += due
        if self._part < 1.0:
            own.total += due
        else:
            self.total += due

    def _rows(self) -> tuple[Sensor, Sensor]:
        """This run's part of what was counted during overlaps, and all of that."""
        how = f"divided {self.device.how} among overlapping runs"
        own = dataclasses.replace(
            self.sensor,
            id=f"{self.sensor.id}:overlap",
            low=math.hypot(self.sensor.low, SHARE_ERROR),
            high=math.hypot(self.sensor.high, SHARE_ERROR),
            source=f"{self.sensor.source}, {how}",
            role="overlap",
            bias=how,
        )
        return own, dataclasses.replace(self.sensor, id=f"{self.sensor.id}:overlap:gross", role="gross")


def divided(totals: list[Unwrapped | Attributed], devices: Mapping[str, Device]) -> list[Unwrapped | Attributed | Divided]:
    """What is charged, divided where it has a name among the runs; what is only shown beside them is not."""
    charged = ("counted", "share")
    return [
        Divided(total, device) if total.sensor.role in charged and (device := devices.get(_plain(total.sensor))) else total
        for total in totals
    ]


def _plain(sensor: Sensor) -> str:
    return sensor.id.removesuffix(":share")
