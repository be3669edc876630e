"""Measuring every call of a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast, overload

from fitprint.tracker import Tracker

T = TypeVar("T")
P = ParamSpec("P")


@overload
def track(function: Callable[P, T], /) -> Callable[P, T]: ...
@overload
def track(**options: Any) -> Callable[[Callable[P, T]], Callable[P, T]]: ...
def track(function: Callable[P, T] | None = None, /, **options: Any) -> Any:
    """Measure every call of a function; the run is recorded in the ledger.

    Args:
        function: The function, when used without options.
        **options: Options of Tracker.

    Raises:
        ConfigError: If an option makes no sense.

    Example:
        >>> @track(region="FR", ledger="off")
        ... def train():
        ...     return 3
        >>> train()
        3
    """
    if function is None:
        return functools.partial(_tracked, options=options, checked=Tracker(**options))
    return _tracked(function, options=options)


def _tracked(function: Callable[P, T], *, options: dict[str, Any], checked: Tracker | None = None) -> Callable[P, T]:
    options = {"name": function.__qualname__.replace("<locals>.", ""), **options}

    @functools.wraps(function)
    def measured(*args: P.args, **kwargs: P.kwargs) -> T:
        with Tracker(**options):
            return function(*args, **kwargs)

    @functools.wraps(function)
    async def measured_while_awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
        with Tracker(**options):
            return await cast("Callable[P, Awaitable[Any]]", function)(*args, **kwargs)

    return cast("Callable[P, T]", measured_while_awaited) if inspect.iscoroutinefunction(function) else measured
