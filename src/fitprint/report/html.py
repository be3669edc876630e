"""A run as one HTML page without anything from outside."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fitprint.errors import MissingExtraError
from fitprint.report.charts import Chart, charts
from fitprint.report.document import Document, of_runs
from fitprint.report.references import references
from fitprint.report.templating import render
from fitprint.report.text import details, headline, segment_cells, several_segments
from fitprint.units import format_co2e, format_duration, format_energy, significant

if TYPE_CHECKING:
    from fitprint.footprint import EpochFootprint, Footprint

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
body { color: #1a1a1a; background: #fff; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ccc; vertical-align: top; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow-x: auto; }
.scroll table:not(.statement) { font-size: .875em; }
th { font-weight: 600; }
.statement th { white-space: nowrap; }
figure { margin: 1.5rem 0; break-inside: avoid; }
figure img { max-width: 100%; height: auto; background: #fff; }
figcaption { font-size: .9rem; }
td { overflow-wrap: break-word; }
.statement td { overflow-wrap: anywhere; }
@media (max-width: 40rem) { .statement th, .statement td { display: block; border: 0; white-space: normal; } }
h2 { break-after: avoid; margin: 2rem 0 .5rem; font-size: 1.25rem; }
tr { break-inside: avoid; }
@media print { body { font-size: 10pt; max-width: none; margin: 0; } .scroll { overflow: visible; } }
@media screen and (prefers-color-scheme: dark) { body { color: #eee; background: #161616; } th, td { border-color: #555; } }
"""


def report_page(footprint: Footprint) -> str:
    """The full report of a run; without jinja2 the plain page."""
    return page_of(of_runs([footprint]))


def page_of(document: Document) -> str:
    """The full report; without jinja2 the plain page where it is on one run and no total.

    Raises:
        MissingExtraError: If jinja2 is not installed and there is more to tell.
    """
    try:
        return html_report(document)
    except MissingExtraError:
        if len(document.runs) != 1 or document.tables:
            raise
        return page(document.runs[0])


def html_report(document: Document) -> str:
    """A report as a document with nothing from outside; without matplotlib it has no figures.

    Raises:
        MissingExtraError: If jinja2 is not installed.
    """
    shown = document.runs if len(document.runs) == 1 else ()
    values = {
        "d": document,
        "style": STYLE,
        "charts": _charts(document),
        "records": [_records(run) for run in shown],
        "references": references(document.sources),
    }
    return render("page.html.j2", "An HTML report", values)


def _charts(document: Document) -> tuple[Chart, ...]:
    try:
        return charts(document.runs)
    except MissingExtraError:
        return ()


def page(footprint: Footprint) -> str:
    """A whole document."""
    title = f"Footprint of {footprint.name or footprint.run_id}"
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{fragment(footprint)}</body></html>\n"
    )


def glance(footprint: Footprint) -> str:
    """The headline and its lines, as notebooks show a run that lasts."""
    return f"<p><strong>{html.escape(headline(footprint))}</strong></p>\n{table_of(['', ''], details(footprint))}"


def fragment(footprint: Footprint) -> str:
    """The content alone, as notebooks show it."""
    return "\n".join(
        [
            glance(footprint),
            _records(footprint),
            _assumptions(footprint),
            f"<p>Run {html.escape(footprint.run_id)}, started {html.escape(footprint.started_at)} (UTC).</p>",
        ]
    )


def _records(footprint: Footprint) -> str:
    """All that was recorded of a run in rows."""
    tables = [
        _segments(footprint),
        _epochs("Epochs", footprint.epochs),
        _epochs("Blocks of steps", footprint.blocks),
        _sensors(footprint),
    ]
    return "\n".join(table for table in tables if table)


def _segments(footprint: Footprint) -> str:
    """Where and under what budgets a resumed run went on."""
    rows = [segment_cells(segment) for segment in several_segments(footprint)]
    if not rows:
        return ""
    head = [name for name, _ in rows[0]]
    return "<h2>Segments</h2>" + table_of(head, [[text for _, text in row] for row in rows], numbers=True)


def _epochs(title: str, epochs: Sequence[EpochFootprint]) -> str:
    if not epochs:
        return ""
    metrics = sorted({name for epoch in epochs for name in epoch.metrics})
    rows = [
        [
            str(epoch.index) if epoch.complete else f"{epoch.index} (cut short)",
            format_duration(epoch.duration_s),
            format_energy(epoch.energy_j),
            format_co2e(epoch.co2e_g),
            f"{format_co2e(epoch.co2e_low_g)} to {format_co2e(epoch.co2e_high_g)}",
            *(_metric(epoch.metrics.get(name)) for name in metrics),
        ]
        for epoch in epochs
    ]
    return f"<h2>{title}</h2>" + table_of(["epoch", "time", "energy", "CO2e", "95 % interval", *metrics], rows, numbers=True)


def _metric(value: float | None) -> str:
    return "" if value is None else significant(value, 4)


def _sensors(footprint: Footprint) -> str:
    rows = [
        [str(s["id"]), str(s["part"]), _obtained(s), format_energy(s.get("energy_j")), str(s["source"])] for s in footprint.sensors
    ]
    return "<h2>Sensors</h2>" + table_of(["sensor", "part", "method", "energy", "source"], rows)


def _obtained(sensor: Mapping[str, Any]) -> str:
    """How the joules were obtained, and whether they are in the run or beside it."""
    role = str(sensor.get("role", "counted"))
    return str(sensor["method"]) if role == "counted" else f"{sensor['method']} ({role})"


def _assumptions(footprint: Footprint) -> str:
    rows = [
        [
            str(row["name"]),
            f"{row['value']} {row['unit']}" if row["unit"] != "1" else str(row["value"]),
            _ends(row),
            str(row["year"] or ""),
            str(row["source"]),
            str(row["basis"]),
        ]
        for row in footprint.assumptions
    ]
    return "<h2>Assumptions</h2>" + table_of(["figure", "value", "interval", "year", "source", "basis"], rows)


def _ends(row: Mapping[str, Any]) -> str:
    """The ends of a figure's interval, both with its unit."""
    if row["low"] is None or row["high"] is None:
        return ""
    unit = "" if row["unit"] == "1" else f" {row['unit']}"
    return f"{significant(row['low'])}{unit} to {significant(row['high'])}{unit}"


def table_of(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False, words: int = 0) -> str:
    """A table of texts, all of them escaped.

    Args:
        head: Its headings; none where all are empty.
        rows: Its cells.
        numbers: Align them to the right.
        words: Columns from the left that are none.
    """
    first = words if numbers else len(head)
    top = _row("th", head, first) if any(head) else ""
    body = "".join(_row("td", row, first) for row in rows)
    return f'<div class="scroll"><table>{top}{body}</table></div>'


def _row(tag: str, cells: Sequence[str], words: int) -> str:
    kinds = ["" if i < words else ' class="number"' for i in range(len(cells))]
    return f"<tr>{''.join(f'<{tag}{kind}>{html.escape(cell)}</{tag}>' for cell, kind in zip(cells, kinds, strict=True))}</tr>"
