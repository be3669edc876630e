"""How a run says what it came to: a table on a terminal, plain lines everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fitprint.footprint import TRAINING_KINDS, Footprint
from fitprint.notices import logger, on_terminal, printable
from fitprint.report.text import FIRST_LINE, details, headline, interval
from fitprint.units import format_co2e, format_duration, format_energy

if TYPE_CHECKING:
    from rich.table import Table

# Of the summary's lines, those that are said; the rest is in the record.
SAID = ("energy", "place", "budget", "stopped")
LABELS = {"energy": "parts"}


def say_end(footprint: Footprint) -> None:
    """Say what a run came to, once, where its other notices go."""
    if footprint.kind in TRAINING_KINDS and on_terminal() and _show(footprint):
        return
    logger().info(plain(footprint))


def plain(footprint: Footprint) -> str:
    """The totals in one line, then how much was measured, the place, the budget and the reason of a stop, a line each."""
    return "\n".join([headline(footprint), *(f"  {label:<10} {text}" for label, text in _further(footprint))])


def totals(footprint: Footprint) -> list[tuple[str, str]]:
    """Label and text of each row of the table: all with their units."""
    known = footprint.co2e_low_g is not None and footprint.co2e_high_g is not None
    grams = format_co2e(footprint.co2e_g) + (f" (95 % interval {interval(footprint)})" if known else "")
    return [
        *(("careful", note) for note in footprint.notes if note.startswith(FIRST_LINE)),
        ("CO2e", grams),
        ("energy", format_energy(footprint.energy_j)),
        ("time", f"{format_duration(footprint.duration_s)}, epochs: {len(footprint.epochs):,}"),
        ("status", footprint.status),
        *_further(footprint),
    ]


def _further(footprint: Footprint) -> list[tuple[str, str]]:
    if footprint.kind not in TRAINING_KINDS:  # a stage by itself, such as a validation, is said in one line
        return []
    return [(LABELS.get(label, label), text) for label, text in details(footprint) if label in SAID]


def _show(footprint: Footprint) -> bool:
    """Draw the table; False where the terminal cannot take it."""
    try:
        from rich.console import Console

        console = Console(stderr=True)
        if console.is_dumb_terminal:
            return False
        console.print(table(footprint))
    except Exception:  # a terminal that has gone, or an encoding that lacks the letters
        return False
    return True


def table(footprint: Footprint) -> Table:
    """The totals as a table for rich; whatever a name holds stays text."""
    from rich.table import Table
    from rich.text import Text

    title = Text(printable(f"fitprint: {footprint.name or footprint.run_id}"))
    shown = Table(show_header=False, title=title, title_justify="left")
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column(overflow="fold")
    for label, text in totals(footprint):
        shown.add_row(label, Text(printable(text)))
    return shown
