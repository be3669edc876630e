"""Raw readings of counters, recorded as JSON lines and replayed through the whole core.

The first line describes the sensors; each further one is a reading::

    {"schema": 1, "fitprint": "0.1.0", "sensors": [{"id": "cpu:package-0", "modulus": 262143328851, ...}]}
    {"sensor": "cpu:package-0", "t_ns": 81234000000, "raw": 18203344, "call_ns": 2100}
    {"sensor": "cpu:package-0", "t_ns": 82234000000, "error": "Input/output error", "call_ns": 1900}

Sensors are replayed, not results: wraps, gaps, intervals and records are computed again.
"""

from __future__ import annotations

import dataclasses
import json
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fitprint.clock import NS_PER_S, Clock
from fitprint.errors import SensorError
from fitprint.notices import logger
from fitprint.sensors.counter import Counter, Sensor

SCHEMA = 1


class Recorded:
    """A counter whose readings are kept.

    Args:
        counter: What is read.
        keep: Takes each reading; called where the counter is read, so it must be quick.
        clock: Time of each reading.
    """

    def __init__(self, counter: Counter, keep: Callable[[dict[str, Any]], None], clock: Clock) -> None:
        self.sensor = counter.sensor
        self.modulus = counter.modulus
        self.p_max_w = counter.p_max_w
        self.min_interval_s = counter.min_interval_s
        self._counter = counter
        self._remember = shielded(keep)
        self._clock = clock

    def read(self) -> int:
        reading: dict[str, Any] = {"sensor": self.sensor.id, "t_ns": self._clock.monotonic_ns()}
        began_ns = time.perf_counter_ns()
        try:
            raw = self._counter.read()
        except Exception as error:
            self._remember({**reading, "error": str(error), "call_ns": time.perf_counter_ns() - began_ns})
            raise
        self._remember({**reading, "raw": raw, "call_ns": time.perf_counter_ns() - began_ns})
        return raw

    def close(self) -> None:
        self._counter.close()


def shielded(keep: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """The same, but a line that cannot be kept costs the trace that line, not the counter its reading."""

    def kept(row: dict[str, Any]) -> None:
        try:
            keep(row)
        except Exception:
            logger().debug("a line of the trace is lost", exc_info=True)

    return kept


def head(counters: Sequence[Counter]) -> dict[str, Any]:
    """The first line of a trace: what is needed to read the counters again."""
    from importlib.metadata import PackageNotFoundError, version  # 20 ms that only a recording needs

    try:
        release = version("fitprint")
    except PackageNotFoundError:  # run from its source folder
        release = "unknown"
    rows = [
        {**c.sensor.to_dict(), "modulus": c.modulus, "p_max_w": c.p_max_w, "min_interval_s": c.min_interval_s} for c in counters
    ]
    return {"schema": SCHEMA, "fitprint": release, "sensors": rows}


class Replayed:
    """A counter of a trace: answers what was read at the clock's time, or last before it.

    Args:
        row: Its description in the first line.
        readings: Its readings, in order.
        clock: Moved by who replays.
    """

    def __init__(self, row: Mapping[str, Any], readings: Sequence[Mapping[str, Any]], clock: Clock) -> None:
        known = {field.name for field in dataclasses.fields(Sensor)}  # a later version may have written more
        self.sensor = Sensor(**{key: value for key, value in row.items() if key in known})
        self.modulus: int | None = row["modulus"]
        self.p_max_w = float(row["p_max_w"])
        self.min_interval_s = float(row["min_interval_s"])
        self._times = [int(reading["t_ns"]) for reading in readings]
        self._readings = readings
        self._clock = clock

    def read(self) -> int:
        latest = bisect_right(self._times, self._clock.monotonic_ns()) - 1
        if latest < 0:
            raise SensorError(f"{self.sensor.id}: the trace begins later")
        reading = self._readings[latest]
        if "error" in reading:
            raise SensorError(f"{self.sensor.id}: {reading['error']}")
        return int(reading["raw"])

    def close(self) -> None:
        """Nothing is held."""


class ReplayClock:
    """The clock of a trace; stands at its first reading until it is moved."""

    def __init__(self, start_ns: int) -> None:
        self.now_ns = start_ns

    def monotonic_ns(self) -> int:
        return self.now_ns

    def asleep_ns(self) -> int:
        return 0

    def time(self) -> float:
        return self.now_ns / NS_PER_S

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS_PER_S)


@dataclass(frozen=True)
class Trace:
    """A recorded trace, ready to be replayed.

    Attributes:
        counters: Give them to a Tracker or Meter.
        clock: Their clock; give it to the same, as ``Surroundings(clock=trace.clock)``.
        times_ns: When something was read.

    Example:
        >>> lines = [
        ...     '{"schema": 1, "sensors": [{"id": "gpu:0", "part": "gpu", "method": "counter", "unit_j": 0.001, "low": 0.05,'
        ...     ' "high": 0.05, "source": "a board", "modulus": null, "p_max_w": 3000.0, "min_interval_s": 1.0}]}',
        ...     '{"sensor": "gpu:0", "t_ns": 0, "raw": 5000}',
        ...     '{"sensor": "gpu:0", "t_ns": 2000000000, "raw": 205000}',
        ... ]
        >>> from fitprint import Meter
        >>> trace = Trace.read(lines)
        >>> with Meter(trace.counters, clock=trace.clock) as meter:
        ...     before = meter.snapshot()
        ...     for _ in trace.play():
        ...         after = meter.snapshot()
        >>> meter.between(before, after).joules
        200.0
    """

    counters: tuple[Replayed, ...]
    clock: ReplayClock
    times_ns: tuple[int, ...]

    @classmethod
    def read(cls, lines: Iterable[str]) -> Trace:
        """Read a trace from its lines.

        Raises:
            SensorError: If they are no trace that this version knows.
        """
        try:
            rows = [json.loads(line) for line in lines if line.strip()]
        except (ValueError, RecursionError) as error:
            raise SensorError(f"this is no trace: a line is not JSON ({error})") from error
        return cls.of(rows)

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Trace:
        """Make a trace of its parsed lines, such as ``trace`` in the report of ``fitprint detect --doctor``.

        Raises:
            SensorError: If they are no trace that this version knows.
        """
        try:
            return cls._of(rows)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise SensorError(f"this is no trace: {type(error).__name__}: {error}") from error

    @classmethod
    def _of(cls, rows: Sequence[Mapping[str, Any]]) -> Trace:
        if rows[0]["schema"] != SCHEMA:
            raise ValueError(f"schema {rows[0]['schema']}, expected {SCHEMA}")
        times = sorted({int(reading["t_ns"]) for reading in rows[1:]})
        clock = ReplayClock(times[0])
        by_sensor: dict[str, list[Mapping[str, Any]]] = {row["id"]: [] for row in rows[0]["sensors"]}
        for reading in rows[1:]:
            by_sensor[reading["sensor"]].append(reading)
        counters = tuple(Replayed(row, by_sensor[row["id"]], clock) for row in rows[0]["sensors"])
        return cls(counters, clock, tuple(times))

    def play(self) -> Iterator[int]:
        """Move the clock through the trace, one reading after the other; yields the time in nanoseconds."""
        for time_ns in self.times_ns:
            self.clock.now_ns = time_ns
            yield time_ns
