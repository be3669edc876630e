"""Which runs a thread is inside of, and so the run in which another one is started."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from fitprint.events import EventTracker

# Which trackers the code of each thread is inside of. Only `with` counts: a framework's run that
# was left by an exception its callbacks never heard of would otherwise adopt every later one.
_threads = threading.local()


def entered() -> list[EventTracker]:
    """The trackers whose `with` block this thread is in, the innermost last."""
    if not hasattr(_threads, "entered"):
        _threads.entered = []
    inside: list[EventTracker] = _threads.entered
    return inside


def parent_run_id(environ: Mapping[str, str]) -> str | None:
    """The run inside which a new one starts: of this thread, else of the process that started this one.

    Args:
        environ: The process environment.
    """
    inside = [tracker.footprint.run_id for tracker in entered() if tracker.measuring and tracker.alive]
    return inside[-1] if inside else environ.get("FITPRINT_PARENT_RUN") or None
