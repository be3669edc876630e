"""A file of raw readings that grows while a command runs."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fitprint.errors import CommandError
from fitprint.notices import logger


class Recording:
    """Takes readings wherever counters are read and writes them down where there is time for it.

    Args:
        path: A JSON-lines file; one that is there already is replaced.

    Raises:
        CommandError: On entering, if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: deque[dict[str, Any]] = deque()

    def keep(self, row: dict[str, Any]) -> None:
        """Remember a line; does no I/O."""
        self._rows.append(row)

    def write(self) -> None:
        """Append what has come since the last time; a full disk costs the trace, not the command."""
        lines = [json.dumps(self._rows.popleft()) + "\n" for _ in range(len(self._rows))]
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(lines)
        except OSError as error:
            logger().warning("the trace %s lacks %d readings (%s)", self._path, len(lines), error)

    def __enter__(self) -> Self:
        try:
            self._path.write_text("", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"cannot write the trace {str(self._path)!r}: {error.strerror or error}") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.write()
