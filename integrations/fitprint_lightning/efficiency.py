"""Stops a Trainer when an epoch's gain is no longer worth its carbon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fitprint.efficiency import NO_CARBON_CALLBACK, Efficiency
from fitprint.errors import ConfigError
from fitprint_lightning.callback import CarbonCallback

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback as LightningCallback
else:
    from fitprint_lightning.base import LightningCallback


class EfficiencyStopping(LightningCallback):  # type: ignore[misc]  # the framework is not followed by the type checker
    r"""Stops when the best value of a metric gains less, over some epochs, than their carbon is worth.

    Needs a CarbonCallback in the same list, before or after it, and works beside EarlyStopping. The reason is
    in ``footprint.stop_reason``, code ``efficiency``. A metric that is logged only in ``on_train_epoch_end`` of the
    LightningModule is seen one epoch late. The state is in every checkpoint.

    Args:
        monitor: Name of the metric, such as ``val_acc``.
        min_gain_per_g: Least gain a gram of CO2e, in the metric's unit: 0.001 is a tenth of a point of accuracy; or
        min_gain_per_wh: least gain a watt-hour at the sensors. One of the two.
        mode: ``max`` where a larger metric is better, ``min`` where a smaller one is, ``auto`` by its name.
        patience: Values of the metric over which the gain is taken, from 1 up.
        smoothing: Weight of the past in the smoothed metric, from 0 (none) to below 1.

    Raises:
        ConfigError: If an option makes no sense, or, as training begins, without a CarbonCallback.

    Example::

        stopping = EfficiencyStopping("val_acc", min_gain_per_g=0.001)
        trainer = Trainer(max_epochs=100, callbacks=[CarbonCallback(), stopping])
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
            monitor,
            min_gain_per_g=min_gain_per_g,
            min_gain_per_wh=min_gain_per_wh,
            mode=mode,
            patience=patience,
            smoothing=smoothing,
        )
        self._stale: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if str(getattr(stage, "value", stage)) == "fit":
            _carbon(trainer)
            self.rule.begin()
            self._stale = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Every rank passes here, and all stop if one of them has to."""
        carbon = _carbon(trainer)
        tracker = carbon.series.tracker
        stop = self.rule.observe(trainer.current_epoch, self._fresh(trainer), tracker.spent)
        if tracker.stop(self.rule.decision() if stop else None):
            # A CarbonCallback behind this one passes it on itself, once its epoch is closed.
            trainer.should_stop = trainer.should_stop or not carbon.in_epoch

    @property
    def state_key(self) -> str:
        """Constant for one metric, so that a changed gain still finds its state."""
        return f"fitprint.EfficiencyStopping[{self.rule.monitor}]"

    def state_dict(self) -> dict[str, Any]:
        """Plain types only: survives ``torch.load(weights_only=True)``."""
        return self.rule.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rule.resume(state_dict)

    def _fresh(self, trainer: Trainer) -> dict[str, Any]:
        """Metrics that were logged since the last epoch's end: Lightning keeps showing old ones."""
        before, self._stale = self._stale, dict(trainer.callback_metrics)
        return {name: value for name, value in self._stale.items() if value is not before.get(name)}


def _carbon(trainer: Trainer) -> CarbonCallback:
    """The callback that measures.

    Raises:
        ConfigError: If there is none.
    """
    for callback in trainer.callbacks:
        if isinstance(callback, CarbonCallback):
            return callback
    raise ConfigError(NO_CARBON_CALLBACK)
