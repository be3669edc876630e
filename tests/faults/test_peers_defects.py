"""What other tools have lost, doubled, invented or killed, done to this one; docs/faults.md lists the rest with their tests."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from fitprint import Config, Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakePowercap, ScriptedCounter


@pytest.fixture
def at_100_w(clock):
    """A tracker on a machine that draws 100 W."""
    return Tracker(ledger="off", region="FR", counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ={}))


# ---- energy of tasks


def test_what_is_used_before_the_first_epoch_and_its_time_are_kept(at_100_w, clock):
    with at_100_w as tracker:
        clock.advance(5.0)
        for _ in tracker.epochs(range(1)):
            clock.advance(1.0)
    footprint = tracker.footprint
    assert (footprint.energy_j, footprint.duration_s) == (600.0, 6.0)
    assert (footprint.epochs[0].energy_j, footprint.outside_epochs_j) == (100.0, 500.0)


def test_epochs_with_pauses_between_them_sum_to_all_that_was_drawn(at_100_w, clock):
    with at_100_w as tracker:
        for _ in tracker.epochs(range(3)):
            clock.advance(1.0)
            with tracker.phase("validate"):
                clock.advance(0.5)
        clock.advance(6.5)
    footprint = tracker.footprint
    assert (footprint.energy_j, footprint.duration_s) == (1100.0, 11.0)
    assert [epoch.energy_j for epoch in footprint.epochs] == [150.0] * 3
    assert footprint.phases["validate"] == 150.0


def test_a_short_epoch_has_the_power_of_its_own_time(at_100_w, clock):
    (gpu,) = at_100_w._counters
    with at_100_w as tracker:
        for index in tracker.epochs(range(4)):
            gpu.watts = 100.0 if index % 2 == 0 else 300.0
            clock.advance(0.1)
    assert [epoch.energy_j for epoch in tracker.footprint.epochs] == pytest.approx([10.0, 30.0, 10.0, 30.0])


def test_an_epoch_that_is_broken_off_is_counted(at_100_w, clock):
    with pytest.raises(KeyboardInterrupt), at_100_w as tracker:
        for index in tracker.epochs(range(9)):
            clock.advance(2.0 if index == 0 else 8.0)
            if index == 1:
                raise KeyboardInterrupt
    assert [(epoch.energy_j, epoch.complete) for epoch in tracker.footprint.epochs] == [(200.0, True), (800.0, False)]


@pytest.mark.timeout(60)
def test_a_counter_that_wraps_three_times_in_an_epoch_loses_nothing(tmp_path, clock):
    """As fast as a real counter never is: the keeper reads it between boundaries, as often as its range asks for."""
    powercap = FakePowercap(tmp_path / "sys", range_uj=199_999_999)
    powercap.add_zone("intel-rapl:0", "package-0")
    around = Surroundings(sys_root=tmp_path / "sys", environ={}, clock=clock)
    drawn_uj = 0
    with Tracker(ledger="off", region="FR", config=Config(parts=["cpu"], attribute="all"), around=around) as tracker:
        for _ in tracker.epochs(range(1)):
            for _ in range(7):
                drawn_uj += 90_000_000
                clock.advance(0.9)
                powercap.write("intel-rapl:0", drawn_uj)
                time.sleep(0.3)  # three of the keeper's periods
    assert tracker.footprint.epochs[0].energy_j == pytest.approx(drawn_uj / 1e6)


# ---- the thread that reads


class Slow(ScriptedCounter):
    """A counter that takes its time, and notices a second reader."""

    readers = most = 0

    def read(self):
        self.readers += 1
        self.most = max(self.most, self.readers)
        time.sleep(0.05)
        self.readers -= 1
        return super().read()


def test_readings_never_overlap_and_end_with_the_run(clock):
    before = threading.enumerate()
    slow = Slow(clock, modulus=100_000)  # which asks the keeper for a reading every few milliseconds
    with Tracker(ledger="off", region="FR", counters=[slow], around=Surroundings(clock=clock, environ={})) as tracker:
        for _ in tracker.epochs(range(5)):
            time.sleep(0.06)
    read = slow.reads
    time.sleep(0.3)
    assert slow.most == 1
    assert slow.reads == read
    assert not any(thread.name == "fitprint-keeper" for thread in threading.enumerate() if thread not in before)


# ---- signals, exits


def test_the_programs_signal_handlers_stay_its_own(at_100_w):
    numbers = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]
    before = [signal.getsignal(number) for number in numbers]
    with at_100_w as tracker:
        list(tracker.epochs(range(2)))
        assert [signal.getsignal(number) for number in numbers] == before
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_machine_without_a_gpu_trains_on_and_exits_with_0():
    program = "from fitprint import Tracker\nwith Tracker(region='FR') as t:\n    list(t.epochs(range(3)))\nprint('trained')"
    environ = {"FITPRINT_PARTS": "gpu", "PATH": "/usr/bin:/bin"}
    program = f"import os, sys; sys.path[:] = {sys.path!r}; os.environ.update({environ!r})\n{program}"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (out.returncode, out.stdout.strip()) == (0, "trained")
    assert "nothing can be measured or modelled here" in out.stderr
