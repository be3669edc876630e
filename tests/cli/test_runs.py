"""``fitprint runs`` where there are many: which are listed, and in what form."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fitprint import Budget, Config, Tracker
from fitprint.cli import main
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

DAY_S = 86400.0


def train(run_id, seconds=1.0, day=0.0, fails=False, **options):
    """A run of 100 W that begins so many days after 2027-01-15 08:00 UTC."""
    clock = FakeClock()
    clock.advance(day * DAY_S)
    gpu = ScriptedCounter(clock, watts=100.0)
    around = Surroundings(clock=clock, environ={})
    try:
        with Tracker(counters=[gpu], around=around, region="FR", run_id=run_id, **options) as tracker:
            clock.advance(seconds)
            if fails:
                raise ArithmeticError
    except ArithmeticError:
        pass
    return tracker.footprint


@pytest.fixture
def sweep():
    """Six runs of two projects, a day apart; each has used 100 J more than the one before."""
    for number in range(6):
        options = {"project": "odd" if number % 2 else "even", "name": f"lr-{number}", "fails": number in (1, 4)}
        train(f"run-{number}", seconds=number + 1.0, day=number, **options)


def listed(capsys, *arguments):
    """Ids of the runs in the JSON, which are those of the table."""
    assert main(["runs", *arguments, "--json"]) == 0
    ids = [row["run_id"].removeprefix("run-") for row in json.loads(capsys.readouterr().out)]
    assert main(["runs", *arguments]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("run-")]
    assert [line.split()[0].removeprefix("run-") for line in table] == ids
    return "".join(ids)


def test_runs_are_chosen_by_how_they_ended_by_their_start_and_by_their_name(sweep, capsys):
    choices = {
        "": "012345",
        "--status failed": "14",
        "--status failed,completed": "012345",
        "--status lost,running": "",
        "--since 2027-01-18": "345",
        "--since 2027-01-18T08:00:00Z": "345",
        "--since 2027-01-18T08:00:01": "45",
        "--since 2027-01-18T10:00+02:00": "345",
        "--until 2027-01-18": "0123",
        "--until 2027-01-18T08:00": "012",
        "--since 2027-01-16 --until 2027-01-16": "1",
        "--name lr-3": "3",
        "--name lr-[02]": "02",
        "--name *-?": "012345",
        "--name lr": "",
        "--top 2": "54",
        "--top 99": "543210",
        "--project even --top 1": "4",
        "--status completed --project odd --since 2027-01-17 --until 2027-12-31 --name lr-* --top 5": "53",
        "--launch run-2": "2",
        "--launch run-2 --status failed": "",
    }
    assert {words: listed(capsys, *words.split()) for words in choices} == choices


def test_the_total_is_of_the_runs_that_are_listed(sweep, capsys):
    totals = {
        "--status failed": "total: 2 runs, 7.0 s, 700 J, ",
        "--project odd": "total: 3 runs, 12.0 s, 1,200 J, ",
        "--top 1": "total: 1 run, 6.0 s, 600 J, ",
    }
    for words, total in totals.items():
        assert main(["runs", *words.split()]) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith(total)
    assert main(["runs"]) == 0
    assert "total" not in capsys.readouterr().out


def test_a_run_without_known_energy_is_below_all_others(capsys):
    with Tracker(counters=[], region="FR", run_id="run-dark"):
        pass
    train("run-1")
    assert listed(capsys, "--top", "2") == "1dark"


def test_no_match_is_told_in_one_line(sweep, capsys):
    assert main(["runs", "--status", "lost", "--since", "2027-01-16", "--top", "3"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("no runs with --status 'lost' --since '2027-01-16' in ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            "--status faild",
            ("--status 'faild' is not valid", "running, completed, stopped, failed, interrupted, lost", "Did you mean 'failed'"),
        ),
        ("--status failed,", ("one or several of running",)),
        ("--since yesterday", ("--since 'yesterday' is not valid", "a day such as 2026-11-01", "For example --since 2026-11-01")),
        ("--until 2026-13-01", ("--until '2026-13-01' is not valid",)),
        ("--until 9999-12-31", ("--until '9999-12-31' is not valid",)),
        ("--since 2026-11-03 --until 2026-11-02", ("a time after --since 2026-11-03", "Swap them")),
        ("--top 0", ("--top '0' is not valid", "a whole number, 1 or more", "--top 10")),
        ("--top many", ("--top 'many' is not valid",)),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_what_would(arguments, words, capsys):
    assert main(["runs", *arguments.split()]) == 2
    said = capsys.readouterr().err
    assert [word for word in words if word not in said] == []


# ---- for programs


@pytest.fixture
def labelled():
    """A run that its budget has stopped, with one inside it."""
    clock = FakeClock()
    gpu = ScriptedCounter(clock, watts=100.0)
    measured = {"counters": [gpu], "around": Surroundings(clock=clock, environ={}), "region": "FR"}
    with Tracker(**measured, run_id="outer", budget="250 J", config=Config(tags=["ada", "=1+1"])) as tracker:
        for _ in tracker.epochs(range(9)):
            clock.advance(1.0)
        with Tracker(**measured, run_id="inner", name="=HYPERLINK(0)", kind="test"):
            clock.advance(1.0)
    return tracker.footprint


def rows_of(capsys, *arguments):
    assert main(["runs", *arguments, "--json"]) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert main(["runs", *arguments, "--format", "csv"]) == 0
    return as_json, list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_rows_say_inside_which_run_they_are_so_that_they_can_be_added_up(labelled, capsys):
    as_json, as_csv = rows_of(capsys)
    assert {row["run_id"]: row["parent_run_id"] for row in as_json} == {"outer": None, "inner": "outer"}
    assert {row["run_id"]: row["parent_run_id"] for row in as_csv} == {"outer": "", "inner": "outer"}
    whole = sum(float(row["energy_j"]) for row in as_csv if not row["parent_run_id"])
    assert whole == labelled.energy_j == sum(row["energy_j"] for row in as_json if row["parent_run_id"] is None)


def test_rows_have_the_tags_and_why_a_run_stopped(labelled, capsys):
    by_id = {row["run_id"]: row for row in rows_of(capsys)[0]}
    assert (by_id["outer"]["tags"], by_id["inner"]["tags"]) == (["ada", "=1+1"], [])
    assert by_id["outer"]["stop_reason"] == labelled.stop_reason["sentence"]
    assert by_id["inner"]["stop_reason"] is None


def test_csv_has_the_figures_of_json_and_no_text_that_a_spreadsheet_runs(labelled, capsys):
    as_json, as_csv = rows_of(capsys)
    assert [list(row) for row in as_csv] == [list(row) for row in as_json]
    for name in ("duration_s", "energy_j", "co2e_g", "epochs"):
        assert [float(row[name]) for row in as_csv] == [row[name] for row in as_json]
    by_id = {row["run_id"]: row for row in as_csv}
    assert by_id["inner"]["name"] == "'=HYPERLINK(0)"
    assert by_id["outer"]["tags"] == "ada,=1+1"


def test_csv_lists_the_runs_that_are_chosen(sweep, capsys):
    as_json, as_csv = rows_of(capsys, "--status", "failed", "--top", "1")
    assert [row["run_id"] for row in as_csv] == [row["run_id"] for row in as_json] == ["run-4"]


def test_a_record_that_cannot_be_read_has_no_labels_and_breaks_no_list(labelled, capsys):
    for record in ("", "[1]", '{"stop_reason": 7, "tags": 1}'):
        with closing(sqlite3.connect("fitprint.db")) as database, database:
            database.execute("UPDATE runs SET record = ? WHERE run_id = 'inner'", (record,))
        by_id = {row["run_id"]: row for row in rows_of(capsys)[0]}
        assert (by_id["inner"]["tags"], by_id["inner"]["stop_reason"]) == ([], None)
        assert by_id["outer"]["tags"] == ["ada", "=1+1"]


# ---- whether another trial can start


def draw(run_id, epochs, limit="1 kJ"):
    """A run on the pot of the project ``sweep``, whose epochs use 100 J each."""
    clock = FakeClock()
    measured = {"counters": [ScriptedCounter(clock, watts=100.0)], "around": Surroundings(clock=clock, environ={}), "region": "FR"}
    pot = {"project": "sweep", "budget": Budget(limit, scope="project"), "ledger": str(Path("fitprint.db").absolute())}
    with Tracker(**measured, **pot, run_id=run_id) as tracker:
        for _ in tracker.epochs(range(epochs)):
            clock.advance(1.0)


def test_a_pot_has_an_exit_status_of_its_own_where_it_is_spent(capsys):
    draw("run-1", epochs=4)
    assert main(["runs", "pot", "sweep"]) == 0
    assert capsys.readouterr().out.startswith("sweep: 400 J of 1,000 J used")
    draw("run-2", epochs=1, limit="400 J")
    for words in (["pot", "sweep"], ["pot", "--project", "sweep"], ["--project", "sweep", "pot"], ["pot", "sweep", "--json"]):
        assert main(["runs", *words]) == 3
        assert ("400 J of 400 J used" if "--json" not in words else '"left": 0.0') in capsys.readouterr().out
    draw("run-3", epochs=1, limit="2 kJ")
    assert main(["runs", "pot", "sweep"]) == 0


def test_of_two_pots_of_a_project_one_that_is_spent_is_enough():
    draw("run-1", epochs=4, limit="100 g")
    assert main(["runs", "pot", "sweep"]) == 0
    draw("run-2", epochs=1, limit="400 J")
    assert main(["runs", "pot", "sweep"]) == 3


@pytest.mark.parametrize(("words", "status"), [("", 2), ("a --project b", 2), ("no-such", 1)])
def test_a_question_that_cannot_be_answered_is_not_taken_for_a_spent_pot(words, status, capsys):
    draw("run-1", epochs=4)
    assert main(["runs", "pot", *words.split()]) == status
    assert capsys.readouterr().out == ""


TRIAL = """
from pathlib import Path
from fitprint import Budget, Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter
clock = FakeClock()
measured = {"counters": [ScriptedCounter(clock, watts=100.0)], "around": Surroundings(clock=clock, environ={}), "region": "FR"}
pot = {"project": "sweep", "budget": Budget("200 J", scope="project"), "ledger": str(Path("fitprint.db").absolute())}
with Tracker(**measured, **pot) as tracker:
    for _ in tracker.epochs(range(1)):
        clock.advance(1.0)
"""
LOOP = """
for seed in 1 2 3 4; do
  {python} -m fitprint runs pot sweep > pot.txt 2>&1 || [ $? -ne 3 ] || break
  {python} trial.py && echo trained $seed
done
"""


@pytest.mark.timeout(60)
def test_a_launcher_asks_before_each_trial(tmp_path):
    (tmp_path / "trial.py").write_text(TRIAL)
    loop = LOOP.format(python=sys.executable)
    done = subprocess.run(["sh", "-c", loop], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout.splitlines() == ["trained 1", "trained 2"], done.stderr
