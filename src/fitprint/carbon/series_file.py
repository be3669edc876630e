"""Reads a series of carbon intensities from a CSV file."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from pathlib import Path

from fitprint.carbon.hourly import SMALLEST_PEAK_G_PER_KWH, HourlySeries
from fitprint.errors import ConfigError, refusal

# Words of the names of columns that hold times, most telling first; of figures; and of what is beside them.
TIME_WORDS = ("datetime", "timestamp", "point", "time", "from", "start", "date", "hour")
UTC_WORDS = {"utc", "gmt"}
FIGURE_WORDS = {"intensity", "carbonintensity", "moer", "value", "ci"}
OTHER_WORDS = {"index", "version", "rating"}
# Kinds of figures and the words that tell them, in the order in which they are taken from a file: what
# counts most of the emissions first, what is only expected last.
KINDS = (
    ("lifecycle", ("life cycle", "lifecycle", "life_cycle", "lca")),
    ("given", ("actual",)),
    ("given", ()),
    ("direct", ("direct",)),
    ("marginal", ("moer", "marginal")),
    ("given", ("forecast", "predicted")),
)
ACTUAL, PLAIN, FORECAST = 1, 2, 5
# How a program says of a file what it does not tell by itself.
IN_A_PROGRAM = "intensity=read_series('FILE', tz='ZONE') with fitprint.carbon.series_file.read_series"
MISSING = {"", "-", "na", "n/a", "nan", "none", "null"}
GRAMS = {"g": 1.0, "kg": 1e3, "t": 1e6, "tonne": 1e6, "lb": 453.59237}
FILE_EXPECTED = "a CSV file of carbon intensities, whose first line names its columns"
UNIT_EXPECTED = "a unit such as 'g/kWh', 'kg/MWh' or 'lb/MWh'"
_UNIT = re.compile(r"(?<![a-z])(g|kg|t|tonne|lb)s?[ _-]*(?:co2[a-z]*?)?[ _-]*(?:/|per|_)[ _-]*([km])wh")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}.*")


@dataclass(frozen=True, slots=True)
class _File:
    """A CSV file: its name, what separates its cells, its columns' names in plain letters, its rows with their lines."""

    name: str
    delimiter: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, list[str]], ...]

    def refused(self, why: str) -> ConfigError:
        return ConfigError(f"{self.name}: {why}")

    def counted(self, what: str, count: int) -> list[str]:
        return [f"{self.name}: {what}: {count}"] if count else []


def read_series(
    path: str | Path, *, column: str | None = None, unit: str | None = None, tz: str | None = None, basis: str | None = None
) -> HourlySeries:
    """Read a series from a CSV file, such as the exports of Electricity Maps, UK Carbon Intensity and WattTime.

    Cells are separated by commas, semicolons or tabs; with the latter two a comma may be the decimal mark.
    The first line names the columns. A figure stands from its row's time on. Rows may come in any order,
    rows without a figure are gaps, two rows of one time have to agree. What had to be decided is in the
    series' notes.

    Args:
        path: The file, UTF-8.
        column: The column of figures; by default life-cycle figures before others, and what has happened
            before what was forecast, which then fills the gaps.
        unit: Its unit, for example ``"kg/MWh"``; by default as its name says, else g/kWh.
        tz: Zone of times that have none, for example ``"Europe/Paris"``; not needed where the column's name says UTC.
        basis: What the figures count; by default as the column's name says.

    Raises:
        ConfigError: If the file cannot be read as such a series; the message says where and why.
    """
    file = _load(Path(path))
    columns = _figure_columns(file, column)
    name = file.header[columns[0]]
    factor, notes = _factor(file, name, unit)
    figures = [[_figure(file, line, cells, i) for i in columns] for line, cells in file.rows]
    values = [next((figure for figure in row if figure is not None), None) for row in figures]
    kept = [(row, value * factor) for row, value in zip(file.rows, values, strict=True) if value is not None]
    seconds, zone_notes = _instants(file, [row for row, _ in kept], tz)
    points = {(second, value) for second, (_, value) in zip(seconds, kept, strict=True)}
    if points and unit is None and max(value for _, value in points) < SMALLEST_PEAK_G_PER_KWH:
        reason = (
            f"no figure in {name!r} reaches {SMALLEST_PEAK_G_PER_KWH:g} g/kWh, as if they were in kg/kWh. Say which unit they have"
        )
        raise file.refused(f"{reason}: {UNIT_EXPECTED}.")
    notes += zone_notes
    notes += file.counted("rows without a figure, which are gaps", len(values) - len(kept))
    notes += file.counted(
        "rows with nothing but a forecast, which is used", sum(row[0] is None for row in figures) - values.count(None)
    )
    notes += file.counted("rows that were there twice", len(kept) - len(points))
    kind, _ = KINDS[_rank(name)]
    return HourlySeries(points, file.name, basis or f"{kind} (column {name!r})", basis_kind=kind, notes=notes)


def _load(path: Path) -> _File:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        delimiter = max(",;\t", key=(lines or [""])[0].count)
        reader = csv.reader(lines, delimiter=delimiter)
        header = tuple(_letters(cell) for cell in next(reader, []))
        if not any(header):
            raise refusal("series", expected=FILE_EXPECTED, came=str(path), hint="The file is empty.")
        return _File(path.name, delimiter, header, tuple((reader.line_num, cells) for cells in reader if any(cells)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text in columns"
        raise refusal("series", expected=FILE_EXPECTED, came=str(path), hint=f"{reason}.") from error


def _letters(name: str) -> str:
    """A column's name without case and typography, so that CO₂ is co2."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _words(name: str) -> set[str]:
    return set(re.findall("[a-z0-9]+", name))


def _figure_columns(file: _File, wanted: str | None) -> list[int]:
    """The column of figures, and after one of actual figures that of their forecasts."""
    if wanted is not None:
        if _letters(wanted) not in file.header:
            raise refusal("column", expected=f"one of {', '.join(file.header)}", came=wanted, near=file.header)
        return [file.header.index(_letters(wanted))]
    found = sorted((_rank(name), i) for i, name in enumerate(file.header) if _is_figure(name))
    best = [i for rank, i in found if rank == found[0][0]]
    if len(best) != 1:
        names = ", ".join(repr(file.header[i]) for i in best) or ", ".join(map(repr, file.header))
        raise file.refused(
            f"{'more than one column' if best else 'no column'} holds intensities among {names}. Name one as column."
        )
    return best + [i for rank, i in found if found[0][0] == ACTUAL and rank == FORECAST]


def _is_figure(name: str) -> bool:
    words = _words(name)
    return not words & OTHER_WORDS and bool(words & FIGURE_WORDS or _UNIT.search(name))


def _rank(name: str) -> int:
    return max((i for i, (_, words) in enumerate(KINDS) if any(word in name for word in words)), default=PLAIN)


def _factor(file: _File, name: str, unit: str | None) -> tuple[float, list[str]]:
    """What makes g/kWh of the figures, and what had to be assumed for it."""
    match = _UNIT.search(name if unit is None else _letters(unit))
    if match is not None:
        return GRAMS[match[1]] * (1e-3 if match[2] == "m" else 1.0), []
    if unit is not None:
        raise refusal("unit", expected=UNIT_EXPECTED, came=unit)
    if name == "moer":
        return GRAMS["lb"] * 1e-3, [f"{file.name}: {name!r} is read as lb/MWh, WattTime's unit"]
    if name == "value":
        raise file.refused(f"{name!r} has no unit. Say which: {UNIT_EXPECTED}; what WattTime calls so is in lb/MWh.")
    return 1.0, [f"{file.name}: {name!r} has no unit and is read as g/kWh"]


def _figure(file: _File, line: int, cells: list[str], column: int) -> float | None:
    text = cells[column].strip() if column < len(cells) else ""
    if len(cells) > len(file.header) or ("," in text and file.delimiter == ","):
        raise file.refused(f"line {line} has more cells than columns; decimal commas need semicolons between the cells.")
    if text.casefold() in MISSING:
        return None
    if not _NUMBER.fullmatch(text):
        raise file.refused(f"line {line}: {text!r} in {file.header[column]!r} is no number.")
    return float(text.replace(",", "."))


def _instants(file: _File, rows: Sequence[tuple[int, list[str]]], tz: str | None) -> tuple[list[float], list[str]]:
    """The rows' times in seconds since 1970. Of an hour that the clocks repeat, the first time round comes first."""
    names = [(i, _words(name)) for i, name in enumerate(file.header)]
    found = [(words.isdisjoint(UTC_WORDS), TIME_WORDS.index(word), i) for i, words in names for word in words & set(TIME_WORDS)]
    if not found:
        columns = ", ".join(map(repr, file.header))
        raise file.refused(f"no column holds times among {columns}. Call one 'datetime' in the first line.")
    local, _, column = min(found)
    zone = zone_of(tz) if local else UTC
    times = [(line, _time(file, line, cells[column] if column < len(cells) else "")) for line, cells in rows]
    clock = [time.replace(tzinfo=None) for _, time in times]
    falling = sum((a < b) - (a > b) for a, b in pairwise(clock)) < 0
    seen: set[datetime] = set()
    seconds = []
    for line, time in reversed(times) if falling else times:
        seconds.append(_instant(file, line, time, zone, repeated=time in seen))
        seen.add(time)
    guessed = local and any(time.tzinfo is None for _, time in times)
    notes = [f"{file.name}: times without a zone are read as {tz}"] if guessed else []
    return seconds[::-1] if falling else seconds, notes


def _time(file: _File, line: int, text: str) -> datetime:
    text = re.sub(r"\s*(utc|gmt)$", "+00:00", text.strip(), flags=re.IGNORECASE)
    try:
        if _DAY.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise file.refused(f"line {line}: {text!r} is no ISO 8601 time such as '2025-01-31T13:00Z'.")


def _instant(file: _File, line: int, time: datetime, zone: tzinfo | None, *, repeated: bool) -> float:
    if time.tzinfo is not None:
        return time.timestamp()
    if zone is None:
        raise file.refused(f"line {line}: {time} has no time zone. Give one as tz, for example tz='Europe/Paris': {IN_A_PROGRAM}.")
    second = time.replace(tzinfo=zone, fold=int(repeated)).timestamp()
    if datetime.fromtimestamp(second, zone).replace(tzinfo=None) != time:
        raise file.refused(f"line {line}: the clocks of {zone} skip {time}. Are these times in another zone?")
    return second


def zone_of(name: str | None) -> tzinfo | None:
    """A time zone by its name; None for None.

    Raises:
        ConfigError: If there is none of this name.
    """
    from zoneinfo import ZoneInfo, available_timezones  # read from disk, and seldom needed

    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        hint = "" if (known := available_timezones()) else "This system has no time zones. Run: pip install tzdata"
        raise refusal("tz", expected="a time zone such as 'UTC' or 'Europe/Paris'", came=name, near=known, hint=hint) from error
