"""The recorded traces, replayed through the whole core, come to what their golden files say."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest

from fitprint import Meter, Tracker
from fitprint.clock import NS_PER_S
from fitprint.sensors.probe import Surroundings
from fitprint.sensors.trace import Trace
from fitprint.testing import ScriptedCounter

FOLDER = Path(__file__).resolve().parents[1] / "traces"
TRACES = sorted(FOLDER.rglob("*.jsonl"))
AMD = FOLDER / "amd-range-powercap-simulated.jsonl"
TRAINING = FOLDER / "stand-in-nvidia-training.jsonl"
LARGEST_BYTES = 100_000


def read(path):
    return Trace.read(path.read_text().splitlines())


def golden(path):
    return json.loads(path.with_suffix("").with_suffix(".golden.json").read_text())


def with_epochs(path):
    return "epochs" in golden(path)


def name(path):
    return str(path.relative_to(FOLDER).with_suffix(""))


def metered(trace, every=1):
    """The energy of a trace of which every so many times are read."""
    with Meter(trace.counters, clock=trace.clock) as meter:
        before = after = meter.snapshot()
        for i, _ in enumerate(trace.play()):
            after = meter.snapshot() if i % every == 0 else after
    return meter.between(before, after)


def tracked(trace, epochs):
    """The record of a run over a trace, with epochs from one time to another."""
    with Tracker(counters=trace.counters, around=Surroundings(clock=trace.clock, environ={}), ledger="off", region="FR") as tracker:
        times = trace.play()
        for number, epoch in enumerate(epochs):
            while trace.clock.monotonic_ns() < epoch["from_ns"]:
                next(times)
            with tracker.epoch(number):
                while trace.clock.monotonic_ns() < epoch["until_ns"]:
                    next(times)
                    tracker.check(ahead_s=0.0)
        for _ in times:
            tracker.check(ahead_s=0.0)
    return tracker.footprint


@pytest.fixture(params=TRACES, ids=name)
def path(request):
    return request.param


@pytest.fixture(params=list(filter(with_epochs, TRACES)), ids=name)
def path_with_epochs(request):
    return request.param


def test_each_sensor_of_a_replay_counts_its_golden_joules(path):
    energy, truth = metered(read(path)), golden(path)["truth"]
    assert energy.by_sensor.keys() == truth.keys()
    for sensor, joules in energy.by_sensor.items():
        assert joules == pytest.approx(truth[sensor]["joules"], rel=0, abs=truth[sensor]["within_j"])


def test_what_a_replay_did_not_see_is_as_long_as_its_golden_file_says(path):
    energy, truth = metered(read(path)), golden(path)["truth"]
    for sensor, observed_ns in zip(energy.sensors, energy.observed_ns, strict=True):
        unseen_s = energy.duration_s - observed_ns / NS_PER_S
        assert unseen_s == pytest.approx(truth[sensor.id].get("unseen_s", 0.0), abs=0.001)


def test_the_epochs_of_a_replayed_run_have_their_golden_joules(path_with_epochs):
    epochs = golden(path_with_epochs)["epochs"]
    footprint = tracked(read(path_with_epochs), epochs)
    assert len(footprint.epochs) == len(epochs)
    for record, epoch in zip(footprint.epochs, epochs, strict=True):
        assert record.energy_j == pytest.approx(epoch["joules"], rel=0, abs=epoch["within_j"])
        assert record.duration_s == pytest.approx((epoch["until_ns"] - epoch["from_ns"]) / NS_PER_S)


def test_a_replayed_run_comes_to_what_its_meter_counts_and_its_epochs_add_up(path):
    epochs = golden(path).get("epochs", [])
    footprint, energy = tracked(read(path), epochs), metered(read(path))
    assert footprint.energy_j == pytest.approx(energy.joules, abs=1e-6)
    assert footprint.coverage == pytest.approx(energy.coverage)
    in_epochs_j = math.fsum(record.energy_j for record in footprint.epochs)
    assert in_epochs_j + footprint.outside_epochs_j == pytest.approx(footprint.energy_j, abs=1e-6)


def test_a_trace_is_small_and_holds_readings_and_nothing_else(path):
    head, *readings = [json.loads(line) for line in path.read_text().splitlines()]
    assert path.stat().st_size < LARGEST_BYTES
    assert head.keys() == {"schema", "fitprint", "sensors"}
    assert {key for row in readings for key in row} <= {"sensor", "t_ns", "raw", "error", "call_ns"}


def test_every_trace_is_described_and_said_to_be_recorded_or_built(path):
    rows = [line for line in (FOLDER / "README.md").read_text().splitlines() if f"`{name(path)}`" in line]
    assert len(rows) == 1
    assert ("recorded" if golden(path)["hardware"] else "built") in rows[0]


def test_amds_counters_start_again_several_times_and_nothing_is_lost():
    rows = [json.loads(line) for line in AMD.read_text().splitlines()]
    raws = [row["raw"] for row in rows[1:] if row["sensor"] == "cpu:package-0"]
    starts_again = sum(after < before for before, after in pairwise(raws))
    assert starts_again == math.floor((50_000_000_000 + 576_000_000_000) / 65_532_610_988)
    assert metered(read(AMD)).coverage == 1.0


def test_readings_further_apart_than_a_wrap_lose_whole_wraps():
    every_3_minutes = metered(read(AMD), every=6)
    lost_j = golden(AMD)["truth"]["cpu:package-0"]["joules"] - every_3_minutes.by_sensor["cpu:package-0"]
    assert lost_j > 60_000


def test_a_board_that_is_lost_for_a_while_is_caught_up_without_a_gap():
    rows = [json.loads(line) for line in TRAINING.read_text().splitlines()]
    lost = [row for row in rows if "is lost" in row.get("error", "")]
    assert len(lost) > 1
    epoch = next(e for e in golden(TRAINING)["epochs"] if e["from_ns"] < lost[0]["t_ns"] < e["until_ns"])
    record = tracked(read(TRAINING), [epoch]).epochs[0]
    assert record.energy_j == pytest.approx(epoch["joules"], abs=epoch["within_j"])


def test_a_counter_that_begins_again_leaves_one_gap_and_no_negative_joule():
    trace = read(TRAINING)
    with Meter(trace.counters, clock=trace.clock) as meter:
        energies = [meter.snapshot().counts[0] for _ in trace.play()]
        gaps = meter._totals[0].gaps
    assert energies == sorted(energies)
    assert len(gaps) == 1
    unseen_s = golden(TRAINING)["truth"][trace.counters[0].sensor.id]["unseen_s"]
    assert (gaps[0][1] - gaps[0][0]) / NS_PER_S == pytest.approx(unseen_s)


@pytest.mark.parametrize("seconds", [0.02, 0.05])
def test_no_interval_reaches_below_zero_however_short_the_window(clock, seconds):
    board = ScriptedCounter(clock, watts=300.0, tick_s=0.1)
    with Meter([board], clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(seconds)
        assert meter.between(before, meter.snapshot()).low_j >= 0
