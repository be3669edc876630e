"""What a cloud leaves on its machines: who it is, and often in which region. Nothing here uses the network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fitprint.carbon.clouds import PROVIDERS, CloudRegion, find_cloud

# Where the firmware's tables name a cloud: a file of class/dmi/id, a text inside it, the cloud (cloud-init's
# ds-identify; EC2 User Guide, "Identify EC2 instances"). A vendor alone is not enough where it sells more
# than a cloud: a Chromebook is a Google, a Surface and a guest of any Hyper-V are Microsoft's.
FIRMWARE = (
    ("sys_vendor", "amazon ec2", "aws"),
    ("bios_version", ".amazon", "aws"),
    ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77", "azure"),
    ("product_name", "google compute engine", "gcp"),
    ("sys_vendor", "scaleway", "scaleway"),
    ("product_name", "alibaba cloud ecs", "alibaba"),
    ("sys_vendor", "digitalocean", "digitalocean"),
    ("sys_vendor", "hetzner", "hetzner"),
    ("chassis_asset_tag", "oraclecloud.com", "oracle"),
    ("sys_vendor", "vultr", "vultr"),
)
# Firmware without a name, or none that this process can see: microVMs and many ARM machines.
SILENT = ""
NO_CLOUD = "none"
# Set by AWS in what it starts in microVMs (Fargate, Lambda). SageMaker's are not among them: its local mode sets them on laptops.
STARTED_BY_AWS = ("AWS_EXECUTION_ENV", "ECS_CONTAINER_METADATA_URI_V4", "ECS_CONTAINER_METADATA_URI")
AWS_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
# Variables that name a region. Laptops have them too, for the clients of a cloud: they count only on the
# cloud's own machines, and as a guess. Two of Azure's are addresses: https://westeurope.api.azureml.ms.
REGIONS: Mapping[str, tuple[str, ...]] = {
    "aws": AWS_REGIONS,
    "azure": ("AZ_BATCH_ACCOUNT_URL", "AZUREML_SERVICE_ENDPOINT", "REGION_NAME", "AZURE_REGION"),
    "gcp": ("CLOUD_ML_REGION", "GOOGLE_CLOUD_REGION", "CLOUDSDK_COMPUTE_REGION"),
    "scaleway": ("SCW_DEFAULT_REGION",),
}
SKYPILOT = "SKYPILOT_CLUSTER_INFO"


class CloudHint(NamedTuple):
    """A machine of a cloud.

    Attributes:
        provider: The cloud, for example ``aws``.
        cloud: Its region, or None if unknown.
        found_by: How the region was found, in words that can be printed.
        certain: The cloud or the scheduler itself told the region.
    """

    provider: str
    cloud: CloudRegion | None = None
    found_by: str = ""
    certain: bool = False


def find_hint(environ: Mapping[str, str], sys_root: Path) -> CloudHint | None:
    """Recognise a machine of a cloud, and its region if it is told; None on any other machine.

    Firmware that names another vendor is believed before anything else: what a cloud starts on a customer's
    own machine (ECS Anywhere, local test runs) has the cloud's variables too.

    Args:
        environ: The process environment.
        sys_root: Normally ``/sys``; cloud-init's answer is looked for in ``run`` beside it.
    """
    machine = _firmware(sys_root / "class" / "dmi" / "id")
    for hint in (*_told(environ, sys_root.parent / "run"), *_guessed(machine, environ)):
        if machine in (SILENT, hint.provider):
            return hint
    return CloudHint(machine) if machine in PROVIDERS else None


def _firmware(folder: Path) -> str:
    """The cloud that the firmware names, else whether it names anybody."""
    for name, words, provider in FIRMWARE:
        if words in _text(folder / name):
            return provider
    return NO_CLOUD if _text(folder / "sys_vendor") else SILENT


def _told(environ: Mapping[str, str], run: Path) -> Iterator[CloudHint]:
    """Regions as the cloud or a scheduler tells them."""
    first_boot = _mapping(_mapping(_json(_text(run / "cloud-init" / "instance-data.json"))).get("v1"))
    yield from _named(first_boot.get("cloud_name"), first_boot.get("region"), "told by cloud-init")
    cluster = _mapping(_json(environ.get(SKYPILOT, "")))
    yield from _named(cluster.get("cloud"), cluster.get("region"), f"told by {SKYPILOT}")
    if any(environ.get(name) for name in STARTED_BY_AWS):
        for name in AWS_REGIONS:
            yield from _named("aws", environ.get(name), f"told by {name}")


def _named(provider: Any, region: Any, found_by: str) -> Iterator[CloudHint]:
    cloud = find_cloud(f"{provider}:{region}")
    if cloud is not None:
        yield CloudHint(cloud.provider, cloud, found_by, certain=True)


def _guessed(provider: str, environ: Mapping[str, str]) -> Iterator[CloudHint]:
    """Regions that the variables of a cloud's clients name, on a machine of that cloud."""
    for name in REGIONS.get(provider, ()):
        cloud = _first_region(provider, environ.get(name, ""))
        if cloud is not None:
            yield CloudHint(provider, cloud, f"guessed from {name} on a machine of {PROVIDERS[provider]}")


def _first_region(provider: str, text: str) -> CloudRegion | None:
    """The region that the text is, or the first one in an address."""
    words: Iterable[str] = (text, *text.replace("/", ".").split("."))
    return next((cloud for word in words if (cloud := find_cloud(f"{provider}:{word}"))), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().casefold()
    except OSError:
        return ""


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
