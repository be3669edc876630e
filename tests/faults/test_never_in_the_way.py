"""Whatever happens to the measuring, the training ends as it would without it."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fitprint import Ledger, Tracker
from fitprint.pace import Schedule
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter


def python(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **options)


def test_a_run_that_cannot_start_costs_one_warning(monkeypatch, caplog):
    monkeypatch.setattr("fitprint.tracker.probe", lambda *_: 1 / 0)
    with Tracker(region="FR") as tracker:
        assert list(tracker.epochs(range(3))) == [0, 1, 2]
        assert tracker.scalars()["carbon/epoch_co2e_g"] == 0.0
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_failure_in_mid_run_costs_one_warning(caplog):
    clock = FakeClock()
    tracker = Tracker(ledger="off", counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ={}))
    with tracker:
        for index in tracker.epochs(range(5)):
            clock.advance(1.0)
            if index == 2:
                tracker._guard.run._books.account.book = None
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "training goes on" in warnings[0].getMessage()


def test_an_uncaught_exception_leaves_a_failed_run_without_a_with_statement():
    code = (
        "from fitprint import Tracker\n"
        "t = Tracker(region='FR').start()\n"
        "for i in t.epochs(range(5)):\n"
        "    if i == 2: raise ZeroDivisionError"
    )
    out = python(code)
    assert out.returncode == 1
    assert "ZeroDivisionError" in out.stderr
    assert [(row["status"], row["epochs"]) for row in Ledger().runs()] == [("failed", 3)]


def test_a_process_that_ends_at_once_leaves_a_lost_run_with_its_epochs():
    code = (
        "import os, time\nfrom fitprint import Tracker\n"
        "t = Tracker(region='FR').start()\n"
        "for i in t.epochs(range(5)):\n"
        "    if i == 3: time.sleep(1.0); os._exit(7)"
    )
    assert python(code).returncode == 7
    assert [(row["status"], row["epochs"]) for row in Ledger().runs()] == [("lost", 3)]


def _touch_in_child(tracker, queue):
    tracker.begin_epoch(9, Schedule())
    tracker.close("failed")
    queue.put((tracker.scalars()["carbon/total_energy_wh"], tracker.should_stop))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_cannot_touch_the_parents_run():
    clock = FakeClock()
    gpu = ScriptedCounter(clock)
    tracker = Tracker(region="FR", counters=[gpu], around=Surroundings(clock=clock)).start()
    for _ in tracker.epochs(range(2)):
        clock.advance(1.0)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_touch_in_child, args=(tracker, queue))
    child.start()
    assert queue.get(timeout=30) == (0.0, False)
    child.join(timeout=30)
    tracker.close()
    assert tracker.footprint.status == "completed"
    assert [row["status"] for row in Ledger().runs()] == ["completed"]


def test_data_loader_workers_change_nothing():
    torch = pytest.importorskip("torch")
    loader = torch.utils.data.DataLoader(list(range(32)), batch_size=4, num_workers=2)
    with Tracker(region="FR") as tracker:
        for _ in tracker.epochs(range(2)):
            assert sum(len(batch) for batch in loader) == 32
    assert [(row["status"], row["epochs"]) for row in Ledger().runs()] == [("completed", 2)]


def test_a_ledger_that_is_locked_is_waited_for_in_the_background():
    with Tracker(region="FR", ledger="fitprint.db") as tracker:
        for index in tracker.epochs(range(3)):
            if index == 1:
                code = (
                    "import sqlite3, time\n"
                    "db = sqlite3.connect('fitprint.db'); db.execute('BEGIN EXCLUSIVE')\n"
                    "print('locked', flush=True); time.sleep(3)"
                )
                locker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
                assert locker.stdout.readline().strip() == "locked"
                began = time.monotonic()
        assert time.monotonic() - began < 0.5
    locker.wait(timeout=10)
    assert [(row["status"], row["epochs"]) for row in Ledger("fitprint.db").runs()] == [("completed", 3)]


def test_a_ledger_folder_that_vanishes_does_not_end_the_run():
    with Tracker(region="FR", ledger="gone/fitprint.db") as tracker:
        for index in tracker.epochs(range(3)):
            if index == 1:
                time.sleep(0.3)
                subprocess.run(["rm", "-rf", "gone"], check=True)
    assert tracker.footprint.status == "completed"
    assert len(tracker.footprint.epochs) == 3


def test_trackers_in_a_row_and_at_once_in_one_process_are_runs_of_their_own():
    with Tracker(region="FR", name="outer") as outer, Tracker(region="FR", name="inner") as inner:
        list(inner.epochs(range(2)))
        list(outer.epochs(range(1)))
    rows = {row["name"]: (row["status"], row["epochs"]) for row in Ledger().runs()}
    assert rows == {"outer": ("completed", 1), "inner": ("completed", 2)}


def test_no_socket_is_opened():
    """The process ends at once where one is: an error could be taken for one of measuring, which training survives."""
    code = (
        "import os, sys\n"
        "sys.addaudithook(lambda event, _: os._exit(9) if event.startswith('socket.') else None)\n"
        "from fitprint import Tracker, detect\ndetect()\n"
        "with Tracker() as t:\n    list(t.epochs(range(2)))\n"
    )
    assert python(code).returncode == 0
    assert python(f"{code}import socket; socket.socket()").returncode == 9, "one would be seen"


def test_no_socket_is_opened_for_a_service_that_nobody_allowed(monkeypatch):
    monkeypatch.setenv("FITPRINT_INTENSITY", "electricitymaps:FR")
    monkeypatch.setenv("ELECTRICITYMAPS_TOKEN", "x")
    test_no_socket_is_opened()


def test_the_working_folder_may_change_during_a_run(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with Tracker(region="FR") as tracker:
        for _ in tracker.epochs(range(2)):
            os.chdir(tmp_path / "elsewhere")
    assert (tmp_path / "fitprint.db").is_file()
    assert not Path("fitprint.db").exists()


def test_a_tracker_that_nobody_holds_any_more_ends_and_so_do_its_threads():
    before = set(threading.enumerate())

    def threads():
        return [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("fitprint")]

    def fail():
        tracker = Tracker(region="FR").start()
        for _ in tracker.epochs(range(3)):
            raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            fail()
    until = time.monotonic() + 10.0
    while threads() and time.monotonic() < until:
        gc.collect()  # another thread's collection may be under way, which this one does not wait for
        time.sleep(0.01)
    assert threads() == []
    assert {row["status"] for row in Ledger().runs()} == {"failed"}


def test_closing_from_two_threads_keeps_the_first_status():
    tracker = Tracker(region="FR", ledger="off").start()
    closers = [threading.Thread(target=tracker.close, args=(status,)) for status in ("failed", "completed")]
    for closer in closers:
        closer.start()
        closer.join(timeout=30)
    assert tracker.footprint.status == "failed"
