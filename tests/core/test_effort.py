"""What measuring itself has cost is on record with the run."""

from __future__ import annotations

import time

import pytest

from fitprint import Ledger, Tracker
from fitprint.effort import Effort
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter


class Laborious(ScriptedCounter):
    """A sensor whose reading takes the processor 2 ms."""

    def read(self) -> int:
        until_s = time.thread_time() + 0.002
        while time.thread_time() < until_s:
            pass
        return super().read()


def trained(counter, clock, **options):
    with Tracker(counters=[counter], around=Surroundings(clock=clock), ledger="fitprint.db", **options) as tracker:
        for _ in tracker.epochs(range(10)):
            clock.advance(1.0)
    return tracker.footprint


def test_the_processors_time_for_measuring_is_on_record():
    clock = FakeClock()
    before_s = time.process_time()
    footprint = trained(ScriptedCounter(clock, watts=100.0), clock)
    assert 0 < footprint.overhead_cpu_s < time.process_time() - before_s
    assert Ledger("fitprint.db").footprint(footprint.run_id).overhead_cpu_s == footprint.overhead_cpu_s


def test_a_sensor_that_is_slow_to_read_shows_in_it():
    clock = FakeClock()
    footprint = trained(Laborious(clock, watts=100.0), clock)
    # Ten epochs have ten beginnings and ten ends, two of which may share a reading.
    assert footprint.overhead_cpu_s > 11 * 0.002


def test_a_resumed_run_counts_what_it_had_cost_before():
    clock = FakeClock()
    first = trained(ScriptedCounter(clock, watts=100.0), clock)
    again = trained(ScriptedCounter(clock, watts=100.0), clock, run_id=first.run_id)
    assert again.run_id == first.run_id
    assert again.overhead_cpu_s > first.overhead_cpu_s


def test_threads_and_hooks_are_added_up_until_the_end():
    effort = Effort(lambda: 0.25, lambda: 0.5)
    effort.end(effort.begin() - 1.0)
    assert effort.cpu_s == pytest.approx(1.75, abs=0.01)
    effort.conclude()
    effort.end(effort.begin() - 1.0)
    assert effort.cpu_s == pytest.approx(1.75, abs=0.01)
