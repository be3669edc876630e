"""MLflow: the metrics of a run that the program has started there."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from fitprint.errors import ConfigError
from fitprint.footprint import TRAINING_KINDS, Footprint
from fitprint.sinks.sink import Sink, facts


class MLflowSink(Sink):
    """Logs metrics under the public tags into MLflow's active run; it never starts or ends one.

    The tags ``fitprint.run_id``, ``fitprint.project`` and ``fitprint.status`` say which run of the ledger it is.

    Args:
        run_id: A run of MLflow instead of the active one.
    """

    def __init__(self, run_id: str = "") -> None:
        self._given = run_id
        self._run_id = ""
        self._tags: dict[str, str] = {}

    def begin(self, before: Footprint | None) -> None:
        """The active run is known in the thread that trains alone."""
        self._tags = {}
        self._run_id = self._given or _active_run_id()
        self.place = f"mlflow:{self._run_id}"

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        metrics = [Metric(tag, value, now_ms, step) for tag, value in scalars.items()]
        _client().log_batch(self._run_id, metrics=metrics)

    def run(self, footprint: Footprint) -> None:
        from mlflow.entities import RunTag

        tags = {f"fitprint.{name}": value for name, value in facts(footprint).items()}
        if footprint.kind in TRAINING_KINDS and tags != self._tags:
            _client().log_batch(self._run_id, tags=[RunTag(name, value) for name, value in tags.items()])
            self._tags = tags


def _active_run_id() -> str:
    """A program that has started a run has imported MLflow."""
    active = sys.modules["mlflow"].active_run() if "mlflow" in sys.modules else None
    if active is None:
        raise ConfigError("MLflow has no active run. Call mlflow.start_run() before the first epoch, or name one: 'mlflow:RUN_ID'.")
    return str(active.info.run_id)


def _client() -> Any:
    from mlflow import MlflowClient

    return MlflowClient()
