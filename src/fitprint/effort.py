"""What measuring itself costs: CPU time of a run's own threads and of the hooks in which training waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable


class Effort:
    """Adds up CPU seconds.

    Args:
        *threads: Each says how much one of the run's own threads has used.

    Example:
        >>> effort = Effort(lambda: 0.25)
        >>> began_s = effort.begin()
        >>> effort.end(began_s)
        >>> effort.cpu_s >= 0.25
        True
    """

    def __init__(self, *threads: Callable[[], float]) -> None:
        self._threads = threads
        self._hooks_s = 0.0
        self._final_s: float | None = None

    @staticmethod
    def begin() -> float:
        """CPU seconds of the calling thread, for ``end``."""
        return time.thread_time()

    def end(self, began_s: float) -> None:
        """What the calling thread has used since ``begin`` was the run's."""
        self._hooks_s += time.thread_time() - began_s

    @property
    def cpu_s(self) -> float:
        """CPU seconds so far; what is used after the last record cannot be in it."""
        return self._so_far_s() if self._final_s is None else self._final_s

    def conclude(self) -> None:
        """The last record is being written."""
        self._final_s = self.cpu_s

    def _so_far_s(self) -> float:
        return self._hooks_s + sum(thread() for thread in self._threads)
