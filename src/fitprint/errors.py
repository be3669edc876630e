"""Everything fitprint raises on purpose.

FitprintError
├── ConfigError         an option makes no sense; raised at construction (also a ValueError)
├── MissingExtraError   an optional dependency is not installed (also an ImportError)
├── SensorError         a counter could not be read just now; the meter turns it into a gap
├── LedgerError         the record of runs cannot be read
└── CommandError        a command that was to be measured cannot be started

Failures of measuring never reach a training loop: only the first two are raised at users, and
only while an object is being built.
"""

from __future__ import annotations

from collections.abc import Iterable


class FitprintError(Exception):
    """Base of all errors of this package."""


class ConfigError(FitprintError, ValueError):
    """An option makes no sense."""


class MissingExtraError(FitprintError, ImportError):
    """An optional dependency is needed and absent."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(feature, extra)

    def __str__(self) -> str:
        feature, extra = self.args
        return f"{feature} needs an extra that is not installed. Run: {pip_line(extra)}"


class SensorError(FitprintError):
    """A counter could not be read."""


class LedgerError(FitprintError):
    """The ledger cannot be read."""


class CommandError(FitprintError):
    """A command cannot be started.

    Attributes:
        status: What to return to the shell.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def pip_line(extra: str) -> str:
    """The command that brings what an extra needs into an environment that has fitprint.

    Example:
        >>> pip_line("report")
        "pip install 'fitprint[report]'"
    """
    return f"pip install 'fitprint[{extra}]'"


def refusal(what: str, *, expected: str, came: object, near: Iterable[str] = (), hint: str = "") -> ConfigError:
    """Build the error for a refused option: what is wrong, what was expected, what came, how to mend it.

    Args:
        what: The option, for example ``budget``.
        expected: A sentence that says what would be accepted.
        came: The value that was given.
        near: Accepted values; the one closest to ``came`` is offered as the fix.
        hint: The fix where it is known; a whole sentence.
    """
    guess = did_you_mean(str(came), near)
    if guess and not hint:
        hint = f"Did you mean {guess!r}?"
    return ConfigError(f"{what}={came!r} is not valid. Expected {expected}. Received: {what}={came!r}. {hint}".rstrip())


def did_you_mean(came: str, accepted: Iterable[str]) -> str | None:
    """Return the accepted word nearest to ``came``, or None where none is near."""
    import difflib  # only where something is wrong

    by_folded = {word.casefold(): word for word in accepted}
    matches = difflib.get_close_matches(came.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else None
