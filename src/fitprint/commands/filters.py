"""Which of the recorded runs are listed: one choice for the table, JSON and CSV."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from fitprint.errors import refusal

STATUSES = ("running", "completed", "stopped", "failed", "interrupted", "lost")
WHEN = "a day such as 2026-11-01, or a moment such as 2026-11-01T13:00Z (UTC where it names no zone)"
DAY = timedelta(days=1)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add their options."""
    parser.add_argument("--project", help="only the runs of this project")
    parser.add_argument("--launch", metavar="ID", help="only this run and those of processes started with it")
    parser.add_argument("--status", metavar="LIST", help=f"only these, for example failed,lost; of {', '.join(STATUSES)}")
    parser.add_argument(
        "--since", metavar="TIME", help="only those started on this day (2026-11-01), at this moment, or later; UTC"
    )
    parser.add_argument("--until", metavar="TIME", help="only those started before the end of this day, or before this moment")
    parser.add_argument("--name", metavar="PATTERN", help="only those of this name; * stands for any letters, ? for one")
    parser.add_argument("--top", metavar="N", help="only the N of the most energy, the most first")


@dataclass(frozen=True)
class Filters:
    """What a listed run has to be like; None where it does not matter.

    Attributes:
        project: Its project.
        statuses: One of these; any where there are none.
        since: The earliest start.
        until: Before this it has started.
        name: A pattern as of file names.
        top: So many, those of the most energy.
        said: The options, as they were given.
    """

    project: str | None
    statuses: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    name: str | None
    top: int | None
    said: str

    @classmethod
    def of(cls, options: argparse.Namespace) -> Filters:
        """Read them from the command line.

        Raises:
            ConfigError: If a value makes no sense.
        """
        given = {what: getattr(options, what) for what in ("project", "launch", "status", "since", "until", "name")}
        since, until = _moment("since", options.since), _moment("until", options.until, whole_day=DAY)
        if since is not None and until is not None and since >= until:
            raise refusal(
                "until", expected=f"a time after --since {options.since}", came=options.until, hint="Swap them, or leave one out."
            )
        return cls(
            project=options.project,
            statuses=_statuses(options.status),
            since=since,
            until=until,
            name=options.name,
            top=_top(options.top),
            said="".join(f" --{what} {value!r}" for what, value in given.items() if value is not None),
        )

    @property
    def any(self) -> bool:
        """Whether some runs may be left out."""
        return bool(self.said) or self.top is not None

    def chosen(self, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows that are meant, as ``Ledger.runs`` gives them: in their order, or those of the most energy first."""
        kept = [row for row in rows if self._fits(row)]
        return kept if self.top is None else sorted(kept, key=_energy, reverse=True)[: self.top]

    def _fits(self, row: Mapping[str, Any]) -> bool:
        if self.project not in (None, row["project"]) or (self.statuses and row["status"] not in self.statuses):
            return False
        if self.name is not None and not fnmatchcase(row["name"] or "", self.name):
            return False
        return (self.since is None and self.until is None) or self._in_time(_started(row))

    def _in_time(self, started: datetime | None) -> bool:
        """A run whose start is not known is in no span of time."""
        if started is None:
            return False
        return (self.since is None or self.since <= started) and (self.until is None or started < self.until)


def _energy(row: Mapping[str, Any]) -> float:
    """What is unknown comes last."""
    return -1.0 if row["energy_j"] is None else float(row["energy_j"])


def _started(row: Mapping[str, Any]) -> datetime | None:
    try:
        return _in_utc(datetime.fromisoformat(row["started_at"]))
    except (TypeError, ValueError):
        return None


def _moment(what: str, text: str | None, whole_day: timedelta = timedelta(0)) -> datetime | None:
    """A moment, or the beginning of a day with so much more."""
    if text is None:
        return None
    try:
        day = _day(text)
        return _in_utc(datetime.fromisoformat(text)) if day is None else day + whole_day
    except (ValueError, OverflowError) as error:
        raise refusal(what, expected=WHEN, came=text, hint=f"For example --{what} 2026-11-01.") from error


def _day(text: str) -> datetime | None:
    try:
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    except ValueError:
        return None


def _in_utc(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _statuses(text: str | None) -> tuple[str, ...]:
    words = () if text is None else tuple(word.strip() for word in text.split(","))
    for word in words:
        if word not in STATUSES:
            expected = f"one or several of {', '.join(STATUSES)}, with commas between them"
            raise refusal("status", expected=expected, came=word, near=STATUSES)
    return words


def _top(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise refusal("top", expected="a whole number, 1 or more", came=text, hint="For example --top 10.")
    return number
