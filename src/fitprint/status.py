"""How a run ended, told from the exception that ended it."""

from __future__ import annotations

import sys
from contextlib import suppress

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


def stay_interrupted() -> None:
    """Let a program that Ctrl-C has ended have the exit status of that, whatever was done at its exit.

    The interpreter keeps in mind that nobody has handled the interrupt, and forgets it when text is run as code: a module
    with a dataclass that is imported meanwhile is enough. An interrupt that leaves such text brings it back.
    """
    if isinstance(getattr(sys, "last_value", None), KeyboardInterrupt) and not hasattr(sys, "ps1"):
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")
