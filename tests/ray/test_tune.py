"""Ray Tune on a real local cluster; the trials' hardware is scripted, so their joules are known."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fitprint import Budget, Ledger
from fitprint.errors import ConfigError
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint_ray import CarbonStopper, TrialTracker
from ray import tune

pytestmark = pytest.mark.timeout(240)
EPOCH_J = 100.0


def trainable(config):
    clock = FakeClock()
    gpu = ScriptedCounter(clock, watts=EPOCH_J)
    hardware = {"counters": [gpu], "around": Surroundings(clock=clock, environ={})}
    options = {name: config[name] for name in ("ledger", "budget") if name in config}
    with TrialTracker({"lr": config["lr"]}, project="digits", region="FR", **options, **hardware) as tracker:
        for epoch in tracker.epochs(range(config["epochs"])):
            clock.advance(1.0)
            tracker.report({"accuracy": config["lr"] * epoch})


@pytest.fixture
def sweep(cluster, tmp_path):
    """Runs trials one after the other, so that their order is certain; returns their last reports."""

    def run(trials, stop=None, **config):
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 2}),
            param_space={"lr": tune.grid_search(trials), "ledger": str(tmp_path / "fitprint.db"), "epochs": 3, **config},
            run_config=tune.RunConfig(storage_path=str(tmp_path / "ray"), stop=stop, verbose=0),
        )
        return [result.metrics for result in tuner.fit() if result.metrics and "run_id" in result.metrics]

    return run


def test_each_trial_reports_its_grams_and_is_a_run_of_the_project(sweep, tmp_path):
    reports = sweep([0.1, 0.2])
    assert [report["energy_wh"] * 3600 for report in reports] == pytest.approx([300.0] * 2)
    ledger = Ledger(tmp_path / "fitprint.db")
    runs = [ledger.footprint(report["run_id"]) for report in reports]
    assert [run.energy_j for run in runs] == [300.0] * 2
    assert [run.co2e_g for run in runs] == pytest.approx([report["co2e_g"] for report in reports])
    assert [run.hparams for run in runs] == [{"lr": 0.1}, {"lr": 0.2}]
    assert {(run.project, run.status, run.parent_run_id) for run in runs} == {("digits", "completed", None)}
    assert [epoch.metrics["accuracy"] for epoch in runs[1].epochs] == pytest.approx([0.0, 0.2, 0.4])


def when_none_is_running(ledger, within_s=20.0):
    end = time.monotonic() + within_s
    while time.monotonic() < end and any(run["status"] == "running" for run in ledger.runs()):
        time.sleep(0.2)
    return ledger.runs()


def test_the_sweep_ends_at_its_budget_and_no_joule_is_lost(sweep, tmp_path):
    stopper = CarbonStopper("700 J")
    reports = sweep([0.1, 0.2, 0.3, 0.4, 0.5], stop=stopper)
    joules = [report["energy_wh"] * 3600 for report in reports]
    assert joules == pytest.approx([300.0, 300.0, 100.0])
    runs = when_none_is_running(Ledger(tmp_path / "fitprint.db"))
    assert sorted(run["status"] for run in runs) == ["completed", "completed", "stopped"]  # Tune ends what runs
    assert 700.0 <= sum(run["energy_j"] for run in runs) <= 800.0  # what was used after the last report is in the ledger


def test_a_trials_own_budget_ends_the_trial_and_not_the_sweep(sweep):
    reports = sweep([0.1, 0.2], stop=CarbonStopper("1 kWh"), budget="250 J", epochs=5)
    assert [report["energy_wh"] * 3600 for report in reports] == pytest.approx([200.0] * 2)


def test_a_trial_that_is_tried_again_has_spent_twice():
    stopper = CarbonStopper("1000 J")
    for run_id in ("first", "second"):
        for joules in (200, 400, 499):
            stopper("trial", {"run_id": run_id, "energy_wh": joules / 3600})
            assert not stopper.stop_all()
    stopper("trial", {"run_id": "second", "energy_wh": 502 / 3600})
    assert stopper.stop_all()
    assert stopper.reason == "The sweep ends: 1,001 J of its budget of 1000 J are used."


def test_a_trial_that_the_project_ended_ends_the_sweep():
    stopper = CarbonStopper("1 kg")
    stopper("trial", {"run_id": "a", "co2e_g": 1.0, "carbon_stop": "The pot of 'digits' is spent."})
    assert stopper.reason == "The sweep ends: The pot of 'digits' is spent."


def test_with_warn_the_sweep_goes_on():
    stopper = CarbonStopper(Budget("1 g", on_exceed="warn"))
    assert (stopper("trial", {"run_id": "a", "co2e_g": 5.0}), stopper.stop_all()) == (False, False)


def test_a_budget_without_a_unit_is_refused():
    with pytest.raises(ConfigError, match="no unit"):
        CarbonStopper(5)


def test_without_ray_the_message_says_what_to_install():
    code = "import importlib.util\nimportlib.util.find_spec = lambda name: None\nfrom fitprint_ray import CarbonStopper"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'fitprint[ray]'" in out.stderr


def test_importing_the_package_loads_no_ray():
    code = "import sys, json, fitprint_ray\nprint(json.dumps('ray' in sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=Path.cwd())
    assert json.loads(out.stdout) is False


def test_what_the_page_says_about_tune_runs(page, tmp_path):
    grams = page("Ray Tune")["grams"]
    runs = Ledger(tmp_path / "fitprint.db").runs()
    assert [(run["project"], run["status"], run["epochs"]) for run in runs] == [("digits", "completed", 3)] * 2
    assert all(0 < reported <= run["co2e_g"] for reported, run in zip(sorted(grams), sorted(runs, key=grams_of), strict=True))


def grams_of(run):
    return run["co2e_g"]
