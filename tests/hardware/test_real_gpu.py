"""What fitprint takes for granted about NVIDIA's boards, held against a real one, and against the stand-in driver elsewhere.

The measurements are made by ``real_gpu.py``, once for all tests here: whatever passes on the stand-in is known to run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import real_gpu
from hypothesis import given
from hypothesis import strategies as st
from real_gpu import Reading, Skipped, Stamp

from fitprint import Meter
from fitprint.clock import NS_PER_S
from fitprint.meter import GAUGE_PERIOD_S
from fitprint.sensors.trace import Trace

SCRIPT = Path(real_gpu.__file__)
REAL = Path("/proc/driver/nvidia/version")
STAND_IN_SCALE, REAL_SCALE = 0.04, 0.5
STAND_IN_TICK_S = 0.02
FIRST_UUID = "GPU-000000a0-0000-0000-0000-000000000000"

# What the script asks of torch, on the stand-in's two boards: a product takes 2 ms and is queued.
TORCH = """
import os, time
from types import SimpleNamespace as Namespace

__version__, float16 = "stand-in", None
version, backends = Namespace(hip=None), Namespace(mps=Namespace(is_available=lambda: False))
boards = [f"000000a{i}-0000-0000-0000-000000000000" for i in range(2)]
chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
if chosen is not None:
    boards = [uuid for i, uuid in enumerate(boards) if chosen and (chosen == str(i) or f"GPU-{uuid}".startswith(chosen))]
state = Namespace(opened=False, done_at=0.0)

def mm(a, b, out):
    state.opened, state.done_at = True, max(state.done_at, time.perf_counter()) + 0.002

def synchronize(device=0):
    time.sleep(max(0.0, state.done_at - time.perf_counter()))

cuda = Namespace(
    is_available=lambda: bool(boards), init=lambda: setattr(state, "opened", True), is_initialized=lambda: state.opened,
    device_count=lambda: len(boards), get_device_properties=lambda i: Namespace(name=f"Fake GPU {i}", uuid=boards[i]),
    memory_reserved=lambda i: 1, synchronize=synchronize,
)
randn = empty_like = lambda *_, **__: None
"""
NO_TORCH = "raise ImportError('no torch in this test')"


def run_script(*words, around=None, **environ):
    command, around = [sys.executable, str(SCRIPT), *words], os.environ if around is None else around
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env={**around, **environ})


def torch_like(folder, text):
    """A search path on which torch is this text."""
    (folder / "torch.py").write_text(text)
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


def on_the_stand_in(request, tmp_path_factory):
    """The script in a process of its own that finds the stand-in driver, two boards of it, and a stand-in for torch."""
    library, out = request.getfixturevalue("fake_nvml_library"), tmp_path_factory.mktemp("stand-in")
    done = run_script(
        *("--out", str(out), "--scale", str(STAND_IN_SCALE)),
        LD_LIBRARY_PATH=str(library.parent),
        FAKE_NVML_WATTS="300,100",
        FAKE_NVML_PERIOD_MS=str(STAND_IN_TICK_S * 1000),
        PYTHONPATH=torch_like(tmp_path_factory.mktemp("torch"), TORCH),
    )
    return done, out


def on_a_real_board(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("real")
    around = request.getfixturevalue("with_real_boards")
    return run_script("--out", str(out), "--scale", str(REAL_SCALE), around=around), out


@pytest.fixture(scope="session", params=["stand-in", pytest.param("real", marks=pytest.mark.gpu)])
def examined(request, tmp_path_factory):
    """What the script left in its folder, and its findings."""
    if request.param == "real" and not REAL.exists():
        pytest.skip(f"needs a real NVIDIA GPU, and no driver of one is loaded here ({REAL})")
    if request.param == "stand-in" and REAL.exists():
        pytest.skip("a real NVIDIA driver is loaded here")
    measure = on_the_stand_in if request.param == "stand-in" else on_a_real_board
    done, out = measure(request, tmp_path_factory)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = out.iterdir()
    return folder, json.loads((folder / "findings.json").read_text())


@pytest.fixture
def folder(examined):
    return examined[0]


@pytest.fixture
def findings(examined):
    return examined[1]


@pytest.fixture
def sensor(folder):
    """What fitprint states of the board's counter."""
    return json.loads((folder / "dense.jsonl").read_text().splitlines()[0])["sensors"][0]


def found(findings, name, state="load"):
    """A measurement that was made; else the test is skipped for the same reason as it was."""
    row = findings[state].get(name) or findings["idle"].get(name)
    if row["status"] == "skipped":
        pytest.skip(row["reason"])
    assert row["status"] == "done", row
    return row


def allowed(findings, sensor, seconds):
    """The board's own gain, and a tick of its counter at either end."""
    return sensor["low"] + ticks(findings, seconds)


def ticks(findings, seconds):
    return 2 * found(findings, "period")["median_ms"] / 1000 / seconds


# ---- on a board


def test_every_measurement_is_made_or_says_why_not(findings):
    rows = [row | {"name": name} for state in ("idle", "load", "last") for name, row in findings[state].items()]
    assert [row for row in rows if row["status"] not in ("done", "skipped")] == []
    assert all(row["reason"] for row in rows if row["status"] == "skipped")


@pytest.mark.parametrize("state", ["idle", "load"])
def test_the_counter_moves_at_least_as_often_as_is_stated(findings, sensor, state):
    assert found(findings, "period", state)["median_ms"] <= 1.1 * sensor["tick_s"] * 1000


def test_the_counter_comes_to_the_integral_of_the_power_within_the_stated_gain(findings, sensor):
    row = found(findings, "agreement")
    assert row["ratio"] == pytest.approx(1.0, abs=allowed(findings, sensor, row["seconds"]))


def test_what_is_counted_does_not_depend_on_whether_it_is_read_once_a_second_or_less(findings):
    rates = found(findings, "read_rate")
    slow, often = rates["0.2 Hz"], rates["1 Hz"]
    either = ticks(findings, slow["seconds"]) + ticks(findings, often["seconds"])
    assert often["ratio"] == pytest.approx(slow["ratio"], abs=0.01 + either)


@pytest.mark.parametrize("period", ["101 ms", "20.2 ms"])
def test_the_counter_misses_nothing_of_a_load_that_comes_and_goes(findings, period):
    told = found(findings, "pulses", "last")[period]["counter"]
    assert told["most_w"] - told["least_w"] < 0.2 * told["mean_w"]


def test_an_epochs_joules_are_the_integral_of_the_power_within_the_stated_gain(findings, sensor):
    row = found(findings, "epochs")
    epochs = [row[f"epoch {number}"] for number in range(real_gpu.EPOCHS)]
    for epoch in epochs:
        assert epoch["ratio"] == pytest.approx(1.0, abs=allowed(findings, sensor, epoch["seconds"]))
    assert row["coverage"] == pytest.approx(1.0)


def test_a_question_to_the_driver_takes_less_than_ten_milliseconds(findings):
    assert found(findings, "latency")["total energy"]["p50_us"] < 10_000


def test_a_boundary_takes_little_beside_the_driver(findings):
    row = found(findings, "boundary", "idle")
    assert row["p50_us"] < 3 * row["driver_p50_us"] + 500


def test_the_drivers_history_of_power_is_longer_than_the_keepers_pause(findings):
    assert found(findings, "samples")["span_s"] > GAUGE_PERIOD_S


def test_the_counter_begins_again_only_where_nothing_keeps_the_driver_loaded(findings):
    row = found(findings, "reopening", "idle")
    assert not row["began_again"] or row["persistence_mode"] == 0


def test_torch_and_fitprint_see_the_same_boards_however_they_are_chosen(findings, sensor):
    views = found(findings, "views", "last")
    assert views["UUID"]["fitprint"] == views["begin of UUID"]["fitprint"] == [sensor["id"]]
    assert views["empty"]["fitprint"] == []
    assert len(views["index"]["fitprint"]) == 1
    assert all(view["agree"] for view in views.values() if isinstance(view, dict) and "agree" in view)


def test_with_sync_an_epoch_waits_for_what_is_queued(findings):
    row = found(findings, "fence", "last")
    assert row["sync"]["epoch_s"] > 0.8 * row["queued_s"]
    assert row["as it is"]["launched_s"] < row["sync"]["epoch_s"]


@pytest.mark.parametrize("name", ["run", "dense"])
def test_the_traces_replay_to_their_golden_totals(folder, name):
    trace = Trace.read((folder / f"{name}.jsonl").read_text().splitlines())
    golden = json.loads((folder / f"{name}.golden.json").read_text())
    with Meter(trace.counters, clock=trace.clock) as meter:
        before = after = meter.snapshot()
        for _ in trace.play():
            after = meter.snapshot()
    energy = meter.between(before, after)
    assert energy.by_sensor == {i: pytest.approx(t["joules"], abs=t["within_j"]) for i, t in golden["truth"].items()}
    assert (folder / f"{name}.jsonl").stat().st_size < 100_000


def test_the_table_has_a_row_for_each_question_and_no_empty_figure_of_the_counter(folder):
    lines = (folder / "findings.md").read_text().split("\n\n")[1].splitlines()
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:4]] for line in lines[2:]}
    assert len(rows) > 25
    assert rows["the counter moves every"][0].endswith("ms")
    assert "-" not in rows["the counter moves every"]


# ---- the stand-in's truth


def test_the_script_finds_the_stand_ins_own_figures(findings):
    if findings["real"]:
        pytest.skip("on a real board nobody knows them")
    assert found(findings, "period")["median_ms"] == pytest.approx(STAND_IN_TICK_S * 1000, abs=10)
    assert found(findings, "samples")["period_ms"] == pytest.approx(20, abs=0.01)
    assert found(findings, "reopening", "idle")["began_again"] is False
    for period in real_gpu.PULSES_MS:
        assert found(findings, "pulses", "last")[f"{period:g} ms"]["usage"]["mean_w"] == pytest.approx(300)
    for hz in real_gpu.RATES_HZ:
        row = found(findings, "read_rate")[f"{hz:g} Hz"]
        assert row["counter_w"] == pytest.approx(300, rel=2 * STAND_IN_TICK_S / row["seconds"])


def test_on_the_stand_in_every_measurement_can_be_made(findings):
    if findings["real"]:
        pytest.skip("a real board may lack something")
    rows = {**findings["idle"], **findings["load"], **findings["last"]}
    assert {name for name, row in rows.items() if row["status"] == "skipped"} == set()
    assert findings["load_lasted"] is True
    assert findings["last"]["views"]["not set"]["agree"] is True


# ---- the script itself


@pytest.fixture
def rig(tmp_path):
    return real_gpu.Rig(None, FIRST_UUID, "a board", None, [], 0.001, tmp_path)


def raises(error):
    def measurement(rig):
        raise error

    return measurement


def test_a_measurement_that_fails_costs_no_other(rig):
    found = {"idle": {}}
    failing, skipping = raises(OSError("gone")), raises(Skipped("not here"))
    failing.__name__, skipping.__name__ = "failing", "skipping"

    def good(rig):
        return {"watts": 3.0}

    real_gpu.take(rig, [failing, skipping, good], "idle", found)
    assert [row["status"] for row in found["idle"].values()] == ["failed", "skipped", "done"]
    assert found["idle"]["failing"]["reason"] == "OSError: gone"
    assert json.loads((rig.out / "findings.json").read_text()) == found


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (["/no/such/program"], "the load cannot be started"),
        ([sys.executable, "-c", "print('torch sees no CUDA device')"], "torch sees no CUDA device"),
        ([sys.executable, "-c", ""], "the load ended at once"),
    ],
    ids=["not there", "says why", "silent"],
)
def test_without_a_load_the_board_is_watched_idle(rig, monkeypatch, load, reason):
    def once(rig):
        return {"watts": 3.0}

    rig.load = load
    monkeypatch.setattr(real_gpu, "IDLE", ())
    monkeypatch.setattr(real_gpu, "LOADED", (once,))
    monkeypatch.setattr(real_gpu, "LAST", ())
    findings = real_gpu.examine(rig)
    assert reason in findings["load_skipped"]
    assert findings["idle"]["once"]["watts"] == 3.0
    assert findings["load"] == {}


def test_without_a_driver_the_script_says_so():
    if REAL.exists():
        pytest.skip("a real NVIDIA driver is loaded here")
    done = run_script("--out", "nowhere")
    assert done.returncode == 1
    assert done.stdout.startswith("nothing can be measured: ")


@pytest.mark.parametrize("child", ["fence", "view", "burn"])
def test_without_torch_what_needs_it_says_so(tmp_path, child):
    done = run_script("--child", child, PYTHONPATH=torch_like(tmp_path, NO_TORCH))
    assert "torch cannot be imported (no torch in this test)" in done.stdout
    assert done.returncode == 0


def test_where_no_board_is_visible_the_script_says_so(fake_nvml_library):
    if REAL.exists():
        pytest.skip("a real NVIDIA driver is loaded here")
    done = run_script(LD_LIBRARY_PATH=str(fake_nvml_library.parent), FAKE_NVML_WATTS="300", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert "finds no NVIDIA board" in done.stdout


def test_a_process_of_its_own_that_fails_says_how():
    child = subprocess.Popen(
        [sys.executable, "-c", "raise ValueError('odd')"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with pytest.raises(RuntimeError, match="ValueError: odd"):
        real_gpu.end_child(child)


def test_questions_are_asked_at_their_own_pace_and_once_more_at_the_end():
    began_ns = time.monotonic_ns()
    often, seldom, failing = real_gpu.watch(0.2, (0.02, lambda: 1), (0.1, lambda: 2), (1.0, lambda: [][0]))
    assert 8 <= len(often) <= 11
    assert len(seldom) == 3
    assert [reading.error for reading in failing] == ["IndexError: list index out of range"] * 2
    for series in (often, seldom, failing):
        assert series[0].began_ns - began_ns < 0.05 * NS_PER_S
        assert series[-1].began_ns - began_ns >= 0.2 * NS_PER_S


def readings(period_ms, seconds, tick_ms, watts=500.0):
    """A counter in millijoules that is brought up to date at every tick, read at a steady pace."""
    times_ms = range(0, round(seconds * 1000), period_ms)
    return [Reading(t * 10**6, t * 10**6, int(t // tick_ms * tick_ms * watts)) for t in times_ms]


@pytest.mark.parametrize("tick_ms", [20, 50, 100])
def test_the_period_of_a_counter_is_found(tick_ms):
    found = real_gpu.steps(readings(5, 3, tick_ms))
    assert found["median_ms"] == tick_ms
    assert found["failures"] == 0


def test_a_counter_that_stands_still_has_no_period():
    assert real_gpu.steps(readings(5, 0.1, 100)) == {"polls": 20, "failures": 0, "changes": 0}


def stamps(tick_us, stamp):
    """Field 83 read every 5 ms of 3 s; a call takes 100 us."""
    times_us = range(10**6, 4 * 10**6, 5000)
    return [Stamp(t // tick_us, stamp(t), 90, t, t + 100) for t in times_us]


@pytest.mark.parametrize(
    ("stamp", "means"),
    [
        (lambda t: t + 40, "the time of reading"),
        (lambda t: t // 100_000 * 100_000, "the time of the update"),
        (lambda t: 0, "nothing: it is 0"),
        (lambda t: t // 70_000 * 70_000, "unknown"),
    ],
    ids=["in the call", "at the tick", "never", "something else"],
)
def test_what_a_time_stamp_means_is_told_from_when_it_changes(stamp, means):
    assert real_gpu.meaning(stamps(100_000, stamp))["means"] == means


points = st.lists(st.tuples(st.integers(1, 10**9), st.floats(0, 1000)), min_size=1, max_size=20)


@given(points, st.floats(0, 1000))
def test_steady_power_integrates_to_power_times_time_wherever_it_is_read(steps, watts):
    times_ns = [0]
    for step_ns, _ in steps:
        times_ns.append(times_ns[-1] + step_ns)
    begin_ns, end_ns = times_ns[-1] // 3, 2 * times_ns[-1] + 1
    integral = real_gpu.integral_j([(t, watts) for t in times_ns], begin_ns, end_ns)
    assert integral == pytest.approx(watts * (end_ns - begin_ns) / NS_PER_S)


@given(points)
def test_the_parts_of_an_integral_sum_to_the_whole(steps):
    times_ns, line = 0, []
    for step_ns, watts in steps:
        times_ns += step_ns
        line.append((times_ns, watts))
    cuts = [0, times_ns // 3, times_ns // 2, times_ns + 5]
    whole = real_gpu.integral_j(line, cuts[0], cuts[-1])
    assert sum(real_gpu.integral_j(line, a, b) for a, b in pairwise(cuts)) == pytest.approx(whole, abs=1e-6)


def test_the_counter_is_compared_with_the_power_between_its_own_first_and_last_reading():
    counter = [Reading(0, 0, None, "lost"), *readings(100, 10, 100)[10:]]
    power = [Reading(t * 10**6, t * 10**6, {"usage": 400.0}) for t in range(0, 12_000, 50)]
    found = real_gpu.over_power(counter, power)
    assert found["seconds"] == pytest.approx(8.9)
    assert found["over"] == {"usage": pytest.approx(500 / 400)}
    assert found["ratio"] == found["over"]["usage"]


def test_what_sees_every_other_tick_of_a_load_that_comes_and_goes_is_told_by_its_sway():
    """On for a second and off for one; the counter gets it all, one of its readings of the power only what is on."""
    counter = [Reading(t, t, t // NS_PER_S * 250_000) for t in range(0, 40 * NS_PER_S, NS_PER_S // 2)]
    power = [Reading(t, t, {"usage": 500.0 if t // 10**10 % 2 else 0.0}) for t in range(0, 40 * NS_PER_S, NS_PER_S // 10)]
    found = real_gpu.sway(counter, power)
    assert found["counter"] == {"mean_w": 250.0, "least_w": 250.0, "most_w": 250.0}
    assert (found["usage"]["least_w"], found["usage"]["most_w"]) == (0.0, 500.0)


def test_arguments_name_the_folder_and_the_load(tmp_path, gpu):
    options = argparse.Namespace(out=tmp_path, load=["true"], scale=1.0)
    rig = real_gpu.find_rig(options)
    assert (rig.uuid, rig.name, rig.load) == (FIRST_UUID, "Fake GPU 0", ["true"])
    assert rig.out == tmp_path / "fake-gpu-0"
    assert os.environ.pop("CUDA_VISIBLE_DEVICES") == FIRST_UUID
