"""What notebooks show of a tracker and of a ledger: small tables, escaped, each amount with its unit."""

from __future__ import annotations

import json
import re

from fitprint import Ledger, Tracker
from fitprint.report.listing import SHOWN, Runs
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

ENEMY = "<img src=x onerror=alert(1)>"


def a_run(clock, **options):
    counter = ScriptedCounter(clock, watts=360.0)
    return Tracker(counters=[counter], around=Surroundings(clock=clock, environ={}), region="FR", pue=1.0, **options)


def texts(shown):
    return [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", shown)]


def test_a_tracker_shows_where_its_run_stands_while_it_lasts_and_after_it():
    clock = FakeClock()
    with a_run(clock, budget="5 g", ledger="off", name=ENEMY) as tracker:
        for _ in tracker.epochs(range(2)):
            clock.advance(100.0)
        shown = tracker._repr_html_()
        assert "20 Wh in 3 min 20 s, 2 epochs, running" in shown
        assert re.search(r"[\d.]+ % of 5 g used", shown)
        assert "<img" not in shown
        assert len(shown) < 4000
    assert "completed" in tracker._repr_html_()


def test_a_tracker_that_was_never_started_says_so():
    assert "the Tracker was never started" in Tracker(ledger="off")._repr_html_()


def test_a_ledger_and_what_it_is_asked_for_are_tables_of_its_runs(tmp_path):
    clock = FakeClock()
    place = str(tmp_path / "fitprint.db")
    for name in ("first", ENEMY):
        with a_run(clock, name=name, project="p & q", ledger=place) as tracker:
            for _ in tracker.epochs(range(2)):
                clock.advance(100.0)
    ledger = Ledger(place)
    for shown in (ledger._repr_html_(), ledger.runs()._repr_html_(), ledger.footprints()._repr_html_()):
        assert "<img" not in shown
        assert shown.count("<tr>") == 3
        cells = texts(shown)
        assert cells[1:5] == ["p &amp; q", "first", "fit", "completed"]
        assert cells[6:8] == ["3 min 20 s", "20 Wh"]
        assert re.fullmatch(r"[\d.]+ m?g", cells[8])
    assert json.loads(json.dumps(ledger.runs())) == ledger.runs()


def test_of_many_runs_the_newest_are_shown_and_how_many_are_not():
    row = {"project": None, "name": None, "kind": "fit", "status": "completed", "started_at": "", "duration_s": 1.0}
    rows = Runs({**row, "energy_j": 1.0, "co2e_g": None, "run_id": f"run-{i}", "epochs": 1} for i in range(1000))
    shown = rows._repr_html_()
    assert shown.count("<tr>") == SHOWN + 1
    assert "run-999" in shown
    assert f"{1000 - SHOWN} older runs are not shown." in shown
    assert Runs()._repr_html_() == "<p>No runs.</p>"
