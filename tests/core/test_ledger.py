"""Journal and ledger: every run leaves a trace that another process can read."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fitprint import FitprintError, Ledger, Tracker
from fitprint.ledger.clerk import Clerk
from fitprint.ledger.journal import Journal, journals, read_events
from fitprint.ledger.store import Store
from fitprint.process import Process
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

LEDGER = Path("runs") / "fitprint.db"


def train(epochs=3, **options):
    clock = FakeClock()
    gpu = ScriptedCounter(clock, watts=100.0)
    tracker = Tracker(**{"region": "FR", "ledger": str(LEDGER), **options}, counters=[gpu], around=Surroundings(clock=clock))
    with tracker:
        for index in tracker.epochs(range(epochs)):
            clock.advance(1.0)
            tracker.annotate({"loss": 1.0 / (index + 1)} if index else {})
    tracker.annotate({"late": 1.0})
    return tracker.footprint


def test_the_ledger_gives_back_the_same_footprint():
    footprint = train(project="sweep", name="first")
    assert Ledger(LEDGER).footprint(footprint.run_id).to_dict() == footprint.to_dict()


def test_a_run_is_one_row_with_its_epochs_counted():
    footprint = train(project="sweep", name="first")
    assert Ledger(LEDGER).runs() == [
        {
            "run_id": footprint.run_id,
            "project": "sweep",
            "name": "first",
            "kind": "fit",
            "status": "completed",
            "started_at": footprint.started_at,
            "duration_s": 3.0,
            "energy_j": 300.0,
            "co2e_g": footprint.co2e_g,
            "epochs": 3,
        }
    ]


def test_each_sensor_is_a_row():
    train()
    rows = sqlite3.connect(LEDGER).execute("SELECT sensor_id, part, method, energy_j FROM sensors").fetchall()
    assert rows == [("gpu:scripted", "gpu", "counter", 300.0)]


def test_the_ledger_can_be_rebuilt_from_the_journals():
    footprint = train()
    LEDGER.unlink()
    assert Ledger(LEDGER).footprint(footprint.run_id).to_dict() == footprint.to_dict()


def test_applying_a_journal_twice_changes_nothing():
    footprint = train()
    store = Store(":memory:")
    for _ in range(2):
        for path in journals(LEDGER):
            store.apply(read_events(path))
    assert store.footprint(footprint.run_id).to_dict() == footprint.to_dict()
    assert len(store.rows()) == 1


def test_a_torn_last_line_and_garbage_cost_only_themselves():
    footprint = train()
    path = journals(LEDGER)[0]
    path.write_text('garbage\n[1]\n{"event": "no such"}\n' + path.read_text() + '{"event": "epo')
    LEDGER.unlink()
    assert len(Ledger(LEDGER).footprint(footprint.run_id).epochs) == 3


def test_a_broken_ledger_is_read_from_its_journals():
    footprint = train()
    LEDGER.write_bytes(b"this is no database" * 100)
    assert [row["run_id"] for row in Ledger(LEDGER).runs()] == [footprint.run_id]


def test_a_ledger_of_a_later_version_is_refused_with_both_versions():
    train()
    db = sqlite3.connect(LEDGER)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(FitprintError, match=r"later version.*99.*reads \d"):
        Ledger(LEDGER).runs()


def test_an_unknown_run_is_named():
    train()
    with pytest.raises(FitprintError, match="no run 'nope'"):
        Ledger(LEDGER).footprint("nope")


def test_off_leaves_nothing_behind():
    train(ledger="off")
    assert list(Path().iterdir()) == []


def test_the_environment_can_switch_it_off(monkeypatch):
    monkeypatch.setenv("FITPRINT_LEDGER", "off")
    with Tracker():
        pass
    assert list(Path().iterdir()) == []


def test_neither_host_nor_user_name_is_recorded():
    footprint = train()
    files = [*Path("runs").rglob("*.jsonl"), LEDGER]
    content = b"".join(path.read_bytes() for path in files) + footprint.to_html().encode()
    names = [path.name for path in files]
    host = os.uname().nodename
    assert len(host) < 3 or host.encode() not in content
    assert not any(host in name for name in names if len(host) >= 3)
    assert str(Path.home()).encode() not in content


def test_an_unwritable_ledger_is_one_warning_with_the_remedy(caplog):
    Path("file").write_text("not a folder")
    footprint = train(ledger="file/fitprint.db")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "FITPRINT_LEDGER" in warnings[0]
    assert footprint.energy_j == 300.0


RUNNING = """
import sys, time
from fitprint import Tracker
with Tracker(region="FR", ledger=sys.argv[1]) as tracker:
    for index in tracker.epochs(range(1000)):
        time.sleep(0.2)
        tracker.annotate({"loss": 1.0})
        print(index, flush=True)
"""


def started(ledger):
    process = subprocess.Popen([sys.executable, "-c", RUNNING, str(ledger)], stdout=subprocess.PIPE, text=True)
    for _ in range(3):
        process.stdout.readline()
    return process


def rows_when(condition, within_s=5.0):
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        rows = Ledger(LEDGER).runs()
        if condition(rows):
            return rows
        time.sleep(0.1)
    return Ledger(LEDGER).runs()


def test_another_process_reads_a_run_while_it_lasts_and_finds_it_lost_after_a_kill():
    process = started(LEDGER)
    try:
        running = rows_when(lambda rows: rows and rows[0]["epochs"] >= 2)
        assert (running[0]["status"], running[0]["epochs"] >= 2) == ("running", True)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
    lost = Ledger(LEDGER).runs()[0]
    assert lost["status"] == "lost"
    assert lost["epochs"] >= 2
    assert lost["energy_j"] > 0
    events = [json.loads(line)["event"] for line in journals(LEDGER)[0].read_text().splitlines()]
    assert events[0] == "start"
    assert "end" not in events


def test_a_record_that_lacks_its_parts_costs_only_itself(caplog):
    footprint = train()
    path = journals(LEDGER)[0]
    path.write_text('{"event":"epoch","run_id":"x"}\n' + path.read_text() + '{"event":"metrics","run_id":"x","position":0}\n')
    LEDGER.unlink()
    assert len(Ledger(LEDGER).footprint(footprint.run_id).epochs) == 3


def test_reading_changes_no_file_of_another_program():
    db = sqlite3.connect("mlflow.db")
    db.execute("CREATE TABLE experiments (id INTEGER)")
    db.commit()
    db.close()
    before = Path("mlflow.db").read_bytes()
    with pytest.raises(FitprintError, match="another program"):
        Ledger("mlflow.db").runs()
    assert Path("mlflow.db").read_bytes() == before


def test_a_run_that_is_only_in_its_journal_is_listed_beside_the_others():
    first, second = train(name="first"), train(name="second")
    db = sqlite3.connect(LEDGER)
    for table in ("runs", "epochs", "sensors"):
        db.execute(f"DELETE FROM {table} WHERE run_id = ?", (second.run_id,))
    db.commit()
    db.close()
    assert {row["name"] for row in Ledger(LEDGER).runs()} == {"first", "second"}
    assert Ledger(LEDGER).footprint(second.run_id).to_dict() == second.to_dict()
    assert first.run_id != second.run_id


def test_a_line_that_a_full_disk_cut_off_does_not_spoil_the_next(monkeypatch):
    journal = Journal(Path("j.jsonl"))
    journal.append({"event": "start", "run_id": "a"})
    write = os.write
    monkeypatch.setattr("os.write", lambda fd, data: write(fd, data[:10]) and (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        journal.append({"event": "epoch", "run_id": "b"})
    monkeypatch.setattr("os.write", write)
    journal.append({"event": "end", "run_id": "c"})
    journal.close()
    assert [event["run_id"] for event in read_events(Path("j.jsonl"))] == ["a", "c"]


def test_metrics_of_numpy_are_recorded():
    numpy = pytest.importorskip("numpy")
    with Tracker(region="FR", ledger=str(LEDGER)) as tracker:
        for _ in tracker.epochs(range(2)):
            tracker.annotate({"acc": numpy.float32(0.5), "each": numpy.ones(3)})
    assert [dict(e.metrics) for e in Ledger(LEDGER).footprint(tracker.footprint.run_id).epochs] == [{"acc": 0.5}] * 2


def test_a_record_that_cannot_be_written_down_costs_only_itself(caplog):
    clerk = Clerk(LEDGER, "run", Process("boot", 1, "2"))
    clerk.start()
    run = {"status": "completed", "energy_j": 1.0}
    clerk.record(lambda: {"event": "start", "run_id": "run", "at": 0.0, "run": run})
    clerk.record(lambda: 1 / 0)
    clerk.record(lambda: {"event": "end", "run_id": "run", "at": 1.0, "run": {**run, "energy_j": 2.0}})
    clerk.close()
    assert [row["energy_j"] for row in Ledger(LEDGER).runs()] == [2.0]
    assert len(caplog.records) == 1
