"""When to run (flexible start, pause and resume), and grams worked out again by the hour."""

from __future__ import annotations

import itertools
import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fitprint.carbon.hourly import HOUR_S, HourlySeries
from fitprint.errors import ConfigError
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.regrams import regrams
from fitprint.timeline import Timeline
from fitprint.timing import Plan, when

MIDNIGHT = datetime(2025, 1, 1, tzinfo=UTC)
START_S = MIDNIGHT.timestamp()
# Small whole figures, so that equally clean times occur.
figures = st.lists(st.integers(0, 9).map(lambda tens: 10.0 * tens), min_size=2, max_size=8)


def series_of(*values: float | None, step_s: float = HOUR_S) -> HourlySeries:
    points = [(START_S + i * step_s, value) for i, value in enumerate(values) if value is not None]
    return HourlySeries(points, "test", "as given")


def hours_of(plan: Plan) -> list[tuple[float, float]]:
    return [((start_s - START_S) / HOUR_S, (end_s - START_S) / HOUR_S) for start_s, end_s in plan.runs]


def runs_of(slots: tuple[int, ...]) -> list[int]:
    """Lengths of the runs that a sorted choice of slots makes."""
    breaks = [0, *(i for i in range(1, len(slots)) if slots[i] != slots[i - 1] + 1), len(slots)]
    return [b - a for a, b in itertools.pairwise(breaks)]


def cheapest(values: list[float], count: int, most_runs: int = 99, shortest: int = 1) -> float:
    """Least mean of so many slots in such runs, by trying all."""
    choices = (slots for slots in itertools.combinations(range(len(values)), count))
    fitting = (slots for slots in choices if len(runs_of(slots)) <= most_runs and min(runs_of(slots)) >= shortest)
    return min((sum(values[i] for i in slots) / count for slots in fitting), default=math.inf)


# ---- flexible start


def test_the_job_starts_where_all_of_it_is_cleanest():
    answer = when(series_of(500, 100, 400, 200, 200, 500), 2)
    assert hours_of(answer.now) == [(0, 2)]
    assert hours_of(answer.start) == [(3, 5)]
    assert (answer.now.g_per_kwh, answer.start.g_per_kwh) == (300, 200)
    assert answer.saved_share(answer.start) == pytest.approx(1 / 3)


def test_a_job_may_start_between_two_hours():
    answer = when(series_of(500, 300, 100, 400), 1.5)
    assert hours_of(answer.start) == [(1.5, 3)]
    assert answer.start.g_per_kwh == pytest.approx((0.5 * 300 + 100) / 1.5)


@given(figures, st.integers(1, 16), st.integers(0, 6))
def test_no_start_on_a_finer_grid_is_cleaner(values, halves, late):
    series, length_s = series_of(*values), halves * HOUR_S / 2
    start_s = START_S + late * 600
    assume(start_s + length_s <= series.end_s)
    answer = when(series, halves / 2, start=datetime.fromtimestamp(start_s, UTC))
    starts = range(int(start_s), int(series.end_s - length_s) + 1, 300)
    assert answer.start.g_per_kwh <= min(series.mean(s, s + length_s) for s in starts) + 1e-6
    assert answer.start.g_per_kwh == pytest.approx(series.mean(*answer.start.runs[0]))


def test_of_equally_clean_times_the_earliest_is_taken():
    answer = when(series_of(300, 100, 100, 300, 100, 100), 2, pause=True)
    assert hours_of(answer.start) == hours_of(answer.pause) == [(1, 3)]


@given(st.floats(1, 2000), st.floats(0.1, 8), st.floats(0, 3))
def test_where_nothing_changes_nothing_is_saved(figure, hours, late_h):
    series = series_of(*[figure] * 12)
    start = MIDNIGHT + timedelta(hours=late_h)
    answer = when(series, hours, start=start, pause=True, max_pauses=3)
    assert answer.start.runs == answer.pause.runs == answer.now.runs
    assert answer.now.runs[0][0] == start.timestamp()
    assert answer.saved_share(answer.pause) == pytest.approx(0, abs=1e-9)


def test_the_window_limits_the_end():
    series = series_of(300, 200, 100, 50, 10, 10)
    assert hours_of(when(series, 2, within_h=4).start) == [(2, 4)]
    assert hours_of(when(series, 2, start=MIDNIGHT + timedelta(hours=1), within_h=2).start) == [(1, 3)]


# ---- pause and resume


def test_a_job_that_may_pause_runs_in_the_cleanest_hours():
    answer = when(series_of(500, 100, 400, 200, 300, 90), 3, pause=True)
    assert hours_of(answer.pause) == [(1, 2), (3, 4), (5, 6)]
    assert answer.pause.g_per_kwh == 130


def test_the_last_piece_is_cut_beside_another():
    assert hours_of(when(series_of(500, 200, 100, 500), 1.5, pause=True).pause) == [(1.5, 3)]
    assert hours_of(when(series_of(500, 100, 200, 500), 1.5, pause=True).pause) == [(1, 2.5)]


def test_a_pause_that_saves_nothing_is_not_made():
    answer = when(series_of(100, 100, 300, 100, 100), 2, pause=True)
    assert answer.pause == answer.start


def test_without_being_asked_nobody_pauses():
    assert when(series_of(500, 100, 400, 200), 2).pause is None


@given(figures, st.floats(0.1, 8), st.floats(0, 4), st.sampled_from([None, 0, 1, 2]), st.sampled_from([0.0, 0.5, 2.0]))
def test_pausing_is_never_worse_than_starting_later_and_that_never_worse_than_starting_now(
    values, hours, late_h, max_pauses, min_run_h
):
    series = series_of(*values)
    hours = round(hours * 4) / 4
    start = MIDNIGHT + timedelta(hours=round(late_h * 4) / 4)
    assume(hours > 0 and start.timestamp() + hours * HOUR_S <= series.end_s)
    answer = when(series, hours, start=start, pause=True, max_pauses=max_pauses, min_run_h=min_run_h)
    assert answer.pause.g_per_kwh <= answer.start.g_per_kwh + 1e-9
    assert answer.start.g_per_kwh <= answer.now.g_per_kwh + 1e-9
    for plan in (answer.now, answer.start, answer.pause):
        assert sum(end_s - start_s for start_s, end_s in plan.runs) == pytest.approx(hours * HOUR_S)
        assert all(a_end < b_start for (_, a_end), (b_start, _) in itertools.pairwise(plan.runs))
        assert answer.window[0] <= plan.runs[0][0]
        assert plan.runs[-1][1] <= answer.window[1]
        mean = sum(series.mean(a, b) * (b - a) for a, b in plan.runs) / (hours * HOUR_S)
        assert plan.g_per_kwh == pytest.approx(mean, abs=1e-6)
    assert max_pauses is None or len(answer.pause.runs) - 1 <= max_pauses
    assert min(end_s - start_s for start_s, end_s in answer.pause.runs) >= min(min_run_h, hours) * HOUR_S - 1e-6


@given(figures, st.integers(1, 8))
def test_free_pauses_are_as_clean_as_trying_all(values, count):
    assume(count <= len(values))
    answer = when(series_of(*values), count, pause=True)
    assert answer.pause.g_per_kwh == pytest.approx(cheapest(values, count))


@given(figures, st.integers(1, 8), st.integers(0, 2))
def test_few_pauses_are_as_clean_as_trying_all(values, count, max_pauses):
    assume(count <= len(values))
    answer = when(series_of(*values), count, pause=True, max_pauses=max_pauses)
    assert answer.pause.g_per_kwh == pytest.approx(cheapest(values, count, most_runs=max_pauses + 1))
    assert len(answer.pause.runs) <= max_pauses + 1


@given(figures, st.integers(1, 8), st.integers(1, 4), st.sampled_from([None, 1, 2]))
def test_long_stretches_are_as_clean_as_trying_all(values, count, shortest, max_pauses):
    assume(count <= len(values))
    answer = when(series_of(*values), count, pause=True, min_run_h=shortest, max_pauses=max_pauses)
    most_runs = 99 if max_pauses is None else max_pauses + 1
    best = cheapest(values, count, most_runs, min(shortest, count))
    assert answer.pause.g_per_kwh == pytest.approx(best)


def test_limited_pauses_may_cut_hours_where_the_job_does():
    answer = when(series_of(400, 10, 400, 20, 400, 30), 1.5, pause=True, max_pauses=1)
    assert hours_of(answer.pause) == [(1, 2), (3, 3.5)]


def test_too_many_cases_are_refused_with_a_way_out():
    noisy = [100 + 300 * (i * 7919 % 1000) / 1000 for i in range(600)]
    with pytest.raises(ConfigError, match="Round hours and min_run to multiples of the series' step \\(5 min\\)"):
        when(series_of(*noisy, step_s=300), 10.0003, pause=True, max_pauses=2)


# ---- what is refused


@pytest.mark.parametrize("hours", [0, -1, math.nan, math.inf])
def test_a_job_has_a_length(hours):
    with pytest.raises(ConfigError, match="Expected hours, more than 0"):
        when(series_of(1, 2, 3), hours)


def test_a_job_longer_than_its_window_is_refused():
    with pytest.raises(ConfigError, match="at most 2 h, for the window is 2025-01-01T00:00Z to 2025-01-01T02:00Z"):
        when(series_of(1, 2, 3), 2.5, within_h=2)


def test_a_window_beyond_the_series_is_refused():
    with pytest.raises(ConfigError, match="a time that test covers: 2025-01-01T00:00Z to 2025-01-01T03:00Z"):
        when(series_of(1, 2, 3), 1, within_h=4)
    with pytest.raises(ConfigError, match="a time that test covers"):
        when(series_of(1, 2, 3), 1, start=MIDNIGHT - timedelta(hours=1))


def test_a_start_without_a_zone_is_refused():
    with pytest.raises(ConfigError, match="a time with its zone"):
        when(series_of(1, 2, 3), 1, start=datetime(2025, 1, 1))


def test_fewer_than_no_pauses_are_refused():
    with pytest.raises(ConfigError, match="0 or more"):
        when(series_of(1, 2, 3), 1, pause=True, max_pauses=-1)
    with pytest.raises(ConfigError, match="0 or more"):
        when(series_of(1, 2, 3), 1, pause=True, min_run_h=-1)


def test_a_long_gap_in_the_window_is_refused_and_a_short_one_is_noted():
    with pytest.raises(ConfigError, match="says nothing about 2025-01-01T05:00Z to 2025-01-01T07:00Z"):
        when(series_of(1, 2, *[None] * 5, 3, 4), 1)
    answer = when(series_of(100, 200, None, 300), 1)
    assert answer.notes == ("25 % of the window fell into gaps: the last figure before was carried",)


# ---- the answer as plain types


def test_the_answer_is_plain_and_grams_are_unknown_without_energy():
    answer = when(series_of(500, 100, 400, 200), 2, pause=True)
    data = json.loads(json.dumps(answer.to_dict(), allow_nan=False))
    assert list(data) == ["from", "until", "energy_kwh", "now", "flexible_start", "pause_and_resume", "notes"]
    assert (data["now"]["co2e_g"], data["now"]["saved_g"], data["now"]["saved_percent"]) == (None, None, 0)
    row = answer.to_dict(3.0)["pause_and_resume"]
    assert (row["co2e_g"], row["saved_g"], row["saved_percent"]) == (450, 450, 50)
    assert [run["start"] for run in row["runs"]] == ["2025-01-01T01:00:00.000Z", "2025-01-01T03:00:00.000Z"]


def test_a_grid_without_emissions_saves_nothing():
    answer = when(series_of(0, 0, 0), 1, pause=True)
    assert answer.saved_share(answer.pause) == 0


# ---- grams by the hour


def row(name: str, value: float, low: float, high: float) -> dict:
    return {"name": name, "value": value, "low": low, "high": high, "unit": "1", "source": "s", "year": 2025, "basis": "b"}


def measured(watts: float = 1000.0, hours: float = 4.0, **changes) -> Footprint:
    """A run of constant power from midnight, in two epochs, with node factor 1.3 and PUE 1.5 at 400 g/kWh."""
    timeline, energy_j = Timeline(), watts * hours * HOUR_S
    timeline.mark(START_S, 0.0)
    timeline.mark(START_S + hours * HOUR_S, energy_j)
    kwh = energy_j / 3.6e6
    epochs = [
        EpochFootprint(index=i, started_at=start, duration_s=hours * HOUR_S / 2, energy_j=energy_j / 2, co2e_g=kwh * 1.95 * 200)
        for i, start in enumerate([MIDNIGHT.isoformat(), (MIDNIGHT + timedelta(hours=hours / 2)).isoformat()])
    ]
    segment = {"host": "host-1", "region": "FR", "started_at": MIDNIGHT.isoformat(), "duration_s": hours * HOUR_S}
    record = Footprint(
        run_id="r",
        started_at=MIDNIGHT.isoformat(),
        duration_s=hours * HOUR_S,
        energy_j=energy_j,
        energy_low_j=0.9 * energy_j,
        energy_high_j=1.2 * energy_j,
        facility_energy_kwh=1.95 * kwh,
        co2e_g=1.95 * kwh * 400,
        co2e_low_g=0.0,
        co2e_high_g=1e9,
        intensity=400.0,
        pue=1.5,
        node_factor=1.3,
        epochs=tuple(epochs),
        segments=({**segment, "energy_j": energy_j, "co2e_g": 1.95 * kwh * 400, "intensity": 400.0},),
        assumptions=(
            row("region", 0, 0, 0),
            row("intensity", 400, 300, 600),
            row("pue", 1.5, 1.5, 1.5),
            row("node_factor", 1.3, 1.3, 1.3),
        ),
    )
    return Footprint.from_dict({**record.to_dict(), "energy_series": timeline.to_dict(), **changes})


def test_grams_follow_the_hours_in_which_energy_was_used():
    record = regrams(measured(), series_of(100, 200, 300, 400))
    assert record.co2e_g == pytest.approx(1.95 * (100 + 200 + 300 + 400))
    assert [epoch.co2e_g for epoch in record.epochs] == pytest.approx([1.95 * 300, 1.95 * 700])
    assert record.intensity == record.segments[0]["intensity"] == 250
    assert record.segments[0]["co2e_g"] == pytest.approx(record.co2e_g)
    assert (record.energy_j, record.pue, record.node_factor) == (measured().energy_j, 1.5, 1.3)


def test_the_same_constant_gives_the_same_grams():
    before = measured()
    after = regrams(before, series_of(*[400] * 5))
    assert after.co2e_g == pytest.approx(before.co2e_g)
    assert [e.co2e_g for e in after.epochs] == pytest.approx([e.co2e_g for e in before.epochs])


def test_the_interval_is_that_of_energy_node_factor_and_pue_where_the_series_is_whole():
    record = regrams(measured(), series_of(100, 200, 300, 400))
    assert (record.co2e_low_g, record.co2e_high_g) == pytest.approx((0.9 * record.co2e_g, 1.2 * record.co2e_g))


def test_what_the_series_does_not_say_widens_the_interval_and_is_noted():
    whole, gap = (regrams(measured(), series_of(*values)) for values in ([100, 200, 300, 400], [100, None, 300, 400]))
    assert gap.co2e_high_g / gap.co2e_g > whole.co2e_high_g / whole.co2e_g
    assert gap.notes == ("test has no figure for 25 % of the energy: the last one before was carried, for at most 3 h",)


def test_the_series_takes_the_place_of_the_old_intensity_among_the_assumptions():
    record = regrams(measured(), series_of(100, 200, 300, 400))
    (intensity,) = [row for row in record.assumptions if row["name"] == "intensity"]
    assert (intensity["value"], intensity["source"], intensity["year"]) == (250, "test", 2025)
    assert {row["name"] for row in record.assumptions} == {"region", "intensity", "pue", "node_factor"}


def test_a_plain_record_will_do():
    assert regrams(measured().to_dict(), series_of(100, 200, 300, 400)) == regrams(measured(), series_of(100, 200, 300, 400))


def test_a_record_without_facility_energy_uses_its_factors():
    record = regrams(measured(facility_energy_kwh=None), series_of(100, 200, 300, 400))
    assert record.co2e_g == pytest.approx(1.95 * 1000)


def test_energy_that_has_no_time_counts_with_the_mean_and_is_noted():
    timeline = Timeline()
    timeline.mark(START_S, 0.0)
    timeline.mark(START_S + 2 * HOUR_S, 7.2e6)
    record = regrams(measured(energy_series=timeline.to_dict()), series_of(100, 200, 300, 400))
    assert record.co2e_g == pytest.approx(1.95 * 4 * 150)
    assert record.notes == ("50 % of the energy has no time: it counts with the mean",)


def test_a_run_in_two_places_says_that_one_series_is_used():
    two = tuple({**measured().segments[0], "region": region} for region in ("FR", "SE"))
    record = regrams(measured(segments=two), series_of(100, 200, 300, 400))
    assert record.notes == ("the run was in FR, SE: one series is used for all of it",)


def test_epochs_outside_of_the_series_count_with_the_mean_of_the_run():
    record = regrams(measured(hours=16.0), series_of(*[200] * 10))
    assert record.epochs[1].co2e_g == pytest.approx(1.95 * 8 * 200)


def test_a_run_that_kept_no_time_or_a_series_of_another_time_is_refused():
    with pytest.raises(ConfigError, match="run r holds no energy over time"):
        regrams(measured(energy_series=None), series_of(100, 200))
    with pytest.raises(ConfigError, match="says too little about the run"):
        regrams(measured(), HourlySeries([(0, 100), (3600, 100)], "old", "as given"))
