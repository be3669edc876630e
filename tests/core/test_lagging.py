"""A clerk that lags behind: a slow disk or thousands of sensors cost neither memory nor records."""

from __future__ import annotations

import gc
import json
import math
import threading
from pathlib import Path

import pytest

from fitprint import Ledger, Tracker
from fitprint.ledger.journal import Journal
from fitprint.ledger.store import Store
from fitprint.records import Stretch
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

LEDGER, EPOCHS = Path("runs") / "fitprint.db", 200

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def held(monkeypatch):
    """Let nothing be written to the place of that class and name before the event is set."""

    def hold(owner, name):
        free, written = threading.Event(), getattr(owner, name)

        def wait_and_write(self, *args):
            free.wait(30)
            return written(self, *args)

        monkeypatch.setattr(owner, name, wait_and_write)
        return free

    return hold


def train(free, sensors):
    """A run whose clerk is free only at its end; returns its record, and how many states of it waited by then."""
    clock = FakeClock()
    counters = [ScriptedCounter(clock, sensor_id=f"gpu:{number}") for number in range(sensors)]
    with Tracker(region="FR", ledger=str(LEDGER), counters=counters, around=Surroundings(clock=clock, environ={})) as tracker:
        for _ in tracker.epochs(range(EPOCHS)):
            clock.advance(1.0)
            tracker.annotate({"loss": 1.0})
        gc.collect()
        waiting = sum(isinstance(thing, Stretch) for thing in gc.get_objects())
        free.set()
    return tracker.footprint, waiting


@pytest.mark.parametrize("sensors", [2, 20])
def test_only_the_last_state_of_a_run_waits_for_a_slow_disk(held, sensors):
    record, waiting = train(held(Journal, "append"), sensors)
    assert waiting < 5
    assert Ledger(LEDGER).footprint(record.run_id).to_dict() == record.to_dict()
    LEDGER.unlink()
    assert Ledger(LEDGER).footprint(record.run_id).to_dict() == record.to_dict()


@pytest.mark.parametrize("sensors", [2, 20])
def test_a_database_that_comes_late_gets_the_same_record(held, sensors):
    record, _ = train(held(Store, "apply"), sensors)
    assert Ledger(LEDGER).footprint(record.run_id).to_dict() == record.to_dict()


def test_wherever_a_late_journal_breaks_off_the_run_has_used_no_less_than_its_epochs(held):
    record, _ = train(held(Journal, "append"), 2)
    (path,) = LEDGER.parent.glob("fitprint.d/*/*.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    assert sum("run" in json.loads(line) for line in lines) < 10
    LEDGER.unlink()
    for count in (1, 2, 3, 10, len(lines) // 2, len(lines) - 1):
        path.write_text("".join(lines[:count]))
        found = Ledger(LEDGER).footprint(record.run_id)
        assert found.energy_j >= math.fsum(epoch.energy_j for epoch in found.epochs)
