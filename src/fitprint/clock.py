"""Time, injected so that tests own it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

NS_PER_S = 1_000_000_000
# Only Linux has it.
_BOOT_TIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """A monotonic clock for durations and a wall clock for labels."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never jump; differences are durations."""

    def asleep_ns(self) -> int:
        """Nanoseconds that the machine has spent suspended since it booted; 0 where that is unknown."""

    def time(self) -> float:
        """Seconds since 1970, adjustable by the system: only ever a label."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


class SystemClock:
    """The machine's own clocks."""

    # The function itself: every boundary asks several times.
    monotonic_ns = staticmethod(time.monotonic_ns)

    def asleep_ns(self) -> int:
        """On Linux the monotonic clock stands still during a suspend and the boot-time clock does not."""
        return 0 if _BOOT_TIME is None else time.clock_gettime_ns(_BOOT_TIME) - time.monotonic_ns()

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def iso_utc(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
