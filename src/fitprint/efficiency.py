"""The efficiency rule: training goes on only while what it gains is worth its carbon."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from fitprint.budget import Decision, Spent
from fitprint.errors import ConfigError, refusal
from fitprint.metrics import changes, chosen_mode
from fitprint.notices import logger
from fitprint.units import J_PER_WH, Quantity, format_quantity

NO_CARBON_CALLBACK = (
    "EfficiencyStopping needs the grams that CarbonCallback measures, and there is no CarbonCallback among the callbacks. "
    "Expected both in one list. Write: callbacks=[CarbonCallback(), EfficiencyStopping(...)]"
)


class Efficiency:
    """Decides, at each epoch's end, whether the last ones paid for their carbon.

    A metric is smoothed (exponentially, with the start's bias taken out, as TensorBoard does) and its best value
    so far is kept. Training has become inefficient when this best value gained less than ``min_gain_per_g``
    times the grams, over the last ``patience`` epochs that had the metric. An epoch without it costs its grams; a
    value that is not finite gains nothing. Where nothing is measured, nothing is decided.

    Args:
        monitor: The metric's name.
        min_gain_per_g: Least gain a gram of CO2e, in the metric's unit; or
        min_gain_per_wh: least gain a watt-hour at the sensors. One of the two.
        mode: ``max`` where a larger metric is better, ``min`` where a smaller one is, ``auto`` by its name.
        patience: Values of the metric over which the gain is taken, from 1 up.
        smoothing: Weight of the past in the smoothed metric, from 0 (none) to below 1.

    Raises:
        ConfigError: If a value makes no sense; the message says what would.

    Example:
        >>> rule = Efficiency("val_acc", min_gain_per_g=0.01, patience=1, smoothing=0.0)
        >>> spent = [Spent(0.0, grams, grams, grams, 1.0) for grams in (1.0, 2.0, 3.0)]
        >>> [rule.observe(epoch, {"val_acc": (0.5, 0.9, 0.905)[epoch]}, spent[epoch]) for epoch in range(3)]
        [False, False, True]
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
        if not isinstance(monitor, str) or not monitor:
            raise refusal("monitor", expected="the name of a metric, such as 'val_acc'", came=monitor)
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise refusal("patience", expected="a number of epochs from 1 up", came=patience)
        if not _is_number(smoothing) or not 0 <= smoothing < 1:
            raise refusal("smoothing", expected="the weight of the past, from 0 to below 1", came=smoothing)
        self.monitor = monitor
        self.patience = patience
        self._least, self._unit = _price(min_gain_per_g, min_gain_per_wh)
        self._sign = 1.0 if chosen_mode(mode, monitor) == "max" else -1.0
        self._weight = float(smoothing)
        self.begin()

    def begin(self) -> None:
        """Forget everything: a run begins."""
        self._unseen = self._values = 0
        self._sum = 0.0
        # (epoch, best smoothed value so far, spent by then) of the last values, the oldest first.
        self._window: deque[tuple[int, float, float]] = deque(maxlen=self.patience + 1)
        self._said = False

    def observe(self, epoch: int, metrics: Mapping[str, Any], spent: Spent | None) -> bool:
        """Take in an epoch that has ended; True if the last ones did not pay.

        Args:
            epoch: Its number, from 0.
            metrics: The epoch's metrics, as the framework has them.
            spent: What the run has used so far; None where nothing is measured.
        """
        if self.monitor not in metrics:
            self._miss(metrics)
            return False
        if spent is None:
            return False
        used = spent.of(Quantity(0.0, self._unit))
        self._window.append((epoch, self._best(_number(metrics[self.monitor])), used))
        full = len(self._window) > self.patience
        return full and self._gain < self._least * self._cost

    def decision(self) -> Decision | None:
        """Why training is not worth going on, with its numbers; None where nothing was observed, as on a rank without sensors.

        ``limit`` is the use that the gain would have paid for, ``next_expected`` the mean epoch of the window.
        """
        if not self._window:
            return None
        first, _, before = self._window[0]
        last, _, used = self._window[-1]
        verb = "raised" if self._sign > 0 else "lowered"
        gram = "gram" if self._unit == "g" else "watt-hour"
        asked = self._least if self._unit == "g" else self._least * J_PER_WH
        got = self._gain / self._cost * (1 if self._unit == "g" else J_PER_WH) if self._cost > 0 else 0.0
        metric = f"{self.monitor} (smoothed)" if self._weight else self.monitor
        what = f"epochs {first + 1} to {last}" if last > first + 1 else f"epoch {last}"
        gained, paid, least = changes(self.monitor, self._gain, got, asked)
        sentence = (
            f"Stopped after epoch {last}: {what} cost {format_quantity(self._cost, self._unit)} and {verb} {metric} by "
            f"{gained}, {paid} a {gram}; at least {least} a {gram} was asked for."
        )
        return Decision(
            "efficiency", sentence, used, before + self._gain / self._least, self._unit, self._cost / (last - first or 1)
        )

    def state(self) -> dict[str, Any]:
        """Plain types for a checkpoint."""
        rows = [list(row) for row in self._window]
        return {"unseen": self._unseen, "values": self._values, "sum": self._sum, "window": rows}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state; another patience sees as much of it as it can."""
        self._unseen, self._values, self._sum = int(state["unseen"]), int(state["values"]), float(state["sum"])
        self._window.extend((int(epoch), float(best), float(used)) for epoch, best, used in state["window"])

    # ---- inside

    @property
    def _gain(self) -> float:
        best, before = self._window[-1][1], self._window[0][1]
        return best - before if best > before else 0.0

    @property
    def _cost(self) -> float:
        return self._window[-1][2] - self._window[0][2]

    def _best(self, value: float) -> float:
        """The best smoothed value so far, this one included; larger is better here."""
        before = self._window[-1][1] if self._window else -math.inf
        if not math.isfinite(value):
            return before
        self._values += 1
        self._sum = self._weight * self._sum + (1 - self._weight) * self._sign * value
        return max(before, self._sum / (1 - self._weight**self._values))

    def _miss(self, metrics: Mapping[str, Any]) -> None:
        """A metric may come every few epochs only; one that has not come by then was probably spelled otherwise."""
        self._unseen = self._unseen + 1 if not self._window else 0
        if self._unseen <= self.patience or self._said:
            return
        self._said = True
        there = ", ".join(sorted(name for name in metrics if not name.startswith("carbon/"))) or "none"
        logger().warning(
            "EfficiencyStopping: the metric %r did not come in the first %d epochs; nothing is stopped without it. Available: %s.",
            self.monitor,
            self._unseen,
            there,
        )


def _price(per_g: float | None, per_wh: float | None) -> tuple[float, Any]:
    """The least gain per gram, or per joule, and the unit."""
    given = [(name, value) for name, value in (("min_gain_per_g", per_g), ("min_gain_per_wh", per_wh)) if value is not None]
    if len(given) != 1:
        came = ", ".join(f"{name}={value!r}" for name, value in given) or "neither"
        raise ConfigError(
            f"EfficiencyStopping needs one of min_gain_per_g and min_gain_per_wh. Expected exactly one. Received: {came}. "
            "Write for example min_gain_per_g=0.001: a tenth of a point of accuracy a gram."
        )
    name, value = given[0]
    if not _is_number(value) or not (math.isfinite(value) and value > 0):
        raise refusal(name, expected="a number of the metric's units, more than 0", came=value)
    return (float(value), "g") if name == "min_gain_per_g" else (float(value) / J_PER_WH, "J")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float:
    """What is not one number counts as not a number: it gains nothing."""
    try:
        return float(value)
    except Exception:  # a vector, None, or an object of a library of its own
        return math.nan
