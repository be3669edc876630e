"""Real Optuna studies on scripted hardware: each trial's joules are known."""

from __future__ import annotations

import copy
import pickle
import re
import sqlite3
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

import fitprint
import optuna
from fitprint import Budget, Config, Ledger, Tracker
from fitprint.errors import ConfigError
from fitprint.project import project_total
from fitprint.sensors.probe import Surroundings
from fitprint.sweep import Sweep
from fitprint.testing import ScriptedCounter
from fitprint_optuna import CarbonPruner, CarbonStudyCallback

PAGE = Path(__file__).parents[2] / "docs" / "sweeps.md"
EPOCH_J, EPOCHS = 100.0, 3
TRIAL_J = EPOCHS * EPOCH_J
TRIAL_G = TRIAL_J / 3.6e6 * 1000.0  # at 1,000 g/kWh, and no factor above the sensors


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def carbon(clock):
    """Makes callbacks whose trials read one scripted GPU of 100 W."""
    gpu = ScriptedCounter(clock, watts=100.0)

    def make(config=None, **options):
        settled = Config(intensity=1000.0, pue=1.0, node_factor=1.0, **(config or {}))
        callback = CarbonStudyCallback(**{"ledger": "off", **options}, config=settled)
        callback.make_tracker = partial(Tracker, counters=[gpu], around=Surroundings(clock=clock, environ={}))
        return callback

    return make


@pytest.fixture
def objective(clock):
    """Makes objectives of three epochs of 100 J each."""

    def make(carbon, *, co2e=False, inside=lambda trial, epoch: None):
        def train(trial):
            x = trial.suggest_float("x", 0, 1)
            with carbon.trial(trial) as tracker:
                for epoch in tracker.epochs(range(EPOCHS)):
                    clock.advance(1.0)
                    inside(trial, epoch)
            return (x, carbon.co2e_g(trial)) if co2e else x

        return train

    return make


def joules(study):
    return [trial.user_attrs["energy_wh"] * 3600 for trial in study.trials]


# ---- what a trial keeps


def test_each_trial_keeps_its_grams_its_energy_and_its_run(carbon, objective):
    study, callback = optuna.create_study(), carbon(project="digits", ledger="fitprint.db")
    study.optimize(objective(callback), n_trials=3, callbacks=[callback])
    assert joules(study) == [TRIAL_J] * 3
    assert [t.user_attrs["co2e_g"] for t in study.trials] == pytest.approx([TRIAL_G] * 3)
    rows = Ledger("fitprint.db").runs()
    assert [row["run_id"] for row in rows] == [t.user_attrs["run_id"] for t in study.trials]
    assert [(row["project"], row["name"]) for row in rows] == [("digits", f"trial-{i}") for i in range(3)]


def test_what_an_objective_returns_is_a_metric_of_its_run(carbon, objective):
    study, callback = optuna.create_study(), carbon(ledger="fitprint.db")
    study.optimize(objective(callback), n_trials=1, callbacks=[callback])
    footprint = Ledger("fitprint.db").footprint(study.trials[0].user_attrs["run_id"])
    assert [epoch.metrics for epoch in footprint.epochs] == [{}, {}, {"objective": study.trials[0].value}]
    assert footprint.status == "completed"


def test_several_objectives_have_the_names_of_the_study_or_are_counted(carbon, objective):
    for name, expected in (("counted", ["objective_0", "objective_1"]), ("named", ["error", "grams"])):
        study, callback = optuna.create_study(directions=["minimize"] * 2), carbon(ledger=f"{name}.db")
        if name == "named":
            study.set_metric_names(expected)
        study.optimize(objective(callback, co2e=True), n_trials=1, callbacks=[callback])
        last = Ledger(f"{name}.db").footprints()[0].epochs[-1]
        assert last.metrics == pytest.approx(dict(zip(expected, study.trials[0].values, strict=True)))


def test_what_the_objective_recorded_itself_stays(carbon, clock):
    study, callback = optuna.create_study(), carbon(ledger="fitprint.db")

    def annotated(trial):
        with callback.trial(trial) as tracker:
            for _ in tracker.epochs(range(1)):
                clock.advance(1.0)
                tracker.annotate({"objective": 0.5})
        return 0.25

    study.optimize(annotated, n_trials=1, callbacks=[callback])
    assert Ledger("fitprint.db").footprints()[0].epochs[-1].metrics == {"objective": 0.5}


def test_a_ledger_that_is_gone_ends_no_study(carbon, objective, caplog):
    study, callback = optuna.create_study(), carbon(ledger="fitprint.db")

    def and_spoil(study, trial):
        Path("fitprint.db").write_bytes(b"no database" * 1000)

    study.optimize(objective(callback), n_trials=1, callbacks=[and_spoil, callback])
    assert len(study.trials) == 1
    assert "could not be recorded" in caplog.text


def test_the_parameters_of_a_trial_are_the_hyperparameters_of_its_run(carbon, objective):
    study, callback = optuna.create_study(), carbon(ledger="fitprint.db")
    study.optimize(objective(callback), n_trials=1, callbacks=[callback])
    trial = study.trials[0]
    footprint = Ledger("fitprint.db").footprint(trial.user_attrs["run_id"])
    assert footprint.hparams == trial.params
    assert footprint.parent_run_id is None


def test_inside_an_open_run_trials_are_its_children(carbon, objective, clock):
    study, callback = optuna.create_study(), carbon(ledger="fitprint.db")
    with callback.make_tracker(config=Config(ledger="fitprint.db"), run_id="whole"):
        study.optimize(objective(callback), n_trials=1, callbacks=[callback])
    assert Ledger("fitprint.db").footprint(study.trials[0].user_attrs["run_id"]).parent_run_id == "whole"


def test_pruned_and_failed_trials_count_too(carbon, objective):
    def inside(trial, epoch):
        if trial.number == 0 and epoch == 1:
            raise optuna.TrialPruned
        if trial.number == 1 and epoch == 0:
            raise RuntimeError("out of memory")

    study, callback = optuna.create_study(), carbon(ledger="fitprint.db")
    study.optimize(objective(callback, inside=inside), n_trials=3, callbacks=[callback], catch=RuntimeError)
    assert joules(study) == [2 * EPOCH_J, EPOCH_J, TRIAL_J]
    assert [row["status"] for row in Ledger("fitprint.db").runs()] == ["stopped", "failed", "completed"]
    assert all(Ledger("fitprint.db").footprint(t.user_attrs["run_id"]).hparams == t.params for t in study.trials)


def test_co2e_is_a_second_objective_with_its_pareto_front(carbon, clock):
    callback = carbon()

    def train(trial):
        width = trial.suggest_categorical("width", [1, 2, 4])
        with callback.trial(trial) as tracker:
            for _ in tracker.epochs(range(2)):
                clock.advance(width)
        return -1 / width, callback.co2e_g(trial)

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.GridSampler({"width": [1, 2, 4]}))
    study.optimize(train, callbacks=[callback])
    grams = {t.params["width"]: t.values[1] for t in study.best_trials}
    assert grams == pytest.approx({width: width * 2 * 100 / 3.6e6 * 1000 for width in (1, 2, 4)})


def test_where_nothing_is_measured_the_objective_stays_a_number(carbon, objective, monkeypatch, caplog):
    callback = carbon()
    callback.make_tracker = Tracker
    monkeypatch.setenv("FITPRINT_DISABLE", "1")
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.optimize(objective(callback, co2e=True), n_trials=1, callbacks=[callback])
    assert study.trials[0].values[1] == 0.0
    assert "is not known" in caplog.text


def test_an_objective_under_another_callback_records_its_footprint(carbon, clock):
    callback = carbon()

    def train(trial):
        with callback.make_tracker(region="FR", ledger="off") as tracker:  # stands for any adapter's run
            clock.advance(2.0)
        callback.record(trial, tracker.footprint)
        return trial.suggest_float("x", 0, 1)

    study = optuna.create_study()
    study.optimize(train, n_trials=1, callbacks=[callback])
    assert joules(study) == [200.0]


# ---- the budget of a study


def test_a_study_ends_when_no_other_trial_would_fit(carbon, objective, caplog):
    study, callback = optuna.create_study(), carbon(budget="1000 J")
    study.optimize(objective(callback), n_trials=100, callbacks=[callback])
    assert joules(study) == [TRIAL_J] * 3
    assert "900 J of its budget of 1000 J are used, and its cheapest full trial took 300 J" in caplog.text


def test_grams_and_joules_are_watched_together(carbon, objective):
    study, callback = optuna.create_study(), carbon(budget=["1 kWh", f"{2.5 * TRIAL_G} g"])
    study.optimize(objective(callback), n_trials=100, callbacks=[callback])
    assert len(study.trials) == 2


def test_a_trial_that_turns_out_dearer_is_stopped_inside_and_ends_the_study(carbon, clock):
    callback = carbon(budget="1000 J")

    def train(trial):
        with callback.trial(trial) as tracker:
            for _ in tracker.epochs(range(100)):
                clock.advance(1.0)
        return len(tracker.footprint.epochs)

    study = optuna.create_study()
    study.optimize(train, n_trials=10, callbacks=[callback])
    assert len(study.trials) == 1
    assert 700 <= sum(joules(study)) <= 1000
    assert study.trials[0].state == optuna.trial.TrialState.COMPLETE
    assert "budget of 1000 J" in study.trials[0].user_attrs["carbon_stop"]


def test_a_trials_own_budget_ends_the_trial_and_not_the_study(carbon, objective):
    study, callback = optuna.create_study(), carbon(config={"budget": "250 J"}, budget="1 kWh")
    study.optimize(objective(callback), n_trials=3, callbacks=[callback])
    assert len(study.trials) == 3
    assert all(spent <= 250 for spent in joules(study))


def test_with_warn_the_study_goes_on(carbon, objective, caplog):
    study, callback = optuna.create_study(), carbon(budget=Budget("400 J", on_exceed="warn"))
    study.optimize(objective(callback), n_trials=4, callbacks=[callback])
    assert joules(study) == [TRIAL_J] * 4
    assert "training goes on" in caplog.text


def test_a_trial_that_begins_with_nothing_left_is_pruned_and_ends_the_study(carbon, objective):
    study, callback = optuna.create_study(), carbon(budget="600 J")
    study.add_trial(optuna.trial.create_trial(value=1.0, user_attrs={"energy_wh": 1.0}))
    study.optimize(objective(callback), n_trials=5, callbacks=[])
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]


def test_a_pruner_says_so_too_when_the_budget_ends_a_trial(carbon, clock):
    callback = carbon(config={"budget": Budget("500 J", check=1)})
    told = []

    def train(trial):
        with callback.trial(trial) as tracker:
            for step in range(20):
                with tracker.epoch(step):
                    clock.advance(1.0)
                trial.report(step, step)
                if trial.should_prune():
                    told.append(step)
                    raise optuna.TrialPruned
        return 1.0

    study = optuna.create_study(pruner=CarbonPruner(callback, optuna.pruners.NopPruner()))
    study.optimize(train, n_trials=2, callbacks=[callback])
    assert [trial.state.name for trial in study.trials] == ["PRUNED", "PRUNED"]
    assert told == [3, 3]
    assert all(spent <= 500 for spent in joules(study))


def test_the_other_pruner_still_decides(carbon):
    callback = carbon(budget="1 kWh")

    def train(trial):
        with callback.trial(trial) as tracker:
            for epoch in tracker.epochs(range(5)):
                trial.report(100.0, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
        return 100.0

    study = optuna.create_study(pruner=CarbonPruner(callback, optuna.pruners.ThresholdPruner(upper=10.0)))
    study.optimize(train, n_trials=1, callbacks=[callback])
    assert study.trials[0].state.name == "PRUNED"
    assert study.trials[0].user_attrs["run_status"] == "stopped"


# ---- databases, threads, processes


def test_a_study_in_a_database_goes_on_with_what_it_had_spent(carbon, objective):
    def session(budget):
        callback = carbon(budget=budget)
        study = optuna.create_study(storage="sqlite:///study.db", study_name="s", load_if_exists=True)
        study.optimize(objective(callback), n_trials=10, callbacks=[callback])
        return len(study.trials)

    assert session("700 J") == 2
    assert session("700 J") == 3  # the third found too little to begin with
    assert session("1600 J") == 6
    states = sqlite3.connect("study.db").execute("SELECT state FROM trials ORDER BY number").fetchall()
    assert states == [("COMPLETE",), ("COMPLETE",), ("PRUNED",), ("COMPLETE",), ("COMPLETE",), ("COMPLETE",)]


@pytest.mark.timeout(60)
def test_trials_in_threads_are_siblings_and_all_counted(carbon, clock):
    callback, at_once = carbon(ledger="fitprint.db"), threading.Barrier(2, timeout=20)

    def train(trial):
        with callback.trial(trial) as tracker:
            at_once.wait()
            for _ in tracker.epochs(range(2)):
                trial.suggest_float("x", 0, 1)
        return 1.0

    study = optuna.create_study(storage="sqlite:///study.db")
    study.optimize(train, n_trials=4, n_jobs=2, callbacks=[callback])
    records = [Ledger("fitprint.db").footprint(t.user_attrs["run_id"]) for t in study.trials]
    assert len({record.run_id for record in records}) == 4
    assert [record.parent_run_id for record in records] == [None] * 4
    assert callback._open == {}


def test_the_callback_can_be_copied_and_pickled(carbon):
    callback = CarbonStudyCallback(budget="250 g", region="FR")
    assert pickle.loads(pickle.dumps(callback))._sweep == copy.deepcopy(callback)._sweep == Sweep(Budget.several("250 g"))


@pytest.mark.parametrize("options", [{"budget": 250}, {"budget": "250"}, {"pue": 0.5}, {"region": "Atlantis"}])
def test_what_makes_no_sense_is_refused_before_the_study(options):
    with pytest.raises(ConfigError):
        CarbonStudyCallback(**options)


def test_without_optuna_the_message_says_what_to_install():
    code = "import importlib.util\nimportlib.util.find_spec = lambda name: None\nimport fitprint_optuna"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'fitprint[optuna]'" in out.stderr


def test_what_the_page_says_about_optuna_runs():
    section = PAGE.read_text().partition("\n## Optuna\n")[2].partition("\n## ")[0]
    names = {"train_an_epoch": lambda lr, width=1: 1 - lr - 1 / width}
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(names["front"]) >= 1
    runs = Ledger("fitprint.db").runs()
    assert [run["project"] for run in runs] == ["digits"] * (20 + 6)
    comparison = fitprint.compare(project="digits")
    assert comparison.metric == "val_accuracy"
    assert not comparison.left_out
    repeated = {row.label: row.n for row in comparison.configurations if row.label.startswith("width=")}
    assert sum(repeated.values()) == 6
    assert len(repeated) <= 3
    assert "lr" in [row.name for row in project_total("digits").sensitivity]


def test_options_that_are_no_config_are_refused():
    with pytest.raises(ConfigError, match=r"Write config=Config\(pue=1\)"):
        CarbonStudyCallback(config={"pue": 1})
