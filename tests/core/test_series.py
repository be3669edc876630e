"""The runs of one callback object, without a framework."""

from __future__ import annotations

from functools import partial

import pytest

from fitprint import Config, Tracker
from fitprint.pace import Schedule
from fitprint.sensors.probe import Surroundings
from fitprint.series import Series
from fitprint.testing import ScriptedCounter


@pytest.fixture
def series(clock):
    make = partial(Tracker, counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ={}))
    return Series(Config(ledger="off", region="FR"), make)


def test_hooks_without_a_run_do_nothing(series):
    assert series.batch(5) is False
    assert series.look(5) == {}
    series.end_epoch(steps=1, stopping=False)
    assert series.end() is None
    assert (series.footprint, series.decision, series.state()) == (None, None, {})


def test_a_run_that_is_left_open_failed_and_the_idle_time_after_it_is_not_its_own(series, clock):
    series.begin("fit")
    series.begin_epoch(0, Schedule(batches=2))
    clock.advance(2.0)
    series.end_epoch(steps=2, stopping=False)
    clock.advance(500.0)
    series.begin("test")
    assert [(f.status, f.energy_j) for f in series.footprints] == [("failed", 200.0)]


@pytest.mark.parametrize(
    ("seen", "stopping", "at_once", "complete"),
    [(4, True, 0, True), (3, True, 0, False), (3, False, 0, True), (3, True, 1, True), (2, True, 1, False), (2, True, 2, True)],
)
def test_an_epoch_is_complete_if_all_its_batches_were_seen_or_nobody_stopped_it(series, seen, stopping, at_once, complete):
    series.begin("fit")
    series.begin_epoch(0, Schedule(batches=4))
    series.batch(seen)
    series.end_epoch(steps=None, stopping=stopping, batches_at_once=at_once)
    assert series.footprint.epochs[0].complete is complete


def test_batches_that_an_earlier_run_has_done_are_not_charged_to_this_one(clock):
    make = partial(Tracker, counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ={}))
    series = Series(Config(ledger="off", region="FR", budget="100 kJ"), make)
    series.begin("fit")
    series.begin_epoch(3, Schedule(batches=100), batches_done=50)
    assert series.batch(50) is False
    assert series.batch(51) is True


def test_a_failure_of_the_frameworks_own_objects_is_said_once(series, caplog):
    for _ in range(3):
        assert series.shielded("logging", lambda: 1 / 0, "otherwise") == "otherwise"
    assert len(caplog.records) == 1


def test_a_run_id_from_the_environment_is_numbered_too(clock, monkeypatch):
    monkeypatch.setenv("FITPRINT_RUN_ID", "mine")
    make = partial(Tracker, counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock))
    series = Series(Config(ledger="off", region="FR"), make)
    for kind in ("fit", "test"):
        series.begin(kind)
        series.end()
    assert [f.run_id for f in series.footprints] == ["mine", "mine-2"]
