"""Raw readings, recorded and replayed through the whole core."""

from __future__ import annotations

import json

import pytest

from fitprint import Meter, Tracker
from fitprint.errors import SensorError
from fitprint.sensors.probe import Surroundings
from fitprint.sensors.trace import Recorded, Trace, head
from fitprint.testing import FakeClock, ScriptedCounter


def recorded(seconds, *, wraps=False, fails_at=(), reset_at=None):
    """The lines of a trace of one CPU at 80 W and one GPU at 300 W, and the clock's end."""
    clock = FakeClock()
    cpu = ScriptedCounter(clock, watts=80.0, part="cpu", modulus=200_000 if wraps else None, p_max_w=1000.0)
    gpu = ScriptedCounter(clock, watts=300.0, min_interval_s=1.0)
    rows = [head([cpu, gpu])]
    counters = [Recorded(counter, rows.append, clock) for counter in (cpu, gpu)]
    with Meter(counters, clock=clock) as meter:
        for second in range(seconds):
            clock.advance(1.0)
            gpu.fails = second in fails_at
            if second == reset_at:
                gpu.add(-(10**7))
            last = meter.snapshot()
        first_ns = rows[1]["t_ns"]
    return [json.dumps(row) for row in rows], last, first_ns


def replay(lines):
    trace = Trace.read(lines)
    with Meter(trace.counters, clock=trace.clock) as meter:
        before = meter.snapshot()
        for _ in trace.play():
            after = meter.snapshot()
    return meter.between(before, after)


@pytest.mark.parametrize("options", [{}, {"wraps": True}, {"fails_at": (3, 4)}, {"reset_at": 5}], ids=str)
def test_a_replay_counts_what_the_recording_counted(options):
    lines, last, first_ns = recorded(10, **options)
    energy = replay(lines)
    assert energy.counts == last.counts
    assert energy.observed_ns == last.observed_ns
    assert energy.duration_ns == last.time_ns - first_ns


def test_wraps_are_in_the_trace_and_unwrapped_again():
    lines, _, _ = recorded(10, wraps=True)
    raws = [json.loads(line)["raw"] for line in lines[1:] if "cpu" in line]
    assert sorted(raws) != raws
    assert replay(lines).by_part == {"cpu": pytest.approx(800.0), "gpu": pytest.approx(3000.0)}


def test_a_trace_drives_a_whole_run_with_epochs():
    lines, _, _ = recorded(12)
    trace = Trace.read(lines)
    around = Surroundings(clock=trace.clock, environ={})
    steps = trace.play()
    with Tracker(counters=trace.counters, around=around, ledger="off", region="FR") as tracker:
        for _ in tracker.epochs(range(3)):
            for _ in range(4):
                next(steps)
    joules = [epoch.energy_j for epoch in tracker.footprint.epochs]
    assert joules == pytest.approx([3 * 380.0, 4 * 380.0, 4 * 380.0])


def test_each_reading_keeps_how_long_the_call_took_and_why_it_failed():
    lines, _, _ = recorded(5, fails_at=(2,))
    rows = [json.loads(line) for line in lines[1:]]
    assert all(row["call_ns"] >= 0 for row in rows)
    assert [row["error"] for row in rows if "error" in row] == ["scripted failure"]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["no json"],
        ['{"schema": 99, "sensors": []}', '{"sensor": "x", "t_ns": 0, "raw": 1}'],
        ['{"schema": 1, "sensors": []}'],
        ['{"schema": 1, "sensors": []}', '{"sensor": "unknown", "t_ns": 0, "raw": 1}'],
        ['{"schema": 1, "sensors": [{"id": "x"}]}', '{"sensor": "x", "t_ns": 0, "raw": 1}'],
        ["[1, 2]", "3"],
    ],
    ids=str,
)
def test_what_is_no_trace_is_refused(lines):
    with pytest.raises(SensorError, match="this is no trace"):
        Trace.read(lines)
