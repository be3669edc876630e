"""Ledgers of machines that share no database become one, and the pot charges their runs once."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fitprint import Budget, Config, Ledger, Tracker
from fitprint.cli import main
from fitprint.ledger.connection import open_pots
from fitprint.ledger.pot import Pot
from fitprint.location import Location
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter


def machine(folder, boot):
    """The proc root of a machine of its own."""
    (folder / "sys" / "kernel" / "random").mkdir(parents=True)
    (folder / "sys" / "kernel" / "random" / "boot_id").write_text(f"{boot}\n")
    return str(folder)


def train(ledger, run_id, epochs=3, *, closed=True, **options):
    clock = FakeClock()
    gpu = ScriptedCounter(clock, watts=100.0)
    around = Surroundings(clock=clock, environ={})
    tracker = Tracker(region="FR", project="sweep", ledger=str(ledger), run_id=run_id, counters=[gpu], around=around, **options)
    tracker.start()
    for _ in tracker.epochs(range(epochs)):
        clock.advance(1.0)
    if closed is False:
        tracker._guard.run._recorder.close()  # the process is killed: what was written is written
    if closed is not None:
        tracker.close()
    return tracker


def run_of(*words):
    assert main([*map(str, words)]) == 0


@pytest.fixture
def two_machines(tmp_path):
    """Two ledgers with a run each, from two machines."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        train(tmp_path / name / "fitprint.db", f"run-{name}")
    return [tmp_path / "one", tmp_path / "two"]


def test_two_machines_become_one_ledger(two_machines, ledger, capsys):
    run_of("runs", "import", *two_machines, "--ledger", ledger)
    assert "2 runs are new, 0 went on since, 0 were there" in capsys.readouterr().out
    assert [row["run_id"] for row in Ledger(ledger).runs()] == ["run-one", "run-two"]
    original = Ledger(two_machines[0] / "fitprint.db").footprint("run-one")
    assert Ledger(ledger).footprint("run-one").to_dict() == original.to_dict()


def test_importing_twice_changes_nothing(two_machines, ledger, capsys):
    run_of("runs", "--json", "--ledger", ledger, "import", *two_machines)
    before = Ledger(ledger).footprint("run-two").to_dict()
    run_of("runs", "--json", "--ledger", ledger, "import", *two_machines)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"new": 0, "renewed": 0, "same": 2}
    assert Ledger(ledger).footprint("run-two").to_dict() == before


def test_journals_alone_are_enough(two_machines, ledger):
    (two_machines[0] / "fitprint.db").unlink()
    run_of("runs", "import", two_machines[0] / "fitprint.d", "--ledger", ledger)
    assert Ledger(ledger).footprint("run-one").energy_j == 300.0


def test_a_file_alone_is_enough(two_machines, ledger):
    shutil.rmtree(two_machines[0] / "fitprint.d")
    run_of("runs", "import", two_machines[0] / "fitprint.db", "--ledger", ledger)
    assert len(Ledger(ledger).footprint("run-one").epochs) == 3


def test_a_run_that_went_on_since_is_renewed(tmp_path, ledger, capsys):
    source = tmp_path / "elsewhere" / "fitprint.db"
    train(source, "run", 2, closed=False)
    run_of("runs", "import", source, "--ledger", ledger)
    train(source, "run", 4)
    run_of("runs", "import", source, "--ledger", ledger)
    assert "1 went on since" in capsys.readouterr().out
    assert Ledger(ledger).footprint("run").energy_j == 600.0


def test_imported_runs_are_charged_to_the_pot_once(two_machines, ledger, capsys):
    train(ledger, "run-here", budget=Budget("1 kJ", scope="project"))
    for _ in range(2):
        run_of("runs", "import", *two_machines, "--ledger", ledger)
    capsys.readouterr()
    run_of("runs", "pot", "--project", "sweep", "--ledger", ledger, "--json")
    (pot,) = json.loads(capsys.readouterr().out)
    assert {run["run_id"]: run["used"] for run in pot["runs"]} == {"run-here": 300.0, "run-one": 300.0, "run-two": 300.0}
    assert (pot["used"], pot["reserved"], pot["left"], pot["limit"]) == (900.0, 0.0, 100.0, 1000.0)


def test_what_a_killed_run_had_reserved_comes_with_it_and_can_be_given_back(tmp_path, ledger, capsys):
    source = tmp_path / "elsewhere" / "fitprint.db"
    train(source, "killed", budget=Budget("1 kJ", scope="project"), closed=False)
    train(ledger, "here", budget=Budget("1 kJ", scope="project"))
    run_of("runs", "import", source, "--ledger", ledger)
    assert reserved(ledger)["killed"] > 0


KILLED = """
import os, signal, sys, time
from fitprint import Budget, Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter
clock = FakeClock()
gpu = ScriptedCounter(clock, watts=100.0)
options = {"budget": Budget("1 kJ", scope="project"), "project": "sweep", "ledger": sys.argv[1], "run_id": "killed", "region": "FR"}
with Tracker(**options, counters=[gpu], around=Surroundings(clock=clock)) as tracker:
    for epoch in tracker.epochs(range(5)):
        clock.advance(1.0)
        if epoch == 2:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_had_reserved_can_be_given_back_by_hand(ledger, capsys):
    subprocess.run([sys.executable, "-c", KILLED, ledger], check=False, timeout=60)
    assert reserved(ledger)["killed"] > 100.0
    run_of("runs", "pot", "--project", "sweep", "--ledger", ledger, "--settle", "killed")
    assert "killed is settled" in capsys.readouterr().err
    assert reserved(ledger)["killed"] == 0.0


def test_all_lost_runs_are_settled_at_once_and_those_alive_are_not(tmp_path, capsys):
    ledger = str(tmp_path / "fitprint.db")
    for name in ("first", "second"):
        subprocess.run([sys.executable, "-c", KILLED.replace("killed", name), ledger], check=False, timeout=60)
    tracker = train(ledger, "alive", budget=Budget("1 kJ", scope="project"), closed=None)
    run_of("runs", "pot", "--project", "sweep", "--ledger", ledger, "--settle-lost")
    assert {name: joules > 0 for name, joules in reserved(ledger).items()} == {"first": False, "second": False, "alive": True}
    run_of("runs", "pot", "--project", "sweep", "--ledger", ledger, "--settle-lost")
    assert "nothing to settle" in capsys.readouterr().err
    tracker.close()


def test_a_run_that_is_alive_is_not_settled_by_hand(ledger, capsys):
    tracker = train(ledger, "alive", budget=Budget("1 kJ", scope="project"), closed=None)
    try:
        assert main(["runs", "pot", "--project", "sweep", "--ledger", ledger, "--settle", "alive"]) == 1
        assert "is running" in capsys.readouterr().err
    finally:
        tracker.close()


def reserved(ledger):
    database = open_pots(Location.of(ledger), create=False)
    try:
        return {charge.run_id: charge.reserved for charge in Pot(database, "sweep", "J").charges()}
    finally:
        database.close()


def test_a_pot_is_shown_with_its_runs(ledger, capsys):
    train(ledger, "run", budget=Budget("1 kJ", scope="project"))
    run_of("runs", "pot", "--project", "sweep", "--ledger", ledger)
    out = capsys.readouterr().out
    assert "sweep: 300 J of 1,000 J used, 0 J reserved, 700 J left" in out
    assert "completed" in out


def test_a_pot_that_is_not_there_is_named_with_those_that_are(ledger, capsys):
    train(ledger, "run", budget=Budget("1 kJ", scope="project"))
    assert main(["runs", "pot", "--project", "sweeep", "--ledger", ledger]) == 1
    assert "Projects that have one: sweep." in capsys.readouterr().err


def test_a_folder_without_runs_is_refused(tmp_path, ledger, capsys):
    assert main(["runs", "import", str(tmp_path), "--ledger", ledger]) == 1
    assert "holds no record of runs" in capsys.readouterr().err


def test_a_study_that_lies_beside_the_ledger_is_left_out(tmp_path, ledger, caplog):
    train(str(tmp_path / "node" / "fitprint.db"), "run")
    with closing(sqlite3.connect(tmp_path / "node" / "study.db")) as study:
        study.execute("CREATE TABLE trials (number INTEGER)")
    (tmp_path / "node" / "thumbs.db").write_text("no database at all\n" * 100)
    run_of("runs", "import", str(tmp_path / "node"), "--ledger", ledger)
    assert [row["run_id"] for row in Ledger(ledger).runs()] == ["run"]
    names = ("study.db is no ledger", "thumbs.db is no ledger", "fitprint.db is no ledger")
    assert [name in caplog.text for name in names] == [True, True, False]


def test_what_a_server_has_is_brought_into_a_file(server, tmp_path):
    url, file = server.create(), str(tmp_path / "archive.db")
    train(url, "run", budget=Budget("1 kJ", scope="project"))
    run_of("runs", "import", url, "--ledger", file)
    assert [(row["run_id"], row["energy_j"], row["epochs"]) for row in Ledger(file).runs()] == [("run", 300.0, 3)]
    assert reserved(file) == {"run": 0.0}


def test_journals_that_a_server_missed_are_brought_in_afterwards(server):
    url = server.create()
    server.stop()
    try:
        train(url, "unheard")
    finally:
        server.start()
    assert Ledger(url).runs() == []
    run_of("runs", "import", "--ledger", url)
    assert [(row["run_id"], row["energy_j"]) for row in Ledger(url).runs()] == [("unheard", 300.0)]


def test_two_machines_draw_on_one_server(server, tmp_path, capsys):
    url = server.create()
    budget = Budget("500 J", scope="project")
    for name in ("a", "b"):
        root = machine(tmp_path / name, f"{name * 8}-0000")
        train(url, f"run-{name}", 100, config=Config(proc_root=root), budget=budget)
    rows = {row["run_id"]: row for row in Ledger(url).runs()}
    assert {row["status"] for row in rows.values()} == {"stopped"}
    assert sum(row["energy_j"] for row in rows.values()) <= 500.0
    assert rows["run-b"]["energy_j"] <= 100.0
    hosts = {path.name.partition("-")[0] for path in Path(Location.of(url).journals).glob("*/*.jsonl")}
    assert hosts == {"aaaaaaaa", "bbbbbbbb"}
