"""``fitprint when`` as a person or a script uses it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from fitprint.cli import main

MIDNIGHT = datetime(2025, 1, 1, tzinfo=UTC)


def write(path, values, start=MIDNIGHT, header="Datetime (UTC),Carbon intensity gCO₂eq/kWh (Life cycle)"):
    rows = [f"{(start + timedelta(hours=i)).replace(tzinfo=None).isoformat()},{value}" for i, value in enumerate(values)]
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    return str(path)


@pytest.fixture
def series(tmp_path) -> str:
    return write(tmp_path / "series.csv", [500, 100, 400, 200, 300, 90])


def answer(capsys, *arguments) -> dict:
    assert main(["when", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_says_when_and_what_it_saves(capsys, series):
    data = answer(capsys, "--hours", "3", "--series", series, "--power-w", "2000", "--pause")
    assert (data["hours"], data["energy_kwh"], data["basis_kind"]) == (3, 6, "lifecycle")
    assert data["now"]["co2e_g"] == pytest.approx(6 * 1000 / 3)
    assert data["flexible_start"]["start"] == "2025-01-01T03:00:00.000Z"
    assert data["flexible_start"]["saved_g"] == pytest.approx(6 * (1000 - 590) / 3)
    assert [run["start"][11:16] for run in data["pause_and_resume"]["runs"]] == ["01:00", "03:00", "05:00"]
    assert data["pause_and_resume"]["saved_percent"] == pytest.approx(61)
    assert any("its own beginning stands for now" in note for note in data["notes"])


def test_the_table_has_times_grams_and_savings(capsys, series):
    assert main(["when", "--hours", "3", "--series", series, "--energy-kwh", "6", "--pause", "--tz", "Asia/Tokyo"]) == 0
    out = capsys.readouterr().out
    assert "flexible start" in out
    assert "pause and resume (2 pauses)" in out
    assert "Wed 2025-01-01 12:00" in out  # 03:00 UTC
    assert "780 g" in out
    assert "1.22 kg, 61.0 %" in out
    assert "lifecycle" in out


def test_without_energy_the_table_has_shares_alone(capsys, series):
    assert main(["when", "--hours", "3", "--series", series]) == 0
    out = capsys.readouterr().out
    assert "41.0 %" in out
    assert "pause and resume" not in out


def test_the_window_can_be_set(capsys, series):
    data = answer(capsys, "--hours", "1", "--series", series, "--from", "2025-01-01T02:00Z", "--within", "3")
    assert (data["from"], data["until"]) == ("2025-01-01T02:00:00.000Z", "2025-01-01T05:00:00.000Z")
    assert data["flexible_start"]["start"] == "2025-01-01T03:00:00.000Z"


def test_a_start_without_a_zone_is_in_the_zone_that_was_said(capsys, series):
    data = answer(capsys, "--hours", "1", "--series", series, "--from", "2025-01-01T03:00", "--tz", "Europe/Paris")
    assert data["from"] == "2025-01-01T02:00:00.000Z"


def test_limits_on_pauses_ask_for_pauses(capsys, series):
    few = answer(capsys, "--hours", "3", "--series", series, "--max-pauses", "1")
    long = answer(capsys, "--hours", "3", "--series", series, "--min-run", "1.5")
    assert len(few["pause_and_resume"]["runs"]) == 2
    assert len(long["pause_and_resume"]["runs"]) <= 2


def test_a_forecast_begins_now(capsys, tmp_path):
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    forecast = write(tmp_path / "forecast.csv", range(100, 124), start)
    data = answer(capsys, "--hours", "2", "--series", forecast)
    begin = datetime.fromisoformat(data["from"])
    assert timedelta(0) <= begin - datetime.now(UTC) + timedelta(minutes=1) <= timedelta(minutes=2)
    assert data["notes"] == []


def test_a_column_and_its_unit_can_be_said(capsys, tmp_path):
    path = write(tmp_path / "own.csv", [0.5, 0.1, 0.4], header="when (UTC) date,mine")
    data = answer(capsys, "--hours", "1", "--series", path, "--column", "mine", "--unit", "kg/kWh")
    assert data["flexible_start"]["g_per_kwh"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--hours", "-1"], "Expected hours, more than 0"),
        (["--hours", "0"], "Expected hours, more than 0"),
        (["--hours", "7"], "a job that fits into the window: at most 6 h"),
        (["--hours", "3", "--within", "2"], "at most 2 h"),
        (["--hours", "3", "--within", "20"], "a time that series.csv covers"),
        (["--hours", "3", "--power-w", "-5"], "--power-w -5.0 is not valid"),
        (["--hours", "3", "--energy-kwh", "nan"], "--energy-kwh nan is not valid"),
        (["--hours", "3", "--from", "soon"], "a time such as 2025-01-31T13:00Z"),
        (["--hours", "3", "--from", "2025-01-01T00:00"], "a time with its zone"),
        (["--hours", "3", "--tz", "Europe/Pari"], "Did you mean 'Europe/Paris'?"),
        (["--hours", "3", "--max-pauses", "-1"], "0 or more"),
        (["--hours", "3", "--column", "price"], "--column 'price' is not valid"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(capsys, series, arguments, why):
    assert main(["when", "--series", series, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert why in captured.err


def test_a_file_that_is_not_there_is_refused(capsys):
    assert main(["when", "--hours", "1", "--series", "absent.csv"]) == 2
    assert "No such file" in capsys.readouterr().err
