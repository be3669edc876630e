"""``python -m benchmarks [TABLES] [--markdown FILE]``: prints tables of costs and errors; BENCH_QUICK=1 for a glance."""

from __future__ import annotations

import argparse
import logging
import sys
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks.document import block, machine, put

TABLES = ("costs", "overhead", "peers", "accuracy", "phase", "coverage", "budgets", "pots", "ranks", "kills", "epochs")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("tables", nargs="*", default=[], metavar="TABLE", help=f"of {', '.join(TABLES)}; all by default")
    parser.add_argument("--markdown", type=Path, help="a document: each table is put where its marker stands, else at the end")
    options = parser.parse_args()
    if unknown := set(options.tables) - set(TABLES):
        parser.error(f"no such table: {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    logging.getLogger("fitprint").setLevel(logging.ERROR)
    console, broken = Console(width=None if sys.stdout.isatty() else 160), False
    for name in options.tables or TABLES:
        where, sheets = machine(), []
        for sheet in import_module(f"benchmarks.{name}").sheets():
            sheet.show(console)
            sheets.append(sheet)
        if options.markdown:
            put(options.markdown, name, block(name, where, sheets))
        broken |= any(sheet.broken for sheet in sheets)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
