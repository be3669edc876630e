"""A figure with its interval, and how sure a product of figures is."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection
from typing import Any, NamedTuple

from fitprint.assumption import Assumption


class Figure(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def exact(self) -> bool:
        return self.low == self.high


def figure(row: Assumption) -> Figure:
    """The figure of a row; one without an interval is taken as exact."""
    value = float(row.value or 0)
    return Figure(value, value if row.low is None else row.low, value if row.high is None else row.high)


def product(figures: Collection[Figure]) -> Figure:
    """Multiply figures whose errors are independent.

    The relative half-widths add in quadrature, those below and those above apart. Where the lower ones
    would come to more than the whole, the product of all lower ends is the end. No end lies below zero.
    """
    value = math.prod(one.value for one in figures)
    lows = [max(0.0, one.low / one.value) if one.value else 1.0 for one in figures]
    highs = [one.high / one.value if one.value else 1.0 for one in figures]
    low = max(1 - math.hypot(*(1 - low for low in lows)), math.prod(lows))
    return Figure(value, value * low, value * (1 + math.hypot(*(high - 1 for high in highs))))


def number(value: Any) -> float:
    """What an option came with as a finite number; NaN for everything else, which fits into no range."""
    try:
        plain = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan
    return plain if math.isfinite(plain) else math.nan
