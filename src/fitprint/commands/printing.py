"""Tables on standard output."""

from __future__ import annotations

from collections.abc import Sequence

from fitprint.notices import printable

# Names and values of users' own are cut here: they can be of any length.
LONGEST = 40


def shortened(text: str, longest: int = LONGEST) -> str:
    """The printable text, cut with an ellipsis where it is longer."""
    text = printable(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a head; no cell is cut off or wrapped, none is taken for markup or for a terminal's commands."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    head, rows = [printable(title) for title in head], [[printable(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False)
    for title in head:
        table.add_column(Text(title), no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    wide = max(console.width, sum(max(map(cell_len, column)) + 2 for column in zip(head, *rows, strict=True)))
    Console(width=wide).print(table)
