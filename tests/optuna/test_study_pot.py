"""Studies that draw on the pot of their project, together and from several threads."""

from __future__ import annotations

import threading
from functools import partial

import pytest

import optuna
from fitprint import Budget, Config, Tracker
from fitprint.errors import ConfigError
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint_optuna import CarbonStudyCallback

EPOCH_J = 100.0


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def on_one_pot(folder, limit):
    """A callback on 'digits' whose trials each have a clock and a GPU of 100 W of their own."""
    config = Config(intensity=1000.0, pue=1.0, node_factor=1.0)
    budget = Budget(limit, scope="project")
    carbon = CarbonStudyCallback(budget=budget, project="digits", ledger=str(folder / "fitprint.db"), config=config)

    def tracker(**options):
        clock = FakeClock()
        made = Tracker(counters=[ScriptedCounter(clock, watts=EPOCH_J)], around=Surroundings(clock=clock, environ={}), **options)
        made.pass_time = partial(clock.advance, 1.0)
        return made

    carbon.make_tracker = tracker
    return carbon


def objective(carbon, epochs=3, at_once=None):
    def train(trial):
        with carbon.trial(trial) as tracker:
            if at_once is not None:
                at_once()
            for _ in tracker.epochs(range(epochs)):
                tracker.pass_time()
        return trial.suggest_float("x", 0, 1)

    return train


def joules(*studies):
    return [trial.user_attrs.get("energy_wh", 0.0) * 3600 for study in studies for trial in study.trials]


@pytest.mark.timeout(120)
def test_two_studies_draw_on_one_pot(tmp_path):
    first, second = optuna.create_study(), optuna.create_study()
    for study, trials in ((first, 2), (second, 100)):
        carbon = on_one_pot(tmp_path, "1500 J")
        study.optimize(objective(carbon), n_trials=trials, callbacks=[carbon])
    assert joules(first) == [300.0] * 2
    assert 1200.0 <= sum(joules(first, second)) <= 1500.0
    assert second.trials[-1].user_attrs["pot_energy_wh"] * 3600 >= 1200.0


@pytest.mark.timeout(120)
def test_trials_at_once_stay_within_the_pot_and_end_the_study(tmp_path):
    carbon, both = on_one_pot(tmp_path, "2000 J"), threading.Barrier(2, timeout=20)
    study = optuna.create_study(storage="sqlite:///study.db")
    study.optimize(objective(carbon, 1000, both.wait), n_trials=2, n_jobs=2, callbacks=[carbon])
    assert 1500.0 <= sum(joules(study)) <= 2000.0
    assert any("carbon_stop" in trial.user_attrs for trial in study.trials)


@pytest.mark.timeout(120)
def test_a_trial_that_finds_the_pot_spent_is_pruned_and_ends_the_study(tmp_path):
    with on_one_pot(tmp_path, "500 J").make_tracker(project="digits", ledger=str(tmp_path / "fitprint.db")) as other:
        for _ in range(5):
            other.pass_time()
    carbon, study = on_one_pot(tmp_path, "500 J"), optuna.create_study()
    study.optimize(objective(carbon), n_trials=10, callbacks=[carbon])
    assert [trial.state.name for trial in study.trials] == ["PRUNED"]


def test_without_a_project_or_an_absolute_ledger_it_is_refused_before_the_study():
    pot = Budget("1 kg", scope="project")
    for options in ({}, {"project": "digits", "ledger": "fitprint.db"}, {"ledger": "/data/fitprint.db"}):
        with pytest.raises(ConfigError):
            CarbonStudyCallback(budget=pot, **options)
