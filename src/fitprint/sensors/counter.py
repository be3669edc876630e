"""What a counter is, and the one place where raw readings become a total."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from fitprint.clock import NS_PER_S, Clock
from fitprint.errors import SensorError

Method = Literal["counter", "integrated", "modelled"]
# What becomes of the joules: counted in the run, counted as this job's share of a device whose gross
# is shown beside it, counted as this run's part while other runs overlapped (that time is in another sensor's),
# or the whole machine's power, which contains parts and is shown beside them too.
Role = Literal["counted", "share", "overlap", "gross", "node"]
COUNTED: tuple[Role, ...] = ("counted", "share", "overlap")

UJ_IN_J = 1e-6

PARTS = ("gpu", "cpu", "dram", "soc")
HOST_PARTS = ("cpu", "dram")
# What a sensor of the whole machine measures; no part, and in no sum.
NODE = "node"

# A reading may exceed what the hardware can draw by this factor (measurement noise, boost) and by
# one second's worth (counters are updated in steps) before it is taken for nonsense.
PLAUSIBLE_FACTOR = 1.5
PLAUSIBLE_SLACK_S = 1.0
# Power is the mean over at least this long: counters step every 20 to 100 ms.
POWER_OVER_NS = NS_PER_S
# Hardware that is on draws power, and its counter moves at every tick. One that stands still for longer
# does not measure (a hypervisor's stub, a hung firmware), and its joules are unknown, not 0.
FROZEN_NS = 10 * NS_PER_S
# A driver that takes longer for a reading, twice in a row, holds the training up: from then on the keeper alone reads it.
SLOW_NS = NS_PER_S // 10


@dataclass(frozen=True, slots=True)
class Sensor:
    """What a counter measures and how well.

    Attributes:
        id: Stable name on this host, for example ``gpu:GPU-6c1f...`` or ``cpu:package-0``.
        part: ``gpu``, ``cpu``, ``dram`` or ``soc``.
        method: ``counter`` (hardware), ``integrated`` (from power) or ``modelled``.
        unit_j: Joules per native unit of the counter.
        low: Relative half-width of the 95 % interval below the value.
        high: Relative half-width of the 95 % interval above the value.
        source: Where readings come from, for people.
        tick_s: How often the counter is brought up to date: what a window's ends may be off by.
        role: ``counted``, ``share`` or ``overlap`` of a device, which are in the run; ``gross`` or ``node``, shown beside it.
        at_wall: The figures contain the rest of the machine already: no node factor applies.
        bias: Sensors that name the same bias err together; of those that name none, the modelled ones do.
    """

    id: str
    part: str
    method: Method
    unit_j: float
    low: float
    high: float
    source: str
    tick_s: float = 0.0
    role: Role = "counted"
    bias: str = ""
    at_wall: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Counter(Protocol):
    """Something that has joules: a cumulative integer in native units."""

    @property
    def sensor(self) -> Sensor:
        """What it measures."""

    @property
    def modulus(self) -> int | None:
        """Native units after which the integer starts again from 0, or None if it does not."""

    @property
    def p_max_w(self) -> float:
        """More power than the hardware can draw, in watts."""

    @property
    def min_interval_s(self) -> float:
        """Reading more often than this is useless or harmful."""

    def read(self) -> int:
        """Return the raw value; raise SensorError or OSError where that fails now."""

    def close(self) -> None:
        """Give back what reading needs; may be called twice."""


class Gauge(Protocol):
    """Something that tells its power now."""

    @property
    def sensor(self) -> Sensor:
        """What it measures; the method is ``integrated`` and the unit a microjoule."""

    @property
    def p_max_w(self) -> float:
        """More power than the hardware can draw, in watts."""

    def watts(self) -> float:
        """Return the power now; raise SensorError or OSError where that fails."""

    def close(self) -> None:
        """Give back what reading needs; may be called twice."""


class Integrated:
    """A gauge as a counter of microjoules: trapezoids between readings, the window's edges included.

    Power that could not be read, or cannot be, is not made up: after a failure the count begins again
    at 0, which everyone who reads it takes for what it is, a gap.

    Args:
        gauge: What is integrated.
        clock: Time between readings.
    """

    modulus = None
    min_interval_s = 0.0

    def __init__(self, gauge: Gauge, clock: Clock) -> None:
        self.sensor = gauge.sensor
        self.p_max_w = gauge.p_max_w
        self._gauge = gauge
        self._clock = clock
        self._uj = 0.0
        self._last: tuple[int, float] | None = None

    def read(self) -> int:
        try:
            watts = self._plausible(self._gauge.watts())
        except Exception:
            self._last, self._uj = None, -1.0
            raise
        now_ns = self._clock.monotonic_ns()
        if self._last is not None:
            then_ns, before = self._last
            self._uj += (before + watts) / 2 * (now_ns - then_ns) / NS_PER_S / UJ_IN_J
        self._last = (now_ns, watts)
        return round(self._uj)

    def _plausible(self, watts: float) -> float:
        """One NaN or infinity in the sum would stay there for good."""
        if not 0.0 <= watts <= PLAUSIBLE_FACTOR * self.p_max_w:
            raise SensorError(f"{self.sensor.id}: it says {watts} W")
        return watts

    def close(self) -> None:
        self._gauge.close()


class Unwrapped:
    """A counter's total since the first reading, exact over any number of wraps.

    Readings must be denser than a wrap. A decrease that is no wrap, a jump that the hardware cannot
    have drawn, or a hardware counter that stands still adds nothing and leaves a gap: joules are
    neither invented nor negative.

    Args:
        counter: What is read.
        sensor: What it measures, where that is not what the counter says.
    """

    __slots__ = (
        "_frozen",
        "_moved_ns",
        "_power_known",
        "_power_since",
        "_raw",
        "_took_long",
        "counter",
        "gaps",
        "observed_ns",
        "power_w",
        "read_ns",
        "sensor",
        "slow",
        "total",
    )

    def __init__(self, counter: Counter, sensor: Sensor | None = None) -> None:
        self.counter = counter
        self.sensor = sensor or counter.sensor
        self.total = 0
        self.observed_ns = 0
        self.read_ns = 0
        self.gaps: list[tuple[int, int]] = []
        self.power_w = 0.0
        self.slow = False
        self._took_long = False
        self._raw: int | None = None
        self._moved_ns = 0
        self._frozen = False
        self._power_since = (0, 0)
        self._power_known = False

    @property
    def min_interval_s(self) -> float:
        return self.counter.min_interval_s

    def read(self, clock: Clock) -> None:
        """Read the counter once. A failing read changes nothing: the next good one catches up.

        It is dated when it is done: a driver may hang, and what was drawn meanwhile is in the count.
        """
        began_ns = clock.monotonic_ns()
        try:
            raw = self.counter.read()
        except Exception:  # any driver error costs coverage, never the training
            return
        now_ns = clock.monotonic_ns()
        took_long = now_ns - began_ns > SLOW_NS
        if took_long and self._took_long:  # once may be a hiccup
            self.slow = True
        self._took_long = took_long
        self.advance(raw, now_ns)

    def leave_out(self, now_ns: int) -> None:
        """Take what was counted since the last reading for a gap: the machine was suspended in between."""
        if self._raw is None:
            return
        self._gap(now_ns)
        self._raw = None

    def advance(self, raw: int, now_ns: int) -> None:
        """Take in a raw value that was read at ``now_ns`` (monotonic nanoseconds)."""
        if self._raw is None:
            self._power_since = (self.total, now_ns)
            self._moved_ns, self._frozen = now_ns, False
        else:
            self._add(raw, self._raw, now_ns)
        self._raw, self.read_ns = raw, now_ns

    def unseen_j(self, now_ns: int) -> float:
        """What has probably been drawn since the last reading: its age times the recent power.

        An age beyond the counter's own interval means that it does not answer: nothing is made up.
        """
        if self._raw is None:
            return 0.0
        age_s = min((now_ns - self.read_ns) / NS_PER_S, self.counter.min_interval_s + PLAUSIBLE_SLACK_S)
        return self.power_w * age_s

    def _add(self, raw: int, before: int, now_ns: int) -> None:
        delta = raw - before
        if delta == 0 and self.sensor.method == "counter":
            self._stand_still(now_ns)
            return
        if delta < 0 and self.counter.modulus is not None:
            delta += self.counter.modulus
        # A counter that was late with its ticks catches up on all the time since it last moved.
        elapsed_s = (now_ns - self._moved_ns) / NS_PER_S
        most_j = self.counter.p_max_w * (PLAUSIBLE_FACTOR * elapsed_s + PLAUSIBLE_SLACK_S)
        self._moved_ns = now_ns
        if delta < 0 or delta * self.sensor.unit_j > most_j:
            self._gap(now_ns)
            self._power_since = (self.total, now_ns)
            return
        self.total += delta
        self._observe(now_ns)
        self._frozen = False

    def _stand_still(self, now_ns: int) -> None:
        """Nothing moved: between two ticks that is how it is, for longer the counter is frozen."""
        if now_ns - self._moved_ns < FROZEN_NS:
            self._observe(now_ns)
            return
        if not self._frozen:
            self.observed_ns -= self.read_ns - self._moved_ns
            self.read_ns = self._moved_ns
        self._frozen = True
        self.power_w = 0.0
        self._gap(now_ns)

    def _observe(self, now_ns: int) -> None:
        """The time since the last reading is covered, unless the counter was frozen in it."""
        if not self._frozen:
            self.observed_ns += now_ns - self.read_ns
        if not self._power_known or now_ns - self._power_since[1] >= POWER_OVER_NS:
            self._update_power(now_ns)

    def _gap(self, now_ns: int) -> None:
        """Nothing is known from the last reading until now; gaps that meet are one."""
        since_ns = self.read_ns
        if self.gaps and self.gaps[-1][1] >= since_ns:
            since_ns = self.gaps.pop()[0]
        self.gaps.append((since_ns, now_ns))

    def _update_power(self, now_ns: int) -> None:
        """Mean power since a mark that is moved up once it is old enough; before the first, of what there is.

        Two readings milliseconds apart may have a whole tick between them: over so short a time the tick
        is added, so that the power is never told too high.
        """
        total, since_ns = self._power_since
        elapsed_ns = now_ns - since_ns
        elapsed_s, counted_j = elapsed_ns / NS_PER_S, (self.total - total) * self.sensor.unit_j
        if elapsed_ns >= POWER_OVER_NS:
            self.power_w = counted_j / elapsed_s
            self._power_since = (self.total, now_ns)
            self._power_known = True
        elif elapsed_s > 0:
            self.power_w = counted_j / (elapsed_s + self.sensor.tick_s)
