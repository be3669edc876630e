"""Stops a Trainer when an evaluation's gain is no longer worth its carbon."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fitprint.efficiency import NO_CARBON_CALLBACK, Efficiency
from fitprint.errors import ConfigError
from fitprint_transformers.callback import ROUNDING, CarbonCallback
from transformers import TrainerCallback

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


class EfficiencyStopping(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by the type checker
    """Stops when the best value of a metric gains less, over some evaluations, than their carbon is worth.

    Works beside EarlyStoppingCallback and in any order of the callbacks. The reason is in ``footprint.stop_reason``,
    code ``efficiency``.

    Args:
        monitor: Name of the metric as evaluations have it, such as ``eval_accuracy``.
        carbon: The CarbonCallback of the same Trainer, which does not tell callbacks of each other.
        min_gain_per_g: Least gain a gram of CO2e, in the metric's unit: 0.001 is a tenth of a point of accuracy; or
        min_gain_per_wh: least gain a watt-hour at the sensors. One of the two.
        mode: ``max`` where a larger metric is better, ``min`` where a smaller one is, ``auto`` by its name.
        patience: Values of the metric over which the gain is taken, from 1 up.
        smoothing: Weight of the past in the smoothed metric, from 0 (none) to below 1.

    Raises:
        ConfigError: If an option makes no sense.

    Example::

        carbon = CarbonCallback()
        stopping = EfficiencyStopping("eval_accuracy", carbon, min_gain_per_g=0.001)
        trainer = Trainer(model, args, callbacks=[carbon, stopping], ...)
    """

    def __init__(
        self,
        monitor: str,
        carbon: CarbonCallback,
        *,
        min_gain_per_g: float | None = None,
        min_gain_per_wh: float | None = None,
        mode: str = "auto",
        patience: int = 3,
        smoothing: float = 0.5,
    ) -> None:
        super().__init__()
        if not isinstance(carbon, CarbonCallback):
            raise ConfigError(NO_CARBON_CALLBACK)
        self.carbon = carbon
        self.rule = Efficiency(
            monitor,
            min_gain_per_g=min_gain_per_g,
            min_gain_per_wh=min_gain_per_wh,
            mode=mode,
            patience=patience,
            smoothing=smoothing,
        )

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.rule.begin()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not self.carbon.fitting:
            return
        tracker = self.carbon.series.tracker
        epoch = max(0, math.ceil((state.epoch or 0.0) - ROUNDING) - 1)
        if self.rule.observe(epoch, metrics or {}, tracker.spent):
            tracker.stop(self.rule.decision())
            control.should_training_stop = True
