"""Intensity series: what files are read, what is refused, and what becomes of gaps."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fitprint.carbon.hourly import HOUR_S, HourlySeries
from fitprint.carbon.series_file import read_series
from fitprint.errors import ConfigError
from fitprint.timeline import Timeline

# Headers as these publishers write them.
ELECTRICITY_MAPS = (
    "Datetime (UTC),Country,Zone name,Zone id,Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (Life cycle),"
    "Carbon-free energy percentage (CFE%),Renewable energy percentage (RE%),Data source,Data estimated,Data estimation method"
)
ELECTRICITY_MAPS_2021 = (
    "Datetime (UTC),Country,Zone Name,Zone Id,Carbon Intensity gCO₂eq/kWh (direct),Carbon Intensity gCO₂eq/kWh (LCA),"
    "Low Carbon Percentage,Renewable Percentage,Data Source,Data Estimated,Data Estimation Method"
)
UK = "Datetime (UTC),Actual Carbon Intensity (gCO2/kWh),Forecast Carbon Intensity (gCO2/kWh),Index"
NESO = "DATETIME,GAS,COAL,NUCLEAR,GENERATION,CARBON_INTENSITY,LOW_CARBON,ZERO_CARBON,FOSSIL_perc"
WATTTIME = "timestamp,MOER,MOER version,frequency"

MIDNIGHT = datetime(2025, 1, 1, tzinfo=UTC)
START_S = MIDNIGHT.timestamp()


@pytest.fixture
def read(tmp_path):
    """A function that writes a file and reads it."""

    def write_and_read(*lines: str, encoding: str = "utf-8", **options: str) -> HourlySeries:
        (tmp_path / "series.csv").write_text("\n".join(lines) + "\n", encoding=encoding)
        return read_series(tmp_path / "series.csv", **options)

    return write_and_read


def series_of(*values: float | None, step_s: float = HOUR_S) -> HourlySeries:
    points = [(START_S + i * step_s, value) for i, value in enumerate(values) if value is not None]
    return HourlySeries(points, "test", "as given")


def at_constant_power(watts: float, start_s: float, *lengths_s: float) -> Timeline:
    timeline, energy_j = Timeline(), 0.0
    timeline.mark(start_s, 0.0)
    for length_s in lengths_s:
        start_s, energy_j = start_s + length_s, energy_j + watts * length_s
        timeline.mark(start_s, energy_j)
    return timeline


def values(series: HourlySeries) -> list[float]:
    return [value for _, value in series.points]


def hours(series: HourlySeries) -> list[float]:
    return [(second - START_S) / HOUR_S for second, _ in series.points]


def between(series: HourlySeries, start_h: float, end_h: float):
    return series.between(MIDNIGHT + timedelta(hours=start_h), MIDNIGHT + timedelta(hours=end_h))


# ---- files that are read


@pytest.mark.parametrize("header", [ELECTRICITY_MAPS, ELECTRICITY_MAPS_2021])
def test_an_electricity_maps_export_is_read_by_its_life_cycle_column(read, header):
    rest = "80.1,60.2,source,false,"
    series = read(
        header,
        f"2025-01-01 00:00:00,France,France,FR,20.5,40.25,{rest}",
        f"2025-01-01 01:00:00,France,France,FR,21.5,41.25,{rest}",
    )
    assert (values(series), hours(series), series.basis_kind) == ([40.25, 41.25], [0, 1], "lifecycle")


def test_the_direct_column_is_read_where_it_is_named(read):
    lines = [ELECTRICITY_MAPS, "2025-01-01 00:00:00,F,F,FR,20,40,1,1,s,false,", "2025-01-01 01:00:00,F,F,FR,21,41,1,1,s,false,"]
    series = read(*lines, column="Carbon intensity gCO₂eq/kWh (direct)")
    assert (values(series), series.basis_kind) == ([20, 21], "direct")


def test_a_uk_export_is_read_by_what_was_and_filled_with_what_was_forecast(read):
    series = read(UK, "2025-01-01T00:00Z,140,134,low", "2025-01-01T00:30Z,,150,moderate", "2025-01-01T01:00Z,160,161,moderate")
    assert (values(series), hours(series)) == ([140, 150, 160], [0, 0.5, 1])
    assert any("forecast" in note and note.endswith(": 1") for note in series.notes)


def test_a_file_of_forecasts_alone_is_read(read):
    series = read(UK, "2025-01-01T00:00Z,,134,low", "2025-01-01T00:30Z,,150,moderate")
    assert values(series) == [134, 150]


def test_a_neso_export_needs_a_zone_and_says_that_its_unit_was_assumed(read):
    lines = [NESO, "2025-01-01 00:00:00,1,2,3,6,200,50,40,10.5", "2025-01-01 00:30:00,1,2,3,6,210,50,40,10.5"]
    with pytest.raises(ConfigError, match="no time zone"):
        read(*lines)
    series = read(*lines, tz="UTC")
    assert values(series) == [200, 210]
    assert any("read as g/kWh" in note for note in series.notes)
    assert any("read as UTC" in note for note in series.notes)


def test_watttime_is_converted_from_pounds_per_megawatt_hour(read):
    series = read(WATTTIME, "2025-01-01T00:00:00+00:00,1000,3.2,300", "2025-01-01T00:05:00+00:00,0,3.2,300")
    assert values(series) == pytest.approx([453.59237, 0])
    assert series.basis_kind == "marginal"
    assert any("lb/MWh" in note for note in series.notes)


def test_a_bare_value_is_refused_until_its_unit_is_said(read):
    lines = ["point_time,value", "2025-01-01T00:00:00+00:00,1000", "2025-01-01T00:05:00+00:00,900"]
    with pytest.raises(ConfigError, match="'value' has no unit"):
        read(*lines)
    assert values(read(*lines, unit="lbs_co2_per_mwh")) == pytest.approx([453.59237, 408.233133])


@pytest.mark.parametrize(
    ("unit", "grams"),
    [
        ("g/kWh", 0.5),
        ("gCO2eq/kWh", 0.5),
        ("gCO₂/kWh", 0.5),
        ("kg/kWh", 500),
        ("kgCO2e/MWh", 0.5),
        ("kg CO2 per MWh", 0.5),
        ("tCO2/MWh", 500),
        ("lbs/MWh", 0.226796185),
        ("g/MWh", 0.0005),
    ],
)
def test_units_are_converted(read, unit, grams):
    lines = ["2025-01-01T00:00Z,0.5", "2025-01-01T01:00Z,0.5"]
    assert values(read("datetime,intensity", *lines, unit=unit)) == pytest.approx([grams, grams])
    if grams >= 3:
        assert values(read(f"datetime,intensity [{unit}]", *lines)) == pytest.approx([grams, grams])


@pytest.mark.parametrize(
    "header", ["time,carbon_intensity_g_per_kwh", "hour,gCO2_kWh", "from,to,ci g/kWh", "utc_timestamp,carbonIntensity"]
)
def test_columns_are_found_by_name(read, header):
    middle = ",x" if header.count(",") == 2 else ""
    series = read(header, f"2025-01-01T00:00Z{middle},100", f"2025-01-01T01:00Z{middle},200")
    assert (values(series), hours(series)) == ([100, 200], [0, 1])


def test_a_byte_order_mark_semicolons_and_decimal_commas_are_read(read):
    series = read("Datetime (UTC);intensity g/kWh", "2025-01-01 00:00;100,5", "2025-01-01 01:00;200", encoding="utf-8-sig")
    assert values(series) == [100.5, 200]


def test_tabs_and_blank_lines_are_read(read):
    assert values(read("time\tintensity g/kWh", "2025-01-01T00:00Z\t100", "", "2025-01-01T01:00Z\t200", "")) == [100, 200]


def test_offsets_are_honoured(read):
    series = read("time,intensity g/kWh", "2025-01-01T01:00+01:00,100", "2025-01-01T06:30+05:30,200", tz="America/New_York")
    assert (values(series), hours(series), series.notes) == ([100, 200], [0, 1], ())


def test_of_a_column_in_local_time_and_one_in_utc_the_latter_is_read(read):
    header, gap = "Datetime (Local),Datetime (UTC),intensity g/kWh", "2025-01-01 02:00,2025-01-01 01:00,200"
    series = read(header, "2025-01-01 01:00,2025-01-01 00:00,100", gap)
    assert hours(series) == [0, 1]


def test_rows_come_in_any_order(read):
    series = read("time,intensity g/kWh", "2025-01-01T02:00Z,300", "2025-01-01T00:00Z,100", "2025-01-01T01:00Z,200")
    assert (values(series), hours(series)) == ([100, 200, 300], [0, 1, 2])


def test_rows_that_are_there_twice_count_once_and_are_noted(read):
    series = read("time,intensity g/kWh", "2025-01-01T00:00Z,100", "2025-01-01T00:00Z,100", "2025-01-01T01:00Z,200")
    assert values(series) == [100, 200]
    assert any("twice: 1" in note for note in series.notes)


@pytest.mark.parametrize("missing", ["", "-", "NaN", "null", "N/A"])
def test_rows_without_a_figure_are_gaps_and_noted(read, missing):
    series = read(
        "time,intensity g/kWh",
        "2025-01-01T00:00Z,100",
        f"2025-01-01T01:00Z,{missing}",
        "2025-01-01T02:00Z,200",
        "2025-01-01T03:00Z,1",
    )
    assert hours(series) == [0, 2, 3]
    assert any("gaps: 1" in note for note in series.notes)


# ---- local time


def local_hours(zone_day: str, *clock_times: str) -> list[str]:
    return ["time,intensity g/kWh", *(f"{zone_day} {time},{100 + i}" for i, time in enumerate(clock_times))]


def test_the_hour_that_clocks_repeat_is_read_twice(read):
    lines = local_hours("2025-10-26", "01:00", "02:00", "02:00", "03:00")
    series = read(*lines, tz="Europe/Paris")
    assert values(series) == [100, 101, 102, 103]
    assert [b - a for (a, _), (b, _) in pairwise(series.points)] == [HOUR_S] * 3


def test_the_repeated_hour_is_told_apart_when_the_newest_row_comes_first(read):
    head, *lines = local_hours("2025-10-26", "01:00", "02:00", "02:00", "03:00")
    assert values(read(head, *reversed(lines), tz="Europe/Paris")) == [100, 101, 102, 103]


def test_half_hours_are_repeated_too(read):
    lines = local_hours("2025-10-26", "01:30", "02:00", "02:30", "02:00", "02:30", "03:00")
    series = read(*lines, tz="Europe/Paris")
    assert values(series) == [100, 101, 102, 103, 104, 105]
    assert {b - a for (a, _), (b, _) in pairwise(series.points)} == {HOUR_S / 2}


def test_the_hour_that_clocks_skip_is_no_gap(read):
    series = read(*local_hours("2025-03-30", "01:00", "03:00", "04:00"), tz="Europe/Paris")
    assert [b - a for (a, _), (b, _) in pairwise(series.points)] == [HOUR_S] * 2


def test_a_time_that_clocks_skip_is_refused(read):
    with pytest.raises(ConfigError, match="line 3: the clocks of Europe/Paris skip 2025-03-30 02:00:00"):
        read(*local_hours("2025-03-30", "01:00", "02:00", "03:00"), tz="Europe/Paris")


def test_days_of_23_and_25_hours_are_no_gaps(read):
    days = [f"2025-{month}-{day:02},{100 + day}" for month, day in [("03", 29), ("03", 30), ("03", 31), ("04", 1)]]
    series = read("date,intensity g/kWh", *days, tz="Europe/Paris")
    assert not any(piece.carried or piece.g_per_kwh is None for piece in series.pieces(series.start_s, series.end_s))


@pytest.mark.parametrize("tz", ["Europe/Pariss", "../etc/passwd", "Europe", ""])
def test_a_zone_that_does_not_exist_is_refused(read, tz):
    with pytest.raises(ConfigError, match="Expected a time zone such as 'UTC' or 'Europe/Paris'"):
        read("time,intensity g/kWh", "2025-01-01 00:00,1", tz=tz)


# ---- files that are refused


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["time,intensity g/kWh", "2025-01-01 00:00,100", "2025-01-01 01:00,100"], "line 2: 2025-01-01 00:00:00 has no time zone"),
        (["time,intensity g/kWh", "01/02/2025 00:00,100"], "line 2: '01/02/2025 00:00' is no ISO 8601 time"),
        (["time,intensity g/kWh", "2025-02-30T00:00Z,100"], "is no ISO 8601 time"),
        (["intensity g/kWh,time", "100"], "line 2: '' is no ISO 8601 time"),
        (["time,intensity g/kWh", "1735689600,100"], "is no ISO 8601 time"),
        (["time,intensity g/kWh", "2025-01-01T00:00Z,many"], "line 2: 'many' in 'intensity g/kwh' is no number"),
        (["time,intensity g/kWh", "2025-01-01T00:00Z,inf"], "is no number"),
        (["time,intensity g/kWh", "2025-01-01T00:00Z,1_000"], "is no number"),
        (["time;intensity g/kWh", "2025-01-01T00:00Z;1.234,5"], "is no number"),
        (["time,intensity g/kWh", "2025-01-01T00:00Z,123,4"], "line 2 has more cells than columns; decimal commas need semicolons"),
        (["time,intensity g/kWh", '2025-01-01T00:00Z,"123,4"'], "decimal commas need semicolons"),
        (["time,intensity g/kWh", "2025-01-01T00:00Z,-5", "2025-01-01T01:00Z,100"], "2025-01-01T00:00Z is -5 g/kWh; 0 to 2000"),
        (
            ["time,intensity g/kWh", "2025-01-01T00:00Z,400000", "2025-01-01T01:00Z,1"],
            "is 400000 g/kWh; 0 to 2000 g/kWh are possible; is the unit right?",
        ),
        (["time,intensity g/kWh", "2025-01-01T00:00Z,0.4", "2025-01-01T01:00Z,0.5"], "as if they were in kg/kWh"),
        (["time,intensity", "2025-01-01T00:00Z,0.4", "2025-01-01T01:00Z,0.5"], "as if they were in kg/kWh"),
        (
            ["time,intensity g/kWh", "2025-01-01T00:00Z,100", "2025-01-01T00:00Z,120"],
            "2025-01-01T00:00Z has two figures, 100 and 120 g/kWh",
        ),
        (["time,intensity g/kWh", "2025-01-01T00:00Z,100"], "two figures are needed at least"),
        (["time,intensity g/kWh"], "two figures are needed at least"),
        (["2025-01-01T00:00Z,100", "2025-01-01T01:00Z,100"], "no column holds intensities"),
        (["when,intensity g/kWh", "2025-01-01T00:00Z,100"], "no column holds times among 'when', 'intensity g/kwh'"),
        (["time,price", "2025-01-01T00:00Z,100"], "no column holds intensities among 'time', 'price'"),
        (
            ["time,ci g/kWh,intensity", "2025-01-01T00:00Z,1,2"],
            "more than one column holds intensities among 'ci g/kwh', 'intensity'",
        ),
        ([""], "The file is empty."),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(read, lines, why):
    with pytest.raises(ConfigError) as refused:
        read(*lines)
    assert why in str(refused.value)


def test_small_figures_are_taken_where_the_user_says_the_unit(read):
    assert values(read("time,intensity", "2025-01-01T00:00Z,0.4", "2025-01-01T01:00Z,0.5", unit="g/kWh")) == [0.4, 0.5]


def test_a_file_that_is_not_there_or_no_text_is_refused(read, tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_series(tmp_path / "absent.csv")
    with pytest.raises(ConfigError, match="directory"):
        read_series(tmp_path)
    (tmp_path / "sheet.csv").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        read_series(tmp_path / "sheet.csv")


def test_a_wrong_column_or_unit_is_refused_with_what_there_is(read):
    lines = ["time,intensity g/kWh", "2025-01-01T00:00Z,1", "2025-01-01T01:00Z,5"]
    with pytest.raises(ConfigError, match="Did you mean 'intensity g/kwh'"):
        read(*lines, column="intensity gkWh")
    with pytest.raises(ConfigError, match="a unit such as"):
        read(*lines, unit="pounds")


def test_the_source_is_the_files_name_without_its_folder(read):
    series = read("time,intensity g/kWh", "2025-01-01T00:00Z,10", "2025-01-01T01:00Z,50")
    assert series.source == "series.csv"


# ---- means and gaps


def test_a_figure_stands_until_the_next_one():
    series = series_of(100, 200, 300)
    assert series.mean(START_S, START_S + 2 * HOUR_S) == 150
    assert series.mean(START_S + 1.5 * HOUR_S, START_S + 2.5 * HOUR_S) == 250
    assert between(series, 2.5, 3).g_per_kwh == 300


def test_an_instant_has_the_figure_that_is_in_force():
    series = series_of(100, 200, 300)
    assert [between(series, hour, hour).g_per_kwh for hour in (0, 0.99, 1, 2.5)] == [100, 100, 200, 300]
    assert between(series, -1, -1) is None


@pytest.mark.parametrize("step_s", [300, 900, 1800, 3600, 86400])
def test_any_resolution_will_do(step_s):
    series = series_of(100, 300, 100, 300, step_s=step_s)
    assert (series.step_s, series.mean(START_S, START_S + 4 * step_s)) == (step_s, 200)


def test_what_is_given_has_no_interval():
    intensity = between(series_of(100, 200, 300), 0, 3)
    assert (intensity.low_g_per_kwh, intensity.g_per_kwh, intensity.high_g_per_kwh) == (200, 200, 200)
    assert (intensity.year, intensity.source, intensity.basis_kind) == (2025, "test", "given")


def test_a_short_gap_carries_the_last_figure_within_the_interval_of_the_series():
    intensity = between(series_of(100, None, 300, 300), 0, 4)
    assert intensity.g_per_kwh == (100 + 100 + 300 + 300) / 4
    assert (intensity.low_g_per_kwh, intensity.high_g_per_kwh) == ((100 + 100 + 300 + 300) / 4, (100 + 300 + 300 + 300) / 4)


def test_a_figure_is_carried_for_three_hours_and_no_longer():
    series = series_of(100, *[None] * 9, 500, 500)
    assert [between(series, hour, hour + 1) and between(series, hour, hour + 1).g_per_kwh for hour in range(12)] == [
        *[100] * 4,
        *[None] * 6,
        *[500] * 2,
    ]


def test_after_its_end_a_series_is_carried_for_three_hours():
    series = series_of(100, 200)
    assert between(series, 2, 5).g_per_kwh == 200
    assert between(series, 5, 6) is None


def test_a_window_that_is_known_to_half_gets_the_mean_of_what_is_known():
    series = series_of(100, 300)
    known = between(series, -2, 2)
    assert known.g_per_kwh == 200
    assert (known.low_g_per_kwh, known.high_g_per_kwh) == (150, 250)
    assert between(series, -2.1, 2) is None


def test_a_window_needs_zones_and_an_order():
    series = series_of(100, 200)
    for start, end in [(MIDNIGHT, MIDNIGHT - timedelta(hours=1)), (MIDNIGHT.replace(tzinfo=None), MIDNIGHT.replace(tzinfo=None))]:
        with pytest.raises(ConfigError, match="two times with their zones"):
            series.between(start, end)


@given(st.lists(st.one_of(st.none(), st.floats(0, 2000)), min_size=2, max_size=40), st.floats(-10, 50), st.floats(0.1, 60))
def test_pieces_fill_any_window_without_hole_or_overlap(figures, start_h, length_h):
    known = [figure for figure in figures if figure is not None]
    assume(len(known) >= 2)
    series = series_of(*figures)
    start_s, end_s = START_S + start_h * HOUR_S, START_S + (start_h + length_h) * HOUR_S
    pieces = list(series.pieces(start_s, end_s))
    assert (pieces[0].start_s, pieces[-1].end_s) == (start_s, end_s)
    assert all(a.end_s == b.start_s for a, b in pairwise(pieces))
    assert all(piece.start_s < piece.end_s for piece in pieces)


@given(st.lists(st.floats(0, 2000), min_size=2, max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_a_mean_lies_within_the_figures_and_means_of_halves_meet_in_it(figures, at, cut):
    series = series_of(*figures)
    start_s, end_s = series.start_s + at * (series.end_s - series.start_s) / 2, series.end_s
    middle_s = start_s + cut * (end_s - start_s)
    whole = series.mean(start_s, end_s)
    assert min(figures) - 1e-6 <= whole <= max(figures) + 1e-6
    if start_s < middle_s < end_s:
        halves = series.mean(start_s, middle_s) * (middle_s - start_s) + series.mean(middle_s, end_s) * (end_s - middle_s)
        assert halves / (end_s - start_s) == pytest.approx(whole, abs=1e-6)


# ---- grams


def test_energy_is_cut_at_the_hours():
    timeline = at_constant_power(1000, START_S + 0.5 * HOUR_S, 2 * HOUR_S)
    grams, notes = series_of(100, 200, 400).grams(timeline)
    assert grams == pytest.approx(0.5 * 100 + 1 * 200 + 0.5 * 400)
    assert notes == ()


def test_energy_counts_with_the_hour_in_which_it_was_used():
    timeline = at_constant_power(0, START_S, HOUR_S)
    timeline.mark(START_S + 2 * HOUR_S, 3.6e6)
    grams, _ = series_of(100, 500, 900).grams(timeline)
    assert grams == pytest.approx(500)


@given(st.lists(st.floats(1, 1e4), min_size=1, max_size=20), st.floats(1, 2000))
def test_a_constant_series_is_a_constant(lengths_s, figure):
    timeline = at_constant_power(300, START_S + 1234, *lengths_s)
    series = series_of(*[figure] * 60)
    assert series.grams(timeline)[0] == pytest.approx(timeline.total_j / 3.6e6 * figure)


def test_what_was_filled_in_is_said_with_its_share_of_the_energy():
    series = series_of(100, None, 300, 300)
    grams, notes = series.grams(at_constant_power(1000, START_S, 10 * HOUR_S))
    assert grams == pytest.approx(10 * (100 + 100 + 300 + 300 + 3 * 300) / 7)
    assert list(notes) == [
        "test has no figure for 40 % of the energy: the last one before was carried, for at most 3 h",
        "test has no figure for 30 % of the energy: it counts with the mean of the rest",
    ]


def test_a_series_of_another_time_is_refused():
    with pytest.raises(ConfigError, match="covers 2025-01-01T00:00Z to 2025-01-01T02:00Z and says too little about the run"):
        series_of(100, 200).grams(at_constant_power(100, START_S + 1e7, HOUR_S))


def test_a_run_that_used_nothing_emitted_nothing():
    assert series_of(100, 200).grams(at_constant_power(0, START_S, HOUR_S))[0] == 0


def test_a_series_can_be_copied():
    series = series_of(100, 200)
    assert pickle.loads(pickle.dumps(series)).mean(START_S, START_S + HOUR_S) == 100


def test_a_year_of_five_minutes_reads_in_seconds(tmp_path):
    path: Path = tmp_path / "year.csv"
    times = [MIDNIGHT + timedelta(minutes=5 * i) for i in range(105_120)]
    path.write_text("timestamp,MOER\n" + "\n".join(f"{time.isoformat()},{800 + i % 288}" for i, time in enumerate(times)))
    series = read_series(path)
    assert (len(series.points), series.step_s) == (105_120, 300)
