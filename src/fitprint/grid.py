"""The electricity of a run whose intensity changes while it lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Self

from fitprint.carbon.factors import Factors
from fitprint.energy import Energy
from fitprint.footprint import EpochFootprint
from fitprint.ledger.clerk import Errand
from fitprint.timeline import Timeline

if TYPE_CHECKING:
    from fitprint.carbon.hourly import HourlySeries
    from fitprint.carbon.live import LiveIntensity
    from fitprint.carbon.over_time import Mean, OverTime


class Weighed(NamedTuple):
    """What an epoch or block used, and when, in seconds since 1970."""

    energy: Energy
    start_s: float
    end_s: float


class Grid:
    """What is known of the intensity of a run's time, and of which epochs and blocks it is the grams' ground.

    Args:
        over: Weighs intensities with the run's energy.
        timeline: That energy.
        errand: Fetches intensities, where they come from elsewhere; None otherwise.

    Attributes:
        epochs: The windows of the epochs that have ended.
        blocks: The windows of the blocks.
    """

    def __init__(self, over: OverTime, timeline: Timeline, errand: Errand | None) -> None:
        self.over, self.errand = over, errand
        self.epochs: list[Weighed] = []
        self.blocks: list[Weighed] = []
        self._timeline = timeline

    @classmethod
    def of(cls, factors: Factors, timeline: Timeline) -> Self | None:
        """None where the intensity is a constant."""
        source = factors.source
        if source is None:
            return None
        from fitprint.carbon.live import LiveIntensity
        from fitprint.carbon.over_time import OverTime

        over = OverTime(source, factors.intensity, timeline, factors.place.name)
        return cls(over, timeline, _errand(source, timeline) if isinstance(source, LiveIntensity) else None)

    @property
    def series(self) -> HourlySeries | None:
        """What the source knows, where that is a series."""
        from fitprint.carbon.hourly import HourlySeries

        known = getattr(self.over.source, "series", self.over.source)
        return known if isinstance(known, HourlySeries) else None

    def again(
        self,
        records: Sequence[EpochFootprint],
        windows: Sequence[Weighed],
        weigh: Callable[[EpochFootprint, Energy, Mean], EpochFootprint],
    ) -> list[EpochFootprint]:
        """The records of windows with what is known by now.

        Args:
            records: Of epochs or blocks.
            windows: Theirs.
            weigh: Writes grams into a record.
        """
        pairs = zip(records, windows, strict=True)
        return [weigh(record, window.energy, self.over.during(window.start_s, window.end_s)) for record, window in pairs]

    def doubts(self) -> tuple[str, ...]:
        """What a person should hear once: where the run's energy had no figure of its own."""
        stand_in = self.over.during(self._timeline.start_s, self._timeline.end_s).stand_in
        return self.over.notes() if stand_in > 0 else ()


def _errand(source: LiveIntensity, timeline: Timeline) -> Errand:
    """Fetches what is missing since the run began."""

    def fetch(meanwhile: Callable[[], bool]) -> None:
        source.fetch(datetime.fromtimestamp(timeline.start_s, UTC), None, meanwhile)

    return fetch
