"""What a probe answers: sensors, or the reason why there are none and what would help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from fitprint.assumption import Assumption
from fitprint.nothing import NOTHING
from fitprint.sensors.counter import Counter


class Found(NamedTuple):
    """Counters that can be read now.

    Attributes:
        counters: The counters, ready to be read.
        assumptions: Figures that modelled counters rest on.
        notes: What a reader of the result has to know about them.
        covers: Parts that are counted inside these counters, beyond the counters' own.
        shares: By sensor id, what share of it this job uses now (0 to 1), where others use it too.
    """

    counters: tuple[Counter, ...]
    assumptions: tuple[Assumption, ...] = ()
    notes: tuple[str, ...] = ()
    covers: tuple[str, ...] = ()
    shares: Mapping[str, Callable[[], float]] = NOTHING


class Absent(NamedTuple):
    """No counter, and why.

    Attributes:
        source: What was looked for.
        reason: Why it is not there.
        remedy: What a person can do about it; empty where nothing helps.
        uncounted: Hardware that draws power, is not counted because of this, and must be named in
            the first line of every summary; empty if nothing is left out.
        part: The part that it would have counted, where that is known; a model of the part makes up
            for it.
    """

    source: str
    reason: str
    remedy: str = ""
    uncounted: str = ""
    part: str = ""


Finding = Found | Absent
