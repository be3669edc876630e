"""Figures that were fetched, on disk, so that no process asks for the same hour twice: a file for each zone and day."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fitprint.carbon.intensity import LARGEST_G_PER_KWH
from fitprint.clock import iso_utc
from fitprint.files import replace_file

DAY_S = 86400


class Told(NamedTuple):
    """A figure, and when the service told it in seconds since 1970."""

    g_per_kwh: float
    at_s: float


@dataclass(frozen=True)
class FigureCache:
    """One zone of one service. What cannot be read is not there; what cannot be written is fetched again some day.

    Args:
        zone: ``service/zone``.
        root: By default the user's cache folder.
    """

    zone: str
    root: Path | None = None

    def load(self, start_s: float, end_s: float) -> dict[float, Told]:
        """What is known of every day that the stretch touches, by the times from which the figures stand."""
        found: dict[float, Told] = {}
        for day in range(_day(start_s), _day(end_s) + 1):
            found |= self._read(day)
        return found

    def save(self, figures: Mapping[float, Told]) -> None:
        """Add these to what is there, for files that can be written."""
        for day in {_day(second) for second in figures}:
            rows = {second: told for second, told in figures.items() if _day(second) == day}
            _replace(self._file(day), json.dumps([[second, *told] for second, told in sorted((self._read(day) | rows).items())]))

    def may_try(self, now_s: float) -> bool:
        """Whether no process has said that the service is to be left alone now. Nobody can say so for more than a day."""
        try:
            until_s = float(self._marker.read_text())
        except (OSError, ValueError):
            return True
        return not now_s < until_s < now_s + DAY_S + 1

    def keep_away_until(self, second: float) -> None:
        """Let no process ask the service before, this one included."""
        _replace(self._marker, f"{second}")

    @property
    def _marker(self) -> Path:
        return self._folder / "next_try"

    def _read(self, day: int) -> dict[float, Told]:
        """A file that holds anything but figures of its day counts as absent."""
        try:
            written = json.loads(self._file(day).read_bytes())
            rows = [(float(second), Told(float(figure), float(at_s))) for second, figure, at_s in written]
        except (OSError, ValueError, TypeError, OverflowError, RecursionError):
            return {}
        possible = all(
            day <= second / DAY_S < day + 1 and second <= told.at_s and 0 <= told.g_per_kwh <= LARGEST_G_PER_KWH
            for second, told in rows
        )
        return dict(rows) if possible else {}

    def _file(self, day: int) -> Path:
        return self._folder / f"{iso_utc(day * DAY_S)[:10]}.json"

    @property
    def _folder(self) -> Path:
        return (self.root or _user_cache()) / "intensity" / self.zone


def _user_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("fitprint", appauthor=False)


def _day(second: float) -> int:
    return int(second // DAY_S)


def _replace(file: Path, text: str) -> None:
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, text.encode())
