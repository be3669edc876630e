"""How a run ended, told from the exception that ended it."""

from __future__ import annotations

# What a process exits with after SIGINT or SIGTERM, by the convention of shells: 128 and the signal's number.
BY_SIGNAL = (130, 143)


def status_of(error: BaseException | None) -> str | None:
    """The status of a run that ended with an exception: by a signal, or by a failure; None for a plain end."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return None
    by_signal = isinstance(error, KeyboardInterrupt) or type(error).__name__ == "SIGTERMException"
    if isinstance(error, SystemExit):  # a handler's
        by_signal = error.code in BY_SIGNAL
    return "interrupted" if by_signal else "failed"
