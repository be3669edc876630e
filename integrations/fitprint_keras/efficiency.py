"""Stops ``fit`` when an epoch's gain is no longer worth its carbon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras.callbacks import Callback

from fitprint.efficiency import NO_CARBON_CALLBACK, Efficiency
from fitprint.errors import ConfigError
from fitprint_keras.callback import IN_PARAMS, LOGS, CarbonCallback


class EfficiencyStopping(Callback):  # type: ignore[misc]  # Keras is not typed
    """Stops when the best value of a metric gains less, over some epochs, than their carbon is worth.

    Needs a CarbonCallback in the same list, before or after it, and works beside EarlyStopping. The reason is
    in ``footprint.stop_reason``, code ``efficiency``.

    Args:
        monitor: Name of the metric, such as ``val_accuracy``.
        min_gain_per_g: Least gain a gram of CO2e, in the metric's unit: 0.001 is a tenth of a point of accuracy; or
        min_gain_per_wh: least gain a watt-hour at the sensors. One of the two.
        mode: ``max`` where a larger metric is better, ``min`` where a smaller one is, ``auto`` by its name.
        patience: Values of the metric over which the gain is taken, from 1 up.
        smoothing: Weight of the past in the smoothed metric, from 0 (none) to below 1.

    Raises:
        ConfigError: If an option makes no sense, or, as training begins, without a CarbonCallback.

    Example:
        >>> stopping = EfficiencyStopping("val_accuracy", min_gain_per_g=0.001)  # doctest: +SKIP
        >>> model.fit(x, y, epochs=100, callbacks=[CarbonCallback(), stopping])  # doctest: +SKIP
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
        super().__init__()
        self.rule = Efficiency(
            monitor,
            min_gain_per_g=min_gain_per_g,
            min_gain_per_wh=min_gain_per_wh,
            mode=mode,
            patience=patience,
            smoothing=smoothing,
        )

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._carbon()
        self.rule.begin()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        carbon = self._carbon()
        tracker = carbon.series.tracker
        metrics = {name: value for name, value in (logs or {}).items() if name not in LOGS.values()}
        stop = self.rule.observe(epoch, metrics, tracker.spent)
        if tracker.stop(self.rule.decision() if stop else None):
            # A CarbonCallback behind this one passes it on itself, once its epoch is closed.
            self.model.stop_training = self.model.stop_training or not carbon.in_epoch

    def _carbon(self) -> CarbonCallback:
        """The callback that measures in the same list.

        Raises:
            ConfigError: If there is none.
        """
        carbon = (self.params or {}).get(IN_PARAMS)
        if not isinstance(carbon, CarbonCallback):
            raise ConfigError(NO_CARBON_CALLBACK)
        return carbon
