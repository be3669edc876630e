"""``fitprint estimate``: energy, CO2e and cost before anything runs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fitprint.calculator import Estimate, estimate
from fitprint.carbon.beside import NO_CURRENCY
from fitprint.carbon.clouds import find_cloud
from fitprint.carbon.embodied import parse_embodied
from fitprint.elsewhere import rank_places
from fitprint.errors import ConfigError, refusal
from fitprint.footprint import Footprint
from fitprint.ledger.ledger import Ledger
from fitprint.units import format_co2e

NUMBERS = {
    "power_w": "watts that each device draws",
    "utilization": "share of the TDP that is drawn; 1 by default",
    "hours": "how long it runs",
    "intensity": "g CO2e per kWh, instead of the region's",
    "pue": "facility power over IT power; 1 by default with --power-w, a server's with --hardware",
    "node_factor": "the machine's power over that of the devices; default as for --pue",
    "price": "of a kWh",
    "price_per_hour": "of a hired device",
    "queries": "number of queries that the trained model will answer: adds its whole life",
    "energy_per_query_wh": "watt-hours of a query at the hardware",
}
TEXTS = {
    "hardware": "an accelerator or a CPU by name, instead of --power-w",
    "region": "place; the world average by default",
    "currency": "of the prices",
    "embodied": "'off', or figures such as 'years=6,gpu_kg=150'",
}


def add(commands: Any) -> None:
    """Add the subcommand's parser."""
    parser = commands.add_parser("estimate", help="what work will use and emit, from watts or hardware, hours and place")
    for name, text in TEXTS.items():
        parser.add_argument(_option(name), help=text)
    for name, text in NUMBERS.items():
        parser.add_argument(_option(name), type=float, required=name == "hours", metavar=name[0].upper(), help=text)
    parser.add_argument("--count", type=int, default=1, metavar="N", help="number of devices")
    parser.add_argument("--run", metavar="ID", help="a recorded prediction or test whose samples are queries")
    parser.add_argument("--ledger", help="its ledger's file; fitprint.db in this folder by default")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_estimate)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _estimate(options: argparse.Namespace) -> int:
    given = {name: getattr(options, name) for name in (*TEXTS, *NUMBERS) if getattr(options, name) is not None}
    if "embodied" in given:
        given["embodied"] = _embodied(given["embodied"])
    if options.run is not None:
        given["energy_per_query_wh"] = _of_run(options)
    found = estimate(count=options.count, **given)
    if options.json:
        print(json.dumps(found.to_dict(), indent=2, allow_nan=False))
        return 0
    said = str(found).replace(NO_CURRENCY, f"{NO_CURRENCY[:-1]}: --currency)")
    print(f"{said}\n{_elsewhere(found)}")
    return 0


def _of_run(options: argparse.Namespace) -> Footprint:
    if options.energy_per_query_wh is not None:
        raise ConfigError("Expected either --energy-per-query-wh or --run. Received: both. Give one of them.")
    return Ledger(options.ledger).footprint(options.run)


def _embodied(text: str) -> Any:
    try:
        return parse_embodied(text)
    except ValueError as error:
        raise refusal("embodied", expected=TEXTS["embodied"], came=text) from error


def _elsewhere(found: Estimate) -> str:
    """The cleanest and the dirtiest place for the same energy; regions of the same cloud, if it was to run in one."""
    here = next((str(row["value"]) for row in found.assumptions if row["name"] == "region"), "")
    cloud = find_cloud(here)
    provider = cloud.provider if cloud else None
    places = [place for place in rank_places(found.facility_energy_kwh, provider=provider) if place.rank is not None]
    best, worst = places[0], places[-1]
    command = f"fitprint regions --energy-kwh {found.facility_energy_kwh:.6g}" + (f" --provider {provider}" if provider else "")
    ends = f"{format_co2e(best.co2e_g)} in {best.name} to {format_co2e(worst.co2e_g)} in {worst.name}"
    return f"The same elsewhere: {ends}. All places: {command}"
