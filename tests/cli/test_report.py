"""``fitprint report``: a recorded run, and its grams by the hour."""

from __future__ import annotations

import csv
import io
import json
import re
import socket

import pytest

from fitprint import Config, Tracker
from fitprint.cli import main
from fitprint.footprint import Footprint
from fitprint.ledger.ledger import Ledger
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint.units import format_co2e, format_energy

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


def test_without_an_id_the_training_is_meant_and_not_the_test_after_it(tmp_path, capsys):
    measured(tmp_path, run_id="training", name="digits")
    measured(tmp_path, run_id="checked", hours=1, kind="test")
    assert main(["report", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["run_id"] == "training"
    assert "this is training (fit, digits, completed)" in err
    assert main(["advise", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == "training"
    assert main(["advise", "checked", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == "checked"
    assert main(["advise", "checked", "--run", "training"]) == 2
    assert main(["report", "checked"]) == 0
    assert "no run was named" not in capsys.readouterr().err


def test_where_nothing_was_trained_the_last_run_is_meant_and_its_grams_are_no_trainings(tmp_path, capsys):
    measured(tmp_path, run_id="checked", hours=1, kind="test")
    assert main(["report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == "checked"
    readme = tmp_path / "README.md"
    readme.write_text("# Model\n")
    assert main(["report", "--into", str(readme), "--training-type", "fine-tuning"]) == 2
    assert "checked is of kind test" in capsys.readouterr().err
    assert readme.read_text() == "# Model\n"


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
    assert main(["report", "--format", "html", "--output", str(tmp_path / "page.html")]) == 0
    assert footprint.run_id in (tmp_path / "page.html").read_text()
    assert main(["report", "--format", "html", "--output", str(tmp_path / "no" / "page.html")]) == 1


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
        (["--project", "sweep", "--run", "a"], 2, "either a project or runs"),
        (["--project", "swep"], 1, "Did you mean 'sweep'?"),
        (["--project", "sweep", "--final", "x"], 1, "no run 'x'"),
        (["--project", "sweep", "--metric", "x"], 2, "no run has any"),
    ],
)
def test_what_a_projects_total_cannot_do_is_said(tmp_path, capsys, arguments, status, word):
    measured(tmp_path, project="sweep")
    assert main(["report", *arguments]) == status
    assert word in capsys.readouterr().err


# ---- formats


def test_every_format_is_printed_and_written(tmp_path, capsys):
    footprint = measured(tmp_path, project="vision", name="resnet")
    marks = {
        "md": "### Footprint of resnet",
        "latex": "\\endinput",
        "html": "<!doctype html>",
        "csv": "run_id,",
        "card": "co2_eq_emissions:",
    }
    for form, mark in marks.items():
        assert main(["report", footprint.run_id, "--format", form]) == 0
        printed = capsys.readouterr().out
        assert mark in printed
        assert main(["report", "--run", footprint.run_id, "--format", form, "--output", str(tmp_path / f"out.{form}")]) == 0
        assert (tmp_path / f"out.{form}").read_text().strip() == printed.strip()
    assert "@misc{fitprint," in (tmp_path / "out.bib").read_text()


def test_a_report_has_the_numbers_of_the_ledger(tmp_path, capsys):
    run_id = measured(tmp_path, name="resnet").run_id
    recorded = Ledger().footprint(run_id)
    low, high = format_co2e(recorded.co2e_low_g), format_co2e(recorded.co2e_high_g)
    grams, energy, at_wall = format_co2e(recorded.co2e_g), format_energy(recorded.energy_j), format_energy(1.5 * recorded.energy_j)
    factors = [f"{recorded.intensity:g} g", f"{recorded.pue:g}", f"{recorded.node_factor:g}"]
    for form in ("md", "latex", "html"):
        assert main(["report", run_id, "--format", form]) == 0
        out = capsys.readouterr().out
        assert [text for text in (grams, low, high, energy, at_wall, *factors, run_id) if text not in out] == []
    assert main(["report", run_id, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["co2e_g"]) for row in rows[:2]] == [epoch.co2e_g for epoch in recorded.epochs]
    assert sum(float(row["energy_j"]) for row in rows) == pytest.approx(recorded.energy_j)
    assert main(["report", run_id, "--format", "json"]) == 0
    assert Footprint.from_json(capsys.readouterr().out) == recorded


def test_several_runs_and_a_project_have_one_total_in_every_format(tmp_path, capsys):
    ids = [measured(tmp_path, project="sweep", name=f"r{i}").run_id for i in range(2)]
    for chosen in (ids, ["--run", ids[0], "--run", ids[1]], ["--project", "sweep"]):
        for form in ("md", "latex", "html"):
            assert main(["report", *chosen, "--format", form]) == 0
            assert "432 g" in capsys.readouterr().out
        assert main(["report", *chosen, "--format", "card"]) == 0
        assert "  emissions: 432\n" in capsys.readouterr().out
        assert main(["report", *chosen, "--format", "csv"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 1 + 2 * 3
    assert main(["report", *ids, "--json"]) == 0
    assert [record["run_id"] for record in json.loads(capsys.readouterr().out)] == sorted(ids)


def test_the_research_and_development_total_is_told_when_asked(tmp_path, capsys):
    measured(tmp_path, project="vision")
    last = measured(tmp_path, hours=1, project="vision", run_id="last")
    for form in ("md", "latex", "html"):
        assert main(["report", "last", "--format", form]) == 0
        assert "Research and development" not in capsys.readouterr().out
        assert main(["report", "last", "--rd", "--format", form]) == 0
        out = capsys.readouterr().out
        assert "Research and development: all of vision" in out
        assert "324 g" in out
        assert "last: 108 g, 33" in out
    assert main(["report", "last", "--rd", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["rd_total"]["co2e_g"] == pytest.approx(324.0)
    assert record["co2e_g"] == last.co2e_g
    measured(tmp_path, run_id="alone")
    assert main(["report", "alone", "--rd"]) == 2


def test_a_card_is_merged_into_a_readme(tmp_path, capsys):
    measured(tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text("---\nlicense: mit # ours\n---\n# Model\n")
    assert main(["report", "--into", str(readme), "--training-type", "fine-tuning"]) == 0
    text = readme.read_text()
    assert text.startswith("---\nlicense: mit # ours\nco2_eq_emissions:\n  emissions: 216\n")
    assert '  training_type: "fine-tuning"\n' in text
    assert text.endswith("---\n# Model\n")
    assert main(["report", "--into", str(tmp_path / "none.md")]) == 1
    assert "none.md" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--output", "x"], "a format other than text"),
        (["--into", "x", "--format", "md"], "--format card"),
        (["--into", "x", "--format", "card", "--output", "y"], "nothing beside --into"),
        (["--project", "p", "--intensity", "x.csv"], "Name them instead"),
        (["--final", "x"], "--final 'x' is not valid. Expected it beside --project NAME or --rd"),
        (["--metric", "val_acc"], "--project NAME or --rd"),
        (["--mode", "max"], "--project NAME or --rd"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, word, capsys):
    assert main(["report", *arguments]) == 2
    assert word in capsys.readouterr().err


def test_of_many_runs_the_largest_saving_of_each_kind_is_told(tmp_path, capsys):
    for name, watts in (("large", 700.0), ("small", 100.0), ("middle", 300.0)):
        clock = FakeClock()
        gpu = ScriptedCounter(clock, watts=watts)
        around = Surroundings(tmp_path / "sys", tmp_path / "proc", clock=clock, environ={})
        with Tracker(counters=[gpu], around=around, region="PL", pue=1.0, project="p", name=name) as tracker:
            for _ in tracker.epochs(range(2)):
                clock.advance(30.0)
                with tracker.phase("validate"):
                    clock.advance(30.0)
    assert main(["report", "--project", "p", "--format", "md"]) == 0
    said = capsys.readouterr().out.partition("#### What would have made it smaller")[2].partition("####")[0]
    lines = [line.removeprefix("- ") for line in said.splitlines() if line.startswith("- ")]
    assert [line.partition(":")[0] for line in lines] == ["large", "large", "savings overlap"]
    assert "the same work in " in lines[0]
    assert "validation cost" in lines[1]


def test_of_very_many_runs_those_of_the_most_energy_are_listed_and_the_number_of_the_others_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fitprint.report.document.MOST_RUNS", 2)
    for hours in (3, 1, 4, 2):
        measured(tmp_path, hours=hours, project="p", run_id=f"run-{hours}")

    def listed(*words):
        assert main(["report", "--project", "p", *words]) == 0
        out = capsys.readouterr().out
        assert "1.08 kg" in out
        return re.findall(r"^(?:\| |<tr><td>)run-(\d)", out, re.MULTILINE), "2 more are in the sums. The option --all" in out

    for form in ("md", "html"):
        assert listed("--format", form) == (["4", "3"], True)
        assert listed("--format", form, "--all") == (["1", "2", "3", "4"], False)
    assert main(["report", "--project", "p", "--format", "csv"]) == 0
    assert len({row["run_id"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}) == 4
    assert main(["report", "--project", "p", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 4


def test_columns_of_words_are_on_the_left_and_figures_on_the_right(tmp_path, capsys):
    for name in ("a", "b"):
        measured(tmp_path, name=name, project="p")
    assert main(["report", "--project", "p", "--format", "md"]) == 0
    assert "|---|---|---|---|---:|---:|---:|---:|---:|" in capsys.readouterr().out
    assert main(["report", "--project", "p", "--format", "html"]) == 0
    page = capsys.readouterr().out
    assert '<th scope="col">name</th>' in page
    assert '<th scope="col" class="number">energy</th>' in page


def test_advice_is_in_the_reports_and_has_a_command_of_its_own(tmp_path, capsys, series):
    footprint = measured(tmp_path)
    assert main(["advise"]) == 0
    assert (
        capsys.readouterr().out
        == f"{footprint.run_id}: nothing in this run's record shows how it could have been smaller by 1 % of its CO2e or more\n"
    )
    assert main(["report", "--format", "md"]) == 0
    assert "nothing in this run's record" in capsys.readouterr().out
    clean = tmp_path / "clean.csv"
    clean.write_text(SERIES.replace(",500\n", ",500\n2027-01-15T11:00:00Z,10\n2027-01-15T12:00:00Z,10\n2027-01-15T13:00:00Z,10\n"))
    assert main(["advise", "--run", footprint.run_id, "--series", str(clean), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [advice["kind"] for advice in record["advice"]] == ["hour"]
    assert record["advice"][0]["saved_g"] == pytest.approx(216 * (1 - 10 / 200), rel=0.01)
    assert main(["advise", "--series", series]) == 0
    assert main(["advise", "--run", "none"]) == 1
    assert main(["advise", "--ledger", str(tmp_path / "empty.db")]) == 1
