"""A run's state in a small file beside a framework's own backup, for frameworks that keep none for callbacks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fitprint.errors import refusal
from fitprint.files import home_path
from fitprint.notices import logger

EXPECTED = "a folder on this machine, such as 'backup'"


class Sidecar:
    """Keeps a state beside a folder; a write that is cut off leaves the state before it.

    Args:
        backup_dir: The framework's folder, for example of Keras' ``BackupAndRestore``. The state lies beside
            it, as ``<backup_dir>.fitprint.json``, for the framework deletes the folder when it is done.

    Raises:
        ConfigError: If it is no path of this machine.

    Example:
        >>> import tempfile
        >>> sidecar = Sidecar(Path(tempfile.mkdtemp()) / "backup")
        >>> sidecar.load()
        {}
        >>> sidecar.save({"schema": 1})
        >>> sidecar.load()
        {'schema': 1}
    """

    def __init__(self, backup_dir: str | Path) -> None:
        text = os.fspath(backup_dir) if isinstance(backup_dir, str | Path) else ""
        if not text.strip() or "://" in text:
            raise refusal("backup_dir", expected=EXPECTED, came=backup_dir)
        self.folder = home_path("backup_dir", text, expected=EXPECTED).absolute()
        self.path = self.folder.with_name(f"{self.folder.name}.fitprint.json")
        self._previous = self.path.with_suffix(".previous.json")

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state; the one before it is kept beside it.

        Raises:
            OSError: If it cannot be written; what was there stays.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new.json")
        with new.open("w", encoding="utf-8") as file:
            json.dump(state, file, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        if self.path.exists():
            self.path.replace(self._previous)
        new.replace(self.path)

    def load(self) -> dict[str, Any]:
        """The state, or if that cannot be read the one before it; empty where there is none, or none to go on from.

        A run that has ended is gone on with only while the framework's folder is there to go on from.
        """
        state = next(filter(None, map(_read, (self.path, self._previous))), {})
        ended = state.get("footprint", {}).get("status", "running") != "running"
        return {} if ended and not self.folder.exists() else state


def _read(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        logger().warning("the state in %s cannot be read (%s); the one before it is taken, if there is one", path, error)
        return {}
    return state if isinstance(state, dict) and isinstance(state.get("footprint", {}), dict) else {}
