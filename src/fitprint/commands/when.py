"""``fitprint when``: when to start a job, or to pause and resume it, and what that saves."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fitprint.carbon.hourly import HOUR_S, HourlySeries, span
from fitprint.carbon.series_file import read_series, zone_of
from fitprint.clock import SystemClock
from fitprint.commands.live_series import add_network, fetched
from fitprint.commands.printing import print_table
from fitprint.errors import refusal
from fitprint.timing import Plan, When, when
from fitprint.units import format_co2e, significant

# More than any service forecasts; each tells as far as it goes.
AHEAD_S = 96 * HOUR_S
AT_THE_WALL = "CO2e is energy times intensity: losses of machine and building count only where they are in the energy"


def add(commands: Any) -> None:
    """Add the subcommand's parser."""
    parser = commands.add_parser("when", help="the cleanest time for a job, from a series of intensities")
    parser.add_argument("--hours", type=float, required=True, help="how long the job runs")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--series", type=Path, metavar="FILE", help="CSV file of intensities, past or forecast")
    given.add_argument("--live", metavar="SERVICE", help="a service's forecast, such as ukci or electricitymaps:FR")
    add_network(parser)
    energy = parser.add_mutually_exclusive_group()
    energy.add_argument("--power-w", type=float, metavar="W", help="the job's mean power at the wall")
    energy.add_argument("--energy-kwh", type=float, metavar="KWH", help="its energy at the wall")
    parser.add_argument(
        "--from", dest="start", metavar="TIME", help="earliest start, ISO 8601; now where the series covers it, else its start"
    )
    parser.add_argument(
        "--within", type=float, metavar="HOURS", help="hours after that by which it is done; the end of the series by default"
    )
    parser.add_argument("--pause", action="store_true", help="also look for pauses")
    parser.add_argument("--max-pauses", type=int, metavar="N", help="at most so many pauses")
    parser.add_argument("--min-run", type=float, default=0.0, metavar="HOURS", help="no stretch between pauses shorter than this")
    parser.add_argument("--tz", metavar="ZONE", help="zone of times without one and of the table, for example Europe/Paris")
    parser.add_argument("--column", help="the file's column of intensities")
    parser.add_argument("--unit", help="its unit, for example kg/MWh")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_when)


def _when(options: argparse.Namespace) -> int:
    energy_kwh = _energy_kwh(options)
    series = _series(options)
    start, note = _start(options, series)
    answer = when(
        series,
        options.hours,
        start=start,
        within_h=options.within,
        pause=options.pause or options.max_pauses is not None or options.min_run > 0,
        max_pauses=options.max_pauses,
        min_run_h=options.min_run,
    )
    notes = (*answer.notes, *note, *([] if energy_kwh is None else [AT_THE_WALL]))
    answer = replace(answer, notes=notes)
    if options.json:
        about = {"hours": options.hours, "series": series.source, "basis": series.basis, "basis_kind": series.basis_kind}
        print(json.dumps({**about, **answer.to_dict(energy_kwh)}, indent=2))
        return 0
    _print(answer, series, energy_kwh, options.tz)
    return 0


def _series(options: argparse.Namespace) -> HourlySeries:
    """From the file, or what a service expects of the next days."""
    if options.series is not None:
        return read_series(options.series, column=options.column, unit=options.unit, tz=options.tz)
    now_s = SystemClock().time()
    return fetched(options.live, options, now_s - HOUR_S, now_s + AHEAD_S)


def _energy_kwh(options: argparse.Namespace) -> float | None:
    hours: float = options.hours
    if options.power_w is not None:
        return _positive("power_w", options.power_w) * hours / 1e3
    return None if options.energy_kwh is None else _positive("energy_kwh", options.energy_kwh)


def _positive(what: str, value: float) -> float:
    if not math.isfinite(value) or value <= 0:
        raise refusal(what, expected="a number, more than 0", came=value)
    return value


def _start(options: argparse.Namespace, series: HourlySeries) -> tuple[datetime | None, list[str]]:
    """The earliest start: as asked; else now, on the minute, where the series is a forecast; else its beginning."""
    if options.start is not None:
        return _time(options.start, options.tz), []
    now_s = math.ceil(SystemClock().time() / 60) * 60
    if series.start_s <= now_s and now_s + options.hours * HOUR_S <= series.end_s:
        return datetime.fromtimestamp(now_s, UTC), []
    return None, [f"the series does not cover the next {options.hours:g} h: its own beginning stands for now"]


def _time(text: str, tz: str | None) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise refusal("from", expected="a time such as 2025-01-31T13:00Z", came=text) from error
    return time if time.tzinfo is not None else time.replace(tzinfo=zone_of(tz))


def _print(answer: When, series: HourlySeries, energy_kwh: float | None, tz: str | None) -> None:
    zone = zone_of(tz) or UTC
    name = tz or "UTC"

    def at(second: float) -> str:
        return datetime.fromtimestamp(second, zone).strftime("%a %Y-%m-%d %H:%M")

    rows = [
        _cells("start at once", answer, answer.now, at, energy_kwh),
        _cells("flexible start", answer, answer.start, at, energy_kwh),
    ]
    if answer.pause is not None:
        pauses = len(answer.pause.runs) - 1
        rows.append(_cells(f"pause and resume ({pauses} pause{'s' * (pauses != 1)})", answer, answer.pause, at, energy_kwh))
    print_table(("", f"start ({name})", f"end ({name})", "g/kWh", "CO2e", "saved"), rows)
    if answer.pause is not None and len(answer.pause.runs) > 1:
        print_table((f"run from ({name})", "to"), [(at(start_s), at(end_s)) for start_s, end_s in answer.pause.runs])
    print(f"looked at: {span(*answer.window)}; {series.source}, {series.basis}")
    for note in answer.notes:
        print(f"note: {note}")


def _cells(title: str, answer: When, plan: Plan, at: Callable[[float], str], energy_kwh: float | None) -> list[str]:
    times = [at(plan.runs[0][0]), at(plan.runs[-1][1])]
    saved = "" if plan is answer.now else f"{100 * answer.saved_share(plan):.1f} %"
    if energy_kwh is None:
        return [title, *times, significant(plan.g_per_kwh), "", saved]
    saved_g = energy_kwh * (answer.now.g_per_kwh - plan.g_per_kwh)
    return [
        title,
        *times,
        significant(plan.g_per_kwh),
        format_co2e(energy_kwh * plan.g_per_kwh),
        saved and f"{format_co2e(saved_g)}, {saved}",
    ]
