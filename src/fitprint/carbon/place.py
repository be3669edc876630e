"""Where the run is, without asking the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fitprint.carbon.grid import WORLD, find_region
from fitprint.data import table
from fitprint.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Place:
    """A region and how it was found.

    Attributes:
        code: ISO 3166 code, or ``WORLD``.
        name: In English.
        found_by: How it was found, in words that can be printed.
    """

    code: str
    name: str
    found_by: str


def find_place(region: str | None, given_by: str, environ: Mapping[str, str], etc: Path = Path("/etc")) -> Place:
    """Decide where the run is: what was said, else the time zone (a guess), else unknown.

    Args:
        region: The region that was set, or None.
        given_by: Where it was set: argument, environment, a file.
        environ: The process environment (TZ).
        etc: Folder that holds ``timezone`` and ``localtime``.
    """
    if region is not None:
        row = find_region(region)
        return Place(row.code, row.name, f"given by {given_by}")
    zone = time_zone(environ, etc)
    country = {row["zone"]: row["country"] for row in table("time_zones")}.get(zone)
    if country is not None:
        try:
            row = find_region(country)
        except ConfigError:  # a territory without a figure of its own
            return _unknown(f"time zone {zone} is in {country}, for which there is no figure")
        return Place(row.code, row.name, f"guessed from the time zone {zone}")
    return _unknown(f"time zone {zone or 'not set'} names no country")


def time_zone(environ: Mapping[str, str], etc: Path) -> str:
    """The name of the time zone, for example ``Europe/Paris``; empty if unknown."""
    if environ.get("TZ"):
        return _zone_of(environ["TZ"].lstrip(":"))
    try:
        zone = _zone_of(str((etc / "localtime").readlink()))
    except OSError:
        zone = ""
    if zone:
        return zone
    try:
        return (etc / "timezone").read_text(errors="replace").strip()
    except OSError:
        return ""


def _zone_of(path: str) -> str:
    """``Europe/Paris`` out of itself or of a path into a folder ``zoneinfo``; empty for any other path."""
    inside = path.partition("zoneinfo/")[2] or ("" if path.startswith((".", "/")) else path)
    return inside.removeprefix("posix/").removeprefix("right/")


def _unknown(why: str) -> Place:
    return Place(WORLD, "World", f"unknown ({why}); the world average is used")
