"""What TensorBoard's own tabs show of a run: a summary to read, and a layout of charts."""

from __future__ import annotations

import re
from typing import Any

from fitprint.footprint import Footprint
from fitprint.report.text import FIRST_LINE, details, interval
from fitprint.units import format_co2e, format_duration, format_energy

RECORD, SUMMARY = "fitprint/run", "fitprint/summary"

_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#])")

Layout = dict[str, dict[str, list[Any]]]


def texts(record: str) -> dict[str, str]:
    """A run's texts by their tags: the record, which the Carbon tab reads, and a summary in Markdown for people.

    Args:
        record: The run's Footprint as JSON, as ``Tracker.run_text`` gives it.
    """
    return {RECORD: record, SUMMARY: summary(Footprint.from_json(record))}


def summary(footprint: Footprint) -> str:
    """The run in Markdown: grams with their interval first, then a table of what they come from."""
    missing = [f"**{_escaped(note)}**" for note in footprint.notes if note.startswith(FIRST_LINE)]
    known = footprint.co2e_low_g is not None and footprint.co2e_high_g is not None
    grams = f"**{format_co2e(footprint.co2e_g)} CO2e**" + (f" ({interval(footprint)}, 95 % interval)" if known else "")
    used = f"{format_energy(footprint.energy_j)} in {format_duration(footprint.duration_s)}"
    rows = [f"| {label} | {_escaped(text)} |" for label, text in details(footprint)]
    return "\n".join([", ".join([*missing, grams, used, footprint.status]), "", "| | |", "|---|---|", *rows])


def layout(prefix: str = "") -> Layout:
    """Charts for the custom scalars tab, in the form that ``SummaryWriter.add_custom_scalars`` takes.

    Args:
        prefix: What the framework puts before our tags, such as ``train/``.
    """
    tags = f"{prefix}carbon/"
    epoch = [f"{tags}epoch_co2e{end}" for end in ("_g", "_low_g", "_high_g")]
    so_far = [f"^{tags}{name}$" for name in ("total_co2e_g", "forecast_co2e_g", "budget_limit_g")]
    charts = {
        "CO2e of each epoch in g, with its 95 % interval": ["Margin", epoch],
        "CO2e so far, forecast and budget in g": ["Multiline", so_far],
        "energy of each epoch in Wh, by part": ["Multiline", [f"^{tags}part/.+_wh$"]],
        "energy of each epoch in Wh, by phase": ["Multiline", [f"^{tags}phase/.+_wh$"]],
        "mean power of each epoch in W": ["Multiline", [f"^{tags}power_w$"]],
    }
    return {f"{prefix}carbon": charts}


def show_in(writer: Any, record: str, step: int, *, prefix: str = "", begins: bool = False) -> None:
    """Give a SummaryWriter of torch or tensorboardX what a run has to show.

    Args:
        writer: The SummaryWriter.
        record: The run's Footprint as JSON.
        step: Where it stands in the run.
        prefix: What the framework puts before our tags.
        begins: True writes the layout of the charts, too.
    """
    if begins:
        writer.add_custom_scalars(layout(prefix))
    for tag, text in texts(record).items():
        writer.add_text(tag, text, step)


def _escaped(text: str) -> str:
    """As one cell of a table, with nothing in it that Markdown reads."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
