"""Services that tell the carbon intensity of electricity now: what each is asked, and what its answers mean."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from fitprint.carbon.hourly import HOUR_S
from fitprint.carbon.intensity import EXACT, LARGEST_G_PER_KWH, LEFT_OUT_G_PER_KWH, SPREADS, Spread
from fitprint.carbon.live_http import Get, Unanswered, senseless
from fitprint.carbon.series_file import GRAMS
from fitprint.clock import iso_utc

DAY_S = 24 * HOUR_S
# Asked for along with what is missing: figures that may have been expectations, and the step between two of them.
LOOK_BACK_S = 2 * HOUR_S
# How far Electricity Maps' figures lie from the tables' is known; seen from its side, the tables' lie so far.
_TABLES = SPREADS["country", "lifecycle"]
LIFECYCLE = Spread(below=1 - 1 / (1 + _TABLES.above), above=1 / (1 - _TABLES.below) - 1)
# Great Britain in 2025: 129 g/kWh by this service's data (Hoare Lea, UK grid carbon emissions data, 2026), 109
# by Google's (direct, too), 217 by Ember's (life cycle). Its forecasts are off by 7.1 % on average, 2017 to
# 2023 (N. Powell, Carbon Intensity Forecast Tracking, 2023).
UK_DIRECT = Spread(0.25, 0.40, LEFT_OUT_G_PER_KWH)
# What the next kWh emits cannot be measured, so nobody knows the error of a model of it (Towards Objective
# Evaluation of the Accuracy of Marginal Emissions Factors, SSRN 4631565, 2023). The basis says so.
UNKNOWN = EXACT

# Grams per kWh by the time from which they stand, in seconds since 1970.
Figures = dict[float, float]


@dataclass(frozen=True)
class Provider(ABC):
    """A zone of a service.

    Args:
        zone: As the service names it; empty where it is not settled yet.
        base: Address of the service.

    Attributes:
        key: How options name the service.
        name: How people do.
        basis: What its figures count.
        basis_kind: One of ``fitprint.carbon.intensity.BASIS_KINDS``.
        spread: How far other figures of the same place may lie from them.
        step_s: For how long a figure stands.
        longest_s: The longest stretch to ask for at once.
        ahead_s: How far its forecast goes.
        secrets: Names of the credentials that it wants.
        zones: What names of zones look like.
    """

    zone: str = ""
    base: str = ""
    key: ClassVar[str]
    name: ClassVar[str]
    basis: ClassVar[str]
    basis_kind: ClassVar[str]
    spread: ClassVar[Spread]
    step_s: ClassVar[float]
    longest_s: ClassVar[float]
    ahead_s: ClassVar[float]
    secrets: ClassVar[tuple[str, ...]] = ()
    zones: ClassVar[str]

    @abstractmethod
    async def figures(self, get: Get, secrets: Mapping[str, str], start_s: float, end_s: float, now_s: float) -> Figures:
        """Ask for a stretch of time; more or less of it may come.

        Raises:
            Unanswered: If nothing that makes sense comes.
        """


@dataclass(frozen=True)
class ElectricityMaps(Provider):
    """Electricity Maps: hourly, most of the world. Free tokens reach back for a day and not ahead.

    Of a zone that it does not know it may tell the figures of the place where the question comes from.
    """

    base: str = "https://api.electricitymaps.com"
    key: ClassVar[str] = "electricitymaps"
    name: ClassVar[str] = "Electricity Maps v3"
    basis: ClassVar[str] = "lifecycle, average of what is consumed, hourly; the latest hours may be estimates"
    basis_kind: ClassVar[str] = "lifecycle"
    spread: ClassVar[Spread] = LIFECYCLE
    step_s: ClassVar[float] = HOUR_S
    longest_s: ClassVar[float] = 10 * DAY_S
    ahead_s: ClassVar[float] = DAY_S
    secrets: ClassVar[tuple[str, ...]] = ("ELECTRICITYMAPS_TOKEN",)
    zones: ClassVar[str] = "[A-Z]{2,3}(-[A-Z0-9]+)*"

    async def figures(self, get: Get, secrets: Mapping[str, str], start_s: float, end_s: float, now_s: float) -> Figures:
        ask = partial(self._ask, get, secrets["ELECTRICITYMAPS_TOKEN"])
        found: Figures = {}
        if start_s < now_s - DAY_S:
            past = ask("past-range", "data", start=iso_utc(start_s), end=iso_utc(min(end_s, now_s)))
            found |= await _if_allowed(past)
        if end_s > now_s - DAY_S:
            found |= await ask("history", "history")
            if max(found, default=0.0) + self.step_s <= now_s:
                found |= await _besides(found, ask("latest"))
        if end_s > now_s + self.step_s:
            found |= await _besides(found, ask("forecast", "forecast"))
        return found

    async def _ask(self, get: Get, token: str, what: str, rows_in: str = "", **params: str) -> Figures:
        params |= {"zone": self.zone, "emissionFactorType": "lifecycle", "disableCallerLookup": "true"}
        answer = _mapping(await get(f"/v3/carbon-intensity/{what}", params=params, headers={"auth-token": token}))
        rows = _rows(answer.get(rows_in) if rows_in else [answer])
        zones = [row["zone"] for row in (answer, *rows) if "zone" in row]
        if not zones or any(zone != self.zone for zone in zones):
            raise senseless()
        return _figures(((row.get("datetime"), row.get("carbonIntensity")) for row in rows), self.step_s)


@dataclass(frozen=True)
class WattTime(Provider):
    """WattTime: what one more kWh emits, every five minutes. Without a plan it tells of the region CAISO_NORTH alone."""

    base: str = "https://api.watttime.org"
    key: ClassVar[str] = "watttime"
    name: ClassVar[str] = "WattTime v3"
    basis: ClassVar[str] = "marginal, direct (combustion) (co2_moer); its error is not known and not in the interval"
    basis_kind: ClassVar[str] = "marginal"
    spread: ClassVar[Spread] = UNKNOWN
    step_s: ClassVar[float] = 300.0
    longest_s: ClassVar[float] = 7 * DAY_S
    ahead_s: ClassVar[float] = DAY_S
    secrets: ClassVar[tuple[str, ...]] = ("WATTTIME_USER", "WATTTIME_PASSWORD")
    zones: ClassVar[str] = "[A-Z][A-Z0-9_-]+"

    async def figures(self, get: Get, secrets: Mapping[str, str], start_s: float, end_s: float, now_s: float) -> Figures:
        token = _mapping(await get("/login", auth=(secrets["WATTTIME_USER"], secrets["WATTTIME_PASSWORD"]))).get("token")
        if not isinstance(token, str):
            raise senseless()
        ask = partial(self._ask, get, token)
        found: Figures = {}
        if start_s < now_s:
            found |= await ask("historical", start=iso_utc(start_s - LOOK_BACK_S), end=iso_utc(min(end_s, now_s)))
        if end_s > now_s + self.step_s:
            found |= await _besides(found, ask("forecast"))
        return found

    async def _ask(self, get: Get, token: str, what: str, **params: str) -> Figures:
        params |= {"region": self.zone, "signal_type": "co2_moer"}
        answer = _mapping(await get(f"/v3/{what}", params=params, headers={"Authorization": f"Bearer {token}"}))
        meta = _mapping(answer.get("meta"))
        if (meta.get("region"), meta.get("signal_type"), meta.get("units")) != (self.zone, "co2_moer", "lbs_co2_per_mwh"):
            raise senseless()
        rows = ((row.get("point_time"), row.get("value")) for row in _rows(answer.get("data")))
        return _figures(rows, self.step_s, GRAMS["lb"] / 1000)


@dataclass(frozen=True)
class UkCarbonIntensity(Provider):
    """The Carbon Intensity API of Britain's system operator (CC BY 4.0): half-hourly, Great Britain or one of 17 regions."""

    zone: str = "GB"
    base: str = "https://api.carbonintensity.org.uk"
    key: ClassVar[str] = "ukci"
    name: ClassVar[str] = "UK Carbon Intensity"
    basis: ClassVar[str] = (
        "direct (combustion), average, half-hourly; of regions and of the latest half hours it is a forecast; "
        "the interval reaches up to life-cycle figures"
    )
    basis_kind: ClassVar[str] = "direct"
    spread: ClassVar[Spread] = UK_DIRECT
    step_s: ClassVar[float] = 1800.0
    longest_s: ClassVar[float] = 14 * DAY_S
    ahead_s: ClassVar[float] = 2 * DAY_S
    zones: ClassVar[str] = "GB|[1-9]|1[0-7]"

    async def figures(self, get: Get, secrets: Mapping[str, str], start_s: float, end_s: float, now_s: float) -> Figures:
        window = f"{iso_utc(start_s - LOOK_BACK_S)[:16]}Z/{iso_utc(end_s)[:16]}Z"
        if self.zone == "GB":
            answer = _mapping(await get(f"/intensity/{window}"))
        else:
            answer = _mapping(_mapping(await get(f"/regional/intensity/{window}/regionid/{self.zone}")).get("data"))
            if str(answer.get("regionid")) != self.zone:
                raise senseless()
        rows = [(row.get("from"), _mapping(row.get("intensity"))) for row in _rows(answer.get("data"))]
        forecast, actual = ([(when, told.get(which)) for when, told in rows] for which in ("forecast", "actual"))
        return _figures(forecast, self.step_s) | _figures(actual, self.step_s)


async def _besides(found: Figures, asked: Awaitable[Figures]) -> Figures:
    """Nothing where it fails: what has been found is worth having without it."""
    try:
        return await asked
    except Unanswered:
        if not found:
            raise
        return {}


async def _if_allowed(asked: Awaitable[Figures]) -> Figures:
    """Nothing where the credentials do not reach so far back or ahead: the rest is worth having."""
    try:
        return await asked
    except Unanswered as error:
        if error.status not in (401, 403):
            raise
        return {}


def _figures(rows: Iterable[tuple[Any, Any]], step_s: float, factor: float = 1.0) -> Figures:
    return dict(_possible(rows, step_s, factor))


def _possible(rows: Iterable[tuple[Any, Any]], step_s: float, factor: float) -> Iterator[tuple[float, float]]:
    """The rows that tell a time and what can be grams per kWh of it. Zero can: a grid may burn nothing for an hour."""
    for when, figure in rows:
        second = _instant(when)
        number = isinstance(figure, int | float) and not isinstance(figure, bool)
        if second is not None and number and 0 <= figure <= LARGEST_G_PER_KWH / factor:
            yield math.floor(second / step_s) * step_s, min(figure * factor, LARGEST_G_PER_KWH)


def _instant(text: Any) -> float | None:
    """Seconds since 1970 out of an ISO 8601 time with its zone."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time.timestamp() if time.tzinfo else None


def _rows(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise senseless()
    return [_mapping(row) for row in value]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
