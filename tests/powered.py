"""Processors whose true power is known: their counters go on while real processes read them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fitprint.testing import FakePowercap

ZONES = {"intel-rapl:0": "package-0", "intel-rapl:0:0": "dram"}
# One package of 100 W and its memory of 20 W.
WATTS = {"intel-rapl:0": 100.0, "intel-rapl:0:0": 20.0}
TICK_S = 0.004


@contextmanager
def powered(watts_of: Mapping[Path, Mapping[str, float]]) -> Iterator[None]:
    """Counters under folders that serve as FITPRINT_SYS_ROOT, brought up to date every few milliseconds.

    Args:
        watts_of: For each folder the power of its zones.
    """
    drawn = []
    for sys_root, watts in watts_of.items():
        powercap = FakePowercap(sys_root)
        for zone, power in watts.items():
            powercap.add_zone(zone, ZONES[zone])
            drawn.append((powercap, zone, power))
    over, began = threading.Event(), time.monotonic()

    def draw() -> None:
        while not over.wait(TICK_S):
            for powercap, zone, power in drawn:
                powercap.write(zone, round(power * (time.monotonic() - began) * 1e6))

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
