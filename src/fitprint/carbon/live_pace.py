"""How often a service is asked: once a minute at most, and less and less while it fails."""

from __future__ import annotations

from typing import Any

from fitprint.clock import NS_PER_S, Clock

# Between two tries; twice as long after each further failure.
PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
# The longest that a service can tell us to stay away.
STAY_AWAY_S = 86400.0


class Pace:
    """When the next try may be, by a clock that never jumps.

    Args:
        clock: Counts the seconds between tries.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._next_ns: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        """On another machine, or after a restart, the clock counts from another moment."""
        return {**self.__dict__, "_next_ns": None}

    @property
    def may_try(self) -> bool:
        return self._next_ns is None or self._clock.monotonic_ns() >= self._next_ns

    def succeeded(self, pause_s: float = PAUSE_S) -> None:
        """Seconds until the next try, at least the usual pause."""
        self._failures = 0
        self._wait(max(pause_s, PAUSE_S))

    def failed(self, retry_after_s: float | None) -> float:
        """Seconds until the next try; a service that told how long to wait is obeyed, within limits."""
        pause_s = min(PAUSE_S * 2.0 ** min(self._failures, 10), LONGEST_PAUSE_S)
        pause_s = min(max(pause_s, retry_after_s or 0.0), STAY_AWAY_S)
        self._failures += 1
        self._wait(pause_s)
        return pause_s

    def _wait(self, seconds: float) -> None:
        self._next_ns = self._clock.monotonic_ns() + round(seconds * NS_PER_S)
