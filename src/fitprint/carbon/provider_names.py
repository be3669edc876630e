"""How options name a zone of a web service: ``electricitymaps:FR``, ``watttime:CAISO_NORTH``, ``ukci``, ``ukci:13``."""

from __future__ import annotations

import re

from fitprint.carbon.grid import find_region
from fitprint.carbon.place import Place
from fitprint.carbon.providers import ElectricityMaps, Provider, UkCarbonIntensity, WattTime
from fitprint.errors import did_you_mean, refusal

EXPECTED = "'electricitymaps:ZONE' (such as 'electricitymaps:FR'), 'watttime:REGION', 'ukci' or 'ukci:1' to 'ukci:17'"
PROVIDERS: dict[str, type[Provider]] = {provider.key: provider for provider in (ElectricityMaps, WattTime, UkCarbonIntensity)}


def find_provider(text: str) -> Provider | None:
    """Read what an option says; None where it names no service at all, as a file's name.

    ``electricitymaps`` alone leaves the zone to ``zone_of``.

    Raises:
        ConfigError: If it nearly names a service, or a zone that cannot be.
    """
    name, colon, zone = text.partition(":")
    kind = PROVIDERS.get("".join(letter for letter in name.casefold() if letter.isalnum()))
    if kind is None:
        if colon and (guess := did_you_mean(name, PROVIDERS)):
            raise refusal("intensity", expected=EXPECTED, came=text, hint=f"Did you mean '{guess}:{zone}'?")
        return None
    provider = kind(zone.strip().upper()) if colon else kind()
    if not re.fullmatch(provider.zones, provider.zone) and (colon or kind is not ElectricityMaps):
        raise refusal("intensity", expected=EXPECTED, came=text)
    return provider


def zone_of(place: Place) -> str:
    """Electricity Maps' zone of a place; empty where the place's code is none.

    Countries, Canadian provinces and Nordic zones go by the same codes there; US states do not.
    """
    row = find_region(place.code)
    if row.level == "cloud":
        row = find_region(row.parent)
    return row.code if row.level in ("country", "zone") or row.parent == "CA" else ""
