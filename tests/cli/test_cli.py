"""The command line as a person or a script uses it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fitprint import Tracker
from fitprint.cli import main
from fitprint.units import format_energy


def test_runs_prints_json_with_the_documented_keys(capsys):
    with Tracker(region="FR", project="sweep") as tracker:
        list(tracker.epochs(range(2)))
    assert main(["runs", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert " ".join(rows[0]) == (
        "run_id project name kind status started_at duration_s energy_j co2e_g epochs parent_run_id tags stop_reason"
    )
    assert (rows[0]["run_id"], rows[0]["kind"], rows[0]["epochs"]) == (tracker.footprint.run_id, "fit", 2)


def test_runs_prints_a_table_in_which_only_names_without_measure_are_cut_off(capsys):
    with Tracker(region="FR", project="a-project-with-a-long-name", name="[bold]hostile[/bold]") as tracker:
        list(tracker.epochs(range(2)))
    with Tracker(region="FR", name="long" * 100):
        pass
    assert main(["runs"]) == 0
    out = capsys.readouterr().out
    assert tracker.footprint.run_id in out
    assert "a-project-with-a-long-name" in out
    assert "[bold]hostile[/bold]" in out
    assert "long" * 9 in out
    assert "long" * 11 not in out


def test_the_table_tells_a_test_from_a_training(capsys):
    for kind in ("fit", "test"):
        with Tracker(region="FR", kind=kind):
            pass
    assert main(["runs"]) == 0
    assert [line.split()[1:3] for line in capsys.readouterr().out.splitlines()[1:]] == [["fit", "completed"], ["test", "completed"]]


def test_no_runs_is_a_message_and_no_failure(capsys):
    assert main(["runs"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no runs in" in captured.err
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["runs", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("run_id,project,name,")


def test_runs_of_a_project_are_listed_alone_with_their_total(capsys):
    for project in ("sweep", "other", "sweep"):
        with Tracker(region="FR", project=project), Tracker(region="FR", project=project, name="inside"):
            pass
    assert main(["runs", "--project", "sweep", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["project"] for row in rows] == ["sweep"] * 4
    assert main(["runs", "--project", "sweep"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    outer_j = sum(row["energy_j"] or 0.0 for row in rows if row["name"] is None)
    assert last.startswith("total: 2 runs, 2 inside others counted there, ")
    assert f" {format_energy(outer_j)}, " in last
    assert main(["runs", "--project", "other"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("total: 1 run, 1 inside others")


def test_a_project_without_runs_is_a_message(capsys):
    with Tracker(region="FR", project="sweep"):
        pass
    assert main(["runs", "--project", "no-such"]) == 0
    assert "no runs with --project 'no-such' in" in capsys.readouterr().err


def test_a_file_that_is_no_ledger_is_a_failure_with_a_reason(tmp_path, capsys):
    (tmp_path / "fitprint.db").write_text("not a database, but long enough to look like one " * 50)
    assert main(["runs"]) == 1
    assert "cannot be read as a ledger" in capsys.readouterr().err


def test_detect_says_what_is_found_absent_and_assumed(capsys):
    assert main(["detect", "--json", "--region", "FR"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"found", "absent", "notes", "factors", "cpu"}
    assert all(set(row) == {"id", "part", "method", "role", "source"} for row in found["found"])
    assert {row["name"] for row in found["factors"]} == {"region", "intensity", "pue", "node_factor"}
    assert all(row["reason"] for row in found["absent"])
    assert main(["detect", "--region", "FR"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["hardware", "sensors", "carbon"]
    for row in found["found"]:
        assert any(row["id"] in line and row["method"] in line for line in lines)


def test_bad_usage_exits_with_two(capsys):
    assert main(["detect", "--region", "Frnace"]) == 2
    assert "Did you mean 'France'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as raised:
        main(["no-such-command"])
    assert raised.value.code == 2


def test_a_reader_that_goes_away_is_no_traceback():
    command = f"{sys.executable} -m fitprint detect | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
