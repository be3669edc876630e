"""Paths as people write them, and files that are written whole: whoever reads one finds the old content or the new."""

from __future__ import annotations

import os
from pathlib import Path

from fitprint.errors import refusal


def home_path(what: str, text: str, *, expected: str, came: str = "") -> Path:
    """The path that a text names; ``~`` and ``~somebody`` are homes.

    Args:
        what: The option that it is.
        text: The path.
        expected: A sentence that says what would be accepted.
        came: The option's whole value, where the path is only a part of it.

    Raises:
        ConfigError: If this machine knows no home of that user.

    Example:
        >>> home_path("ledger", "runs/fitprint.db", expected="a path").name
        'fitprint.db'
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise refusal(what, expected=expected, came=came or text, hint=f"No home is known for {Path(text).parts[0]}.") from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside the one that is there, then put it in its place.

    A new file gets the mode that the user's umask leaves, an old one keeps its own, and a link stays one. What
    is no regular file, such as a terminal or a pipe, is written to as it is.

    Args:
        path: The file; its folder has to be there.
        content: All of it.

    Raises:
        OSError: If it cannot be written; what was there stays.

    Example:
        >>> replace_file(Path("report.html"), b"<p>")
        >>> Path("report.html").read_bytes()
        b'<p>'
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        target.write_bytes(content)
        return
    new = target.with_name(f".{target.name[:200]}.{os.urandom(4).hex()}")
    try:
        _write_new(new, content)
        if target.exists():
            import shutil  # milliseconds that no start of a run needs

            shutil.copymode(target, new)
        new.replace(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _write_new(path: Path, content: bytes) -> None:
    """Never into a file that somebody has put there."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
