"""The boards that everything is measured on: loads whose energy is known exactly, and counters that show it in ticks."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fitprint.clock import NS_PER_S, Clock
from fitprint.sensors.counter import Sensor

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Load:
    """A square wave of power; the same function of time as in ``rig.c``.

    Attributes:
        name: What it stands for.
        high_w: Power in the first ``duty`` of each period.
        low_w: Power in the rest.
        period_s: Length of a wave.
        duty: Share of it that is high.
    """

    name: str
    high_w: float
    low_w: float
    period_s: float = 1.0
    duty: float = 1.0

    def joules(self, t: float) -> float:
        """Energy since time 0."""
        waves, rest = divmod(t, self.period_s)
        up_s = self.duty * self.period_s
        return self.low_w * t + (self.high_w - self.low_w) * (waves * up_s + min(rest, up_s))

    def environment(self, tick_s: float) -> dict[str, str]:
        """What tells ``rig.c`` to draw this power."""
        return {
            "RIG_WATTS": f"{self.high_w},{self.low_w}",
            "RIG_PERIOD_S": str(self.period_s),
            "RIG_DUTY": str(self.duty),
            "RIG_TICK_S": str(tick_s),
        }


def loads(tick_s: float) -> Iterator[Load]:
    """A steady load, a training step, a wave whose period is near the tick, and training with validation."""
    yield Load("steady 500 W", 500.0, 500.0)
    yield Load("330 ms step, 650/200 W", 650.0, 200.0, 0.33, 0.6)
    yield Load(f"{1050 * tick_s:.3g} ms wave, 650/200 W", 650.0, 200.0, 1.05 * tick_s, 0.5)
    yield Load("5 s at 650 W, 2 s at 200 W", 650.0, 200.0, 7.0, 5 / 7)


class TickingCounter:
    """A board's counter in millijoules that is brought up to date every ``tick_s``."""

    modulus = None
    p_max_w = 3000.0
    min_interval_s = 1.0

    def __init__(self, clock: Clock, load: Load, tick_s: float) -> None:
        self.sensor = Sensor("gpu:rig", "gpu", "counter", 1e-3, 0.0, 0.0, "simulated", tick_s=tick_s)
        self._clock, self._load, self._tick_s = clock, load, tick_s

    def read(self) -> int:
        now_s = self._clock.monotonic_ns() / NS_PER_S
        return math.floor(1000 * self._load.joules(math.floor(now_s / self._tick_s) * self._tick_s))

    def close(self) -> None:
        """Nothing is held."""


def build(folder: Path) -> Path | None:
    """Compile the board that all processes see, with an ``nvidia-smi`` that answers; None without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        return None
    library = folder / "libnvidia-ml.so.1"
    options = ["-shared", "-fPIC", "-O1", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run([compiler, *options, "-o", str(library), str(HERE / "rig.c"), "-lm"], check=True, capture_output=True)
    smi = folder / "nvidia-smi"
    smi.write_text("#!/bin/sh\nexit 0\n")
    smi.chmod(0o755)
    return folder
