"""Stops a Hugging Face Trainer when an evaluation's gain is no longer worth its carbon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fitprint.efficiency import NO_CARBON_CALLBACK, Efficiency
from fitprint.errors import ConfigError
from fitprint_transformers.callback import IN_CONTROL, ROUNDING, CarbonCallback
from transformers import TrainerCallback

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

PREFIX = "eval_"


class EfficiencyStopping(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by the type checker
    r"""Stops when the best value of a metric gains less, over some evaluations, than their carbon is worth.

    Needs a CarbonCallback beside it, before or after it, and works beside EarlyStoppingCallback. It judges at each
    evaluation. The reason is in ``footprint.stop_reason``, code ``efficiency``. The state is in ``trainer_state.json``.

    Args:
        monitor: Name of the metric as evaluations log it, ``eval_`` in front or not, such as ``eval_accuracy``.
        min_gain_per_g: Least gain a gram of CO2e, in the metric's unit: 0.001 is a tenth of a point of accuracy; or
        min_gain_per_wh: least gain a watt-hour at the sensors. One of the two.
        mode: ``max`` where a larger metric is better, ``min`` where a smaller one is, ``auto`` by its name.
        patience: Evaluations over which the gain is taken, from 1 up.
        smoothing: Weight of the past in the smoothed metric, from 0 (none) to below 1.

    Raises:
        ConfigError: If an option makes no sense, or, as the first epoch begins, without a CarbonCallback.

    Example::

        carbon = CarbonCallback().attach(trainer)
        trainer.add_callback(EfficiencyStopping("eval_accuracy", min_gain_per_g=0.001))
    """

    def __init__(
        self,
        monitor: str,
        *,
        min_gain_per_g: float | None = None,
        min_gain_per_wh: float | None = None,
        mode: str = "auto",
        patience: int = 3,
        smoothing: float = 0.5,
    ) -> None:
        self.rule = Efficiency(
            monitor if not isinstance(monitor, str) or not monitor or monitor.startswith(PREFIX) else PREFIX + monitor,
            min_gain_per_g=min_gain_per_g,
            min_gain_per_wh=min_gain_per_wh,
            mode=mode,
            patience=patience,
            smoothing=smoothing,
        )

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.rule.begin()
        kept = (state.stateful_callbacks or {}).get(self._state_key, {}).get("attributes")
        if kept:
            self.rule.resume(kept)

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """By now a CarbonCallback that comes later has begun, too."""
        _carbon(control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Every rank passes here, and all stop if one of them has to."""
        carbon = getattr(control, IN_CONTROL, None)
        if carbon is None or not carbon.fitting:
            return
        tracker = carbon.series.tracker
        stop = self.rule.observe(int((state.epoch or 0.0) - ROUNDING), metrics or {}, tracker.spent)
        state.stateful_callbacks[self._state_key] = {"args": {}, "attributes": self.rule.state()}
        # A CarbonCallback behind this one passes it on itself, once its epoch is closed.
        if tracker.stop(self.rule.decision() if stop else None) and not carbon.over:
            carbon.pass_on_stop(args, control, evaluated=True)

    @property
    def _state_key(self) -> str:
        return f"fitprint.EfficiencyStopping[{self.rule.monitor}]"


def _carbon(control: TrainerControl) -> CarbonCallback:
    """The callback that measures.

    Raises:
        ConfigError: If there is none.
    """
    carbon = getattr(control, IN_CONTROL, None)
    if not isinstance(carbon, CarbonCallback):
        raise ConfigError(NO_CARBON_CALLBACK)
    return carbon
