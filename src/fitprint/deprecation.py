"""Says that a name will go, before it goes."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Taken = ParamSpec("Taken")
Given = TypeVar("Given")


def warn_deprecated(what: str, *, since: str, gone_in: str, instead: str, stacklevel: int = 2) -> None:
    """Warn the caller of a public name that it will go, when, and what to write instead.

    Args:
        what: The name as users write it.
        since: The version that warns first.
        gone_in: The version without it; after 1.0 the next major one, before it the next minor one.
        instead: What to write instead.
        stacklevel: How far up the user's line is.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_deprecated("Tracker.stop()", since="0.3", gone_in="0.4", instead="Tracker.close()")
        >>> str(caught[0].message)
        'Tracker.stop() is deprecated since fitprint 0.3 and will be gone in 0.4. Write Tracker.close() instead.'
    """
    text = f"{what} is deprecated since fitprint {since} and will be gone in {gone_in}. Write {instead} instead."
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel + 1)


def deprecated(what: str, *, since: str, gone_in: str, instead: str) -> Callable[[Callable[Taken, Given]], Callable[Taken, Given]]:
    """Mark a function: each call warns as ``warn_deprecated`` does and is carried out as ever."""

    def mark(function: Callable[Taken, Given]) -> Callable[Taken, Given]:
        @functools.wraps(function)
        def warning(*args: Taken.args, **kwargs: Taken.kwargs) -> Given:
            warn_deprecated(what, since=since, gone_in=gone_in, instead=instead)
            return function(*args, **kwargs)

        return warning

    return mark
