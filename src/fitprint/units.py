"""Joules, watt-hours and grams: parsing and formatting. Nothing else in the package converts units."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from fitprint.errors import did_you_mean, refusal

J_PER_WH = 3600.0
J_PER_KWH = 3.6e6

GRAMS = {"mg": 1e-3, "g": 1.0, "kg": 1e3, "t": 1e6}
JOULES = {"J": 1.0, "kJ": 1e3, "MJ": 1e6, "GJ": 1e9, "Wh": J_PER_WH, "kWh": J_PER_KWH, "MWh": 1e3 * J_PER_KWH}
WORDS = {
    "milligram": "mg", "gram": "g", "kilogram": "kg", "tonne": "t", "joule": "J", "kilojoule": "kJ", "megajoule": "MJ",
    "gigajoule": "GJ", "watt-hour": "Wh", "kilowatt-hour": "kWh", "megawatt-hour": "MWh",
}  # fmt: skip
QUANTITY_EXPECTED = "a mass of CO2e such as '250 g' or '2 kg', or an energy such as '0.5 kWh' or '900 kJ'"

# From here on three significant digits round up to the next unit.
ROUNDS_UP = 0.9995

# Compiled when they are first used: most runs read no quantity.
_DIGITS = r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_NUMBER = rf"\s*{_DIGITS}\s*"
# Fitprint itself writes "250 g CO2e".
_QUANTITY = rf"(?i)\s*{_DIGITS}\s*([A-Za-z-]+?)(\s*CO[2₂]eq?)?\s*"
_COMMA = r"\s*([+-]?\d+),(\d+)\s*([A-Za-z]+)\s*"


class Quantity(NamedTuple):
    """A mass of CO2e in grams (``unit == "g"``) or an energy in joules (``unit == "J"``)."""

    value: float
    unit: Literal["g", "J"]


def parse_quantity(text: str, what: str = "budget") -> Quantity:
    """Read ``"250 g"``, ``"2 kg"``, ``"0.5 kWh"`` or ``"900 kJ"``.

    A mass may end in ``CO2e``, and units may be written out (``"250 grams"``). Case does not matter (``"2 KG"``), except
    where it tells milli from mega: ``"1 mJ"`` is refused.

    Raises:
        ConfigError: If the text is not a positive, finite number with a known unit.
    """
    match = re.fullmatch(_QUANTITY, text)
    if match is None:
        raise refusal(what, expected=QUANTITY_EXPECTED, came=text, hint=_hint(text))
    number, word, of_co2e = match.groups()
    unit = _unit(word)
    if unit is None or (of_co2e and unit not in GRAMS):
        raise refusal(what, expected=QUANTITY_EXPECTED, came=text, hint=_nearest(number, word))
    value = float(number) * (GRAMS.get(unit) or JOULES[unit])
    if not (math.isfinite(value) and value > 0):
        raise refusal(what, expected=f"more than zero: {QUANTITY_EXPECTED}", came=text)
    return Quantity(value, "g" if unit in GRAMS else "J")


def bare_number(number: float, text: str) -> str:
    """What to write instead of a number without a unit.

    Args:
        number: It.
        text: The same, as it is written.
    """
    grams, energy = (text, text) if number > 0 else ("250", "0.5")
    return f"A bare number has no unit. Write for example '{grams} g' or '{energy} kWh'."


def _unit(word: str) -> str | None:
    known = {**GRAMS, **JOULES}
    if word in known:
        return word
    folded = word.casefold()
    unit = {name.casefold(): name for name in known}.get(folded) or WORDS.get(folded.removesuffix("s"))
    return None if unit is None or _milli_or_mega(word, unit) else unit


def _milli_or_mega(word: str, unit: str) -> bool:
    """Whether a unit in another case can be a prefix a thousand million times as large, or as small."""
    return word.casefold() == unit.casefold() and unit[0] in "mM" and word[0] != unit[0]


def _hint(text: str) -> str:
    """How to write a text that is not one number and one unit."""
    if re.fullmatch(_NUMBER, text):
        return bare_number(float(text.strip()), text.strip())
    if re.fullmatch(_QUANTITY, f"{text.strip()}e"):  # CO2 alone
        return f"Did you mean {f'{text.strip()}e'!r}?"
    if not (comma := re.fullmatch(_COMMA, text)):
        return ""
    whole, rest, word = comma.groups()
    thousands = f"{f'{whole}{rest} {word}'!r} or " if len(rest) == 3 else ""
    return f"Did you mean {thousands}{f'{whole}.{rest} {word}'!r}?"


def _nearest(number: str, word: str) -> str:
    if word.casefold() == "mg":
        return f"Did you mean '{number} mg' or '{number} t'?"
    guess = did_you_mean(word, [*GRAMS, *JOULES])
    return f"Did you mean {f'{number} {guess}'!r}?" if guess else ""


def wh(energy_j: float) -> float:
    """Joules to watt-hours."""
    return energy_j / J_PER_WH


def joules(energy_wh: float) -> float:
    """Watt-hours to joules."""
    return energy_wh * J_PER_WH


def kwh(energy_j: float) -> float:
    """Joules to kilowatt-hours."""
    return energy_j / J_PER_KWH


_GRAM_SCALES = ((1e6, "t"), (1e3, "kg"), (1.0, "g"), (1e-3, "mg"))
_JOULE_SCALES = ((J_PER_KWH, "kWh"), (J_PER_WH, "Wh"), (1.0, "J"))
# Less than this share of a limit is said to be less.
SMALLEST_SHARE = 1e-4


def format_co2e(grams: float | None) -> str:
    """Three significant digits with a unit: ``"3.1 g"``, ``"1.24 kg"``; ``"unknown"`` for None."""
    return _scaled(grams, _GRAM_SCALES)


def format_energy(energy_j: float | None) -> str:
    """Three significant digits with a unit: ``"27.1 Wh"``, ``"1.5 kWh"``; ``"unknown"`` for None."""
    return _scaled(energy_j, _JOULE_SCALES)


def format_flops(operations: float) -> str:
    """Three significant digits with a prefix: ``"4.51 TFLOP"``."""
    return _scaled(operations, [(1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1.0, "FLOP")])


def format_quantity(value: float, unit: str) -> str:
    """Format grams (``unit == "g"``) or joules (``unit == "J"``)."""
    return format_co2e(value) if unit == "g" else format_energy(value)


def format_alike(values: Sequence[float], unit: str) -> list[str]:
    """Format grams or joules that are read beside each other, all in the unit that suits the first."""
    factor, name = _scale(values[0], _GRAM_SCALES if unit == "g" else _JOULE_SCALES)
    return [f"{significant(value / factor)} {name}" for value in values]


def format_duration(seconds: float) -> str:
    """``"12.3 s"``, ``"4 min 05 s"``, ``"3 h 12 min"``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_share(share: float | None) -> str:
    """A fraction as whole percent: ``"91 %"``."""
    if share is None:
        return "unknown"
    return "over 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def format_used(share: float) -> str:
    """A fraction of a limit as percent with three significant digits: ``"48.2 %"``, ``"308 %"``, ``"< 0.01 %"``."""
    return "< 0.01 %" if 0 < share < SMALLEST_SHARE else f"{significant(100 * share)} %"


def significant(value: float, digits: int = 3) -> str:
    """A plain decimal with so many significant digits, never in scientific notation."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scale(value: float, scales: Sequence[tuple[float, str]]) -> tuple[float, str]:
    return next((pair for pair in scales if abs(value) >= ROUNDS_UP * pair[0]), scales[-1])


def _scaled(value: float | None, scales: Sequence[tuple[float, str]]) -> str:
    if value is None:
        return "unknown"
    factor, unit = _scale(value, scales)
    return f"{significant(value / factor)} {unit}"
