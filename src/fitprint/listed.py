"""A framework's list of callbacks, in which one that measures is enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fitprint.notices import logger
from fitprint.series import Measured

TWICE = "the same CarbonCallback is listed more than once: it measures once"
SEVERAL = "%d CarbonCallbacks are in one list, and each records the same run: one is enough, with all budgets, budget=[...]"


def measure_once(callback: Measured, callbacks: list[Any], nothing: Callable[[], Any]) -> None:
    """See to it that a callback is called once at each event, and warn where others measure the same run.

    Args:
        callback: It measures.
        callbacks: All of the list, which is kept as long as it is: the framework may be in the middle of it.
        nothing: Makes a callback that does nothing.
    """
    places = [place for place, listed in enumerate(callbacks) if listed is callback]
    for place in places[1:]:
        callbacks[place] = nothing()
    if len(places) > 1:
        logger().warning(TWICE)
    measuring = [listed for listed in callbacks if isinstance(listed, Measured)]
    if len(measuring) > 1 and measuring[0] is callback:
        logger().warning(SEVERAL, len(measuring))
