"""What NVIDIA's driver does wrong costs coverage: never the run, never a joule too many, never a negative one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from types import SimpleNamespace

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fitprint
from fitprint.clock import NS_PER_S, SystemClock
from fitprint.errors import SensorError
from fitprint.sensors import nvml
from fitprint.sensors.counter import Unwrapped
from fitprint.sensors.nvml_board import Board, Driver, PowerHistory
from fitprint.sensors.nvml_share import ProcessShare
from fitprint.sensors.probe import probe
from fitprint.sensors.visible import Identity
from fitprint.testing import FakeClock

TICK_S = 0.1
WATTS = 400.0


@pytest.fixture
def board(gpu):
    """A board at 400 W whose counter is unwrapped: ``board.read()`` after whatever befell it."""
    gpu.set_watts(WATTS)
    (counter,) = probe(("gpu",)).counters
    unwrapped = Unwrapped(counter)
    clock = SystemClock()

    def read(after_s=0.0):
        time.sleep(after_s)
        unwrapped.read(clock)
        return unwrapped.total * counter.sensor.unit_j

    read()
    return SimpleNamespace(read=read, unwrapped=unwrapped, truth=gpu.joules, gpu=gpu, counter=counter)


def test_a_board_that_is_lost_and_comes_back_catches_up(board):
    before = board.truth()
    board.gpu.lose()
    assert board.read(after_s=0.3) == 0.0
    board.gpu.lose(lost=False)
    assert board.read() == pytest.approx(board.truth() - before, abs=WATTS * TICK_S + 1)
    assert board.unwrapped.gaps == []


def test_a_board_that_is_lost_for_good_costs_coverage_and_not_the_run(gpu):
    with fitprint.Tracker(ledger="off", config=fitprint.Config(parts=["gpu"])) as tracker:
        for index in tracker.epochs(range(2)):
            gpu.lose(lost=index == 1)
            time.sleep(0.2)
    footprint = tracker.footprint
    assert footprint.status == "completed"
    assert 0 < footprint.coverage < 0.8
    assert footprint.epochs[0].energy_j > 0


def test_a_run_over_a_lost_board_that_recovers_has_all_of_its_joules(gpu):
    gpu.set_watts(WATTS)
    with fitprint.Tracker(ledger="off", config=fitprint.Config(parts=["gpu"])) as tracker:
        before = gpu.joules()
        for index in tracker.epochs(range(3)):
            gpu.lose(lost=index == 1)
            time.sleep(0.2)
        truth = gpu.joules() - before
    assert tracker.footprint.energy_j == pytest.approx(truth, abs=WATTS * TICK_S + 5)
    assert tracker.footprint.coverage == pytest.approx(1.0, abs=0.05)
    assert all(epoch.energy_j >= 0 for epoch in tracker.footprint.epochs)


def test_a_board_that_is_lost_at_the_start_is_named_as_uncounted(gpu):
    gpu.set_boards(2, 50.0)
    gpu.lose(board=1)
    sensors = probe(("gpu",))
    assert [counter.sensor.source for counter in sensors.counters] == ["NVML total energy counter, Fake GPU 0"]
    assert sensors.uncounted == ("GPU 1",)
    assert "GPU is lost" in sensors.absent[0].reason


def test_a_counter_that_begins_again_adds_nothing_and_leaves_a_gap(board):
    seen = board.read(after_s=0.25)
    board.gpu.reset()
    assert board.read(after_s=0.15) == seen
    assert len(board.unwrapped.gaps) == 1
    again = board.truth()
    assert board.read(after_s=0.25) - seen == pytest.approx(board.truth() - again, abs=WATTS * TICK_S + 1)
    assert len(board.unwrapped.gaps) == 1


def test_a_counter_that_stood_still_shows_what_it_kept_once_and_no_joule_of_its_own(board):
    before = board.truth()
    board.gpu.freeze()
    standing = [board.read(after_s=0.15) for _ in range(3)]
    assert standing[0] == standing[-1] <= WATTS * TICK_S
    board.gpu.freeze(frozen=False)
    assert board.read() == pytest.approx(board.truth() - before, abs=WATTS * TICK_S + 1)


def test_a_counter_that_stands_still_under_load_is_not_taken_for_joules_of_zero(board):
    now_ns = board.unwrapped.read_ns
    board.gpu.freeze()
    for second in range(1, 31):  # the clock is not waited for
        board.unwrapped.advance(board.counter.read(), now_ns + second * NS_PER_S)
    assert board.unwrapped.observed_ns < 2 * NS_PER_S
    (gap,) = board.unwrapped.gaps
    assert gap[1] == now_ns + 30 * NS_PER_S


def test_a_slow_driver_is_waited_for_and_loses_nothing(gpu, monkeypatch):
    gpu.set_watts(WATTS)
    monkeypatch.setenv("FAKE_NVML_LATENCY_MS", "30")
    with fitprint.Tracker(ledger="off", config=fitprint.Config(parts=["gpu"])) as tracker:
        before = gpu.joules()
        for _ in tracker.epochs(range(3)):
            time.sleep(0.1)
        truth = gpu.joules() - before
    assert tracker.footprint.energy_j == pytest.approx(truth, abs=WATTS * (TICK_S + 0.06) + 5)


@pytest.mark.parametrize(
    ("code", "reason", "remedy"),
    [
        ("9", "Driver Not Loaded", "sudo modprobe nvidia"),
        ("12", "Library Not Found", "--gpus all"),
        ("18", "version mismatch", "restart the machine"),
        ("4", "Insufficient Permissions", "sudo chmod"),
        ("999", "no NVIDIA driver answers here", "nvidia-smi"),
    ],
    ids=["not loaded", "not found", "version mismatch", "no permission", "unknown"],
)
def test_a_driver_that_does_not_start_is_absent_with_what_helps(gpu, monkeypatch, code, reason, remedy):
    monkeypatch.setenv("FAKE_NVML_INIT", code)
    (absent,) = nvml.probe(pynvml, {}, SystemClock(), {})
    assert reason in absent.reason
    assert remedy in absent.remedy
    assert not nvml.answered([absent])


@pytest.mark.usefixtures("gpu")  # which skips where a real driver would be found
def test_without_the_library_detect_says_what_is_missing(tmp_path):
    environ = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    command = [sys.executable, "-m", "fitprint", "detect", "--json"]
    out = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "no NVIDIA driver answers here (NVML Shared Library Not Found)" in out
    assert "--gpus all" in out


@pytest.mark.parametrize("function", ["nvmlDeviceGetFieldValues", "nvmlDeviceGetSamples", "nvmlDeviceGetComputeRunningProcesses"])
def test_a_function_that_the_driver_or_its_binding_lacks_costs_what_it_would_have_told(gpu, monkeypatch, function):
    monkeypatch.setenv("FAKE_NVML_UNSUPPORTED", "0")
    monkeypatch.delattr(pynvml, function)
    (found,) = nvml.probe(pynvml, {}, SystemClock(), {})
    assert [counter.sensor.method for counter in found.counters] == ["integrated"]


PERIOD_S = 0.02


class Sampler:
    """A driver that samples power on the wall clock, every 20 ms, and keeps 120 samples; and the true joules."""

    class NVMLError(Exception):
        """What the binding raises."""

        def __init__(self, value: int) -> None:
            super().__init__(f"error {value}")
            self.value = value

    def __init__(self, ahead_us: int = 0, period_s: float = PERIOD_S) -> None:
        self.clock = FakeClock()
        self.period_s = period_s
        self.kept: deque[tuple[int, float]] = deque(maxlen=120)
        self.joules = 0.0
        self.fails = 0
        self.ahead_us = ahead_us
        self.tick(1, 100.0)

    def tick(self, count: int, watts: float, *, sampled: bool = True) -> None:
        """Draw power for so many periods."""
        for _ in range(count):
            self.clock.advance(self.period_s)
            self.joules += watts * self.period_s
            if sampled:
                self.kept.append((round(self.clock.time() * 1e6) + self.ahead_us, watts))

    def nvmlDeviceGetSamples(self, handle, kind, since):  # noqa: N802
        newer = [(us, watts) for us, watts in self.kept if us > since]
        if self.fails or not newer:
            raise self.NVMLError(self.fails or 6)
        return 1, [SimpleNamespace(timeStamp=us, sampleValue=SimpleNamespace(uiVal=round(watts * 1000))) for us, watts in newer]


class History:
    """A history of power that is read and unwrapped, against the truth since it was begun."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.counter = PowerHistory(Board(Driver(sampler), None, Identity("GPU-0", "K40")), sampler.clock)
        self.unwrapped = Unwrapped(self.counter)
        self.read()
        self.since = sampler.joules

    def read(self) -> float:
        self.unwrapped.read(self.sampler.clock)
        return self.unwrapped.total * 1e-6

    @property
    def truth(self) -> float:
        return self.sampler.joules - self.since


@given(
    st.lists(
        st.tuples(
            st.integers(1, 45),
            st.floats(0.0, 1000.0),
            st.sampled_from([0.0, 0.0, 0.0, 0.307, -0.307, 3600.001, -3600.001]),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_samples_sum_to_the_truth_however_they_are_read_and_the_wall_clock_is_set(stretches):
    sampler = Sampler()
    history, totals, jumps, before = History(sampler), [0.0], 0.0, 100.0
    for ticks, watts, step_s, read in stretches:
        sampler.tick(ticks // 2, watts)
        sampler.clock.step_wall(step_s if read else 0.0)
        sampler.tick(ticks - ticks // 2, watts)
        jumps, before = jumps + abs(watts - before), watts
        if read or len(sampler.kept) > 60:
            totals.append(history.read())
    totals.append(history.read())
    assert totals == sorted(totals)
    assert totals[-1] == pytest.approx(history.truth, abs=jumps * PERIOD_S / 2 + 0.01)
    assert history.unwrapped.gaps == []


def test_what_came_after_the_newest_sample_is_set_right_by_the_next_reading():
    sampler = Sampler()
    history = History(sampler)
    sampler.tick(25, 500.0)
    sampler.tick(10, 100.0, sampled=False)
    held = history.read()
    assert held == pytest.approx(25 * PERIOD_S * 500 + 10 * PERIOD_S * 500, abs=PERIOD_S / 2 * 400 + 0.01)
    sampler.tick(1, 100.0)
    assert history.read() >= held
    sampler.tick(50, 100.0)
    # Between the two samples around the drop a straight line is laid.
    assert history.read() == pytest.approx(history.truth, abs=11 * PERIOD_S / 2 * 400 + PERIOD_S / 2 * 400 + 0.01)
    assert history.unwrapped.gaps == []


def test_samples_that_were_overwritten_before_they_were_read_are_a_gap():
    sampler = Sampler()
    history = History(sampler)
    for count in (1, 2):
        sampler.tick(300, 200.0)  # 6 s, of which 2.4 s are kept
        assert history.read() == 0.0
        assert len(history.unwrapped.gaps) == count or history.unwrapped.gaps[-1][1] == sampler.clock.monotonic_ns()
    assert history.unwrapped.observed_ns == 0
    sampler.tick(50, 200.0)
    assert history.read() == pytest.approx(200.0, abs=0.01)
    assert history.unwrapped.observed_ns == NS_PER_S


def test_a_board_that_samples_once_in_two_seconds_is_read_without_gaps():
    sampler = Sampler(period_s=2.0)
    sampler.tick(5, 100.0)
    history = History(sampler)
    for _ in range(4):
        sampler.tick(3, 100.0)
        history.read()
    assert history.unwrapped.total * 1e-6 == pytest.approx(history.truth, abs=0.01)
    assert history.unwrapped.gaps == []


def test_a_gap_is_one_however_old_the_newest_sample_is():
    sampler = Sampler()
    history = History(sampler)
    sampler.tick(300, 500.0)
    sampler.tick(45, 500.0, sampled=False)
    assert history.read() == 0.0
    assert [gap[1] for gap in history.unwrapped.gaps] == [sampler.clock.monotonic_ns()]


def test_a_board_that_is_lost_for_less_than_its_history_loses_nothing():
    sampler = Sampler()
    history = History(sampler)
    sampler.fails = 15
    sampler.tick(50, 300.0)
    assert history.read() == 0.0
    sampler.fails = 0
    sampler.tick(50, 300.0)
    assert history.read() == pytest.approx(history.truth, abs=PERIOD_S / 2 * 200 + 0.01)
    assert history.unwrapped.gaps == []


def test_a_driver_that_has_stopped_sampling_is_not_read_on():
    sampler = Sampler()
    history = History(sampler)
    sampler.tick(60, 300.0, sampled=False)
    with pytest.raises(SensorError, match="stopped sampling"):
        history.counter.read()
    sampler.tick(1, 300.0)
    assert history.read() == 0.0
    assert len(history.unwrapped.gaps) == 1


def test_a_driver_without_any_sample_has_no_history():
    sampler = Sampler()
    sampler.kept.clear()
    with pytest.raises(SensorError, match="error 6"):
        PowerHistory(Board(Driver(sampler), None, Identity("GPU-0", "K40")), sampler.clock).read()


def test_samples_on_another_clock_than_the_wall_are_integrated_too():
    sampler = Sampler(ahead_us=-(10**15))
    history = History(sampler)
    for watts in (300.0, 100.0, 200.0):
        sampler.tick(40, watts)
        history.read()
    assert history.unwrapped.total * 1e-6 == pytest.approx(history.truth, abs=PERIOD_S / 2 * 500 + 0.01)
    assert history.unwrapped.gaps == []


def test_a_suspended_machine_draws_nothing_in_its_sleep():
    sampler = Sampler()
    history = History(sampler)
    sampler.tick(25, 200.0)
    sampler.clock.suspend(3600.0)
    sampler.tick(25, 200.0)
    assert history.read() == pytest.approx(history.truth, abs=PERIOD_S / 2 * 100 + 0.01)


class Users:
    """A driver of a board that this process keeps busy for 60 % of the time and another for 20 %."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        return [SimpleNamespace(pid=os.getpid()), SimpleNamespace(pid=4_000_001)]

    def nvmlDeviceGetProcessUtilization(self, handle, since):  # noqa: N802
        now_us = round(self.clock.time() * 1e6)
        if now_us <= since:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        percent = {os.getpid(): 60, 4_000_001: 20}
        return [SimpleNamespace(pid=pid, smUtil=busy, timeStamp=now_us) for pid, busy in percent.items()]


def test_a_wall_clock_that_is_set_back_hides_the_use_of_a_board_for_a_minute_only(tmp_path):
    clock = FakeClock()
    board = Board(Driver(Users(clock)), None, Identity("GPU-0", "A100"))
    share = ProcessShare(board, clock, tmp_path, os.getpid())
    seen = [share()]
    clock.step_wall(-3600.0)
    for _ in range(2):
        clock.advance(60.0)
        seen.append(share())
    assert seen == [pytest.approx(0.75), 0.5, pytest.approx(0.75)]
