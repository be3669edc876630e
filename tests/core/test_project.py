"""The total of a project, and how much its hyperparameters mattered."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint import Budget, Config, FitprintError, Ledger, Tracker
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.project import project_total
from fitprint.sensitivity import sensitivities
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter


def record(hours=1, watts=1000.0, acc=0.5, error=None, inside=(), **options):
    """A run on one GPU at 100 g a kWh."""
    clock = FakeClock()
    gpu = ScriptedCounter(clock, watts=watts)
    config = Config(intensity=100.0, pue=1.0, node_factor=1.0, **{"project": "sweep", **options})
    tracker = Tracker(counters=[gpu], around=Surroundings(clock=clock, environ={}), config=config)
    try:
        with tracker:
            for _ in tracker.epochs(range(hours)):
                for options_inside in inside:
                    record(**options_inside)
                clock.advance(3600.0)
                tracker.annotate({"val_acc": acc})
                if error:
                    raise error
    except RuntimeError:
        pass
    return tracker.footprint


def test_failed_and_repeated_runs_are_in_the_total():
    runs = [record(), record(), record(hours=2, error=RuntimeError()), record(hours=3)]
    record(project="other", hours=100)
    total = project_total("sweep")
    assert total.runs == 4
    assert total.by_status["failed"] == {"runs": 1, "co2e_g": pytest.approx(100.0)}
    assert total.by_status["completed"] == {"runs": 3, "co2e_g": pytest.approx(500.0)}
    assert total.co2e_g == pytest.approx(600.0) == math.fsum(run.co2e_g for run in runs)
    assert total.energy_j == pytest.approx(6 * 3.6e6)
    assert (total.duration_s, total.gpu_hours) == (pytest.approx(6 * 3600.0), pytest.approx(6.0))
    assert total.measured_fraction == 1.0


def test_the_ends_of_the_interval_are_added_for_the_errors_are_shared():
    runs = [record() for _ in range(3)]
    total = project_total("sweep")
    assert total.co2e_low_g == pytest.approx(math.fsum(run.co2e_low_g for run in runs))
    assert total.co2e_high_g == pytest.approx(math.fsum(run.co2e_high_g for run in runs))
    assert any("do not average out" in note for note in total.notes)


def test_a_run_that_was_killed_is_in_the_total(tmp_path):
    record()
    code = (
        "import os, signal\nfrom fitprint import Config, Tracker\nfrom fitprint.testing import FakeClock, ScriptedCounter\n"
        "from fitprint.sensors.probe import Surroundings\nclock = FakeClock()\n"
        "config = Config(intensity=100.0, pue=1.0, node_factor=1.0, project='sweep')\n"
        "t = Tracker(counters=[ScriptedCounter(clock, watts=1000.0)], around=Surroundings(clock=clock), config=config).start()\n"
        "for _ in t.epochs(range(1)): clock.advance(3600.0)\n"
        "import time; time.sleep(1.0); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, cwd=tmp_path, env=dict(os.environ)).returncode == -9
    total = project_total("sweep")
    assert total.by_status["lost"] == {"runs": 1, "co2e_g": pytest.approx(100.0)}
    assert total.co2e_g == pytest.approx(200.0)


def test_a_nested_run_is_counted_inside_its_parent():
    parent = record(inside=[{}, {}])
    total = project_total("sweep")
    assert (total.runs, total.nested) == (1, 2)
    assert total.co2e_g == pytest.approx(parent.co2e_g)


def test_a_nested_run_whose_parent_is_of_another_project_is_counted():
    record(project="other", inside=[{"hours": 1}])
    total = project_total("sweep")
    assert (total.runs, total.nested, total.co2e_g) == (1, 0, pytest.approx(100.0))


def test_the_final_run_is_the_last_that_ended_well_or_the_one_that_was_named():
    first, last = record(run_id="a", hours=3), record(run_id="b")
    record(run_id="c", error=RuntimeError())
    total = project_total("sweep")
    assert (total.final_run_id, total.final_share) == (last.run_id, pytest.approx(1 / 5))
    assert project_total("sweep", final=first.run_id).final_co2e_g == pytest.approx(300.0)
    with pytest.raises(FitprintError, match="no run 'z'"):
        project_total("sweep", final="z")


def test_a_run_that_a_spent_budget_let_train_nothing_is_not_the_final_one():
    trained = record(run_id="a", hours=3)
    pot = {"budget": Budget("300 g", scope="project"), "ledger": Path("fitprint.db").absolute()}
    assert (record(run_id="b", **pot).status, Ledger().footprint("b").epochs) == ("stopped", ())
    assert project_total("sweep").final_run_id == trained.run_id


def test_what_was_not_counted_comes_first_and_is_none_and_not_zero():
    clock = FakeClock()
    with Tracker(project="sweep", counters=[], around=Surroundings(clock=clock, environ={})) as tracker:
        list(tracker.epochs(range(1)))
    total = project_total("sweep")
    assert (total.energy_j, total.co2e_g, total.final_share, total.gpu_hours) == (None, None, None, None)
    assert total.notes[0].startswith("NOT COUNTED: 1 of the 1 runs")


def test_it_is_plain_json():
    record()
    assert json.loads(json.dumps(project_total("sweep").to_dict(), allow_nan=False))["project"] == "sweep"


def test_a_project_that_is_not_there_is_refused_with_a_guess():
    record()
    with pytest.raises(FitprintError, match="Did you mean 'sweep'"):
        project_total("sweeep")


# ---- hyperparameters


def trial(score, grams=1.0, **hparams):
    epoch = EpochFootprint(index=0, started_at="", duration_s=1.0, metrics={"val_acc": score})
    return Footprint(run_id=f"{score}-{hparams}", status="completed", epochs=(epoch,), co2e_g=grams, energy_j=1.0, hparams=hparams)


def test_the_spread_of_the_metric_is_that_of_the_means_of_each_value_with_its_grams():
    runs = [trial(0.5, 1.0, lr=0.1), trial(0.7, 2.0, lr=0.1), trial(0.9, 4.0, lr=0.01)]
    (row,) = sensitivities(runs, "val_acc", "max")
    assert (row.name, row.spread, row.co2e_g) == ("lr", pytest.approx(0.3), 7.0)
    assert [(s.value, s.n, s.score, s.co2e_g) for s in row.settings] == [("0.01", 1, 0.9, 4.0), ("0.1", 2, pytest.approx(0.6), 3.0)]


def test_what_was_not_varied_is_left_out_and_what_mattered_most_comes_first():
    runs = [trial(0.5, lr=0.1, depth=2, width=8), trial(0.6, lr=0.1, depth=3, width=8), trial(0.9, lr=0.2, depth=2, width=8)]
    rows = sensitivities(runs, "val_acc", "max")
    assert [row.name for row in rows] == ["lr", "depth"]


def test_a_difference_within_chance_is_called_so():
    clear = [trial(score, opt=opt) for opt, scores in (("sgd", (0.1, 0.11, 0.12)), ("adam", (0.9, 0.91, 0.92))) for score in scores]
    assert sensitivities(clear, "val_acc", "max")[0].beyond_chance is True
    noisy = [trial(score, opt=opt) for opt, scores in (("sgd", (0.1, 0.5, 0.9)), ("adam", (0.2, 0.6, 0.8))) for score in scores]
    assert sensitivities(noisy, "val_acc", "max")[0].beyond_chance is False
    assert sensitivities([trial(0.1, opt="sgd"), trial(0.9, opt="adam")], "val_acc", "max")[0].beyond_chance is None


def test_a_number_with_many_values_is_shown_in_stretches_of_it():
    runs = [trial(i / 100, lr=10.0 ** (-i / 10)) for i in range(40)]
    (row,) = sensitivities(runs, "val_acc", "max")
    assert [s.n for s in row.settings] == [10, 10, 10, 10]
    assert row.settings[-1].value == "0.126 to 1"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 100), st.one_of(st.integers(0, 50), st.text(max_size=2))), max_size=40))
def test_every_run_is_in_exactly_one_setting(trials):
    runs = [trial(score, grams, x=value) for score, grams, value in trials]
    for row in sensitivities(runs, "val_acc", "max"):
        assert sum(s.n for s in row.settings) == len(runs)
        assert row.co2e_g == pytest.approx(math.fsum(run.co2e_g for run in runs))
        assert 0 <= row.spread <= 1
