"""A study that is measured: trials in, outcomes into their user attributes, a stop out."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fitprint import Budget, Config, Footprint, Ledger, Tracker
from fitprint.errors import MissingExtraError
from fitprint.notices import logger
from fitprint.settings import resolve
from fitprint.sweep import Sweep

if importlib.util.find_spec("optuna") is None:
    raise MissingExtraError("fitprint_optuna", "optuna")
from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

import optuna


class CarbonStudyCallback:
    """Measure the trials of a study, keep their CO2e with them, and end the study on a budget.

    Every trial gets the user attributes ``co2e_g``, ``energy_wh``, ``run_id`` and ``run_status``; pruned and
    failed trials count as well. The study ends when a trial was ended by the budget, or when less is left of it
    than the cheapest full trial has cost. What a study in a database had spent before it is gone on with counts.

    A trial's values become metrics of its run's last epoch, under the names of ``study.set_metric_names``, else
    ``objective``, so that ``fitprint compare`` can weigh them.

    Args:
        budget: For all trials together: a mass of CO2e such as ``"250 g"``, an energy such as ``"0.5 kWh"``,
            a Budget, or a list of these. A trial begins with what is left. Trials that run at once may
            each use what was left: only ``Budget(..., scope="project")`` lets them, and other studies and
            machines, draw on one pot.
        region: Country, part of one or cloud region, for the carbon intensity of its electricity.
        intensity: Carbon intensity in g CO2e per kWh, instead of the region's.
        pue: Facility power over IT power, from 1 up.
        project: Name under which the runs of the trials are kept together.
        ledger: Path or URL of the record of runs, or ``"off"``.
        config: Options beyond these, and defaults for these; its ``budget`` is each trial's own.

    Raises:
        ConfigError: If an option makes no sense; the message says what would.

    Example:
        >>> carbon = CarbonStudyCallback(budget="250 g", region="FR", ledger="off")
        >>> def objective(trial):
        ...     lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        ...     with carbon.trial(trial) as tracker:
        ...         for epoch in tracker.epochs(range(3)):
        ...             accuracy = 1 - lr
        ...     return accuracy, carbon.co2e_g(trial)
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(directions=["maximize", "minimize"])
        >>> study.optimize(objective, n_trials=2, callbacks=[carbon])
        >>> sorted(study.trials[0].user_attrs)
        ['co2e_g', 'energy_wh', 'run_id', 'run_status']
    """

    def __init__(
        self,
        *,
        budget: str | Budget | list[str | Budget] | None = None,
        region: str | None = None,
        intensity: float | None = None,
        pue: float | None = None,
        project: str | None = None,
        ledger: str | None = None,
        config: Config | None = None,
    ) -> None:
        own = Config.of(config)
        self._sweep = Sweep(Budget.several(budget), Budget.several(own.budget))
        self._config = own.overridden(region=region, intensity=intensity, pue=pue, project=project, ledger=ledger)
        Tracker(config=self._config.overridden(budget=[*self._sweep.each, *self._sweep.budgets] or None))  # refused here, if at all
        self._open: dict[tuple[str, int], Tracker] = {}
        self.make_tracker: Callable[..., Tracker] = Tracker

    @contextmanager
    def trial(self, trial: Trial) -> Iterator[Tracker]:
        """Measure a trial, inside its objective: a tracker whose epochs end when the budget does.

        Args:
            trial: The trial; its parameters become the run's hyperparameters.

        Raises:
            optuna.TrialPruned: If nothing is left of the budget; the study ends then.
        """
        key = (trial.study.study_name, trial.number)
        tracker = self._open[key] = self.make_tracker(config=self._config_of(trial))
        try:
            with tracker:
                yield from self._measured(trial, tracker)
        finally:
            del self._open[key]
            self.record(trial, tracker.footprint)

    def record(self, trial: Trial, footprint: Footprint | None) -> None:
        """Keep what a trial has cost with it; for objectives that train under a CarbonCallback of fitprint.

        Args:
            trial: The trial.
            footprint: Of its run: ``callback.footprint``.
        """
        if footprint is not None:
            for name, value in self._sweep.outcome(footprint).items():
                trial.set_user_attr(name, value)

    def co2e_g(self, trial: Trial) -> float:
        """The trial's grams as an objective to minimise, after its ``with`` block; 0.0 where nothing is measured."""
        grams = trial.user_attrs.get("co2e_g")
        if grams is None:
            logger().warning("the CO2e of trial %d is not known; 0.0 stands in its objective", trial.number)
        return float(grams or 0.0)

    def is_over_budget(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether a budget has decided to end the trial that runs in this process."""
        tracker = self._open.get((study.study_name, trial.number))
        return tracker is not None and tracker.should_stop

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Keep the trial's values with its run, end the study where no other trial should begin; Optuna calls this after each."""
        self._keep_values(study, trial)
        reason = self._sweep.reason_to_end(_outcomes(study), trial.user_attrs)
        if reason is not None:
            logger().warning(reason)
            study.stop()

    def _keep_values(self, study: Study, trial: FrozenTrial) -> None:
        """What an objective returns is known only once its run has ended."""
        run_id, place = trial.user_attrs.get("run_id"), resolve(self._config, quiet=True).ledger
        if run_id is None or place is None or not trial.values:
            return
        try:
            Ledger(place).annotate(run_id, dict(zip(_names(study), trial.values, strict=True)))
        except Exception:
            logger().warning("the values of trial %d could not be recorded with its run", trial.number, exc_info=True)

    def _config_of(self, trial: Trial) -> Config:
        budgets = self._sweep.for_a_trial(_outcomes(trial.study))
        if budgets is None:
            self._end(trial, "nothing is left of the study's budget")
        return self._config.overridden(budget=list(budgets or ()) or None, name=self._config.name or f"trial-{trial.number}")

    def _measured(self, trial: Trial, tracker: Tracker) -> Iterator[Tracker]:
        tracker.check_start()
        if tracker.decision is not None:
            self._end(trial, tracker.decision.sentence)
        try:
            yield tracker
        except optuna.TrialPruned:
            tracker.describe(hparams=trial.params)
            tracker.close("stopped")
            raise
        finally:
            tracker.describe(hparams=trial.params)

    def _end(self, trial: Trial, reason: str) -> None:
        trial.study.stop()
        raise optuna.TrialPruned(reason)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry the options, not open runs."""
        return {**self.__dict__, "_open": {}}


class CarbonPruner(BasePruner):  # type: ignore[misc]  # Optuna is not followed by the type checker
    """Prunes a trial when the budget ends it, so that ``trial.should_prune()`` says so too.

    Args:
        carbon: The study's callback.
        pruner: Decides where the budget does not; None prunes for no other reason.

    Example:
        >>> carbon = CarbonStudyCallback(budget="250 g", region="FR", ledger="off")
        >>> study = optuna.create_study(pruner=CarbonPruner(carbon, optuna.pruners.MedianPruner()))
    """

    def __init__(self, carbon: CarbonStudyCallback, pruner: BasePruner | None = None) -> None:
        self._carbon = carbon
        self._pruner = pruner

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to prune; Optuna asks on ``trial.should_prune()``."""
        if self._carbon.is_over_budget(study, trial):
            return True
        return self._pruner is not None and bool(self._pruner.prune(study, trial))


def _names(study: Study) -> list[str]:
    """The study's metric names, else ``objective``, or ``objective_0`` and so on where there are several."""
    if study.metric_names:
        return list(study.metric_names)
    return ["objective"] if len(study.directions) == 1 else [f"objective_{i}" for i in range(len(study.directions))]


def _outcomes(study: Study) -> list[dict[str, Any]]:
    return [trial.user_attrs for trial in study.get_trials(deepcopy=False)]
