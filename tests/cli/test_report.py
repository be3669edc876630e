"""``fitprint report``: a recorded run, and its grams by the hour."""

from __future__ import annotations

import json
import socket

import pytest

from fitprint import Config, Tracker
from fitprint.cli import main
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

# The clock's wall time begins at 2027-01-15 08:00 UTC.
SERIES = "datetime,carbon intensity (gCO2eq/kWh)\n" + "".join(
    f"2027-01-15T{hour:02d}:00:00Z,{g}\n" for hour, g in ((7, 50), (8, 100), (9, 300), (10, 500))
)


def measured(tmp_path, hours=2, **options):
    """A run of 360 W over so many hours, an epoch each, at given factors."""
    clock = FakeClock()
    gpu = ScriptedCounter(clock, watts=360.0)
    around = Surroundings(tmp_path / "sys", tmp_path / "proc", clock=clock, environ={})
    config = Config(intensity=200.0, pue=1.5, node_factor=1.0)
    with Tracker(counters=[gpu], around=around, config=config, **options) as tracker:
        for _ in tracker.epochs(range(hours)):
            for _ in range(60):
                clock.advance(60.0)
                tracker.check(ahead_s=0.0)
    return tracker.footprint


@pytest.fixture
def series(tmp_path):
    path = tmp_path / "series.csv"
    path.write_text(SERIES)
    return str(path)


def test_the_last_run_is_shown_as_its_summary(tmp_path, capsys):
    footprint = measured(tmp_path)
    assert main(["report"]) == 0
    assert capsys.readouterr().out == f"{footprint}\n"


def test_grams_are_worked_out_again_from_the_hours_of_the_run(tmp_path, capsys, series):
    footprint = measured(tmp_path)
    assert footprint.co2e_g == pytest.approx(0.72 * 1.5 * 200)
    assert main(["report", "--run", footprint.run_id, "--intensity", series, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["co2e_g"] == pytest.approx(0.36 * 1.5 * 100 + 0.36 * 1.5 * 300, rel=0.01)
    assert [epoch["co2e_g"] for epoch in record["epochs"]] == pytest.approx([0.54 * 100, 0.54 * 300], rel=0.02)
    assert record["energy_j"] == footprint.energy_j
    assert any("series.csv" in str(row["source"]) for row in record["assumptions"])


def test_a_series_of_other_days_is_refused_with_a_sentence(tmp_path, capsys):
    measured(tmp_path)
    (tmp_path / "old.csv").write_text(SERIES.replace("2027", "2020"))
    assert main(["report", "--intensity", str(tmp_path / "old.csv")]) == 2
    assert "fitprint: " in capsys.readouterr().err


def test_a_page_is_written_where_it_is_asked_for(tmp_path, capsys):
    footprint = measured(tmp_path)
    assert main(["report", "--html", str(tmp_path / "page.html")]) == 0
    assert footprint.run_id in (tmp_path / "page.html").read_text()
    assert main(["report", "--html", str(tmp_path / "no" / "page.html")]) == 1


def test_without_a_run_it_says_where_it_looked(capsys):
    assert main(["report"]) == 1
    assert "no runs in" in capsys.readouterr().err


def test_energy_over_time_is_kept_with_the_run_and_ends_at_its_total(tmp_path):
    footprint = measured(tmp_path)
    series = footprint.energy_series
    assert series["energy_j"][0] == 0.0
    assert series["energy_j"][-1] == pytest.approx(footprint.energy_j)
    assert series["time_s"][-1] == pytest.approx(7200.0)
    assert series["started_at"].startswith("2027-01-15T08:00:00")
    assert "energy_series" not in footprint.to_dict(epochs=False)


def test_a_run_opens_no_socket(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with Tracker() as tracker:
        list(tracker.epochs(range(2)))
    assert tracker.footprint.status == "completed"
    assert tracker.measuring


def test_a_projects_total_is_printed_with_its_failed_runs_and_its_hyperparameters(tmp_path, capsys):
    measured(tmp_path, project="sweep")
    last = measured(tmp_path, hours=1, project="sweep", run_id="last")
    measured(tmp_path, project="other")
    with pytest.raises(RuntimeError), Tracker(project="sweep", counters=[], ledger="fitprint.db"):
        raise RuntimeError
    assert main(["report", "--project", "sweep"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("NOT COUNTED: 1 of the 3 runs")
    assert "sweep: 324 g CO2e" in out
    assert "2 completed (324 g), 1 failed (unknown)" in out
    assert f"final run  {last.run_id}: 108 g, 33 % of all" in out
    assert "3 GPU-hours" in out
    assert "do not average out" in err


def test_a_projects_total_is_json_too(tmp_path, capsys):
    measured(tmp_path, project="sweep")
    assert main(["report", "--project", "sweep", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["runs"], record["co2e_g"]) == (1, pytest.approx(216.0))


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (["--project", "sweep", "--html", "x.html"], 2, "a single run"),
        (["--project", "swep"], 1, "Did you mean 'sweep'?"),
        (["--project", "sweep", "--final", "x"], 1, "no run 'x'"),
        (["--project", "sweep", "--metric", "x"], 2, "mode"),
    ],
)
def test_what_a_projects_total_cannot_do_is_said(tmp_path, capsys, arguments, status, word):
    measured(tmp_path, project="sweep")
    assert main(["report", *arguments]) == status
    assert word in capsys.readouterr().err
