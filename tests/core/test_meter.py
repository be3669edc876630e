"""The meter: one read per boundary, a keeper in between, inert in forked children."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import threading
from itertools import pairwise

import pytest

from fitprint.energy import Energy
from fitprint.meter import Meter
from fitprint.testing import FakeClock, ScriptedCounter

# 100 J / (2 x 10 kW): the keeper ticks every 5 ms of real time.
FAST = {"modulus": 100_000, "p_max_w": 10_000.0}


class Returned(ScriptedCounter):
    """Counts how often it was given back."""

    closes = 0

    def close(self) -> None:
        self.closes += 1


def keepers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "fitprint-keeper"}


def test_windows_of_consecutive_snapshots_telescope():
    clock = FakeClock()
    gpu = ScriptedCounter(clock, watts=123.4567)
    cpu = ScriptedCounter(clock, watts=9.87654, part="cpu", modulus=10**9)
    with Meter([gpu, cpu], clock=clock) as meter:
        marks = [meter.snapshot()]
        for seconds in (0.001, 3.7, 0.25, 12.3456789):
            clock.advance(seconds)
            marks.append(meter.snapshot())
        windows = [meter.between(a, b) for a, b in pairwise(marks)]
        assert sum(windows, Energy()) == meter.between(marks[0], marks[-1])
        assert windows[1].duration_s == pytest.approx(3.7)
        assert windows[1].joules == pytest.approx((123.4567 + 9.87654) * 3.7, abs=2e-3)


def test_a_young_reading_is_used_again_unless_a_fresh_one_is_asked_for():
    clock = FakeClock()
    slow = ScriptedCounter(clock, min_interval_s=1.0)
    quick = ScriptedCounter(clock, part="cpu")
    with Meter([slow, quick], clock=clock) as meter:
        clock.advance(0.5)
        meter.snapshot(fresh=False)
        assert (slow.reads, quick.reads) == (1, 2)
        meter.snapshot()
        assert (slow.reads, quick.reads) == (2, 3)
        clock.advance(1.0)
        meter.snapshot(fresh=False)
        assert (slow.reads, quick.reads) == (3, 4)


@pytest.mark.parametrize(
    ("counters", "period_s"),
    [
        pytest.param([], 30.0, id="nothing to read"),
        pytest.param([{}], 30.0, id="never wraps"),
        pytest.param([{"modulus": 10_000_000, "p_max_w": 500.0}], 10.0, id="10 kJ at up to 500 W"),
        pytest.param([{"modulus": 10**12, "p_max_w": 500.0}], 30.0, id="wraps late"),
        pytest.param([{"method": "integrated"}], 1.0, id="integrated"),
        pytest.param([{}, {"modulus": 400_000, "p_max_w": 500.0}, {"method": "integrated"}], 0.4, id="the shortest"),
    ],
)
def test_the_period_is_half_the_shortest_time_to_a_wrap_and_30_s_at_most(counters, period_s):
    clock = FakeClock()
    assert Meter([ScriptedCounter(clock, **options) for options in counters], clock=clock).period_s == period_s


def test_the_keeper_is_a_named_daemon_that_runs_from_start_to_close():
    others = keepers()
    meter = Meter([ScriptedCounter(FakeClock())], clock=FakeClock())
    assert keepers() == others
    assert not meter.alive
    meter.start()
    assert [thread.daemon for thread in keepers() - others] == [True]
    assert meter.alive
    meter.close()
    assert keepers() == others
    assert not meter.alive


def test_the_keeper_counts_wraps_between_snapshots():
    clock = FakeClock()
    counter = ScriptedCounter(clock, watts=0.0, **FAST)
    ticked = threading.Event()
    with Meter([counter], clock=clock, on_tick=ticked.set) as meter:
        before = meter.snapshot()
        for _ in range(5):  # 300 J in a range of 100 J
            counter.add(60.0)
            ticked.clear()
            assert ticked.wait(20.0)
            ticked.clear()
            assert ticked.wait(20.0)
        assert meter.between(before, meter.snapshot()).joules == pytest.approx(300.0)


def test_a_raising_on_tick_does_not_end_the_keeper():
    ticks, thrice = [], threading.Event()

    def tick() -> None:
        ticks.append(threading.current_thread().name)
        if len(ticks) == 3:
            thrice.set()
        raise RuntimeError("a bad tick")

    with Meter([ScriptedCounter(FakeClock(), **FAST)], clock=FakeClock(), on_tick=tick):
        assert thrice.wait(20.0)
    assert set(ticks) == {"fitprint-keeper"}


def test_a_counter_that_fails_costs_coverage_until_it_answers_again():
    clock = FakeClock()
    gpu, cpu = ScriptedCounter(clock, watts=100.0), ScriptedCounter(clock, watts=20.0, part="cpu")
    with Meter([gpu, cpu], clock=clock) as meter:
        start = meter.snapshot()
        clock.advance(4.0)
        meter.snapshot()
        gpu.fails = True
        clock.advance(6.0)
        without = meter.between(start, meter.snapshot())
        assert without.by_part == {"gpu": pytest.approx(400.0), "cpu": pytest.approx(200.0)}
        assert without.coverage == pytest.approx(0.4)

        gpu.fails = False
        caught_up = meter.between(start, meter.snapshot())
        assert caught_up.by_part == {"gpu": pytest.approx(1000.0), "cpu": pytest.approx(200.0)}
        assert caught_up.coverage == 1.0


def test_power_and_what_is_unseen_are_summed_over_counters():
    clock = FakeClock()
    counters = [ScriptedCounter(clock, watts=100.0), ScriptedCounter(clock, watts=20.0, part="cpu")]
    with Meter(counters, clock=clock) as meter:
        clock.advance(10.0)
        meter.snapshot()
        clock.advance(0.5)
        assert meter.power_w == pytest.approx(120.0)
        assert meter.unseen_j() == pytest.approx(60.0)


def test_close_twice_gives_the_counters_back_once():
    counter = Returned(FakeClock())
    meter = Meter([counter], clock=FakeClock())
    meter.start()
    meter.close()
    meter.close()
    assert counter.closes == 1


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_meter_refuses_to_be_copied_and_says_what_to_do(duplicate):
    with pytest.raises(TypeError, match="cannot be pickled or copied; create it where it is used"):
        duplicate(Meter([]))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_holds_an_inert_copy_and_cannot_close_the_parents():
    clock = FakeClock()
    counter = Returned(clock, watts=10.0)
    with Meter([counter], clock=clock) as meter:
        before = meter.snapshot()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)  # the end of a child that hangs
            code = 99
            try:
                alive = meter.alive
                meter.close()
                code = int(alive) + 2 * counter.closes
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert meter.alive
        clock.advance(3.0)
        assert meter.between(before, meter.snapshot()).joules == pytest.approx(30.0)


def test_a_suspend_is_a_gap_and_adds_nothing():
    clock = FakeClock()
    gpu = ScriptedCounter(clock, watts=100.0)
    with Meter([gpu], clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(10.0)
        meter.snapshot()
        clock.advance(2.0)
        clock.suspend(3600.0)
        gpu.add(5000.0)
        clock.advance(2.0)
        after_waking = meter.snapshot()
        clock.advance(10.0)
        energy = meter.between(before, meter.snapshot())
        assert meter.between(before, after_waking).joules == 1000.0
        assert energy.joules == 2000.0
        assert energy.coverage == pytest.approx(20 / 24)


def test_a_step_of_the_wall_clock_is_no_suspend():
    clock = FakeClock()
    with Meter([ScriptedCounter(clock, watts=100.0)], clock=clock) as meter:
        before = meter.snapshot()
        for seconds in (3600.0, -7200.0):
            clock.step_wall(seconds)
            clock.advance(1.0)
            meter.snapshot()
        assert meter.between(before, meter.snapshot()).joules == 200.0
