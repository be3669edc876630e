"""Unwrapped: raw readings become a total that is exact, never invented and never negative."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitprint.clock import NS_PER_S
from fitprint.sensors.counter import Integrated, Sensor, Unwrapped
from fitprint.testing import FakeClock, ScriptedCounter

MODULUS_MJ = 1_000_000
SEGMENTS = st.tuples(st.integers(0, 400), st.integers(1, 2_000), st.booleans())  # watts, milliseconds, read afterwards


def watched(**options) -> tuple[FakeClock, ScriptedCounter, Unwrapped]:
    """A counter that has been read once."""
    clock = FakeClock()
    counter = ScriptedCounter(clock, **options)
    unwrapped = Unwrapped(counter)
    unwrapped.read(clock)
    return clock, counter, unwrapped


def read_after(seconds: float, clock: FakeClock, unwrapped: Unwrapped) -> None:
    clock.advance(seconds)
    unwrapped.read(clock)


@settings(max_examples=100)
@given(trace=st.lists(SEGMENTS, min_size=1, max_size=60), offset_mj=st.integers(0, MODULUS_MJ))
def test_the_total_is_the_truth_for_any_power_and_any_reads_denser_than_a_wrap(trace, offset_mj):
    clock = FakeClock()
    counter = ScriptedCounter(clock, modulus=MODULUS_MJ, p_max_w=400.0)
    counter.add(offset_mj / 1000)
    unwrapped = Unwrapped(counter)
    unwrapped.read(clock)
    unread_mj = 0
    for watts, milliseconds, read in trace:
        if unread_mj + watts * milliseconds >= MODULUS_MJ:
            read_after(0.0, clock, unwrapped)
            unread_mj = 0
        counter.watts = float(watts)
        clock.advance(milliseconds / 1000)
        unread_mj += watts * milliseconds
        if read:
            read_after(0.0, clock, unwrapped)
            unread_mj = 0
    read_after(0.0, clock, unwrapped)

    assert unwrapped.total == sum(watts * milliseconds for watts, milliseconds, _ in trace)
    assert unwrapped.observed_ns == sum(milliseconds for _, milliseconds, _ in trace) * 1_000_000
    assert unwrapped.gaps == []


def test_a_wrap_between_two_reads_is_counted():
    clock, _, unwrapped = watched(watts=700.0, modulus=MODULUS_MJ)
    for _ in range(100):
        read_after(1.0, clock, unwrapped)
    assert unwrapped.total == 70 * MODULUS_MJ


def test_the_first_reading_is_the_zero():
    clock = FakeClock()
    counter = ScriptedCounter(clock)
    counter.add(5_000.0)
    unwrapped = Unwrapped(counter)
    unwrapped.read(clock)
    assert (unwrapped.total, unwrapped.observed_ns) == (0, 0)


def test_a_decrease_without_modulus_adds_nothing_and_leaves_a_gap():
    clock, counter, unwrapped = watched(watts=0.0)
    counter.add(50.0)
    read_after(1.0, clock, unwrapped)
    before_ns = clock.monotonic_ns()
    counter.add(-50.0)
    read_after(2.0, clock, unwrapped)

    assert unwrapped.total == 50_000
    assert unwrapped.gaps == [(before_ns, before_ns + 2 * NS_PER_S)]
    assert unwrapped.observed_ns == 1 * NS_PER_S


def test_counting_goes_on_after_a_reset():
    clock, counter, unwrapped = watched(watts=100.0)
    read_after(1.0, clock, unwrapped)
    counter.add(-100.0)
    read_after(0.5, clock, unwrapped)
    read_after(3.0, clock, unwrapped)
    assert unwrapped.total == 100_000 + 300_000


@pytest.mark.parametrize("modulus", [None, 10**12])
def test_an_impossible_jump_adds_nothing_and_leaves_a_gap(modulus):
    clock, counter, unwrapped = watched(watts=0.0, p_max_w=300.0, modulus=modulus)
    counter.add(1_000_000.0)
    read_after(1.0, clock, unwrapped)
    assert unwrapped.total == 0
    assert len(unwrapped.gaps) == 1
    assert unwrapped.observed_ns == 0


def test_a_reset_that_looks_like_an_impossible_wrap_adds_nothing():
    clock, counter, unwrapped = watched(watts=0.0, p_max_w=300.0, modulus=MODULUS_MJ)
    counter.add(250.0)
    read_after(1.0, clock, unwrapped)
    counter.add(-250.0)
    read_after(0.1, clock, unwrapped)
    assert unwrapped.total == 250_000
    assert len(unwrapped.gaps) == 1


def test_a_failing_read_changes_nothing_and_the_next_good_one_catches_up():
    clock, counter, unwrapped = watched(watts=100.0)
    read_after(1.0, clock, unwrapped)
    counter.fails = True
    read_after(4.0, clock, unwrapped)
    assert (unwrapped.total, unwrapped.observed_ns, unwrapped.gaps) == (100_000, NS_PER_S, [])

    counter.fails = False
    read_after(1.0, clock, unwrapped)
    assert (unwrapped.total, unwrapped.observed_ns, unwrapped.gaps) == (600_000, 6 * NS_PER_S, [])


@settings(max_examples=100)
@given(
    readings=st.lists(st.tuples(st.integers(-(2**65), 2**65), st.integers(0, 60_000)), max_size=30),
    modulus=st.none() | st.integers(1, 2**64),
)
def test_garbage_never_makes_energy_negative_or_more_than_the_hardware_could_draw(readings, modulus):
    p_max_w = 500.0
    unwrapped = Unwrapped(ScriptedCounter(FakeClock(), modulus=modulus, p_max_w=p_max_w))
    now_ns, totals = 0, [0]
    for raw, milliseconds in readings:
        now_ns += milliseconds * 1_000_000
        unwrapped.advance(raw, now_ns)
        totals.append(unwrapped.total)
    assert totals == sorted(totals)
    assert unwrapped.total * 1e-3 <= p_max_w * (1.5 * now_ns / NS_PER_S + len(readings)) * (1 + 1e-9)
    assert unwrapped.unseen_j(now_ns + NS_PER_S) >= 0


def test_what_is_unseen_is_the_age_of_the_reading_times_the_recent_power():
    clock, _, unwrapped = watched(watts=100.0)
    read_after(10.0, clock, unwrapped)
    assert unwrapped.power_w == pytest.approx(100.0)
    assert unwrapped.unseen_j(clock.monotonic_ns() + NS_PER_S // 2) == pytest.approx(50.0)


def test_a_counter_that_no_longer_answers_has_nothing_made_up_for_it():
    clock, _, unwrapped = watched(watts=100.0)
    read_after(10.0, clock, unwrapped)
    assert unwrapped.unseen_j(clock.monotonic_ns() + 3600 * NS_PER_S) == pytest.approx(100.0)


def test_power_follows_a_change_of_load():
    clock, counter, unwrapped = watched(watts=400.0)
    read_after(10.0, clock, unwrapped)
    counter.watts = 50.0
    read_after(2.0, clock, unwrapped)
    assert unwrapped.power_w == pytest.approx(50.0)


def test_nothing_is_unseen_before_the_first_reading():
    assert Unwrapped(ScriptedCounter(FakeClock())).unseen_j(5 * NS_PER_S) == 0.0


class ScriptedGauge:
    """Watts that the test sets; None fails."""

    sensor = Sensor("gpu:gauge", "gpu", "integrated", 1e-6, 0.1, 0.1, "scripted gauge")
    p_max_w = 1000.0
    now: float | None = 100.0

    def watts(self) -> float:
        if self.now is None:
            raise OSError("scripted failure")
        return self.now

    def close(self) -> None:
        pass


def integrated(readings: list[tuple[float, float | None]]) -> Unwrapped:
    """Read a gauge at the end of each stretch of seconds, at the watts that it shows there."""
    clock, gauge = FakeClock(), ScriptedGauge()
    unwrapped = Unwrapped(Integrated(gauge, clock))
    unwrapped.read(clock)
    for seconds, watts in readings:
        clock.advance(seconds)
        gauge.now = watts
        unwrapped.read(clock)
    return unwrapped


def test_steady_power_is_integrated_exactly_however_it_is_read():
    assert integrated([(20.0, 100.0)]).total == 2_000_000_000
    assert integrated([(0.5, 100.0)] * 40).total == 2_000_000_000


def test_changing_power_is_integrated_by_trapezoids():
    assert integrated([(10.0, 100.0), (2.0, 500.0), (10.0, 500.0)]).total == (1000 + 600 + 5000) * 1_000_000


def test_power_that_could_not_be_read_is_a_gap_and_not_made_up():
    unwrapped = integrated([(10.0, 100.0), (10.0, None), (10.0, 100.0), (5.0, 100.0)])
    assert unwrapped.total == 1_500_000_000
    assert unwrapped.observed_ns == 15_000_000_000
    assert len(unwrapped.gaps) == 1


# ---- counters that stand still


def unwrapped_every_second(raws, *, method="counter", unit_j=1e-3):
    clock = FakeClock()
    counter = ScriptedCounter(clock, method=method)
    unwrapped = Unwrapped(counter)
    for second, raw in enumerate(raws):
        unwrapped.advance(raw, second * NS_PER_S)
    return unwrapped


def test_a_hardware_counter_that_stands_still_for_long_is_a_gap_and_not_0_joules():
    unwrapped = unwrapped_every_second([0, 100, 200] + [200] * 30)
    assert unwrapped.total == 200
    assert unwrapped.observed_ns == 2 * NS_PER_S
    assert unwrapped.gaps == [(2 * NS_PER_S, 32 * NS_PER_S)]
    assert unwrapped.power_w == 0.0


def test_a_counter_that_moves_again_is_counted_again():
    unwrapped = unwrapped_every_second([0, 100] + [100] * 20 + [200, 300])
    assert unwrapped.total == 300
    assert unwrapped.observed_ns == (1 + 1) * NS_PER_S
    assert unwrapped.gaps == [(1 * NS_PER_S, 21 * NS_PER_S)]


def test_between_two_ticks_standing_still_is_how_it_is():
    unwrapped = unwrapped_every_second([0, 0, 500, 500, 1000])
    assert (unwrapped.total, unwrapped.observed_ns, unwrapped.gaps) == (1000, 4 * NS_PER_S, [])


def test_an_integrated_or_modelled_source_may_say_0_watts_for_as_long_as_it_likes():
    unwrapped = unwrapped_every_second([0] * 60, method="integrated")
    assert (unwrapped.observed_ns, unwrapped.gaps) == (59 * NS_PER_S, [])


def test_gaps_that_meet_are_one_however_many_readings_they_hold():
    unwrapped = unwrapped_every_second([10**12 * i for i in range(1000)])
    assert unwrapped.gaps == [(0, 999 * NS_PER_S)]


def test_a_tick_between_two_readings_a_moment_apart_is_not_taken_for_high_power():
    clock = FakeClock()
    board = ScriptedCounter(clock, watts=0.0, tick_s=0.1)
    unwrapped = Unwrapped(board)
    unwrapped.read(clock)
    board.add(50.0)  # 100 ms at 500 W become visible at once
    clock.advance(0.001)
    unwrapped.read(clock)
    assert unwrapped.power_w <= 500.0
