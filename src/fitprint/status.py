"""How a run ended, told from the exception that ended it."""

from __future__ import annotations

import signal


def status_of(error: BaseException | None) -> str | None:
    """The status of a run that ended with an exception: by a signal, or by a failure; None for a plain end."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return None
    by_signal = isinstance(error, KeyboardInterrupt) or type(error).__name__ == "SIGTERMException"
    if isinstance(error, SystemExit):  # a handler's, by the convention of shells
        by_signal = error.code in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    return "interrupted" if by_signal else "failed"
