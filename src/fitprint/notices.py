"""The few sentences that fitprint says to a person, through the logger ``fitprint``."""

from __future__ import annotations

import logging
import sys

_LOGGER = logging.getLogger("fitprint")
_LOGGER.addHandler(logging.NullHandler())


class _ConsoleHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to whatever ``sys.stderr`` is now, so that notebooks and captured streams work."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def logger() -> logging.Logger:
    """Return the package's logger."""
    return _LOGGER


def show_on_console() -> None:
    """Let notices reach the terminal where the program has not configured logging itself.

    Called when a run starts, never at import. A program with handlers of its own decides alone.
    """
    if logging.getLogger().handlers or any(isinstance(h, _ConsoleHandler) for h in _LOGGER.handlers):
        return
    handler = _ConsoleHandler()
    handler.setFormatter(logging.Formatter("fitprint: %(message)s"))
    _LOGGER.addHandler(handler)
    if _LOGGER.level == logging.NOTSET:
        _LOGGER.setLevel(logging.INFO)


def warn(message: str, *arguments: object) -> None:
    """Warn of something outside the program, whether or not a run has started."""
    show_on_console()
    _LOGGER.warning(message, *arguments)


def keep_quiet(message: str, *arguments: object) -> None:
    """Say nothing where another place in the same run says it."""


def on_terminal() -> bool:
    """Whether notices reach a person at a terminal: one that we show ourselves, on standard error."""
    shown = any(isinstance(h, _ConsoleHandler) for h in _LOGGER.handlers) and _LOGGER.isEnabledFor(logging.INFO)
    return shown and bool(getattr(sys.stderr, "isatty", lambda: False)())


def printable(text: str) -> str:
    """The text on one line, with no character that moves a terminal's cursor, colours it or turns its writing round."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
