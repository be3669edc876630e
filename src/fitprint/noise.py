"""What differs by more than chance: pooled scatter of repeats, and Student's t."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Scatter:
    """How much repeats of the same thing differ.

    Attributes:
        sd: Standard deviation, pooled over all groups of repeats.
        freedom: Degrees of freedom that it was estimated from.
    """

    sd: float
    freedom: int

    def least_difference(self, n: int, m: int, *, looks: int = 1) -> float:
        """Difference of two means, of ``n`` and ``m`` values, from which on it is more than chance (95 %).

        Args:
            n: Values in the one mean.
            m: Values in the other.
            looks: Pairs that are looked at; the more there are, the more has to be asked of each (Bonferroni).
        """
        tail = (1 - CONFIDENCE) / (2 * max(1, looks))
        return student_t(1 - tail, self.freedom) * self.sd * math.sqrt(1 / n + 1 / m)


def scatter(groups: Iterable[Sequence[float]]) -> Scatter | None:
    """Pool the scatter within groups of repeats, taken to be alike in all; None without any repeat."""
    repeated = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in repeated)
    if not freedom:
        return None
    squares = math.fsum(statistics.variance(group) * (len(group) - 1) for group in repeated)
    return Scatter(math.sqrt(squares / freedom), freedom)


def student_t(share: float, freedom: int) -> float:
    """Quantile of Student's t distribution, by bisection.

    Args:
        share: Share of the distribution below it, from 0.5 to below 1.
        freedom: Degrees of freedom, from 1 up.

    Example:
        >>> round(student_t(0.975, 10), 3)
        2.228
    """
    low, high = 0.0, 1.0
    while _below(high, freedom) < share:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, freedom) < share else (low, middle)
    return high


def _below(t: float, freedom: int) -> float:
    """Share of Student's t distribution below ``t`` (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    between = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return 0.5 + between / 2
