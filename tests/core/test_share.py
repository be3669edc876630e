"""What a job is charged of a device that others use too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint import Tracker
from fitprint.meter import Meter
from fitprint.sensors.probe import Surroundings
from fitprint.sensors.share import CpuShare, Shared
from fitprint.testing import FakeClock, ScriptedCounter

RHO = 0.25


class Busy:
    """CPU time in microseconds that a test moves on."""

    def __init__(self, clock: FakeClock) -> None:
        self.us = 0
        self.clock = clock

    def __call__(self) -> int:
        return self.us


def cpu_share(clock, own, everyone, own_threads=2.0, all_threads=8.0):
    return CpuShare(own_us=own, all_us=everyone, own_threads=own_threads, all_threads=all_threads, rho=RHO, clock=clock)


def by_share(clock, share, watts=100.0, **options):
    return Shared(ScriptedCounter(clock, watts=watts, part="cpu", **options), share, "CPU time")


def test_the_share_is_in_the_joules_and_the_whole_device_beside_them():
    clock = FakeClock()
    with Meter([by_share(clock, lambda: 0.25), ScriptedCounter(clock, watts=300.0)], clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(10.0)
        energy = meter.between(before, meter.snapshot())
    assert energy.joules == pytest.approx(3250.0)
    assert energy.by_part == {"cpu": pytest.approx(250.0), "gpu": pytest.approx(3000.0)}
    assert energy.gross_j == pytest.approx(4000.0)


def test_without_a_shared_device_there_is_no_gross():
    clock = FakeClock()
    with Meter([ScriptedCounter(clock)], clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(1.0)
        assert meter.between(before, meter.snapshot()).gross_j is None


def test_each_stretch_has_the_share_of_its_own_time():
    clock = FakeClock()
    shares = iter([1.0, 1.0, 0.5, 0.1])  # two are asked for before the first stretch
    with Meter([by_share(clock, lambda: next(shares))], clock=clock) as meter:
        marks = [meter.snapshot()]
        for _ in range(2):
            clock.advance(10.0)
            marks.append(meter.snapshot())
        assert meter.between(marks[0], marks[1]).joules == pytest.approx(500.0)
        assert meter.between(marks[1], marks[2]).joules == pytest.approx(100.0)


def test_a_share_that_cannot_be_found_out_is_the_last_known_and_training_goes_on():
    clock = FakeClock()
    answers = iter([0.5, 0.5])
    with Meter([by_share(clock, lambda: next(answers))], clock=clock) as meter:  # StopIteration from then on
        before = meter.snapshot()
        for _ in range(5):
            clock.advance(10.0)
            after = meter.snapshot()
        assert meter.between(before, after).joules == pytest.approx(2500.0)


@given(shares=st.lists(st.floats(-1.0, 2.0), min_size=1, max_size=50))
def test_a_share_is_never_negative_nor_more_than_the_whole(shares):
    clock = FakeClock()
    answers = iter([1.0, 1.0, *shares])
    with Meter([by_share(clock, lambda: next(answers), watts=123.457)], clock=clock) as meter:
        before = meter.snapshot()
        for share in shares:
            clock.advance(0.37)
            window = meter.between(before, before := meter.snapshot())
            assert 0.0 <= window.joules <= window.gross_j + 1e-3
            assert window.joules == pytest.approx(min(1.0, max(0.0, share)) * window.gross_j, abs=2e-3)


def test_gaps_of_the_device_are_gaps_of_the_share():
    clock = FakeClock()
    shared = by_share(clock, lambda: 0.5)
    with Meter([shared], clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(5.0)
        meter.snapshot()
        shared.counter.add(-(10**6))  # the counter begins again
        clock.advance(5.0)
        energy = meter.between(before, meter.snapshot())
    assert energy.joules == pytest.approx(250.0)
    assert energy.coverage == pytest.approx(0.5)


def test_the_interval_of_a_share_is_that_of_a_model():
    clock = FakeClock()
    with Meter([by_share(clock, lambda: 0.5)], clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(10.0)
        energy = meter.between(before, meter.snapshot())
    assert energy.low_j < 0.61 * energy.joules
    assert energy.high_j > 1.39 * energy.joules
    assert energy.measured_fraction == 1.0


def test_shares_of_one_kind_err_together_and_add_up():
    clock = FakeClock()
    cpus = [by_share(clock, lambda: 0.5, sensor_id=f"cpu:package-{i}") for i in range(2)]
    with Meter(cpus, clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(10.0)
        energy = meter.between(before, meter.snapshot())
    assert energy.joules - energy.low_j > 0.4 * energy.joules


# ---- the share of CPU time


def test_a_job_that_only_waits_is_charged_the_idle_power_of_what_it_has_reserved():
    clock = FakeClock()
    share = cpu_share(clock, own := Busy(clock), everyone := Busy(clock))
    clock.advance(10.0)
    assert share() == pytest.approx(2 / 8)
    assert own() == everyone() == 0


def test_a_job_that_alone_is_busy_is_charged_its_work_and_its_part_of_idling():
    clock = FakeClock()
    own, everyone = Busy(clock), Busy(clock)
    share = cpu_share(clock, own, everyone)
    clock.advance(10.0)
    own.us = everyone.us = 20_000_000
    assert share() == pytest.approx((RHO * 20 + 20) / (RHO * 80 + 20))


@given(
    jobs=st.lists(st.tuples(st.integers(1, 4), st.floats(0.0, 1.0)), min_size=1, max_size=4),
    seconds=st.floats(1.0, 1000.0),
)
def test_the_shares_of_all_jobs_of_a_machine_add_up_to_one(jobs, seconds):
    clock = FakeClock()
    threads = sum(own for own, _ in jobs)
    busy = [Busy(clock) for _ in jobs]
    shares = [
        cpu_share(clock, own, lambda: sum(b.us for b in busy), own_threads, threads)
        for own, (own_threads, _) in zip(busy, jobs, strict=True)
    ]
    clock.advance(seconds)
    for own, (own_threads, load) in zip(busy, jobs, strict=True):
        own.us = round(load * own_threads * seconds * 1e6)
    assert sum(share() for share in shares) == pytest.approx(1.0)


def test_more_own_time_than_the_machine_has_counted_is_a_whole_at_most():
    clock = FakeClock()
    own, everyone = Busy(clock), Busy(clock)
    share = cpu_share(clock, own, everyone, own_threads=8.0)
    clock.advance(2.0)
    own.us, everyone.us = 2_000_000, 1_990_000
    assert share() == pytest.approx(1.0)


def test_a_share_is_taken_over_a_second_or_more():
    clock = FakeClock()
    own, everyone = Busy(clock), Busy(clock)
    share = cpu_share(clock, own, everyone)
    clock.advance(0.5)
    everyone.us = 1_000_000
    assert share() == pytest.approx(2 / 8)
    clock.advance(0.5)
    assert share() == pytest.approx(RHO * 2 / (RHO * 8 + 1))


def test_a_budget_counts_what_is_attributed_and_the_record_shows_both(clock):
    around = Surroundings(clock=clock, environ={})
    cpu = by_share(clock, lambda: 0.1)
    with Tracker(counters=[cpu], around=around, ledger="off", region="FR", budget="150 J") as tracker:
        for _ in tracker.epochs(range(100)):
            clock.advance(1.0)
    footprint = tracker.footprint
    assert footprint.status == "stopped"
    assert footprint.energy_j == pytest.approx(150.0, rel=0.1)
    assert footprint.gross_energy_j == pytest.approx(10 * footprint.energy_j)
    assert [row["role"] for row in footprint.sensors] == ["gross", "share"]
    assert "with all of the devices that others use too" in str(footprint)
