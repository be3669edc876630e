"""A report that a user can send back: what the sensors here answer, how often and how fast."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from fitprint.clock import NS_PER_S
from fitprint.config import Config
from fitprint.detection import detect
from fitprint.sensors.probe import Surroundings, probe
from fitprint.sensors.trace import Recorded, head
from fitprint.settings import resolve

SCHEMA = 1
CALM_S, DENSE_S = 15.0, 5.0
CALM_PERIOD_S = 1.0
# Dense enough to see each tick of a counter that steps every 20 ms, and for seconds only: reading some
# boards' counters that often can make them fall short.
DENSE_PERIOD_S = 0.005
NS_PER_US = 1000


def examine(
    config: Config | None = None, around: Surroundings | None = None, *, calm_s: float = CALM_S, dense_s: float = DENSE_S
) -> dict[str, Any]:
    """Read all sensors for a while and describe what they did. No host name, user name or path is in it.

    Args:
        config: Options as a run would get them.
        around: The machine; this one by default.
        calm_s: Seconds with a reading a second.
        dense_s: Seconds with a reading every 5 ms, from which the counters' own periods show.

    Returns:
        Plain types: ``detection``, ``machine``, ``sensors`` with latencies in microseconds and periods in
        seconds, and ``trace``, the raw readings, which ``Trace.of`` replays.
    """
    settings = resolve(config, around.environ if around else None)
    around = around or settings.surroundings()
    readings: list[dict[str, Any]] = []
    sensors = probe(settings.parts, around, attribute="all")
    counters = [Recorded(counter, readings.append, around.clock) for counter in sensors.whole]
    try:
        _read_for(calm_s, CALM_PERIOD_S, counters, around)
        _read_for(dense_s, DENSE_PERIOD_S, counters, around)
    finally:
        sensors.close()
    report = {
        "schema": SCHEMA,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "machine": around.machine._asdict(),
        "detection": detect(config, around).to_dict(),
        "sensors": [_behaviour(counter.sensor.id, readings) for counter in counters],
        "trace": [head(counters), *readings],
    }
    return _without_folders(report, around)


def _without_folders(report: dict[str, Any], around: Surroundings) -> dict[str, Any]:
    """The report with the folders that stand for /sys and /proc called so: reasons and remedies name files."""
    text = json.dumps(report)
    for folder, name in ((around.sys_root, "/sys"), (around.proc_root, "/proc")):
        text = text.replace(json.dumps(str(folder))[1:-1], name)
    plain: dict[str, Any] = json.loads(text)
    return plain


def _read_for(seconds: float, period_s: float, counters: Sequence[Recorded], around: Surroundings) -> None:
    end_ns = around.clock.monotonic_ns() + round(seconds * NS_PER_S)
    while around.clock.monotonic_ns() < end_ns:
        for counter in counters:
            try:
                counter.read()
            except Exception:  # kept in the trace with its reason, whatever it was
                continue
        around.clock.sleep(period_s)


def _behaviour(sensor_id: str, readings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How a sensor answered: how often it failed, how long a call took, how often its value changed."""
    mine = [reading for reading in readings if reading["sensor"] == sensor_id]
    good = [reading for reading in mine if "raw" in reading]
    calls_us = sorted(reading["call_ns"] / NS_PER_US for reading in mine)
    return {
        "id": sensor_id,
        "readings": len(mine),
        "failures": len(mine) - len(good),
        "call_p50_us": _quantile(calls_us, 0.50),
        "call_p99_us": _quantile(calls_us, 0.99),
        "period_s": _period_s(good),
    }


def _quantile(values: Sequence[float], share: float) -> float | None:
    return values[min(len(values) - 1, int(share * len(values)))] if values else None


def _period_s(readings: Sequence[dict[str, Any]]) -> float | None:
    """Median time between two changes of the value; None where it changed less than three times."""
    dense = [(a, b) for a, b in pairwise(readings) if b["t_ns"] - a["t_ns"] < CALM_PERIOD_S * NS_PER_S / 2]
    changed_ns = [b["t_ns"] for a, b in dense if a["raw"] != b["raw"]]
    steps = [b - a for a, b in pairwise(changed_ns)]
    return statistics.median(steps) / NS_PER_S if len(steps) > 1 else None
