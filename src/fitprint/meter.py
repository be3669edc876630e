"""Floor 2: the meter reads counters, at boundaries and often enough that none wraps unseen."""

from __future__ import annotations

import operator
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from fitprint.clock import NS_PER_S, Clock, SystemClock
from fitprint.energy import Energy
from fitprint.notices import logger
from fitprint.sensors.counter import COUNTED, Counter, Sensor, Unwrapped
from fitprint.sensors.divided import Device, Divided, Stretch, divided
from fitprint.sensors.overlap import LOOK_S, Overlap
from fitprint.sensors.share import Attributed, Shared

Total = Unwrapped | Attributed | Divided | Stretch

LONGEST_PERIOD_S = 30.0
GAUGE_PERIOD_S = 1.0
NOT_STARTED = -1
# The two clocks that tell a suspend are read one after the other: less than this is no suspend.
SUSPEND_NS = NS_PER_S
# How long a boundary waits, once, for another thread that hangs in a driver.
PATIENCE_S = 0.2
# How long closing waits for a keeper that is in the middle of a tick.
LAST_TICK_S = 1.0


class Snapshot(NamedTuple):
    """All counters at one instant; the difference of two is an Energy. A tuple, which is made at every boundary.

    Attributes:
        time_ns: Monotonic nanoseconds at which the reading began.
        boot_ns: The same moment with the machine's sleep since it booted.
        counts: Totals since the meter's start in native units, one per sensor.
        observed_ns: Observed time since the meter's start, one per sensor.
        sensors: The sensors; a later snapshot may have more behind them.
    """

    time_ns: int
    boot_ns: int
    counts: tuple[int, ...]
    observed_ns: tuple[int, ...]
    sensors: tuple[Sensor, ...] = ()


class Meter:
    """Reads a set of counters.

    One read serves the window that ends and the one that begins. A daemon thread, the keeper,
    reads slowly in between so that counters cannot wrap twice unseen.

    Args:
        counters: What to read; of a Shared one, both the whole and this job's share are.
        clock: Time source.
        on_tick: Called by the keeper after each of its readings.
        overlap: The runs beside this one, with which devices are divided.
        devices: By sensor id, what is divided.

    Example:
        >>> from fitprint.testing import FakeClock, ScriptedCounter
        >>> clock = FakeClock()
        >>> with Meter([ScriptedCounter(clock, watts=100.0)], clock=clock) as meter:
        ...     before = meter.snapshot()
        ...     clock.advance(3.0)
        ...     meter.between(before, meter.snapshot()).joules
        300.0
    """

    def __init__(
        self,
        counters: Sequence[Counter | Shared],
        *,
        clock: Clock | None = None,
        on_tick: Callable[[], None] | None = None,
        overlap: Overlap | None = None,
        devices: Mapping[str, Device] | None = None,
    ) -> None:
        totals = [total for counter in counters for total in _totals(counter)]
        self._counters = [total.counter for total in totals if isinstance(total, Unwrapped)]
        self._totals: list[Total] = [*divided(totals, devices or {})]
        self._overlap = overlap
        self._sensors = tuple(total.sensor for total in self._totals)
        self._clock = clock or SystemClock()
        self._on_tick = on_tick
        self._lock = threading.RLock()
        self._latest: Snapshot | None = None
        self._reading = False
        self._stuck = False
        self._stop = threading.Event()
        self._keeper: threading.Thread | None = None
        self._pid = NOT_STARTED
        self._asleep_ns = 0
        self._cpu_s = 0.0

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """What each position of a snapshot measures."""
        return self._sensors

    @property
    def period_s(self) -> float:
        """The keeper's period: min(30 s, range / (2 P_max)), 1 s where power is integrated."""
        periods = [LONGEST_PERIOD_S]
        for counter in self._counters:
            if counter.modulus is not None:
                periods.append(counter.modulus * counter.sensor.unit_j / (2 * counter.p_max_w))
            if counter.sensor.method == "integrated":
                periods.append(GAUGE_PERIOD_S)
        if any(total.slow for total in self._totals):
            periods.append(GAUGE_PERIOD_S)
        return min(periods)

    @property
    def cpu_s(self) -> float:
        """CPU seconds that the keeper has used."""
        return self._cpu_s

    @property
    def alive(self) -> bool:
        """True from start to close, in the process that started it; a forked child's copy is inert."""
        return self._pid == os.getpid() and not self._stop.is_set()

    def start(self) -> Snapshot:
        """Take the first reading and start the keeper.

        Raises:
            RuntimeError: If it was closed before.
        """
        if self._stop.is_set():
            raise RuntimeError("A closed Meter cannot be started again; create a new one.")
        self._pid = os.getpid()
        self._asleep_ns = self._clock.asleep_ns()
        if self._overlap is not None:
            self._overlap.join()
        first = self.snapshot()
        self._keeper = threading.Thread(target=self._keep, name="fitprint-keeper", daemon=True)
        self._keeper.start()
        return first

    def snapshot(self, *, fresh: bool = True) -> Snapshot:
        """Read all counters, in a fixed order.

        Args:
            fresh: False lets a counter with a ``min_interval_s`` answer with a younger reading.
        """
        if not self._lock.acquire(timeout=0 if self._stuck else PATIENCE_S):
            return self._without_reading()
        try:
            self._stuck = False
            if self._reading and self._latest is not None:  # a signal handler asks in the middle of a reading
                return self._latest
            self._reading = True
            try:
                self._latest = self._read(fresh=fresh)
            finally:
                self._reading = False
            return self._latest
        finally:
            self._lock.release()

    @property
    def latest(self) -> Snapshot | None:
        """The snapshot that was taken last, by whatever thread; None before the first."""
        return self._latest

    def _without_reading(self) -> Snapshot:
        """Another thread hangs in a driver: time goes on, what was counted meanwhile comes with the next reading."""
        self._stuck = True
        latest = self._latest or Snapshot(0, 0, (0,) * len(self._sensors), (0,) * len(self._sensors), self._sensors)
        now_ns = self._clock.monotonic_ns()
        return latest._replace(time_ns=now_ns, boot_ns=now_ns + self._clock.asleep_ns())

    def _read(self, *, fresh: bool) -> Snapshot:
        now_ns = self._clock.monotonic_ns()
        fresh = self._woke_up(now_ns) or fresh
        overlap = self._overlap
        told = overlap is not None and now_ns >= overlap.due_ns and self._look(overlap, now_ns)
        for total in self._totals:
            if total.slow:
                continue
            if fresh or now_ns - total.read_ns >= total.min_interval_s * NS_PER_S:
                total.read(self._clock)
        if overlap is not None and told:
            self._settle(overlap)
        totals, boot_ns = self._totals, now_ns + self._asleep_ns
        return Snapshot(now_ns, boot_ns, tuple([t.total for t in totals]), tuple([t.observed_ns for t in totals]), self._sensors)

    def _look(self, overlap: Overlap, now_ns: int) -> bool:
        """Look for runs beside this one; whatever they left there costs no reading."""
        try:
            return overlap.look(now_ns, self._latest.time_ns if self._latest is not None else now_ns)
        except Exception:
            logger().debug("the runs beside this one could not be looked at", exc_info=True)
            return False

    def _settle(self, overlap: Overlap) -> None:
        """Divide by what the runs beside this one have told; the first that comes brings rows of its own."""
        new = [row for total in self._totals if isinstance(total, Divided) for row in total.settle(overlap)]
        if new:
            self._totals = [*self._totals, *new]
            self._sensors = tuple(total.sensor for total in self._totals)

    def _read_slow(self) -> None:
        """What boundaries cannot wait for; without the lock, since nobody else reads it."""
        for total in self._totals:
            if total.slow:
                total.read(self._clock)

    def _woke_up(self, now_ns: int) -> bool:
        """Whether the machine was suspended since the last reading; counters may have been reset or stood still."""
        asleep_ns = self._clock.asleep_ns()
        woke_up = asleep_ns - self._asleep_ns > SUSPEND_NS
        self._asleep_ns = asleep_ns
        if woke_up:
            for total in self._totals:
                total.leave_out(now_ns)
        return woke_up

    def between(self, before: Snapshot, after: Snapshot) -> Energy:
        """The energy from one snapshot to a later one."""
        counts, observed_ns = before.counts, before.observed_ns
        if len(counts) < len(after.counts):
            new = (0,) * (len(after.counts) - len(counts))
            counts, observed_ns = counts + new, observed_ns + new
        return Energy(
            after.sensors,
            tuple(map(operator.sub, after.counts, counts)),
            tuple(map(operator.sub, after.observed_ns, observed_ns)),
            after.time_ns - before.time_ns,
        )

    @property
    def power_w(self) -> float:
        """Recent power of all that counts together, over a second or more."""
        return sum(total.power_w for total in self._totals if total.sensor.role in COUNTED)

    def unseen_j(self) -> float:
        """What has probably been drawn since the counters were last read."""
        now_ns = self._clock.monotonic_ns()
        return sum(total.unseen_j(now_ns) for total in self._totals if total.sensor.role in COUNTED)

    def close(self) -> None:
        """End the keeper and give the counters back. May be called twice, from any process."""
        if self._stop.is_set() or self._pid not in (NOT_STARTED, os.getpid()):
            return
        self._stop.set()
        hangs = self._keeper_hangs()
        if self._overlap is not None and self._pid != NOT_STARTED:
            self._overlap.leave()
        if not hangs and self._lock.acquire(timeout=PATIENCE_S):
            self._give_back()
            self._lock.release()

    def _keeper_hangs(self) -> bool:
        """Whether the keeper cannot end, because it is in a driver; then it keeps its handles."""
        if self._keeper is None or self._keeper is threading.current_thread():
            return False
        self._keeper.join(timeout=LAST_TICK_S)
        return self._keeper.is_alive()

    def _give_back(self) -> None:
        for counter in self._counters:
            try:
                counter.close()
            except Exception:  # the others have to be given back too
                logger().debug("%s could not be closed", counter.sensor.id, exc_info=True)

    def _keep(self) -> None:
        read_s = time.monotonic()
        while not self._stop.wait(self._pause_s(read_s)):
            try:
                if self._overlap is not None and self._overlap.news():
                    self._overlap.due_ns = 0
                    self.snapshot(fresh=False)
                if time.monotonic() - read_s < self.period_s:
                    continue
                read_s = time.monotonic()
                self._read_slow()
                self.snapshot(fresh=False)
                if self._on_tick is not None:
                    self._on_tick()
            except BaseException:  # a keeper that dies would lose wraps; a bad tick only loses a tick
                logger().debug("keeper tick failed", exc_info=True)
            finally:
                self._cpu_s = time.thread_time()

    def _pause_s(self, read_s: float) -> float:
        """Until the next reading; all runs of a machine look around at the same moments, at every full second."""
        now_s = time.monotonic()
        left_s = max(0.0, read_s + self.period_s - now_s)
        return left_s if self._overlap is None else min(left_s, LOOK_S - now_s % LOOK_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("A Meter holds driver handles and a thread and cannot be pickled or copied; create it where it is used.")


def _totals(counter: Counter | Shared) -> list[Unwrapped | Attributed]:
    """What is read of a counter; the whole before the share of it."""
    if not isinstance(counter, Shared):
        return [Unwrapped(counter)]
    whole = Unwrapped(counter.counter, counter.gross)
    return [whole, Attributed(whole, counter)]
