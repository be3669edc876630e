"""A study whose objective asks `carbon` for a tracker."""

import optuna

optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study()


def objective(trial):
    with carbon.trial(trial) as tracker:  # noqa: F821  # the page makes it
        for _ in tracker.epochs(range(2)):
            value = trial.suggest_float("lr", 0.0, 1.0)
    return value
