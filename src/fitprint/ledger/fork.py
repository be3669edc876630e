"""Keeps a fork out of the middle of a write: SQLite's locks would stay held in the child for good."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# A disk that hangs must not hang the program's forks.
WAITS_S = 0.5


class ForkGuard:
    """A lock that every fork of the process takes for a moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = False
        self._registered = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nobody forks in here, unless it takes longer than WAITS_S."""
        lock = self._lock
        with lock:
            yield

    def register(self) -> None:
        """Watch the forks of this process from now on; does nothing the second time."""
        if not self._registered and hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._in_child)
        self._registered = True

    def _before(self) -> None:
        self._held = self._lock.acquire(timeout=WAITS_S)

    def _after(self) -> None:
        if self._held:
            self._held = False
            self._lock.release()

    def _in_child(self) -> None:
        """Whoever held it is not here."""
        self._held = False
        self._lock = threading.Lock()


# Forks are the process's, and so is their guard.
FORKS = ForkGuard()
