"""Ray Tune: a tracker inside each trial, and a stopper beside all of them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fitprint import Budget, Config, Tracker
from fitprint.errors import MissingExtraError
from fitprint.notices import logger
from fitprint.provenance import git_commit
from fitprint.sweep import Sweep

if importlib.util.find_spec("ray") is None:
    raise MissingExtraError("fitprint_ray", "ray")
from ray import tune


class TrialTracker(Tracker):
    """Measures a trial from inside its trainable and reports its CO2e with its metrics.

    Tune runs trials in folders of their own: give the ledger by an absolute path, or a URL.

    Args:
        hparams: The trial's ``config``; kept as the run's hyperparameters.
        budget: What the trial may use; with ``scope="project"``, what all of them may.
        config: Options beyond these, and defaults for these.
        **options: Further options of ``fitprint.Tracker``: region, intensity, pue, project, name, ledger.

    Raises:
        ConfigError: If an option makes no sense; the message says what would.

    Example::

        def trainable(config):
            with TrialTracker(config, project="digits", ledger="/data/fitprint.db", region="FR") as tracker:
                for epoch in tracker.epochs(range(10)):
                    tracker.report({"accuracy": train_an_epoch(config["lr"])})
    """

    def __init__(
        self,
        hparams: Mapping[str, Any] | None = None,
        *,
        budget: str | Budget | list[str | Budget] | None = None,
        config: Config | None = None,
        **options: Any,
    ) -> None:
        super().__init__(budget=budget, config=config, **options)
        budgets = Budget.several(budget if budget is not None else config and config.budget)
        self._sweep = Sweep(each=tuple(one for one in budgets if one.scope == "run"))
        # Where the sweep was started: Tune changes to the trial's folder.
        origin = os.environ.get("TUNE_ORIG_WORKING_DIR")
        self.describe(hparams=hparams, git_commit=git_commit(Path(origin)) if origin else None)

    def report(self, metrics: Mapping[str, Any], **options: Any) -> None:
        """Report to Tune: the metrics, and ``co2e_g``, ``energy_wh`` and ``run_id`` of the trial so far.

        Args:
            metrics: Of the epoch; they are kept with it as well.
            **options: Of ``ray.tune.report``, such as ``checkpoint``.
        """
        self.annotate(metrics)
        tune.report({**metrics, **self._sweep.outcome(self.footprint)}, **options)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SystemExit):  # how Tune ends a trial, by its scheduler or its stopper
            self.close("stopped")
        super().__exit__(kind, error, trace)


class CarbonStopper(tune.Stopper):  # type: ignore[misc]  # Ray is not followed by the type checker
    """Ends a sweep on a budget for all of its trials together, those that fail included.

    It reads what ``TrialTracker.report`` reports. Trials that run at that moment are ended by Tune.
    Runs beyond this sweep, and what trials use between two reports, are held back by
    ``Budget(..., scope="project")``, given to every TrialTracker; then give the same one here.

    Args:
        budget: A mass of CO2e such as ``"2 kg"``, an energy such as ``"5 kWh"``, a Budget, or a list of these.

    Attributes:
        reason: Why the sweep ended, or None.

    Raises:
        ConfigError: If the budget makes no sense; the message says what would.

    Example:
        >>> stopper = CarbonStopper("10 g")
        >>> stopper("trial-1", {"run_id": "a", "co2e_g": 10.5}), stopper.stop_all()
        (False, True)
    """

    def __init__(self, budget: str | Budget | list[str | Budget]) -> None:
        self._sweep = Sweep(Budget.several(budget))
        self._outcomes: dict[str, Mapping[str, Any]] = {}
        self.reason: str | None = None

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Take note of a report. By run, not by trial: one that is tried again has spent twice."""
        self._outcomes[str(result.get("run_id", trial_id))] = result
        if self.reason is None:
            self.reason = self._sweep.reason_to_end(list(self._outcomes.values()), result)
            if self.reason is not None:
                logger().warning(self.reason)
        return False

    def stop_all(self) -> bool:
        """Whether the whole sweep is to end."""
        return self.reason is not None
