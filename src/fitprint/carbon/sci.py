"""The Software Carbon Intensity (ISO/IEC 21031): (operational + embodied) grams per functional unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from fitprint.errors import refusal
from fitprint.units import significant

# What a run counts of its own.
COUNTED = ("run", "epoch", "step", "sample", "hour")
EXPECTED = f"a number and one of {', '.join(COUNTED)}, such as '1000 samples' or 'epoch'"

_UNIT = r"\s*([0-9][0-9,_]*(?:\.[0-9]+)?(?:[eE][0-9]+)?)?\s*([A-Za-z]+)\s*"


class FunctionalUnit(NamedTuple):
    """What a score is per.

    Attributes:
        amount: How many.
        of: ``run``, ``epoch``, ``step``, ``sample`` or ``hour``.
    """

    amount: float
    of: str

    def __str__(self) -> str:
        return self.of if self.amount == 1 else f"{significant(self.amount, 6)} {self.of}s"


def parse_functional_unit(text: Any) -> FunctionalUnit:
    """Read ``"1000 samples"``, ``"1,000 samples"`` or ``"epoch"``.

    Raises:
        ConfigError: If it is no positive number of something that a run counts.
    """
    match = re.fullmatch(_UNIT, text) if isinstance(text, str) else None
    if match is None:
        raise refusal("functional_unit", expected=EXPECTED, came=text)
    number, word = match[1], match[2].casefold()
    of = word if word in COUNTED else word.removesuffix("s")
    if of not in COUNTED:
        raise refusal("functional_unit", expected=EXPECTED, came=text, near=COUNTED)
    amount = float(number.replace(",", "").replace("_", "")) if number else 1.0
    if not 0 < amount < float("inf"):
        raise refusal("functional_unit", expected=EXPECTED, came=text)
    return FunctionalUnit(amount, of)


def check_functional_unit(value: Any) -> str:
    """Return the text if it names a functional unit.

    Raises:
        ConfigError: If it does not.
    """
    return str(parse_functional_unit(value))


def sci_g(
    operational_g: float | None, embodied_g: float | None, unit: FunctionalUnit, counts: Mapping[str, float | None]
) -> float | None:
    """Grams of CO2e per functional unit; None where a part of it is not known.

    Args:
        operational_g: Grams of the electricity, location-based: the score allows no other.
        embodied_g: The run's share of what is embodied in its hardware.
        unit: What the score is per.
        counts: How many of each the run had: ``run`` (1), ``epoch``, ``step``, ``sample``, ``hour``.
    """
    had = counts.get(unit.of)
    if operational_g is None or embodied_g is None or not had or had < 0:
        return None
    return (operational_g + embodied_g) / (had / unit.amount)
