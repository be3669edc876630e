"""This job's share of a device that others use too."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

from fitprint.clock import NS_PER_S, Clock
from fitprint.sensors.counter import Counter, Sensor, Unwrapped

# Joules of equal CPU time differ 2 to 4 times with vector instructions and 2 to 3 times when bound by
# memory (measured by others on shared hosts), so a share by time is taken for no better than a model.
SHARE_ERROR = 0.40
# CPU time is told in steps of up to 10 ms: a share is taken over at least this long.
SHARE_OVER_S = 1.0
US_PER_NS = 1e-3


class Shared(NamedTuple):
    """A counter of which this job is charged only a share.

    Attributes:
        counter: The whole device.
        share: The job's share (0 to 1) since it was last asked.
        by: What the share goes by, in words, for example ``CPU time``.
    """

    counter: Counter
    share: Callable[[], float]
    by: str

    @property
    def gross(self) -> Sensor:
        """The whole device, shown beside the run."""
        return dataclasses.replace(self.counter.sensor, role="gross")

    @property
    def attributed(self) -> Sensor:
        """The share, which is in the run."""
        whole = self.counter.sensor
        return dataclasses.replace(
            whole,
            id=f"{whole.id}:share",
            low=math.hypot(whole.low, SHARE_ERROR),
            high=math.hypot(whole.high, SHARE_ERROR),
            source=f"{whole.source}, this job's share by {self.by}",
            role="share",
            bias=f"share by {self.by}",
        )


class Attributed:
    """The share of a counter that is being unwrapped, in the same native units; read after it.

    Args:
        whole: The counter of the whole device.
        shared: How the share is found.
    """

    __slots__ = ("_last_share", "_part", "_seen", "_shared", "_whole", "sensor", "total")
    min_interval_s = 0.0
    slow = False

    def __init__(self, whole: Unwrapped, shared: Shared) -> None:
        self.sensor = shared.attributed
        self.total = 0
        self._whole = whole
        self._shared = shared
        self._seen = 0
        self._part = 0.0
        self._last_share = 1.0

    @property
    def observed_ns(self) -> int:
        return self._whole.observed_ns

    @property
    def read_ns(self) -> int:
        return self._whole.read_ns

    @property
    def power_w(self) -> float:
        return self._whole.power_w * self._last_share

    def read(self, clock: Clock) -> None:
        """Take over what the whole has counted since the last time."""
        counted, self._seen = self._whole.total - self._seen, self._whole.total
        self._part += counted * self._share()
        self.total += math.floor(self._part)
        self._part -= math.floor(self._part)

    def leave_out(self, now_ns: int) -> None:
        """The whole has left it out already."""

    def unseen_j(self, now_ns: int) -> float:
        return self._whole.unseen_j(now_ns) * self._last_share

    def _share(self) -> float:
        """A share that cannot be found out now is the last known."""
        try:
            share = self._shared.share()
            self._last_share = min(1.0, max(0.0, share)) if math.isfinite(share) else self._last_share
        except Exception:  # other people's processes come and go while they are looked at
            return self._last_share
        return self._last_share


class CpuShare:
    """Share of a package by reserved threads and busy CPU time.

    share = (rho x own threads x wall + own busy) / (rho x all threads x wall + all busy)

    rho is the idle power of a thread over what it adds when busy, from the same curve as the model's:
    a job that only waits is charged the idle power of what it has reserved, and the shares of all jobs
    of a machine add up to one.

    Args:
        own_us: Busy CPU time of this job in microseconds.
        all_us: Busy CPU time of the whole machine in microseconds.
        own_threads: Hardware threads that this job may use.
        all_threads: Hardware threads of the machine.
        rho: Idle power over dynamic power at full load.
        clock: Wall time.
    """

    def __init__(
        self,
        *,
        own_us: Callable[[], int],
        all_us: Callable[[], int],
        own_threads: float,
        all_threads: float,
        rho: float,
        clock: Clock,
    ) -> None:
        self._own_us, self._all_us = own_us, all_us
        self._own_threads, self._all_threads = own_threads, all_threads
        self._rho = rho
        self._clock = clock
        self._share = own_threads / all_threads
        self._since = (clock.monotonic_ns(), own_us(), all_us())

    def __call__(self) -> float:
        now_ns, own_us, all_us = self._clock.monotonic_ns(), self._own_us(), self._all_us()
        then_ns, own_before, all_before = self._since
        if now_ns - then_ns < SHARE_OVER_S * NS_PER_S:
            return self._share
        self._since = (now_ns, own_us, all_us)
        idle_us = self._rho * (now_ns - then_ns) * US_PER_NS
        own, everyone = own_us - own_before, max(all_us - all_before, own_us - own_before)
        self._share = (idle_us * self._own_threads + own) / (idle_us * self._all_threads + everyone)
        return self._share
