"""ClearML: scalars of the task that the program has started there."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from fitprint.errors import ConfigError, refusal
from fitprint.footprint import TRAINING_KINDS, Footprint
from fitprint.sinks.sink import Sink, facts


class ClearMLSink(Sink):
    """Logs under the public tags into ClearML's current task; it never starts or closes one.

    A tag's last word is the series and what stands before it the plot, as ClearML has it with TensorBoard's tags. The
    user properties ``fitprint_run_id``, ``fitprint_project`` and ``fitprint_status`` say which run of the ledger it is.

    Args:
        argument: None is taken.
    """

    def __init__(self, argument: str = "") -> None:
        if argument:
            raise refusal("sinks", expected="'clearml' alone, which logs into the current task", came=f"clearml:{argument}")
        self._task: Any = None
        self._properties: dict[str, str] = {}

    def begin(self, before: Footprint | None) -> None:
        """A program that has started a task has imported ClearML."""
        self._properties = {}
        self._task = sys.modules["clearml"].Task.current_task() if "clearml" in sys.modules else None
        if self._task is None:
            raise ConfigError("ClearML has no current task. Expected clearml.Task.init(...) before the first epoch.")
        self.place = f"clearml:{self._task.id}"

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        logger = self._task.get_logger()
        for tag, value in scalars.items():
            plot, _, series = tag.rpartition("/")
            logger.report_scalar(title=plot, series=series, value=value, iteration=step)

    def run(self, footprint: Footprint) -> None:
        properties = {f"fitprint_{name}": value for name, value in facts(footprint).items()}
        if footprint.kind in TRAINING_KINDS and properties != self._properties:
            self._task.set_user_properties(**properties)
            self._properties = properties

    def close(self) -> None:
        self._task = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_task": None}
