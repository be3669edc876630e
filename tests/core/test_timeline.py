"""Energy over time: exact totals in constant memory, whatever the clock does."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.clock import NS_PER_S
from fitprint.testing import FakeClock
from fitprint.timeline import CAPACITY, SteadyTime, Timeline

START_S = 1_800_000_000.0


def timeline_of(*marks: tuple[float, float], capacity: int = CAPACITY) -> Timeline:
    timeline = Timeline(capacity)
    for wall_s, energy_j in marks:
        timeline.mark(START_S + wall_s, energy_j)
    return timeline


def times(timeline: Timeline) -> list[float]:
    return timeline.to_dict()["time_s"]


def drawn(watts_and_seconds: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Marks of a run with these powers for these times, the start included."""
    marks = [(0.0, 0.0)]
    for watts, seconds in watts_and_seconds:
        wall_s, energy_j = marks[-1]
        marks.append((wall_s + seconds, energy_j + watts * seconds))
    return marks


draws = st.lists(st.tuples(st.floats(0, 1e4), st.floats(0.01, 1e5)), min_size=1, max_size=60)


def test_between_two_marks_power_is_constant():
    timeline = timeline_of((0, 0), (10, 500), (30, 900))
    assert timeline.between(START_S, START_S + 10) == 500
    assert timeline.between(START_S + 5, START_S + 20) == 250 + 200
    assert timeline.between(START_S - 100, START_S + 100) == timeline.total_j == 900


def test_nothing_is_used_before_the_first_mark_and_after_the_last():
    timeline = timeline_of((0, 0), (10, 500))
    assert timeline.between(START_S - 50, START_S) == 0
    assert timeline.between(START_S + 10, START_S + 50) == 0


def test_the_first_mark_is_the_zero():
    assert timeline_of((0, 7_000), (10, 7_500)).total_j == 500


@given(draws)
def test_windows_that_meet_add_up_to_the_run(draws):
    timeline = timeline_of(*drawn(draws))
    span_s = timeline.end_s - timeline.start_s
    edges = [timeline.start_s + share * span_s for share in (0, 0.1, 0.37, 0.8)] + [timeline.end_s]
    parts = [timeline.between(a, b) for a, b in pairwise(edges)]
    assert sum(parts) == pytest.approx(timeline.total_j)
    assert min(parts) >= -1e-9 * timeline.total_j


@given(draws, st.integers(4, 12))
def test_total_start_and_end_are_exact_however_few_marks_are_kept(draws, capacity):
    marks = drawn(draws)
    timeline = timeline_of(*marks, capacity=capacity)
    assert len(timeline) <= capacity
    assert (timeline.start_s, timeline.end_s) == (START_S, START_S + marks[-1][0])
    assert timeline.total_j == marks[-1][1]


def test_a_long_run_keeps_at_most_2000_marks_at_even_distances():
    timeline = Timeline()
    for i in range(30_001):
        timeline.mark(START_S + 30.0 * i, 9_000.0 * i)
    distances = [b - a for a, b in pairwise(times(timeline))]
    assert 900 < len(timeline) <= 2_000
    assert max(distances) <= 4 * sorted(distances)[len(distances) // 2]
    assert timeline.between(START_S + 86_400, START_S + 172_800) == pytest.approx(300.0 * 86_400)


def test_power_that_changes_by_the_hour_is_still_seen_after_a_month():
    timeline = Timeline()
    energy_j = 0.0
    for minute in range(30 * 24 * 60):
        timeline.mark(START_S + 60.0 * minute, energy_j)
        energy_j += 60 * (500 if minute // 60 % 2 else 100)
    hours = [timeline.between(START_S + 3600 * h, START_S + 3600 * (h + 1)) / 3600 for h in range(1, 700)]
    assert max(abs(a - b) for a, b in pairwise(hours)) > 250


def test_marks_at_one_instant_keep_the_total_and_move_no_time():
    timeline = timeline_of((0, 0), *[(0, float(i)) for i in range(1, 10_000)], (100, 20_000))
    assert timeline.total_j == 20_000
    assert timeline.end_s == START_S + 100
    assert len(timeline) < 10


def test_time_never_runs_backwards():
    timeline = timeline_of((0, 0), (100, 1_000), (50, 2_000), (60, 3_000), (200, 4_000))
    assert times(timeline) == sorted(times(timeline))
    assert timeline.total_j == 4_000
    assert timeline.between(START_S, START_S + 99) == pytest.approx(990)


def test_energy_never_runs_backwards():
    timeline = timeline_of((0, 0), (10, 100), (20, 99.999999), (30, 200))
    assert timeline.between(START_S + 10, START_S + 20) == 0


def test_a_wall_clock_that_is_set_back_changes_nothing():
    clock = FakeClock(wall_s=START_S)
    steady, timeline = SteadyTime(clock), Timeline()
    for i in range(4):
        timeline.mark(steady.at(clock.monotonic_ns() + clock.asleep_ns()), 100.0 * i)
        clock.advance(60)
        clock.step_wall(-3600 if i == 1 else 0)
    assert times(timeline) == [0, 60, 120, 180]
    assert timeline.start_s == START_S


def test_time_goes_on_while_the_machine_sleeps():
    clock = FakeClock(wall_s=START_S)
    steady = SteadyTime(clock)
    clock.advance(10)
    clock.suspend(3600)
    clock.advance(5)
    assert steady.at(clock.monotonic_ns() + clock.asleep_ns()) == pytest.approx(START_S + 3615)


def test_a_moment_that_has_passed_has_its_own_time():
    clock = FakeClock(wall_s=START_S)
    steady = SteadyTime(clock)
    clock.advance(100)
    assert steady.at(clock.monotonic_ns() + clock.asleep_ns() - 40 * NS_PER_S) == pytest.approx(START_S + 60)


def test_a_resumed_run_used_nothing_in_between():
    whole = timeline_of((0, 0), (10, 500)).joined(timeline_of((1000, 0), (1010, 300)))
    assert whole.total_j == 800
    assert whole.between(START_S + 10, START_S + 1000) == 0
    assert whole.between(START_S + 1000, START_S + 1005) == 150


@given(draws, draws, st.floats(-1e5, 1e5))
def test_joined_runs_used_what_both_used_whatever_the_order(first, second, apart_s):
    a = timeline_of(*drawn(first))
    b = timeline_of(*[(wall_s + apart_s, energy_j) for wall_s, energy_j in drawn(second)])
    both, turned = a.joined(b), b.joined(a)
    assert both.total_j == pytest.approx(a.total_j + b.total_j)
    for share in (0.2, 0.5, 0.9):
        moment = both.start_s + share * (both.end_s - both.start_s)
        assert both.until(moment) == pytest.approx(a.until(moment) + b.until(moment), abs=1e-6 * (1 + both.total_j))
        assert both.until(moment) == pytest.approx(turned.until(moment), abs=1e-6 * (1 + both.total_j))


def test_joined_runs_keep_to_the_capacity():
    halves = [timeline_of(*[(start + i, 100.0 * i) for i in range(1_900)]) for start in (0, 10_000)]
    whole = halves[0].joined(halves[1])
    assert len(whole) <= CAPACITY
    assert whole.total_j == 2 * 100.0 * 1_899


def test_joining_with_nothing_changes_nothing():
    timeline = timeline_of((0, 0), (10, 500))
    assert timeline.joined(Timeline()).to_dict() == Timeline().joined(timeline).to_dict() == timeline.to_dict()


@given(draws)
def test_what_is_written_reads_back_the_same(draws):
    timeline = timeline_of(*drawn(draws))
    data = json.loads(json.dumps(timeline.to_dict(), allow_nan=False))
    back = Timeline.from_dict(data)
    assert back.total_j == timeline.total_j
    assert back.to_dict() == data
    middle = (timeline.start_s + timeline.end_s) / 2
    slack_j = 0.002 + 1e4 * 0.002  # a millijoule and a millisecond at the largest power, on each side
    assert back.until(middle) == pytest.approx(timeline.until(middle), abs=slack_j)


def test_what_is_written_is_small():
    timeline = Timeline()
    for i in range(10_000):
        timeline.mark(START_S + 30.123456 * i, 1e6 / 3 * i)
    assert len(json.dumps(timeline.to_dict())) < 60_000


def test_a_timeline_without_marks_holds_nothing():
    timeline = Timeline.from_dict(Timeline().to_dict())
    assert (len(timeline), timeline.total_j, timeline.between(0, 1e12)) == (0, 0.0, 0.0)


def test_a_copy_goes_on_by_itself():
    timeline = timeline_of((0, 0), (10, 500))
    copy = pickle.loads(pickle.dumps(timeline))
    copy.mark(START_S + 20, 900)
    assert (copy.total_j, timeline.total_j) == (900, 500)
