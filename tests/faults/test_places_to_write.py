"""Disks that are full, read-only, slow or gone, and ledgers that are locked or no ledgers: training goes on and waits for none."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from fitprint import Ledger, Tracker
from fitprint.ledger.journal import Journal, journals, read_events
from fitprint.ledger.store import Store
from fitprint.sensors.probe import Surroundings
from fitprint.testing import ScriptedCounter

LEDGER = Path("runs/fitprint.db")
# What docs/faults.md says that the end of a run may take, and what a busy machine adds.
END_S, BUSY_S = 5.0, 1.0


@pytest.fixture
def train(clock):
    """Trains epochs of 100 J; something may happen before one of them. Returns the record and how long epochs and end took."""

    def run(epochs, happens=None):
        around = Surroundings(clock=clock, environ={})
        with Tracker(region="FR", ledger=str(LEDGER), counters=[ScriptedCounter(clock)], around=around) as tracker:
            began = time.monotonic()
            for index in tracker.epochs(range(epochs)):
                clock.advance(1.0)
                (happens or {}).get(index, lambda: None)()
            trained = time.monotonic()
        footprint = tracker.footprint
        assert (footprint.status, footprint.energy_j, footprint.coverage) == ("completed", 100.0 * epochs, 1.0)
        return footprint, trained - began, time.monotonic() - trained

    return run


def warnings_in(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def recorded() -> list[tuple[str, int, float]]:
    return [(row["status"], row["epochs"], row["energy_j"]) for row in Ledger(LEDGER).runs()]


# ---- a disk of one megabyte


# Trains on a machine of 100 W with its ledger on a disk of its own that something happens to.
ON_A_SMALL_DISK = """
import json, logging, os, subprocess, sys, time
from pathlib import Path
from fitprint import Ledger, Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

def wait():
    time.sleep(0.5)  # the clerk writes

def fill():
    wait()
    with open("disk/filler", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            return

def clear():
    wait()
    os.unlink("disk/filler")

def lock_up():
    subprocess.run(["mount", "-o", "remount,ro", "disk"], check=True)

clock, happens = FakeClock(), {%s}
around = Surroundings(clock=clock, environ={})
happens.get(-1, int)()
with Tracker(region="FR", ledger="disk/fitprint.db", counters=[ScriptedCounter(clock)], around=around) as tracker:
    for index in tracker.epochs(range(9)):
        clock.advance(1.0)
        happens.get(index, int)()
    began = time.monotonic()
ended = time.monotonic() - began
run = tracker.footprint
rows = [(row["status"], row["epochs"]) for row in Ledger("disk/fitprint.db").runs()] if Path("disk/fitprint.db").exists() else []
print(json.dumps([run.status, len(run.epochs), run.energy_j, rows, ended]))
"""
SMALL_DISK = ["unshare", "-rm", "sh", "-c", 'mkdir disk && mount -t tmpfs -o size=1m none disk && exec "$@"', "sh"]


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]
    return subprocess.run(probe, capture_output=True, timeout=30).returncode == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("happens", "left", "warned"),
    [
        pytest.param("2: fill, 5: clear", ("completed", range(9, 10)), True, id="full for a while"),
        # What fits into the journal's last page is there, too.
        pytest.param("2: fill", ("running", range(2, 9)), True, id="full from then on"),
        pytest.param("-1: lock_up", None, True, id="read-only from the start"),
    ],
)
def test_a_disk_that_cannot_be_written_costs_records_and_one_line(happens, left, warned):
    if not can_mount():
        pytest.skip("this user may not mount a disk in a namespace of its own")
    program = [sys.executable, "-c", ON_A_SMALL_DISK % happens]
    out = subprocess.run([*SMALL_DISK, *program], capture_output=True, text=True, timeout=100, check=True)
    status, epochs, energy_j, rows, ended = json.loads(out.stdout)
    assert (status, epochs, energy_j) == ("completed", 9, 900.0)
    assert len(rows) == (left is not None)
    assert all(row[0] == left[0] and row[1] in left[1] for row in rows)
    assert ended < 1.0
    assert out.stderr.count("may not be recorded") == warned
    assert "Traceback" not in out.stderr


def test_a_journal_on_a_full_disk_costs_the_journal_alone(train, monkeypatch, caplog):
    """At the lowest level, where no disk can be mounted: every write says that there is no space."""
    write = os.write

    def refuse(fd, data):
        if data.startswith((b'{"schema"', b"\n")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    monkeypatch.setattr("os.write", refuse)
    _, trained_s, ended_s = train(5)
    assert trained_s < 1.0
    assert ended_s < 1.0
    assert recorded() == [("completed", 5, 500.0)]
    assert len(warnings_in(caplog)) == 1
    assert "No space left on device" in warnings_in(caplog)[0]


def test_while_too_many_files_are_open_records_wait(train, caplog):
    resource = pytest.importorskip("resource", reason="this system has no limit of open files")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def take_the_rest():
        time.sleep(0.3)  # the clerk has opened its own
        number = os.open(os.devnull, os.O_RDONLY)
        os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (number + 1, hard))

    def give_back():
        time.sleep(0.3)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    try:
        train(6, {1: take_the_rest, 4: give_back})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert recorded() == [("completed", 6, 600.0)]
    assert len(warnings_in(caplog)) == 1
    assert "Too many open files" in warnings_in(caplog)[0]


# ---- a ledger that is locked


def locker() -> sqlite3.Connection:
    LEDGER.parent.mkdir(exist_ok=True)
    return sqlite3.connect(LEDGER, isolation_level=None, check_same_thread=False)


def test_epochs_of_a_minute_wait_for_a_ledger_that_is_locked_so_long(train, caplog):
    with closing(locker()) as other:
        happens = {0: lambda: (time.sleep(0.5), other.execute("BEGIN EXCLUSIVE")), 60: lambda: other.execute("ROLLBACK")}
        _, trained_s, ended_s = train(61, happens)
    assert trained_s < 1.5
    assert ended_s < 3.0, "what it tries once a second"
    assert recorded() == [("completed", 61, 6100.0)]
    assert warnings_in(caplog) == []


@pytest.mark.timeout(60)
def test_a_ledger_that_stays_locked_is_waited_for_five_seconds_and_the_journal_has_the_run(train, caplog):
    with closing(locker()) as other:
        happens = {0: lambda: (time.sleep(0.5), other.execute("BEGIN EXCLUSIVE"))}
        footprint, trained_s, ended_s = train(5, happens)
        other.execute("ROLLBACK")
    assert trained_s < 1.5
    assert ended_s < END_S + BUSY_S
    assert Ledger(LEDGER).footprint(footprint.run_id).to_dict() == footprint.to_dict()
    assert recorded() == [("completed", 5, 500.0)]
    assert len(warnings_in(caplog)) == 1


# ---- a ledger that is none


def garbage() -> None:
    LEDGER.write_bytes(b"this is no database" * 1000)


def later_version() -> None:
    with closing(locker()) as database:
        database.execute("PRAGMA user_version = 99")
        database.execute("CREATE TABLE runs (run_id TEXT)")


def of_another_program() -> None:
    with closing(locker()) as database:
        database.execute("CREATE TABLE experiments (id INTEGER)")


@pytest.mark.parametrize("make", [garbage, later_version, of_another_program])
def test_a_ledger_that_is_none_of_ours_stays_as_it_is_and_the_journal_has_the_run(train, caplog, make):
    LEDGER.parent.mkdir()
    make()
    before = LEDGER.read_bytes()
    _, trained_s, ended_s = train(3)
    assert trained_s + ended_s < 1.5
    assert LEDGER.read_bytes() == before
    assert len(warnings_in(caplog)) == 1
    (journal,) = journals(LEDGER)
    assert [event["event"] for event in read_events(journal)] == ["start", "epoch", "epoch", "epoch", "end"]


# ---- a file system that is slow, or hangs


def test_a_slow_file_system_is_waited_for_by_nobody_but_the_clerk(train, monkeypatch):
    for kind, name in ((Journal, "append"), (Store, "apply")):
        original = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda self, *given, do=original: (time.sleep(0.1), do(self, *given))[1])
    _, trained_s, ended_s = train(20)
    assert trained_s < 0.5
    assert ended_s < END_S
    assert recorded() == [("completed", 20, 2000.0)]


@pytest.mark.timeout(60)
def test_a_file_system_that_hangs_costs_the_end_of_a_run_five_seconds(train, monkeypatch, caplog):
    over = threading.Event()
    monkeypatch.setattr(Journal, "append", lambda *_: over.wait(30))
    _, trained_s, ended_s = train(20)
    over.set()
    assert trained_s < 0.5
    assert ended_s < END_S + BUSY_S
    assert len(warnings_in(caplog)) == 1
