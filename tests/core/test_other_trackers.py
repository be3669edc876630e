"""Where another tracker is in the same process, the user is told."""

from __future__ import annotations

import logging
import subprocess
import sys
import types

import pytest

from fitprint import Tracker
from fitprint.other_trackers import TRACKERS
from fitprint.sensors.probe import Surroundings
from fitprint.testing import ScriptedCounter


@pytest.fixture
def run_beside(clock, caplog):
    """Runs once and returns what was warned about."""

    def run():
        caplog.clear()
        around = Surroundings(clock=clock, environ={})
        tracker = Tracker(region="FR", ledger="off", counters=[ScriptedCounter(clock)], around=around)
        with caplog.at_level(logging.WARNING, "fitprint"), tracker:
            clock.advance(1.0)
        assert tracker.footprint.energy_j == pytest.approx(100.0)
        return [record.getMessage() for record in caplog.records]

    return run


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_loaded_is_named_once_a_run(name, run_beside, monkeypatch):
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    assert [name in message and "two tools read the same sensors" in message for message in run_beside()] == [True]


def test_two_of_them_are_named_in_one_warning(run_beside, monkeypatch):
    for name in ("carbontracker", "codecarbon"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    (message,) = run_beside()
    assert "codecarbon and carbontracker" in message


def test_without_another_tracker_nothing_is_said(run_beside, monkeypatch):
    for name in TRACKERS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert run_beside() == []


def test_looking_for_them_imports_none(tmp_path):
    (tmp_path / "codecarbon.py").write_text("raise SystemExit('imported')")
    code = "import sys\nfrom fitprint import Tracker\nwith Tracker(ledger='off'): pass\nprint('codecarbon' in sys.modules)"
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.strip() == "False"
    assert "two tools" not in ended.stderr
