"""Apple silicon through the library zeus-apple-silicon, which reads the chip's own energy model without privileges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fitprint.clock import NS_PER_S, Clock
from fitprint.errors import SensorError
from fitprint.sensors.counter import Counter, Method, Sensor
from fitprint.sensors.finding import Absent, Finding, Found

SOURCE = "Apple energy model (IOReport)"
MJ_IN_J = 1e-3
# More than a whole Mac Studio may draw (480 W, Apple's specifications).
P_MAX_W = 1000.0
# Apple calls these figures estimates, not to be compared between devices (powermetrics(1)), and nobody
# has published them against a meter. Software that models CPU power errs by up to 40 % (Fischer 2025).
ERROR = 0.40
# Every block but the GPU is brought up to date in batches, 2.0 to 2.2 s apart (M1 Ultra and M5 Max,
# lablup/all-smi issue 415).
TICK_S = 2.2
# A reading takes 3.5 ms (same source): the counters of one snapshot share it.
SHARED_S = 0.02


class Block(NamedTuple):
    """What counts a part.

    Attributes:
        part: The part.
        fields: Fields of the library's answer that are added; the first must be there.
        instead: Fields that are added where the first is not there: lists, one value a cluster.
        tick_s: How often they are brought up to date.
        method: ``integrated`` where standing still means idle, not broken: Apple integrates its own estimates.
        what: For people.
    """

    part: str
    fields: tuple[str, ...]
    instead: tuple[str, ...] = ()
    tick_s: float = TICK_S
    method: Method = "counter"
    what: str = ""


# Cores, clusters and their managers are inside the CPU's total, and never added to it.
BLOCKS = (
    Block("cpu", ("cpu_total_mj",), ("efficiency_cluster_mj", "performance_cluster_mj"), what="CPU"),
    Block("gpu", ("gpu_mj", "gpu_sram_mj"), tick_s=0.0, method="integrated", what="GPU"),
    Block("dram", ("dram_mj",), what="memory"),
    Block("soc", ("ane_mj",), method="integrated", what="Neural Engine"),
)


class Reader:
    """The library's monitor; readings within SHARED_S are one.

    Args:
        monitor: An ``AppleEnergyMonitor``.
        clock: The age of a reading.
    """

    def __init__(self, monitor: Any, clock: Clock) -> None:
        self._monitor = monitor
        self._clock = clock
        self._last: tuple[int, Any] | None = None

    def metrics(self) -> Any:
        """The energy of all blocks since some moment that does not change, in millijoules."""
        if self._last is not None and self._clock.monotonic_ns() - self._last[0] < SHARED_S * NS_PER_S:
            return self._last[1]
        try:
            metrics = self._monitor.get_cumulative_energy()
        except Exception as error:  # C++ exceptions of several kinds
            raise SensorError(f"{SOURCE}: {error}") from error
        self._last = (self._clock.monotonic_ns(), metrics)
        return metrics


class AppleCounter:
    """Energy of one block of the chip in millijoules."""

    modulus = None
    p_max_w = P_MAX_W
    min_interval_s = TICK_S

    def __init__(self, reader: Reader, block: Block) -> None:
        self.sensor = Sensor(
            f"{block.part}:apple",
            block.part,
            block.method,
            MJ_IN_J,
            ERROR,
            ERROR,
            f"{SOURCE}, {block.what}",
            tick_s=block.tick_s,
            bias="apple",
        )
        self._reader = reader
        self._block = block

    def read(self) -> int:
        energy_mj = _energy_mj(self._reader.metrics(), self._block)
        if energy_mj is None:
            raise SensorError(f"{self.sensor.id}: the chip does not tell it")
        return energy_mj

    def close(self) -> None:
        """The monitor is given back with its last counter."""


def probe(library: Any, clock: Clock) -> list[Finding]:
    """Find the parts whose energy the chip estimates.

    Args:
        library: The module ``zeus_apple_silicon``, or a stand-in.
        clock: How old a reading may be that several counters share.
    """
    try:
        reader = Reader(library.AppleEnergyMonitor(), clock)
        metrics = reader.metrics()
    except Exception as error:  # no such chip, a virtual machine, or another version of the library
        return [Absent(SOURCE, f"it cannot be read ({error})", uncounted="the Apple GPU", part="gpu")]
    told = [block for block in BLOCKS if _energy_mj(metrics, block) is not None]
    findings: list[Finding] = [_untold(block) for block in BLOCKS if block not in told]
    counters: Sequence[Counter] = [AppleCounter(reader, block) for block in told]
    return [Found(tuple(counters)), *findings] if counters else findings


def _untold(block: Block) -> Absent:
    left_out = "the Apple GPU" if block.part == "gpu" else ""
    return Absent(f"{SOURCE}, {block.what}", "this chip does not tell it", "", left_out, block.part)


def _energy_mj(metrics: Any, block: Block) -> int | None:
    """What the block has drawn; None if the chip does not tell."""
    values = [getattr(metrics, field, None) for field in block.fields]
    if values[0] is None:
        clusters: list[int] = [value for field in block.instead for value in getattr(metrics, field, None) or ()]
        return sum(clusters) if clusters else None
    return sum(int(value) for value in values if value is not None)
