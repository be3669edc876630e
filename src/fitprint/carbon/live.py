"""Carbon intensity as a service on the web tells it while a run lasts."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from fitprint.carbon.hourly import CARRY_S, HourlySeries, Piece
from fitprint.carbon.intensity import Intensity
from fitprint.carbon.live_cache import FigureCache, Told
from fitprint.carbon.live_http import Meanwhile, Unanswered, converse, patiently
from fitprint.carbon.live_pace import PAUSE_S, Pace
from fitprint.carbon.live_tokens import read_secrets
from fitprint.carbon.place import Place
from fitprint.carbon.provider_names import find_provider, zone_of
from fitprint.carbon.providers import DAY_S, Figures, Provider
from fitprint.clock import Clock, SystemClock
from fitprint.errors import ConfigError, MissingExtraError, refusal
from fitprint.timeline import Timeline
from fitprint.units import format_share

# For one try, however many questions it takes.
TIMEOUT_S = 5.0
# Until the next try, after an answer in which the newest figure was not out yet.
NOT_OUT_YET_S = 900.0
# What is still missing so long after its time is a gap, and not asked for again.
SETTLED_S = CARRY_S
# Nothing from before is asked for.
LONGEST_WINDOW_S = 90 * DAY_S


class LiveIntensity:
    """An intensity source that knows what ``fetch`` has brought in so far.

    What it knows is a series like any other: where figures are missing the last one is carried for three hours,
    and a window of which less than half is known gets None. The interval is the series', widened by how far
    other figures of the same place may lie from the service's. Credentials are read by each ``fetch``, from the
    environment or from a file; they are not kept.

    Args:
        provider: The zone of a service.
        token_file: Holds credentials that the environment does not, ``NAME=value`` in each line, mode 0600.
        cache: Folder that keeps what was fetched; by default the user's cache folder.
        clock: Tells the time and paces the tries.
        timeout_s: For one ``fetch``.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        token_file: Path | None = None,
        cache: Path | None = None,
        clock: Clock | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.provider = provider
        self.series: HourlySeries | None = None
        self._token_file = token_file
        self._cache = FigureCache(f"{provider.key}/{provider.zone}", cache)
        self._clock = clock or SystemClock()
        self._timeout_s = timeout_s
        self._place = provider.zone
        self._reason = "not tried yet"
        self._figures: dict[float, Told] = {}
        self._gaps: set[float] = set()
        self._pace = Pace(self._clock)

    def __repr__(self) -> str:
        return f"LiveIntensity({self.provider.key}:{self.provider.zone})"

    @property
    def basis_kind(self) -> str:
        """One of ``fitprint.carbon.intensity.BASIS_KINDS``."""
        return self.provider.basis_kind

    def for_place(self, place: Place) -> LiveIntensity:
        """Itself if its zone was named, else the same for the zone of a place.

        A place that is no zone, such as a US state, leaves it without one: it knows nothing, and says so.
        """
        if self.provider.zone:
            return self
        provider = replace(self.provider, zone=zone_of(place))
        live = LiveIntensity(
            provider, token_file=self._token_file, cache=self._cache.root, clock=self._clock, timeout_s=self._timeout_s
        )
        live._place = place.code
        if not provider.zone:
            live._reason = f"its zone is not known; name it as intensity='{provider.key}:ZONE'"
        return live

    def require(self) -> None:
        """Check, without asking anybody, that it can be fetched.

        Raises:
            MissingExtraError: If the extra ``[live]`` is not installed.
            ConfigError: If the credentials are not there.
        """
        if importlib.util.find_spec("httpx") is None:
            raise MissingExtraError("Live carbon intensity", "live")
        try:
            self._secrets()
        except ConfigError as error:
            raise ConfigError(f"{self.provider.name} needs credentials, but {error}.") from None

    # ---- what is known

    def between(self, start: datetime, end: datetime) -> Intensity | None:
        """Time-weighted mean of a window, or the figure at an instant; None where too little of it is known.

        Raises:
            ConfigError: If a time has no zone, or the end comes before the start.
        """
        if start.tzinfo is None or end.tzinfo is None or start > end:
            raise refusal("window", expected="two times with their zones, the earlier one first", came=f"{start} to {end}")
        return self.series.between(start, end) if self.series else None

    def pieces(self, start_s: float, end_s: float) -> Iterator[Piece]:
        """The stretches that make up a window, as of a series; one without a figure while nothing is known."""
        return self.series.pieces(start_s, end_s) if self.series else iter((Piece(start_s, end_s, None),))

    def gaps(self, timeline: Timeline, otherwise: str) -> tuple[str, ...]:
        """What was done about the energy that fell where nothing is known, as of a series."""
        if self.series is not None:
            return self.series.gaps(timeline, otherwise)
        return (f"{self.source} has no figure for {format_share(1.0)} of the energy: {otherwise}",)

    @property
    def basis(self) -> str:
        """What its figures count."""
        return self.provider.basis

    @property
    def source(self) -> str:
        """Service and zone, for people."""
        return f"{self.provider.name}, zone {self.provider.zone or self._place}"

    @property
    def trouble(self) -> str:
        """Why the last try brought nothing; empty where it did. No secret, address or path is in it."""
        return self._reason

    # ---- fetching

    def fetch(self, start: datetime, end: datetime | None = None, meanwhile: Meanwhile = patiently) -> bool:
        """Bring in what is missing of a window, for at most the timeout; never raises.

        It may be called as often as one likes: it does nothing while nothing is missing, and tries once a
        minute at most.

        Args:
            start: Of the window, with its zone.
            end: Of the window; by default now. Where it is later, the service's forecast is asked for too.
            meanwhile: Called while an answer is waited for, ten times a second; what is true of it ends the try.

        Returns:
            Whether anything new is known.
        """
        before, now_s = self.series, self._clock.time()
        end_s = now_s if end is None else min(end.timestamp(), now_s + self.provider.ahead_s)
        start_s = max(start.timestamp(), end_s - LONGEST_WINDOW_S)
        if self.provider.zone and self._pace.may_try and self._missing(start_s, end_s, now_s):
            try:
                self._bring(start_s, end_s, now_s, meanwhile)
            except Exception as error:  # its words may hold what was sent
                self._failed(type(error).__name__)
        return self.series is not before

    def _bring(self, start_s: float, end_s: float, now_s: float, meanwhile: Meanwhile) -> None:
        """Take what is on the disk, where other processes leave what they fetch; ask for the rest unless one of them just has."""
        self._take(self._cache.load(start_s, end_s))
        missing = self._missing(start_s, end_s, now_s)
        if missing and self._cache.may_try(now_s):
            self._cache.keep_away_until(now_s + PAUSE_S)
            self._ask(missing, now_s, meanwhile)

    def _missing(self, start_s: float, end_s: float, now_s: float) -> list[float]:
        """Times without a figure, or with none but a forecast from before they came."""
        step_s = self.provider.step_s
        times = [step * step_s for step in range(math.floor(start_s / step_s), math.floor(end_s / step_s) + 1)]
        wanted = [time for time in times if time not in self._gaps]
        return [time for time in wanted if (told := self._figures.get(time)) is None or told.at_s < time <= now_s]

    def _ask(self, missing: list[float], now_s: float, meanwhile: Meanwhile) -> None:
        start_s = missing[0]
        end_s = min(missing[-1] + self.provider.step_s, start_s + self.provider.longest_s)
        try:
            talk = partial(self.provider.figures, secrets=self._secrets(), start_s=start_s, end_s=end_s, now_s=now_s)
            found = converse(self.provider.base, talk, self._timeout_s, now_s, meanwhile)
        except Unanswered as error:
            self._failed(error.reason, error.retry_after_s)
        except ConfigError as error:
            self._failed(str(error))
        else:
            self._answered(found, [time for time in missing if time < end_s], now_s)

    def _answered(self, found: Figures, asked: list[float], now_s: float) -> None:
        told = {time: Told(figure, now_s) for time, figure in found.items()}
        self._take(told)
        self._cache.save({time: figure for time, figure in told.items() if time <= now_s})
        late = [time for time in asked if time not in found]
        self._gaps.update(time for time in late if time < now_s - SETTLED_S)
        self._reason = ""
        self._pace.succeeded(0.0 if self._gaps.issuperset(late) else NOT_OUT_YET_S)

    def _failed(self, reason: str, retry_after_s: float | None = None) -> None:
        self._reason = reason
        pause_s = self._pace.failed(retry_after_s)
        self._cache.keep_away_until(self._clock.time() + pause_s)

    def _take(self, figures: dict[float, Told]) -> None:
        """Other threads see the series of before or the new one. The step of a series shows between two figures."""
        self._figures.update(figures)
        if figures and len(self._figures) > 1:
            provider, points = self.provider, [(time, told.g_per_kwh) for time, told in self._figures.items()]
            self.series = HourlySeries(points, self.source, provider.basis, basis_kind=provider.basis_kind, spread=provider.spread)

    def _secrets(self) -> dict[str, str]:
        return read_secrets(self.provider.secrets, os.environ, self._token_file)


def parse_source(
    text: str, *, token_file: Path | None = None, cache: Path | None = None, clock: Clock | None = None
) -> LiveIntensity | None:
    """Read ``"electricitymaps:FR"``, ``"electricitymaps"`` (see ``for_place``), ``"watttime:CAISO_NORTH"`` or ``"ukci"``.

    Nothing is read or sent.

    Returns:
        None where the text names no service at all: it may be a file's name.

    Raises:
        ConfigError: If it nearly names one, or a zone that cannot be.
    """
    provider = find_provider(text)
    return None if provider is None else LiveIntensity(provider, token_file=token_file, cache=cache, clock=clock)
