"""The runs of one callback object: fit, then test, then fit again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fitprint.config import Config
from fitprint.footprint import Footprint
from fitprint.tracker import Tracker


class Series:
    """Makes a tracker for each run and keeps the records.

    Args:
        config: Options of all runs.
        make: Makes the trackers; tests put their own hardware in here.
    """

    def __init__(self, config: Config, make: Callable[..., Tracker] = Tracker) -> None:
        self.config = config
        self.footprints: list[Footprint] = []
        self.tracker: Tracker | None = None
        self._make = make
        self._count = 0

    @property
    def footprint(self) -> Footprint | None:
        """The last ``fit``'s record: live while it lasts; None before the first."""
        if self.tracker is not None and self._kind == "fit":
            return self.tracker.footprint
        return next((footprint for footprint in reversed(self.footprints) if footprint.kind == "fit"), None)

    def begin(self, kind: str) -> Tracker:
        """Start a run. One that was left open failed without telling us."""
        self.end("failed")
        self._count += 1
        self._kind = kind
        self.tracker = self._make(config=self._numbered(), kind=kind).start()
        return self.tracker

    def end(self, status: str | None = None) -> None:
        """End the open run, if there is one, and keep its record."""
        tracker, self.tracker = self.tracker, None
        if tracker is not None:
            tracker.close(status)
            self.footprints.append(tracker.footprint)

    def _numbered(self) -> Config:
        """A run id that was given is the first run's; later ones get a number behind it."""
        if self.config.run_id is None or self._count == 1:
            return self.config
        return self.config.overridden(run_id=f"{self.config.run_id}-{self._count}")

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry options and records, not the open run."""
        return {**self.__dict__, "tracker": None}
