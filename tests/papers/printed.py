"""Numbers as papers print them: each stands for every number that rounds to it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fitprint.calculator import Estimate, estimate

LB_G = 453.59237
TONNE_G = 1e6


@dataclass(frozen=True)
class Span:
    """All numbers that something can be, given how it was rounded."""

    low: float
    high: float

    def __rmul__(self, factor: float) -> Span:
        return Span(factor * self.low, factor * self.high)

    def __truediv__(self, other: Span) -> Span:
        return Span(self.low / other.high, self.high / other.low)

    def meets(self, other: Span) -> bool:
        """Whether some number is in both: whether the two can be the same."""
        return self.low <= other.high and other.low <= self.high


def printed(text: str) -> Span:
    """``"1,287"`` is 1286.5 to 1287.5 and ``"0.20"`` is 0.195 to 0.205: half a unit of the last digit."""
    value = Decimal(text.replace(",", ""))
    half = Decimal(1).scaleb(int(value.as_tuple().exponent)) / 2
    return Span(float(value - half), float(value + half))


def exactly(value: float) -> Span:
    """A number that was not rounded."""
    return Span(value, value)


@dataclass(frozen=True)
class Ends:
    """An estimate from the lowest and one from the highest numbers that the printed inputs can be."""

    low: Estimate
    high: Estimate

    def __getattr__(self, name: str) -> Span:
        return Span(getattr(self.low, name), getattr(self.high, name))


def estimated(**inputs: float | str | Span) -> Ends:
    """The calculator's answer for inputs as printed (text), exact (numbers) or in a span. It rises with each of them."""
    spans = {name: printed(value) if isinstance(value, str) else value for name, value in inputs.items()}
    low, high = ({name: getattr(value, end, value) for name, value in spans.items()} for end in ("low", "high"))
    return Ends(estimate(**low), estimate(**high))
