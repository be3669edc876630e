"""Cloud regions: where each of them stands."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from fitprint.data import table

# Clouds whose regions are in the table; the last ones are recognised, and no more.
PROVIDERS: Mapping[str, str] = {
    "aws": "AWS",
    "azure": "Azure",
    "gcp": "Google Cloud",
    "ovh": "OVHcloud",
    "scaleway": "Scaleway",
    "alibaba": "Alibaba Cloud",
    "digitalocean": "DigitalOcean",
    "hetzner": "Hetzner",
    "oracle": "Oracle Cloud",
    "vultr": "Vultr",
}
# What people and tools write before the colon.
ALIASES: Mapping[str, str] = {
    "amazon": "aws",
    "ec2": "aws",
    "gce": "gcp",
    "gcloud": "gcp",
    "google": "gcp",
    "microsoft": "azure",
    "ovhcloud": "ovh",
    "scw": "scaleway",
}


class CloudRegion(NamedTuple):
    """A region of a cloud.

    Attributes:
        provider: ``aws``, ``azure``, ``gcp``, ``ovh`` or ``scaleway``.
        region: As the provider writes it.
        location: City, state or country, as the provider names it.
        place: Code of the country, or part of one, on whose grid it is.
        latitude: Of its city in degrees, or None where the city is not published.
        longitude: Of its city in degrees, or None where the city is not published.
    """

    provider: str
    region: str
    location: str
    place: str
    latitude: float | None
    longitude: float | None

    @property
    def code(self) -> str:
        """For example ``gcp:europe-west1``."""
        return f"{self.provider}:{self.region}"

    @property
    def name(self) -> str:
        """For example ``Belgium (Google Cloud europe-west1)``."""
        return f"{self.location} ({PROVIDERS[self.provider]} {self.region})"


@cache
def cloud_regions() -> tuple[CloudRegion, ...]:
    """Every cloud region, in the order of the table."""
    return tuple(_region(row) for row in table("cloud_regions"))


def find_cloud(code: str) -> CloudRegion | None:
    """Look up ``provider:region`` without regard to case and blanks; None where the table does not have it."""
    provider, _, region = folded_code(code).partition(":")
    return _by_code().get(f"{ALIASES.get(provider, provider)}:{region}")


def folded_code(text: str) -> str:
    """The text in lower case without blanks: ``West Europe`` is how some write ``westeurope``."""
    return "".join(text.casefold().split())


@cache
def _by_code() -> Mapping[str, CloudRegion]:
    return {region.code: region for region in cloud_regions()}


def _region(row: Mapping[str, str]) -> CloudRegion:
    latitude, longitude = degrees(row["latitude"]), degrees(row["longitude"])
    return CloudRegion(row["provider"], row["region"], row["location"], row["place"], latitude, longitude)


def degrees(text: str) -> float | None:
    """A coordinate out of a table; None for an empty cell."""
    return float(text) if text else None
