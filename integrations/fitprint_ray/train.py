"""Ray Train: one tracker per worker, each sensor read by one of them, and one decision for all."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from typing import Any, Self

from fitprint import Budget, Config, Tracker
from fitprint.errors import MissingExtraError, refusal
from fitprint.process_group import process_group
from fitprint.sweep import Sweep

if importlib.util.find_spec("ray") is None:
    raise MissingExtraError("fitprint_ray", "ray")
import ray.train

# Ray lets the workers of a node see each other's GPUs, unless this says no.
SHARED_GPUS = "TRAIN_ENABLE_SHARE_CUDA_VISIBLE_DEVICES"


class WorkerTracker(Tracker):
    """Measures a training of several workers from inside ``train_loop_per_worker``.

    Workers that talk through torch (TorchTrainer, LightningTrainer) have one record: the first that sees a sensor
    reads it for all, and all stop at the same epoch. Others count by themselves: the first worker of a host reads its sensors
    for all workers there, and where Ray hides the GPUs of one worker from the others, each reads its own.
    Make it, and iterate over its epochs, on every worker.

    Args:
        hparams: The loop's ``config``; kept as the run's hyperparameters.
        budget: What the training may use; on several hosts whose workers do not talk through torch, with ``scope="project"`` only.
        config: Options beyond these, and defaults for these.
        **options: Further options of ``fitprint.Tracker``: region, intensity, pue, project, name, ledger.

    Raises:
        ConfigError: If an option makes no sense; the message says what would.

    Example::

        def train_loop(config):
            with WorkerTracker(config, budget="1 kg", ledger="/data/fitprint.db", region="FR") as tracker:
                for epoch in tracker.epochs(range(10)):
                    tracker.report({"loss": train_an_epoch()})

        TorchTrainer(train_loop, scaling_config=ScalingConfig(num_workers=2)).fit()
    """

    def __init__(
        self,
        hparams: Mapping[str, Any] | None = None,
        *,
        budget: str | Budget | list[str | Budget] | None = None,
        config: Config | None = None,
        **options: Any,
    ) -> None:
        context = ray.train.get_context()
        self._workers: int = context.get_world_size()
        first_on_host = context.get_local_rank() == 0
        own_gpus = not first_on_host and os.environ.get(SHARED_GPUS) == "0"
        self._reads = first_on_host or own_gpus
        given = Config.of(config).overridden(budget=budget)
        self._talks = self._workers > 1 and process_group(sys.modules) is not None
        if not self._talks:
            _check_budget(given, many_hosts=self._workers > context.get_local_world_size())
        if own_gpus and not self._talks:
            given = given.overridden(parts=("gpu",))
        super().__init__(config=given, **options)
        self.describe(hparams=hparams)

    def start(self) -> Self:
        """Begin the run, on workers that read a sensor or talk to one that does."""
        self._started = True
        return super().start() if self._reads or self._talks else self

    def report(self, metrics: Mapping[str, Any], **options: Any) -> None:
        """Report to Ray Train; like ``ray.train.report`` it is called by every worker.

        Args:
            metrics: Of the epoch; they are kept with it as well.
            **options: Of ``ray.train.report``, such as ``checkpoint``.
        """
        self.annotate(metrics)
        self._meetings.exchange(0)
        ray.train.report({**metrics, **Sweep().outcome(self.footprint)}, **options)


def _check_budget(config: Config, *, many_hosts: bool) -> None:
    budgets = Budget.several(config.budget)
    if many_hosts and any(budget.scope == "run" for budget in budgets):
        expected = "Budget(..., scope='project') where the workers are on several hosts, each of which counts its own"
        raise refusal("budget", expected=expected, came=config.budget)
