"""Tables on standard output."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a head; no cell is cut off or wrapped, and none is taken for markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in head:
        table.add_column(title, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    wide = max(console.width, sum(max(len(cell) for cell in column) + 2 for column in zip(head, *rows, strict=True)))
    Console(width=wide).print(table)
