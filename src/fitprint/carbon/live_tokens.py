"""Credentials of web services: read when they are used, kept nowhere, and never in a message."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from fitprint.errors import ConfigError

LARGEST_BYTES = 2**16
READABLE_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_secrets(names: Iterable[str], environ: Mapping[str, str], file: Path | None = None) -> dict[str, str]:
    """The credentials of these names, from the environment or else from a file with a line ``NAME=value`` for each.

    Args:
        names: As the environment has them.
        environ: The process environment.
        file: Readable by its owner alone (mode 0600).

    Raises:
        ConfigError: If one is missing, or the file is not to be trusted. No message holds a value or a path.
    """
    names = tuple(names)
    found = {name: environ.get(name, "").strip() for name in names}
    if file is not None and not all(found.values()):
        written = _read(file)
        found = {name: found[name] or written.get(name, "") for name in names}
    missing = [name for name in names if not found[name]]
    if missing:
        where = "in the environment" if file is None else "in the environment or the token file"
        raise ConfigError(f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not set {where}")
    return found


def _read(file: Path) -> dict[str, str]:
    try:
        with file.open("rb") as opened:
            _check_private(os.fstat(opened.fileno()))
            text = opened.read(LARGEST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token file cannot be read ({getattr(error, 'strerror', None) or 'it is not UTF-8'})") from None
    pairs = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _check_private(about: os.stat_result) -> None:
    """Windows has no such modes."""
    if not stat.S_ISREG(about.st_mode):
        raise ConfigError("the token file is no regular file")
    if os.name == "posix" and about.st_mode & READABLE_BY_OTHERS:
        raise ConfigError(f"others may read the token file (mode {stat.S_IMODE(about.st_mode):04o}); run chmod 600 on it")
