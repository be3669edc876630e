"""``fitprint regions``: where the same work would have emitted how much."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fitprint.commands.printing import print_table
from fitprint.elsewhere import ALL, BASES, Elsewhere, rank_places
from fitprint.errors import FitprintError, refusal
from fitprint.ledger.ledger import Ledger
from fitprint.report.figure import save_figure
from fitprint.units import format_co2e, significant

SHOWN = 25


def add(commands: Any) -> None:
    """Add the subcommand's parser."""
    parser = commands.add_parser("regions", help="the same work in other places, cleanest first")
    energy = parser.add_mutually_exclusive_group()
    energy.add_argument("--energy-kwh", type=float, metavar="E", help="at the building's meter; 1 by default")
    energy.add_argument("--run", metavar="ID", help="a recorded run: its energy, and where it was")
    parser.add_argument("--ledger", help="the ledger's file; fitprint.db in this folder by default")
    parser.add_argument(
        "--provider", help=f"aws, azure, gcp, ovh, scaleway or {ALL}: cloud regions instead of countries and their parts"
    )
    parser.add_argument("--country", help="only places in this country")
    parser.add_argument(
        "--within-km", type=float, metavar="KM", help="only places at most so far from --near, or from the run's place"
    )
    parser.add_argument("--near", metavar="PLACE", help="the place that distances are told from")
    parser.add_argument("--basis", help=f"figures to rank: {', '.join(BASES)}; those that most of the places have by default")
    parser.add_argument(
        "--limit", type=int, default=SHOWN, metavar="N", help=f"ranked places in the table and the figure; {SHOWN} by default"
    )
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw them, too: .svg, .png or .pdf")
    parser.add_argument("--json", action="store_true", help="print JSON: all places")
    parser.set_defaults(command=_regions)


def _regions(options: argparse.Namespace) -> int:
    if options.limit < 1:
        raise refusal("limit", expected="a number of places from 1 up", came=options.limit)
    energy_kwh, here = _work(options)
    filters = {name: getattr(options, name) for name in ("provider", "country", "within_km", "basis")}
    near = options.near or (here if options.within_km is not None else None)
    places = rank_places(energy_kwh, near=near, **filters)
    if options.figure is not None:
        _draw(places[: options.limit], options.figure, here)
    if options.json:
        print(json.dumps([place.to_dict() for place in places], indent=2, allow_nan=False))
        return 0
    _print(places, options.limit, here)
    return 0


def _work(options: argparse.Namespace) -> tuple[float, str | None]:
    """Energy at the meter in kWh, and the place where it was used."""
    if options.run is None:
        return 1.0 if options.energy_kwh is None else options.energy_kwh, None
    footprint = Ledger(options.ledger).footprint(options.run)
    if not footprint.facility_energy_kwh:
        raise FitprintError(f"The run {options.run!r} has no energy that could be used elsewhere.")
    places = [str(row["value"]) for row in footprint.assumptions if row["name"] == "region"]
    return footprint.facility_energy_kwh, places[0] if places else None


def _print(places: Sequence[Elsewhere], limit: int, here: str | None) -> None:
    ranked = [place for place in places if place.rank is not None]
    others = [place for place in places if place.rank is None]
    mine = [place for place in ranked[limit:] if place.code == here]
    head = ("", "place", "", "CO2e", "interval", "g/kWh", "year", "basis", *(("km",) if places[0].distance_km is not None else ()))
    print_table(head, [_cells(place, here) for place in (*ranked[:limit], *mine, *others[:limit])])
    left_out = max(0, len(ranked) - limit) - len(mine) + max(0, len(others) - limit)
    if others:
        kind = ranked[0].basis_kind if ranked else "such"
        print(f"{len(others)} without a rank (-): their figures are not {kind} ones.", file=sys.stderr)
    if left_out:
        print(f"{left_out} more are not shown; --limit and --json show more.", file=sys.stderr)


def _cells(place: Elsewhere, here: str | None) -> list[str]:
    rank = "-" if place.rank is None else str(place.rank)
    interval = f"{format_co2e(place.co2e_low_g)} to {format_co2e(place.co2e_high_g)}"
    distance = [] if place.distance_km is None else [f"{place.distance_km:,.0f}"]
    name = f"{place.name} (here)" if place.code == here else place.name
    figures = [format_co2e(place.co2e_g), interval, significant(place.g_per_kwh), str(place.year)]
    return [rank, name, place.code, *figures, place.basis_kind, *distance]


def _draw(places: Sequence[Elsewhere], file: Path, here: str | None) -> None:
    """Draw the ranked places as bars with their intervals; the run's own stands out."""
    ranked = [place for place in places if place.rank is not None]
    save_figure(file, (7.0, 1.0 + 0.24 * len(ranked)), lambda axes: _bars(axes, ranked, here))


def _bars(axes: Any, places: Sequence[Elsewhere], here: str | None) -> None:
    ends = [[p.co2e_g - p.co2e_low_g for p in places], [p.co2e_high_g - p.co2e_g for p in places]]
    colours = ["tab:orange" if place.code == here else "tab:green" for place in places]
    axes.barh(range(len(places)), [place.co2e_g for place in places], xerr=ends, color=colours, ecolor="0.4")
    axes.set_yticks(range(len(places)), [place.name for place in places], fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel(f"g CO2e ({', '.join(dict.fromkeys(place.basis_kind for place in places))} factors)")
