"""What documents leave open about NVIDIA's counters, asked of a real board.

``python tests/hardware/real_gpu.py --out tests/traces`` writes ``findings.json``, ``findings.md`` and traces. It takes about
five minutes and only reads: nothing is set on the board, in the driver or on the machine. A measurement that
fails, or cannot be made here, is written down with its reason and costs no other; what has been found is on disk
after each. The load is torch on CUDA, else what ``--load`` names: a program that prints "ready" and works until it
is ended. Without one the board is only watched idle.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

try:
    import pynvml

    from fitprint import Config, Tracker
    from fitprint.clock import NS_PER_S, SystemClock
    from fitprint.sensors.counter import Counter
    from fitprint.sensors.probe import probe
    from fitprint.sensors.trace import Recorded, head
except ImportError as missing:
    raise ImportError(f"{missing}; needed are fitprint and nvidia-ml-py: pip install ., or put both on PYTHONPATH") from missing

SCHEMA = 1
READY, READY_WITHIN_S = "ready", 60.0
UNRECORDED = Config(ledger="off", region="FR", attribute="all")
GPU_ONLY = UNRECORDED.overridden(parts=("gpu",))

# nvml.h: numbers of fields and scopes, kinds of samples, and the members of nvmlValue_t by nvmlValueType_t.
TOTAL_ENERGY, AVERAGE, INSTANT, ENERGY = 83, 185, 186, 191
SCOPES = {"gpu": 0, "module": 1}
POWER_SAMPLES = 0
VALUES = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")

DENSE_S, DENSE_PERIOD_S = 3.0, 0.005
POWER_PERIOD_S = 0.05
RATES_HZ, RATE_S = (0.2, 1, 10, 200), 20.0
CALLS, CALLS_S, BETWEEN_CALLS_S = 300, 2.0, 0.002
EPOCHS, EPOCH_S = 3, 5.0
CLOSED_S = 5.0
# Clocks and the averaged power take a while.
SETTLE_S = 2.0
BOUNDARIES = 200
RUN_S, RUN_IDLE_S, RUN_LOAD_S = 25.0, 5.0, 12.0
# Half of each period under load, half at rest: beside the counter's 100 ms and the power samples' 20 ms, so that what sees only
# a part of a period sees now all of the load and now none, in turns of 10 and 2 s.
PULSES_MS, PULSES_S, PULSES_PERIOD_S = (101.0, 20.2), 20.0, 0.01
WINDOW_CHANGES = 10
QUEUED_S = 1.0
# Power by what the driver calls it, the one that follows the load most closely first.
KINDS = ("instant", "usage", "average")
# A time stamp that is this near to a call was taken in it.
NEAR_US = 1000
MOSTLY = 0.9
SHOWN = 40


class Skipped(Exception):
    """Something cannot be measured here, and why."""


class Reading(NamedTuple):
    """One question to the driver: when, what came, or why nothing."""

    began_ns: int
    ended_ns: int
    value: Any = None
    error: str = ""


def ask(question: Callable[[], Any]) -> Reading:
    value, error, began_ns = None, "", time.monotonic_ns()
    try:
        value = question()
    except Exception as failure:  # a driver may answer with anything, and that is a finding too
        error = f"{type(failure).__name__}: {failure}"
    return Reading(began_ns, time.monotonic_ns(), value, error)


def watch(seconds: float, *questions: tuple[float, Callable[[], Any]]) -> list[list[Reading]]:
    """Ask each question at its own period for some time, in one thread, and all of them once more at the end."""
    began_ns = time.monotonic_ns()
    end_ns = began_ns + round(seconds * NS_PER_S)
    answers: list[list[Reading]] = [[] for _ in questions]
    due_ns = [began_ns] * len(questions)
    while (next_ns := min(due_ns)) < end_ns:
        i = due_ns.index(next_ns)
        period_s, question = questions[i]
        _wait_until(next_ns)
        answers[i].append(ask(question))
        due_ns[i] = max(next_ns + round(period_s * NS_PER_S), time.monotonic_ns())
    _wait_until(end_ns)
    for series, (_, question) in zip(answers, questions, strict=True):
        series.append(ask(question))
    return answers


def _wait_until(ns: int) -> None:
    time.sleep(max(0.0, (ns - time.monotonic_ns()) / NS_PER_S))


# ---- arithmetic


def quantile(values: Iterable[float], share: float) -> float | None:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def steps(readings: Sequence[Reading]) -> dict[str, Any]:
    """How often a value changed, in milliseconds."""
    good = [reading for reading in readings if not reading.error]
    moved_ns = [b.began_ns for a, b in pairwise(good) if a.value != b.value]
    apart_ms = [(b - a) / 1e6 for a, b in pairwise(moved_ns)]
    found: dict[str, Any] = {"polls": len(readings), "failures": len(readings) - len(good), "changes": len(moved_ns)}
    if apart_ms:
        found |= {"mean_ms": statistics.fmean(apart_ms), "median_ms": statistics.median(apart_ms)}
        found |= {"p5_ms": quantile(apart_ms, 0.05), "p95_ms": quantile(apart_ms, 0.95)}
    return found


class Stamp(NamedTuple):
    """A field's value, its time stamp, and the wall clock before and after the call, all in microseconds."""

    value: int
    stamp_us: int
    latency_us: int
    before_us: int
    after_us: int


def meaning(stamps: Sequence[Stamp]) -> dict[str, Any]:
    """What a field's time stamp tells: when it was read, when the value was brought up to date, or nothing."""
    told = [s for s in stamps if s.stamp_us > 0]
    if not told:
        return {"means": "nothing: it is 0", "readings": len(stamps)}
    in_call = sum(s.before_us - NEAR_US <= s.stamp_us <= s.after_us + NEAR_US for s in told) / len(told)
    pairs = list(pairwise(told))
    new_stamp = sum(a.stamp_us != b.stamp_us for a, b in pairs)
    new_value = sum(a.value != b.value for a, b in pairs)
    both = sum(a.stamp_us != b.stamp_us and a.value != b.value for a, b in pairs)
    moves_with_value = new_stamp > 0 and both >= MOSTLY * max(new_stamp, new_value)
    ages_ms = [(s.after_us - s.stamp_us) / 1e3 for s in told]
    return {
        "means": "the time of reading" if in_call >= MOSTLY else "the time of the update" if moves_with_value else "unknown",
        "readings": len(stamps),
        "in_call": in_call,
        "new_stamps": new_stamp,
        "new_values": new_value,
        "both_new": both,
        "age_p50_ms": quantile(ages_ms, 0.5),
        "age_p99_ms": quantile(ages_ms, 0.99),
        "latency_p50_us": quantile([s.latency_us for s in told], 0.5),
        "first": [(s.value, s.stamp_us - s.before_us, s.after_us - s.before_us) for s in told[:SHOWN]],
    }


def integral_j(points: Sequence[tuple[int, float]], begin_ns: int, end_ns: int) -> float | None:
    """Power over time between two instants: straight lines between the points, held before the first and after the last."""
    if not points:
        return None
    inner = [point for point in points if begin_ns < point[0] < end_ns]
    line = [(begin_ns, _watts_at(points, begin_ns)), *inner, (end_ns, _watts_at(points, end_ns))]
    return math.fsum((a[1] + b[1]) / 2 * (b[0] - a[0]) / NS_PER_S for a, b in pairwise(line))


def _watts_at(points: Sequence[tuple[int, float]], ns: int) -> float:
    for (before_ns, before), (after_ns, after) in pairwise(points):
        if before_ns <= ns <= after_ns and after_ns > before_ns:
            return before + (after - before) * (ns - before_ns) / (after_ns - before_ns)
    return points[0][1] if ns < points[0][0] else points[-1][1]


def middle_ns(reading: Reading) -> int:
    return (reading.began_ns + reading.ended_ns) // 2


def over_power(counter: Sequence[Reading], power: Sequence[Reading]) -> dict[str, Any]:
    """The counter's joules between its first and last reading, and their ratio to the integral of each kind of power."""
    good = [reading for reading in counter if not reading.error]
    if len(good) < 2:
        raise Skipped(f"the counter cannot be read ({counter[-1].error})")
    begin_ns, end_ns = middle_ns(good[0]), middle_ns(good[-1])
    counted_j, seconds = (good[-1].value - good[0].value) / 1000, (end_ns - begin_ns) / NS_PER_S
    found = {"seconds": seconds, "readings": len(good), "counter_j": counted_j, "counter_w": counted_j / seconds}
    return found | beside(counted_j, power, begin_ns, end_ns)


def beside(joules: float, power: Sequence[Reading], begin_ns: int, end_ns: int) -> dict[str, Any]:
    """Joules over the integral of each kind of power that could be read; ``ratio`` is that of the best kind."""
    found: dict[str, Any] = {"over": {}, "spread_w": {}}
    for kind in KINDS:
        points = points_of(power, kind)
        drawn_j = integral_j(points, begin_ns, end_ns)
        if drawn_j:
            found["over"][kind] = joules / drawn_j
            found["spread_w"][kind] = [quantile([watts for _, watts in points], share) for share in (0.05, 0.95)]
    found["kind"] = next(iter(found["over"]), None)
    found["ratio"] = found["over"].get(found["kind"])
    return found


def points_of(power: Sequence[Reading], kind: str) -> list[tuple[int, float]]:
    return [(middle_ns(reading), reading.value[kind]) for reading in power if not reading.error and kind in reading.value]


# ---- the board


@dataclass
class Rig:
    """The board that is measured, and how.

    Attributes:
        handle: What the driver calls it.
        uuid: ``GPU-...``.
        name: Its product name.
        counter: What fitprint reads of it.
        load: A program that makes it work.
        scale: Shortens everything; 1 for real.
        out: Where findings and traces go.
        dense: Raw readings of the counter, every 5 ms.
    """

    handle: Any
    uuid: str
    name: str
    counter: Counter
    load: Sequence[str]
    scale: float
    out: Path
    dense: Sequence[dict[str, Any]] = ()

    def energy_mj(self) -> int:
        return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self.handle))

    def fields(self, *wanted: Any) -> list[Any]:
        return list(pynvml.nvmlDeviceGetFieldValues(self.handle, list(wanted)))

    def powers(self) -> dict[str, float]:
        """Watts by every way that the driver has and that works now."""
        usage, both = ask(lambda: pynvml.nvmlDeviceGetPowerUsage(self.handle)), ask(lambda: self.fields(INSTANT, AVERAGE))
        found = {} if usage.error else {"usage": usage.value / 1000}
        answers = zip(("instant", "average"), both.value or (), strict=False)
        return found | {kind: value_of(answer) / 1000 for kind, answer in answers if not answer.nvmlReturn}

    @contextmanager
    def working(self, load: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
        """Let the load run, or another one; Skipped where it cannot."""
        try:
            process = subprocess.Popen(load or self.load, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            raise Skipped(f"the load cannot be started ({error})") from error
        watchdog = threading.Timer(READY_WITHIN_S, process.kill)
        watchdog.start()
        try:
            said = process.stdout.readline().strip() if process.stdout else ""
            watchdog.cancel()
            if said != READY:
                raise Skipped(said or "the load ended at once, or was not ready in time")
            time.sleep(SETTLE_S * self.scale)
            yield process
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()


def value_of(answer: Any) -> int:
    return int(getattr(answer.value, VALUES[answer.valueType]))


def find_rig(options: argparse.Namespace) -> Rig:
    """The first board that fitprint counts in this process."""
    pynvml.nvmlInit()
    counters = [c for c in probe(("gpu",), attribute="all").whole if c.sensor.id.startswith("gpu:GPU-")]
    if not counters:
        raise Skipped("fitprint finds no NVIDIA board here; `fitprint detect` says why")
    uuid = counters[0].sensor.id.removeprefix("gpu:")
    handle = handle_of(uuid)
    name = text(pynvml.nvmlDeviceGetName(handle))
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", uuid)
    folder = options.out / re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    return Rig(handle, uuid, name, counters[0], options.load, options.scale, folder)


def handle_of(uuid: str) -> Any:
    handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
    return next(handle for handle in handles if text(pynvml.nvmlDeviceGetUUID(handle)) == uuid)


def text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


# ---- measurements: each takes the rig and returns plain types


def machine(rig: Rig) -> dict[str, Any]:
    asked: dict[str, Callable[[], Any]] = {
        "driver": pynvml.nvmlSystemGetDriverVersion,
        "nvml": pynvml.nvmlSystemGetNVMLVersion,
        "boards": pynvml.nvmlDeviceGetCount,
        "persistence_mode": lambda: pynvml.nvmlDeviceGetPersistenceMode(rig.handle),
        "mig": lambda: pynvml.nvmlDeviceGetMigMode(rig.handle)[0],
        "power_limit_w": lambda: pynvml.nvmlDeviceGetPowerManagementLimit(rig.handle) / 1000,
        "processes": lambda: len(pynvml.nvmlDeviceGetComputeRunningProcesses(rig.handle)),
    }
    readings = {name: ask(question) for name, question in asked.items()}
    told = {name: reading.error or reading.value for name, reading in readings.items()}
    system = {"python": platform.python_version(), "kernel": platform.release(), "cpus": os.cpu_count()}
    return {"board": rig.name, **{name: text(v) if isinstance(v, bytes) else v for name, v in told.items()}, **system}


def reopening(rig: Rig) -> dict[str, Any]:
    """Whether the counter begins again when nobody uses the driver; how long it takes to open."""
    mode = ask(lambda: pynvml.nvmlDeviceGetPersistenceMode(rig.handle))
    before_mj, before_ns = rig.energy_mj(), time.monotonic_ns()
    pynvml.nvmlShutdown()  # once for main, once for fitprint's own probe
    ask(pynvml.nvmlShutdown)
    time.sleep(CLOSED_S * rig.scale)
    opened = ask(pynvml.nvmlInit)
    rig.handle = handle_of(rig.uuid)
    after_mj, seconds = rig.energy_mj(), (time.monotonic_ns() - before_ns) / NS_PER_S
    rig.counter = next(c for c in probe(("gpu",), attribute="all").whole if c.sensor.id == rig.counter.sensor.id)
    return {
        "persistence_mode": mode.error or mode.value,
        "init_ms": (opened.ended_ns - opened.began_ns) / 1e6,
        "seconds": seconds,
        "began_again": after_mj < before_mj,
        "watts": (after_mj - before_mj) / 1000 / seconds,
    }


def fields(rig: Rig) -> dict[str, Any]:
    """Which fields the board has, by scope."""
    found = {}
    for number in (TOTAL_ENERGY, AVERAGE, INSTANT, ENERGY):
        for scope, code in SCOPES.items():
            answer = rig.fields((number, code))[0]
            found[f"{number} {scope}"] = f"error {answer.nvmlReturn}" if answer.nvmlReturn else value_of(answer)
    return {"fields": found}


def period(rig: Rig) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    counter = Recorded(rig.counter, rows.append, SystemClock())
    (readings,) = watch(DENSE_S * rig.scale, (DENSE_PERIOD_S, counter.read))
    rig.dense = rows
    return steps(readings)


def stamps(rig: Rig) -> dict[str, Any]:
    def read() -> Stamp:
        before_us = time.time_ns() // 1000
        answer = rig.fields(TOTAL_ENERGY)[0]
        after_us = time.time_ns() // 1000
        if answer.nvmlReturn:
            raise Skipped(f"field {TOTAL_ENERGY} answers with error {answer.nvmlReturn}")
        return Stamp(value_of(answer), answer.timestamp, answer.latencyUsec, before_us, after_us)

    (readings,) = watch(DENSE_S * rig.scale, (DENSE_PERIOD_S, read))
    good = [reading.value for reading in readings if not reading.error]
    if not good:
        raise Skipped(readings[-1].error)
    return meaning(good)


def latency(rig: Rig) -> dict[str, Any]:
    asked: dict[str, Callable[[], Any]] = {
        "total energy": rig.energy_mj,
        "field 83": lambda: rig.fields(TOTAL_ENERGY),
        "field 191": lambda: rig.fields((ENERGY, SCOPES["gpu"])),
        "field 186": lambda: rig.fields(INSTANT),
        "power usage": lambda: pynvml.nvmlDeviceGetPowerUsage(rig.handle),
        "processes": lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(rig.handle),
    }
    return {name: calls(question, rig) for name, question in asked.items()}


def calls(question: Callable[[], Any], rig: Rig, between_s: float = BETWEEN_CALLS_S) -> dict[str, Any]:
    readings: list[Reading] = []
    end_ns, busy_ns = time.monotonic_ns() + round(CALLS_S * rig.scale * NS_PER_S), 0
    while len(readings) < CALLS and time.monotonic_ns() < end_ns:
        before_ns = time.thread_time_ns()
        readings.append(ask(question))
        busy_ns += time.thread_time_ns() - before_ns
        time.sleep(between_s)
    took_us = [(reading.ended_ns - reading.began_ns) / 1e3 for reading in readings]
    found = {"calls": len(readings), "p50_us": quantile(took_us, 0.5), "p99_us": quantile(took_us, 0.99), "max_us": max(took_us)}
    found |= {"cpu_us": busy_ns / 1e3 / len(readings)}
    errors = {reading.error for reading in readings if reading.error}
    return found | ({"errors": sorted(errors)} if errors else {})


def samples(rig: Rig) -> dict[str, Any]:
    """The driver's own history of power: how long, how dense, and how it compares with the power now."""
    kind, kept = pynvml.nvmlDeviceGetSamples(rig.handle, POWER_SAMPLES, 0)
    time.sleep(rig.scale)
    later = ask(lambda: pynvml.nvmlDeviceGetSamples(rig.handle, POWER_SAMPLES, kept[-1].timeStamp))
    apart_ms = [(b.timeStamp - a.timeStamp) / 1e3 for a, b in pairwise(kept)]
    return {
        "kept": len(kept),
        "span_s": math.fsum(apart_ms) / 1e3,
        "period_ms": statistics.median(apart_ms) if apart_ms else None,
        "in_the_next_s": later.error or len(later.value[1]) / rig.scale,
        "mean_w": statistics.fmean(getattr(sample.sampleValue, VALUES[kind]) / 1000 for sample in kept),
        "powers_w": rig.powers(),
    }


def agreement(rig: Rig) -> dict[str, Any]:
    return over_power(*watch(RATE_S / 2 * rig.scale, (1.0 * rig.scale, rig.energy_mj), (POWER_PERIOD_S, rig.powers)))


def read_rate(rig: Rig) -> dict[str, Any]:
    """Whether what the counter counts depends on how often it is read; at last it is read alone, without the power."""
    found = {}
    for hz in RATES_HZ:
        series = watch(RATE_S * rig.scale, (rig.scale / hz if hz <= 1 else 1 / hz, rig.energy_mj), (POWER_PERIOD_S, rig.powers))
        found[f"{hz:g} Hz"] = over_power(*series)
    (alone,) = watch(RATE_S / 2 * rig.scale, (RATE_S, rig.energy_mj))
    return {**found, "alone": over_power(alone, [])}


def pulses(rig: Rig) -> dict[str, Any]:
    """Whether something is missed of a load that comes and goes: then what is told of steady pulses would sway."""
    found = {}
    for period_ms in PULSES_MS:
        with rig.working([*child_command("pulse"), "--period", str(period_ms)]):
            asked = (PULSES_PERIOD_S, rig.energy_mj), (PULSES_PERIOD_S / 2, rig.powers)
            found[f"{period_ms:g} ms"] = sway(*watch(PULSES_S * rig.scale, *asked))
    return found


def sway(counter: Sequence[Reading], power: Sequence[Reading]) -> dict[str, Any]:
    """Mean power in windows of ten changes of the counter, by each way, and how far the windows are apart."""
    moved = [(middle_ns(b), b.value) for a, b in pairwise(counter) if not a.error and not b.error and a.value != b.value]
    if len(moved) <= WINDOW_CHANGES:
        raise Skipped("the counter changes too seldom")
    windows = list(zip(moved, moved[WINDOW_CHANGES:], strict=False))
    told = {"counter": [(b[1] - a[1]) / 1000 / ((b[0] - a[0]) / NS_PER_S) for a, b in windows]}
    for kind in KINDS:
        points = points_of(power, kind)
        within = [[watts for ns, watts in points if a[0] <= ns < b[0]] for a, b in windows]
        told[kind] = [statistics.fmean(watts) for watts in within if watts]
    apart = {kind: {"mean_w": statistics.fmean(w), "least_w": min(w), "most_w": max(w)} for kind, w in told.items() if w}
    kinds = {kind: [Reading(r.began_ns, r.ended_ns, r.value.get(kind)) for r in power if not r.error] for kind in KINDS}
    return {"windows": len(windows), **apart, "moves": {kind: steps(readings) for kind, readings in kinds.items()}}


def epochs(rig: Rig) -> dict[str, Any]:
    """What fitprint says of epochs, beside the integral of the power in them."""
    powers = []
    with Tracker(config=GPU_ONLY) as tracker:
        for _ in tracker.epochs(range(EPOCHS)):
            powers += watch(EPOCH_S * rig.scale, (POWER_PERIOD_S, rig.powers))
    footprint = tracker.footprint
    found: dict[str, Any] = {"interval_j": (footprint.energy_low_j, footprint.energy_high_j)}
    for record, power in zip(footprint.epochs, powers, strict=True):
        begin_ns = power[0].began_ns
        row = beside(record.energy_j or 0.0, power, begin_ns, begin_ns + round(record.duration_s * NS_PER_S))
        found[f"epoch {record.index}"] = {"joules": record.energy_j, "seconds": record.duration_s, **row}
    return {**found, "coverage": footprint.coverage}


def boundary(rig: Rig) -> dict[str, Any]:
    """What entering or leaving a phase takes, the driver included, and the driver's part of it."""
    driver = calls(rig.energy_mj, rig, between_s=0)
    return {"driver_p50_us": driver["p50_us"], "driver_p99_us": driver["p99_us"], **boundary_us(UNRECORDED)}


def boundary_us(config: Config) -> dict[str, Any]:
    took_us = []
    with Tracker(config=config) as tracker:
        for _ in range(BOUNDARIES):
            began_ns = time.perf_counter_ns()
            tracker.enter("validate")
            tracker.leave("validate")
            took_us.append((time.perf_counter_ns() - began_ns) / 2e3)
        sensors = [row["id"] for row in tracker.footprint.sensors]
    return {"p50_us": quantile(took_us, 0.5), "p99_us": quantile(took_us, 0.99), "sensors": sensors}


def views(rig: Rig) -> dict[str, Any]:
    """What torch and fitprint see under each way to choose a board; the same boards, one hopes."""
    chosen = {"not set": None, "UUID": rig.uuid, "begin of UUID": rig.uuid[:12], "index": "0", "empty": ""}
    children = {name: start_child("view", CUDA_VISIBLE_DEVICES=value) for name, value in chosen.items()}
    return {name: end_child(child) for name, child in children.items()}


def fence(rig: Rig) -> dict[str, Any]:
    return end_child(start_child("fence"))


def run_trace(rig: Rig) -> dict[str, Any]:
    """``fitprint run --record`` over rest, load and rest; the integral of the power is noted beside it."""
    path = rig.out / "run.jsonl"
    options = ["--quiet", "--record", str(path), "--region", "FR", "--ledger", "off"]
    command = [sys.executable, "-c", f"import time; time.sleep({RUN_S * rig.scale})"]
    environ = {**os.environ, "FITPRINT_PARTS": "gpu", "FITPRINT_ATTRIBUTE": "all"}
    run = subprocess.Popen([sys.executable, "-m", "fitprint", "run", *options, "--", *command], env=environ)
    power: list[Reading] = []
    found: dict[str, Any] = {}

    def watched() -> None:
        while run.poll() is None:
            power.extend(watch(RUN_S * rig.scale / 50, (POWER_PERIOD_S, rig.powers))[0])

    watcher = threading.Thread(target=watched)
    watcher.start()
    time.sleep(RUN_IDLE_S * rig.scale)
    try:
        with rig.working():
            time.sleep(RUN_LOAD_S * rig.scale)
    except Skipped as reason:
        found["load"] = str(reason)
    watcher.join()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    golden = write_golden(path, rows, f"fitprint run --record on {rig.name}: rest, load, rest")
    times = [row["t_ns"] for row in rows[1:]]
    (truth,) = golden["truth"].values()
    return {**found, "joules": truth["joules"], **beside(truth["joules"], power, times[0], times[-1])}


def write_golden(path: Path, rows: Sequence[Mapping[str, Any]], what: str) -> dict[str, Any]:
    """What a replay has to come to: the counters' own differences, as exact as they were written down."""
    truth = {}
    for sensor in rows[0]["sensors"]:
        raws = [row["raw"] for row in rows[1:] if row["sensor"] == sensor["id"] and "raw" in row]
        truth[sensor["id"]] = {"joules": (raws[-1] - raws[0]) * sensor["unit_j"], "within_j": 0.001}
    golden = {"what": what, "hardware": True, "truth": truth}
    path.with_suffix(".golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    return golden


def dense_trace(rig: Rig) -> dict[str, Any]:
    """The readings of ``period``, every 5 ms, as a trace."""
    path, rows = rig.out / "dense.jsonl", [head([rig.counter]), *rig.dense]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"truth": write_golden(path, rows, f"the counter of {rig.name}, read every 5 ms")["truth"]}


IDLE = (machine, reopening, fields, period, stamps, latency, samples, agreement, boundary)
LOADED = (period, stamps, latency, samples, agreement, read_rate, epochs)
LAST = (pulses, dense_trace, run_trace, views, fence)


# ---- processes of their own


def child_command(name: str) -> list[str]:
    return [sys.executable, str(Path(__file__).resolve()), "--child", name]


def start_child(name: str, **environ: str | None) -> subprocess.Popen[str]:
    merged = {**os.environ, **environ}
    given = {key: value for key, value in merged.items() if value is not None}
    return subprocess.Popen(child_command(name), env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_child(child: subprocess.Popen[str]) -> dict[str, Any]:
    try:
        out, complaints = child.communicate(timeout=READY_WITHIN_S)
    except subprocess.TimeoutExpired:
        child.kill()
        raise RuntimeError("it did not answer in time") from None
    if child.returncode:
        raise RuntimeError((complaints.strip() or "it said nothing").splitlines()[-1])
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    if found.keys() == {"skipped"}:
        raise Skipped(found["skipped"])
    return found


def torch_on_cuda() -> Any:
    try:
        import torch
    except ImportError as error:
        raise Skipped(f"torch cannot be imported ({error})") from error
    if not torch.cuda.is_available():
        raise Skipped("torch sees no CUDA device")
    return torch


def multiplication(torch: Any) -> Callable[[], Any]:
    """A product of two random matrices, queued; zeros would draw less."""
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    out = torch.empty_like(a)
    return lambda: torch.mm(a, a, out=out)


def work_on_cuda(work: Callable[[Any, Callable[[], Any]], None]) -> None:
    """Work with torch and a multiplication that has been made once, or say why not."""
    try:
        torch = torch_on_cuda()
    except Skipped as reason:
        say(str(reason))
        return
    multiply = multiplication(torch)
    multiply()
    torch.cuda.synchronize()
    say(READY)
    work(torch, multiply)


def burn(torch: Any, multiply: Callable[[], Any]) -> None:
    while True:
        for _ in range(20):
            multiply()
        torch.cuda.synchronize()


def pulse(torch: Any, multiply: Callable[[], Any], period_s: float) -> None:
    """Work for the first half of each period, by the clock."""
    began_s = time.perf_counter()
    for number in itertools.count():
        while time.perf_counter() < began_s + (number + 0.5) * period_s:
            multiply()
            torch.cuda.synchronize()
        time.sleep(max(0.0, began_s + (number + 1) * period_s - time.perf_counter()))


def child_view() -> None:
    def seen() -> list[str]:
        return sorted(counter.sensor.id for counter in probe(("gpu",), attribute="all").whole)

    before = seen()
    try:
        torch = torch_on_cuda()
    except Skipped as reason:
        say(json.dumps({"fitprint": before, "torch": str(reason)}))
        return
    torch.cuda.init()
    uuids = [str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())]
    ids = sorted(f"gpu:GPU-{uuid}" for uuid in uuids)
    found = {"fitprint": before, "torch": uuids, "torch_version": torch.__version__, "once_opened": seen()}
    say(json.dumps({**found, "agree": before == ids == found["once_opened"]}))


def child_fence() -> None:
    """An epoch ends while a second of work is still queued: is it in the epoch? And what does a boundary take?"""
    try:
        torch = torch_on_cuda()
    except Skipped as reason:
        say(json.dumps({"skipped": str(reason)}))
        return
    multiply = multiplication(torch)

    def work(times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            multiply()
        return time.perf_counter() - began

    work(10)
    torch.cuda.synchronize()
    began = time.perf_counter()
    work(20)
    torch.cuda.synchronize()
    times = max(1, round(QUEUED_S / ((time.perf_counter() - began) / 20)))
    found: dict[str, Any] = {"queued_s": QUEUED_S, "matrices": times}
    for name, sync in (("as it is", False), ("sync", True)):
        config = GPU_ONLY.overridden(sync=sync)
        with Tracker(config=config) as tracker, tracker.epoch(0):
            launched_s = work(times)
        torch.cuda.synchronize()
        epoch_s = tracker.footprint.epochs[0].duration_s
        found[name] = {"launched_s": launched_s, "epoch_s": epoch_s, "boundary": boundary_us(config)}
    say(json.dumps(found))


CHILDREN = {"burn": lambda: work_on_cuda(burn), "view": child_view, "fence": child_fence}


# ---- findings


def examine(rig: Rig) -> dict[str, Any]:
    """Measure everything; what cannot be measured says why."""
    real = Path("/proc/driver/nvidia/version").exists()
    findings: dict[str, Any] = {"schema": SCHEMA, "real": real, "scale": rig.scale, "idle": {}, "load": {}, "last": {}}
    take(rig, IDLE, "idle", findings)
    try:
        with rig.working() as load:
            take(rig, LOADED, "load", findings)
            findings["load_lasted"] = load.poll() is None
    except Skipped as reason:
        findings["load_skipped"] = str(reason)
        take(rig, [one for one in LOADED if one not in IDLE], "idle", findings)
    take(rig, LAST, "last", findings)
    return findings


def take(rig: Rig, measurements: Iterable[Callable[[Rig], dict[str, Any]]], state: str, findings: dict[str, Any]) -> None:
    for measurement in measurements:
        began = time.monotonic()
        try:
            found = {"status": "done", **measurement(rig)}
        except Skipped as reason:
            found = {"status": "skipped", "reason": str(reason)}
        except Exception as error:  # the others are worth having
            found = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
        findings[state][measurement.__name__] = {**found, "took_s": round(time.monotonic() - began, 2)}
        print(f"{state:>5} {measurement.__name__:<12} {found['status']} {found.get('reason', '')}", file=sys.stderr)  # noqa: T201
        (rig.out / "findings.json").write_text(json.dumps(findings, indent=1) + "\n")


def table(findings: Mapping[str, Any], counter: Counter) -> str:
    """The findings that fitprint's own figures rest on, in Markdown."""
    sensor = counter.sensor
    gain, called = f"within {sensor.low:.0%}", ("total energy", "field 83", "field 191", "field 186", "power usage", "processes")
    rows = [
        ("the counter moves every", ("period", "median_ms"), "ms", f"{sensor.tick_s * 1000:g} ms"),
        ("field 83's time stamp is", ("stamps", "means"), "", "not used"),
        *((f"{kind}, median call", ("latency", kind, "p50_us"), "µs", "") for kind in called),
        *((f"{kind}, slowest of 100", ("latency", kind, "p99_us"), "µs", "") for kind in called),
        *((f"{kind}, CPU time of a call", ("latency", kind, "cpu_us"), "µs", "") for kind in called),
        ("samples of power are kept for", ("samples", "span_s"), "s", ""),
        ("there is one every", ("samples", "period_ms"), "ms", ""),
        *((f"counter over the integral of {kind} power", ("agreement", "over", kind), "", gain) for kind in KINDS),
        *((f"the same (best kind), read at {hz:g} Hz", ("read_rate", f"{hz:g} Hz", "ratio"), "", gain) for hz in RATES_HZ),
        *((f"mean power by the counter, read at {hz:g} Hz", ("read_rate", f"{hz:g} Hz", "counter_w"), "W", "") for hz in RATES_HZ),
        ("the same, read at both ends and nothing else", ("read_rate", "alone", "counter_w"), "W", ""),
        *((f"epoch {i} over the integral of power", ("epochs", f"epoch {i}", "ratio"), "", gain) for i in range(EPOCHS)),
        ("a boundary, driver included", ("boundary", "p50_us"), "µs", ""),
        ("one reading of the counter in it", ("boundary", "driver_p50_us"), "µs", ""),
        ("unused for a while, the counter began again", ("reopening", "began_again"), "", "a gap if so"),
    ]
    lines = [f"**{findings['idle'].get('machine', {}).get('board', 'unknown board')}**", ""]
    lines += ["| | idle | under load | fitprint takes |", "|---|---:|---:|---|"]
    for what, path, unit, takes in rows:
        cells = [cell(findings[state], path, unit) for state in ("idle", "load")]
        lines.append(f"| {what} | {cells[0]} | {cells[1]} | {takes} |")
    return "\n".join([*lines, *pulse_lines(findings["last"].get("pulses", {}))]) + "\n"


def pulse_lines(found: Mapping[str, Any]) -> list[str]:
    """Power of a load that comes and goes, in windows of ten ticks of the counter."""
    if found.get("status") != "done":
        return []
    lines = ["", "| half of each | by | mean | least | most |", "|---|---|---:|---:|---:|"]
    for period, kinds in found.items():
        rows = kinds.items() if isinstance(kinds, Mapping) else ()
        for kind, row in (pair for pair in rows if pair[0] in ("counter", *KINDS)):
            lines.append(f"| {period} | {kind} | {row['mean_w']:.1f} W | {row['least_w']:.1f} W | {row['most_w']:.1f} W |")
    return lines


def cell(found: Mapping[str, Any], path: Sequence[str], unit: str) -> str:
    value: Any = found.get(path[0], {})
    if value.get("status") in ("skipped", "failed"):
        return str(value["status"])
    for key in path[1:]:
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        return "-"
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{shown} {unit}".strip()


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a child's answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/traces"), help="a folder named after the board is made in it")
    parser.add_argument(
        "--load", type=shlex.split, default=shlex.join(child_command("burn")), help="a program that makes the board work"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="shortens everything, to try this script")
    parser.add_argument("--child", choices=[*CHILDREN, "pulse"], help=argparse.SUPPRESS)
    parser.add_argument("--period", type=float, default=PULSES_MS[0], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "pulse":
        work_on_cuda(partial(pulse, period_s=options.period / 1000))
        return 0
    if options.child:
        CHILDREN[options.child]()
        return 0
    try:
        rig = find_rig(options)
    except (Skipped, pynvml.NVMLError) as reason:
        say(f"nothing can be measured: {reason}")
        return 1
    findings = examine(rig)
    (rig.out / "findings.md").write_text(table(findings, rig.counter))
    say((rig.out / "findings.md").read_text())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
