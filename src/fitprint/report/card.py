"""Hugging Face's ``co2_eq_emissions``: the block of a model card's metadata.

The Hub finds the first plain decimal in ``emissions`` and takes it for grams; it would read 1.2e-05 as 1.2.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal

from fitprint.errors import FitprintError
from fitprint.report.document import Document, measured_share
from fitprint.report.references import package_version
from fitprint.units import format_co2e, format_share

KEY = "co2_eq_emissions"
TRAINING_TYPES = ("pre-training", "fine-tuning")
_CONTROLS = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
# Significant digits of the grams; they are not known any better.
DIGITS = 6


def card(document: Document, training_type: str | None = None) -> str:
    """The block as YAML.

    Raises:
        FitprintError: If the grams are unknown: the Hub knows no such value.
    """
    rows = "".join(f"  {name}: {value}\n" for name, value in card_rows(document, training_type).items())
    return f"{KEY}:\n{rows}"


def card_rows(document: Document, training_type: str | None = None) -> dict[str, str]:
    """Names and values of the block, the values as YAML.

    Raises:
        FitprintError: If the grams are unknown.
    """
    grams = document.amounts.co2e_g
    if grams is None:
        raise FitprintError(
            "a model card needs grams of CO2e, and those of this run are unknown: nothing was measured or modelled."
        )
    told = {"training_type": training_type, "geographical_location": _place(document), "hardware_used": _fact(document, "hardware")}
    rows = {"emissions": plain_decimal(grams), "source": quoted(_source(document))}
    return rows | {name: quoted(text) for name, text in told.items() if text}


def plain_decimal(value: float) -> str:
    """A number without exponent and without separators.

    Example:
        >>> plain_decimal(1.23456789e-05), plain_decimal(1234567.0)
        ('0.0000123457', '1234570')
    """
    return format(Decimal(f"{value:.{DIGITS}g}"), "f")


def quoted(text: str) -> str:
    """A YAML string on one line. JSON's strings are YAML's, but for a few characters that YAML takes for the end of a line."""
    line = json.dumps(" ".join(text.split()), ensure_ascii=False)
    return _CONTROLS.sub(lambda match: f"\\u{ord(match.group()):04x}", line)


def _source(document: Document) -> str:
    """All that the block has no key for."""
    sums = document.amounts
    interval = f"95 % interval {format_co2e(sums.co2e_low_g)} to {format_co2e(sums.co2e_high_g)}"
    share = f"{format_share(measured_share(document.runs))} of the energy measured"
    told = ("sensors", "time", "parameters", "FLOPs", "carbon intensity", "PUE", "node factor")
    figures = "; ".join(f"{label}: {_fact(document, label) or 'unknown'}" for label in told)
    left_out = ", ".join(document.not_counted)
    return f"fitprint {package_version()}: {interval}; {share}; {figures}. {document.basis} Not counted: {left_out}."


def _place(document: Document) -> str:
    places = [row for run in document.runs for row in run.assumptions if row["name"] == "region"]
    return ", ".join(dict.fromkeys(f"{row['source']} ({row['value']})" for row in places))


def _fact(document: Document, label: str) -> str:
    return "; ".join(fact.short for fact in document.facts if fact.label == label)
