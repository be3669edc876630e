"""Resuming with a ledger in a file and on a server: the same run, the same sums, one writer."""

from __future__ import annotations

import pytest

from fitprint import Ledger, Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import ScriptedCounter


@pytest.fixture
def train(ledger, clock, monkeypatch, tmp_path):
    """Runs epochs of a second each at 100 W and returns the tracker; journals lie in a folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    gpu = ScriptedCounter(clock, watts=100.0)

    def run(epochs=2, *, keep_open=False, **options):
        t = Tracker(region="FR", ledger=ledger, counters=[gpu], around=Surroundings(clock=clock, environ={}), **options).start()
        for _ in t.epochs(range(epochs)):
            clock.advance(1.0)
        if not keep_open:
            t.close()
        return t

    return run


@pytest.mark.timeout(120)
def test_a_run_id_goes_on_wherever_the_ledger_is(train, ledger):
    train(2, run_id="mine")
    whole = train(3, run_id="mine").footprint
    assert (whole.energy_j, len(whole.epochs), len(whole.segments)) == (500.0, 5, 2)
    assert Ledger(ledger).footprint("mine").to_dict() == whole.to_dict()


@pytest.mark.timeout(120)
def test_a_run_id_that_is_held_is_held_wherever_the_ledger_is(train):
    first = train(2, run_id="mine", keep_open=True)
    second = train(1, run_id="mine")
    first.close()
    assert first.footprint.run_id == "mine" != second.footprint.run_id
