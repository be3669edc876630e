"""How often the 95 % interval holds the truth, on simulated machines whose errors are drawn as they are stated."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.sheet import QUICK, Sheet
from fitprint.clock import NS_PER_S
from fitprint.energy import Z95, Energy
from fitprint.sensors.counter import Sensor

MODEL = "model"
TARGET = (0.93, 0.97)
KINDS = ("measured", "modelled", "mixed")
# Windows in which the ticks of a board's counter decide, in which they do not matter, and shorter ones than a tick.
SHORT_S, LONG_S, TOO_SHORT_S = (0.3, 1.5), (30.0, 3000.0), (0.02, 0.09)


@dataclass(frozen=True)
class Kind:
    """A kind of sensor: what it claims, and the watts that it may show."""

    part: str
    method: str
    low: float
    high: float
    tick_s: float
    watts: tuple[float, float]

    def sensor(self, number: int) -> Sensor:
        bias = MODEL if self.method == "modelled" else ""
        name = f"{self.part}:{self.method}-{number}"
        return Sensor(name, self.part, self.method, 1e-3, self.low, self.high, "simulated", tick_s=self.tick_s, bias=bias)


# The figures that the probes state (nvml, rapl, modelled); the last is a virtual machine whose CPU nobody knows.
BOARD = Kind("gpu", "counter", 0.05, 0.05, 0.1, (60.0, 1000.0))
FAST_BOARD = Kind("gpu", "counter", 0.05, 0.05, 0.02, (60.0, 1000.0))
GAUGE = Kind("gpu", "integrated", 0.10, 0.10, 0.0, (60.0, 400.0))
PACKAGE = Kind("cpu", "counter", 0.05, 0.05, 0.001, (20.0, 400.0))
DRAM_ZONE = Kind("dram", "counter", 0.05, 0.05, 0.001, (5.0, 80.0))
CPU_MODEL = Kind("cpu", "modelled", 0.40, 0.40, 0.0, (10.0, 400.0))
DRAM_MODEL = Kind("dram", "modelled", 0.50, 0.50, 0.0, (3.0, 150.0))
BOARD_MODEL = Kind("gpu", "modelled", 0.50, 0.50, 0.0, (50.0, 600.0))
UNKNOWN_CPU = Kind("cpu", "modelled", 0.45, 1.10, 0.0, (10.0, 200.0))


def kinds_of(draw: random.Random, machine: str) -> list[Kind]:
    """The sensors of a random machine."""
    boards = [draw.choice((BOARD, BOARD, FAST_BOARD, GAUGE))] * draw.randint(1, 8)
    zones = [PACKAGE, DRAM_ZONE][: draw.randint(1, 2)] * draw.randint(1, 2)
    models = [draw.choice((CPU_MODEL, UNKNOWN_CPU)), DRAM_MODEL][: draw.randint(1, 2)] + [BOARD_MODEL] * draw.randint(0, 2)
    if machine == "measured":
        return [*boards, *zones] if draw.random() < 0.7 else boards
    return models if machine == "modelled" else [*boards, *models]


def covered(draw: random.Random, kinds: Sequence[Kind], seconds: tuple[float, float]) -> bool:
    """One window: does [low_j, high_j] hold what was drawn?

    What a sensor shows is off by its own normal error; all modelled sensors share one. Where a
    window begins and ends in a counter's ticks is drawn too.
    """
    length_s = math.exp(draw.uniform(*map(math.log, seconds)))
    shared, counts, truth_j = draw.gauss(0, 1), [], 0.0
    sensors = tuple(kind.sensor(i) for i, kind in enumerate(kinds))
    for sensor, kind in zip(sensors, kinds, strict=True):
        watts = draw.uniform(*kind.watts)
        error = shared if sensor.bias else draw.gauss(0, 1)
        truth_j += watts * length_s * (1 + error / Z95 * (sensor.low if error < 0 else sensor.high))
        counts.append(round(watts * _shown_s(draw, kind.tick_s, length_s) / sensor.unit_j))
    length_ns = round(length_s * NS_PER_S)
    energy = Energy(sensors, tuple(counts), (length_ns,) * len(counts), length_ns)
    return energy.low_j <= truth_j <= energy.high_j


def _shown_s(draw: random.Random, tick_s: float, length_s: float) -> float:
    """The part of a window that the counter has shown: from tick to tick."""
    if tick_s == 0:
        return length_s
    began = draw.uniform(0, tick_s)
    return math.floor((began + length_s) / tick_s) * tick_s


def draw(n: int, seed: int, kind: str | None = None, seconds: tuple[float, float] = (SHORT_S[0], LONG_S[1])) -> float:
    """Share of n machines whose interval holds the truth.

    Args:
        n: How many machines.
        seed: Of all that is drawn.
        kind: One of KINDS; any by default.
        seconds: The shortest and the longest window, whose lengths are drawn evenly in logarithms.
    """
    source = random.Random(seed)
    hits = 0
    for _ in range(n):
        machine = kind or source.choice(KINDS)
        hits += covered(source, kinds_of(source, machine), seconds)
    return hits / n


def sheets() -> Iterator[Sheet]:
    n = 500 if QUICK else 2000
    cases = [("all machines, all windows", None, (SHORT_S[0], LONG_S[1]))]
    cases += [(f"only {kind}" if kind != "mixed" else kind, kind, (SHORT_S[0], LONG_S[1])) for kind in KINDS]
    cases += [(f"{kind}, 0.3 to 1.5 s", kind, SHORT_S) for kind in KINDS]
    cases += [(f"{kind}, 30 s to 50 min", kind, LONG_S) for kind in KINDS]
    cases.append(("measured, 20 to 90 ms", "measured", TOO_SHORT_S))
    rows = []
    for seed, (name, kind, seconds) in enumerate(cases):
        share = draw(n, seed, kind, seconds)
        inside = "yes" if TARGET[0] <= share <= TARGET[1] else "NO"
        rows.append([name, str(n), f"{share:.1%}", f"{TARGET[0]:.0%} to {TARGET[1]:.0%}", inside])
    chance = 100 * Z95 * math.sqrt(0.05 * 0.95 / n)
    note = (
        "Machines of 1 to 8 boards (counters with ticks of 20 or 100 ms, or integrated power), RAPL zones, modelled CPU, DRAM and "
        "boards. One normal error for all modelled sensors, one for each other, as wide as they state. By chance a share may be "
        f"off by {chance:.1f} points. A window shorter than a tick may show nothing at all: its interval is not to be relied on."
    )
    yield Sheet("How often the 95 % interval holds the truth", ["machines", "drawn", "held", "target", "inside"], rows, note)
