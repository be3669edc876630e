"""Puts tables into a document, each where its marker stands: ``<!-- table: NAME -->`` up to ``<!-- end -->``."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.sheet import QUICK, Sheet

BEGIN, END = "<!-- table: {} -->", "<!-- end -->"


def machine(root: Path = Path("/proc")) -> str:
    """Where a table was made: processor, cores, Python, and how busy other programs kept it."""
    found = re.search(r"^model name\s*: (.+)$", _text(root / "cpuinfo"), re.MULTILINE)
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, load average {os.getloadavg()[0]:.1f} before it"


def block(name: str, where: str, sheets: Sequence[Sheet]) -> str:
    """All sheets of a table between its markers, with the command that makes them and the machine.

    Args:
        name: The table's, as the command takes it.
        where: What ``machine`` said as it began.
        sheets: What the command printed.
    """
    command = f"{'BENCH_QUICK=1 ' * QUICK}make bench BENCH={name}"
    return "\n".join([BEGIN.format(name), f"`{command}` on {where}.", "", *(sheet.markdown() for sheet in sheets), END])


def put(file: Path, name: str, text: str) -> None:
    """Replace the table of this name in a file, or add it at the end.

    Args:
        file: The document; made where there is none.
        name: The table's.
        text: Its ``block``.
    """
    before = _text(file)
    marked = re.compile(re.escape(BEGIN.format(name)) + ".*?" + re.escape(END), re.DOTALL)
    after = marked.sub(lambda _: text, before, count=1) if marked.search(before) else f"{before}\n{text}\n".lstrip("\n")
    file.write_text(after)


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""
