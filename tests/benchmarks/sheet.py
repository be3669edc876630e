"""A table of results: for the terminal, and as Markdown to paste into documents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")


@dataclass(frozen=True)
class Sheet:
    """One table.

    Attributes:
        title: What it shows.
        columns: Their headings.
        rows: Their cells; the first column is text, the others are figures.
        note: How to read it.
        broken: A promise in it is not kept: the benchmark fails.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    broken: bool = False

    def show(self, console: Console) -> None:
        table = Table(title=self.title, caption=self.note, title_justify="left", caption_justify="left")
        for i, column in enumerate(self.columns):
            table.add_column(column, justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def markdown(self) -> str:
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.columns, *self.rows)]
        lines.insert(1, "|---" + "|---:" * (len(self.columns) - 1) + "|")
        return "\n".join([f"**{self.title}**", "", *lines, *(["", self.note] if self.note else []), ""])
