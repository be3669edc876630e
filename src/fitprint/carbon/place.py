"""Where the run is, without asking the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fitprint.carbon.cloud_hints import CloudHint, find_hint
from fitprint.carbon.clouds import PROVIDERS, CloudRegion, find_cloud
from fitprint.carbon.grid import WORLD, find_region
from fitprint.data import table
from fitprint.errors import ConfigError

AskCloud = Callable[[str], str | None]


class Place(NamedTuple):
    """A region and how it was found.

    Attributes:
        code: Of a country (``FR``), a part of one (``US-CA``), a cloud region (``aws:us-east-1``), or ``WORLD``.
        name: In English.
        found_by: How it was found, in words that can be printed.
        provider: The cloud that the machine belongs to, for example ``aws``; None if it is in none that is known.
        region: The cloud's own name of its region; empty if unknown.
    """

    code: str
    name: str
    found_by: str
    provider: str | None = None
    region: str = ""


def find_place(
    region: str | None,
    given_by: str,
    environ: Mapping[str, str],
    etc: Path = Path("/etc"),
    *,
    sys_root: Path = Path("/sys"),
    ask_cloud: AskCloud | None = None,
) -> Place:
    """Decide where the run is: what was said, else what the cloud left on the machine, else a guess, else unknown.

    Args:
        region: The region that was set, or None.
        given_by: Where it was set: argument, environment, a file.
        environ: The process environment (marks of clouds and schedulers, TZ).
        etc: Folder that holds ``timezone`` and ``localtime``.
        sys_root: Normally ``/sys``; cloud-init's answer is looked for in ``run`` beside it.
        ask_cloud: Asks the metadata service of the cloud that is named to it for the machine's region, over
            the network; None where the network is not allowed. It is asked only on a machine of that cloud
            that does not tell its region by itself.
    """
    hint = find_hint(environ, sys_root)
    if region is not None:
        return _given(region, given_by, hint)
    return _in_cloud(hint, ask_cloud) or _by_time_zone(environ, etc, hint)


def _given(region: str, given_by: str, hint: CloudHint | None) -> Place:
    row = find_region(region)
    cloud = find_cloud(row.code)
    if cloud is not None:
        return _place(cloud, f"given by {given_by}")
    return Place(row.code, row.name, f"given by {given_by}", hint.provider if hint else None)


def _in_cloud(hint: CloudHint | None, ask_cloud: AskCloud | None) -> Place | None:
    if hint is None:
        return None
    if ask_cloud is not None and not (hint.cloud and hint.certain):
        answer = find_cloud(f"{hint.provider}:{ask_cloud(hint.provider) or ''}")
        if answer is not None:
            return _place(answer, f"told by the metadata service of {PROVIDERS[hint.provider]}")
    return _place(hint.cloud, hint.found_by) if hint.cloud else None


def _place(cloud: CloudRegion, found_by: str) -> Place:
    return Place(cloud.code, cloud.name, found_by, cloud.provider, cloud.region)


def _by_time_zone(environ: Mapping[str, str], etc: Path, hint: CloudHint | None) -> Place:
    """A guess, and said so."""
    provider = hint.provider if hint else None
    machine = f"; the machine is one of {PROVIDERS[provider]}, its region is unknown" if provider else ""
    zone = time_zone(environ, etc)
    country = _countries().get(zone)
    if country is None:
        return _unknown(f"time zone {zone or 'not set'} names no country{machine}", provider)
    try:
        row = find_region(country)
    except ConfigError:  # a territory without a figure of its own
        return _unknown(f"time zone {zone} is in {country}, for which there is no figure{machine}", provider)
    return Place(row.code, row.name, f"guessed from the time zone {zone}{machine}", provider)


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


@cache
def _countries() -> Mapping[str, str]:
    return {row["zone"]: row["country"] for row in table("time_zones")}


def _unknown(why: str, provider: str | None) -> Place:
    return Place(WORLD, "World", f"unknown ({why}); the world average is used", provider)
