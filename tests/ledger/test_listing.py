"""The list of runs and the record of one agree, whatever the database had missed."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from fitprint import Ledger, Tracker
from fitprint.ledger import ledger as reading
from fitprint.ledger.journal import journals, read_events
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

LEDGER = Path("fitprint.db")


def tracker() -> Tracker:
    clock = FakeClock()
    return Tracker(region="FR", ledger=str(LEDGER), counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ={}))


def wait_for(epochs: int) -> None:
    until = time.monotonic() + 20
    while sum(event["event"] == "epoch" for path in journals(LEDGER) for event in read_events(path)) < epochs:
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def opened(monkeypatch) -> list[Path]:
    """The journals that were read."""
    paths: list[Path] = []
    monkeypatch.setattr(reading, "read_events", lambda path: (paths.append(path), read_events(path))[1])
    return paths


@pytest.mark.timeout(60)
def test_a_run_whose_epochs_are_in_its_journal_alone_is_listed_with_them():
    with tracker() as running:
        for index in running.epochs(range(5)):
            if index == 2:
                wait_for(2)
                locker = sqlite3.connect(LEDGER, isolation_level=None)
                locker.execute("BEGIN IMMEDIATE")
            if index == 4:
                wait_for(4)
                (row,), one = Ledger(LEDGER).runs(), Ledger(LEDGER).footprint(running.footprint.run_id)
        with closing(locker):
            locker.execute("ROLLBACK")
    assert (row["status"], row["epochs"]) == (one.status, len(one.epochs)) == ("running", 4)
    assert (row["energy_j"], row["duration_s"], row["co2e_g"]) == (one.energy_j, one.duration_s, one.co2e_g)


def test_of_runs_that_have_ended_no_journal_is_read(opened):
    for _ in range(2):
        with tracker() as done:
            list(done.epochs(range(2)))
    rows = Ledger(LEDGER).runs()
    assert [(row["status"], row["epochs"]) for row in rows] == [("completed", 2), ("completed", 2)]
    assert len(journals(LEDGER)) == 2
    assert opened == []
