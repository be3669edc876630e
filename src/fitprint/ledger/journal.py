"""An append-only file of JSON lines, one per process and run: what was written survives a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fitprint.location import Location
from fitprint.notices import logger

SCHEMA = 1
EVENTS = ("start", "describe", "epoch", "block", "metrics", "progress", "end")


class Journal:
    """Appends whole lines, each in one write.

    Args:
        path: The file; its folders are created.

    Raises:
        OSError: If it cannot be opened for appending.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Python closes it in child processes by itself; Windows would write \r\n without O_BINARY.
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        self._torn = False

    def append(self, event: Mapping[str, Any]) -> None:
        """Write one event; it is the kernel's from here on and survives SIGKILL."""
        line = json.dumps({"schema": SCHEMA, **event}, allow_nan=False, separators=(",", ":"))
        # After a line that a full disk cut off, the next one begins on a line of its own.
        data = (b"\n" if self._torn else b"") + line.encode() + b"\n"
        self._torn = True
        while data:
            data = data[os.write(self._fd, data) :]
        self._torn = False

    def close(self) -> None:
        os.close(self._fd)


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of one journal. A torn last line or garbage is skipped with a debug line."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                event = _event(line, path)
                if event is not None:
                    yield event
    except OSError as error:
        logger().warning("journal %s cannot be read: %s", path, error)


def _event(line: str, path: Path) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        logger().debug("journal %s: skipped a torn line", path)
        return None
    known = isinstance(event, dict) and event.get("event") in EVENTS and isinstance(event.get("run_id"), str)
    return event if known else None


def journals(ledger: Location | Path) -> list[Path]:
    """All journals beside a ledger, oldest first."""
    return sorted(Location.of(ledger).journals.glob("*/*.jsonl"), key=lambda path: path.stat().st_mtime)
