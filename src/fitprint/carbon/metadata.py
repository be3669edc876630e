"""Asks the metadata service of the cloud that a machine belongs to for its region: link-local, and nobody else."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from socket import socket

# For the whole answer: the caller is about to start a run.
TIMEOUT_S = 1.0
LARGEST_BYTES = 2**16
HTTP_PORT = 80
LINK_LOCAL = "169.254.169.254"
# Names that Scaleway's first zones still have in places.
SCALEWAY_FIRST_ZONES = {"par1": "fr-par-1", "ams1": "nl-ams-1"}
_REGION = r"[a-z][a-z0-9-]{2,40}"

# Method, path, headers; then what the answer's headers have to be.
Ask = Callable[..., str]


def ask_region(provider: str, *, host: str = "", port: int = HTTP_PORT, timeout_s: float = TIMEOUT_S) -> str | None:
    """The region in which this machine is, as its cloud names it. Never raises, and uses no proxy.

    OVHcloud's service, OpenStack's, tells no region.

    Args:
        provider: The cloud that the machine is known to belong to, for example ``aws``.
        host: The service's address; by default the one that the cloud documents.
        port: Its port.
        timeout_s: For the whole of it.

    Returns:
        None where the cloud has no such service, does not answer, or answers something else.
    """
    if provider not in SERVICES:
        return None
    address, find = SERVICES[provider]
    ask = partial(_ask, host or address, port, time.monotonic() + timeout_s)
    try:
        found = find(ask).strip().lower()
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None
    return found if re.fullmatch(_REGION, found) else None


def _aws(ask: Ask) -> str:
    """Amazon EC2 User Guide, "Use the Instance Metadata Service": version 2, by a session token."""
    token = ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    return ask("GET", "/latest/meta-data/placement/region", {"X-aws-ec2-metadata-token": token})


def _azure(ask: Ask) -> str:
    """Azure documentation, "Azure Instance Metadata Service"."""
    return ask("GET", "/metadata/instance/compute/location?api-version=2021-02-01&format=text", {"Metadata": "true"})


def _gcp(ask: Ask) -> str:
    """Compute Engine documentation, "View and query VM metadata": ``projects/123/zones/europe-west1-b``."""
    flavor = {"Metadata-Flavor": "Google"}
    zone = ask("GET", "/computeMetadata/v1/instance/zone", flavor, wanted=flavor)
    return zone.rpartition("/")[2].rpartition("-")[0]


def _scaleway(ask: Ask) -> str:
    """Scaleway's SDK, instance/v1/instance_metadata_sdk.go: ``{"location": {"zone_id": "fr-par-1"}}``."""
    zone = str(json.loads(ask("GET", "/conf?format=json", {}))["location"]["zone_id"])
    return SCALEWAY_FIRST_ZONES.get(zone, zone).rpartition("-")[0]


SERVICES: Mapping[str, tuple[str, Callable[[Ask], str]]] = {
    "aws": (LINK_LOCAL, _aws),
    "azure": (LINK_LOCAL, _azure),
    "gcp": (LINK_LOCAL, _gcp),
    "scaleway": ("169.254.42.42", _scaleway),
}


def _ask(
    host: str,
    port: int,
    until_s: float,
    method: str,
    path: str,
    headers: Mapping[str, str],
    wanted: Mapping[str, str] | None = None,
) -> str:
    """One answer as text.

    Raises:
        OSError: If it does not come in time, or with another status than 200.
    """
    from http.client import HTTPConnection, HTTPException  # slow to load, and seldom needed
    from socket import create_connection

    with create_connection((host, port), timeout=_left_s(until_s)) as plain:
        connection = HTTPConnection(host, port)
        connection.sock = _Hurried(plain, until_s)
        try:
            connection.request(method, path, headers=dict(headers))
            response = connection.getresponse()
            body = response.read(LARGEST_BYTES).decode("ascii")
        except HTTPException as error:
            raise ConnectionError from error
        whole = response.length in (0, None)  # less may have come than was announced
        told = all(response.headers.get(name) == value for name, value in (wanted or {}).items())
        if response.status != 200 or not (whole and told):
            raise ConnectionError
        return body


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


class _Hurried(io.RawIOBase):
    """What an HTTP connection needs of a socket, every step with the time that is left for all of them.

    A byte now and then would satisfy a socket's own timeout for ever.
    """

    def __init__(self, plain: socket, until_s: float) -> None:
        self._plain, self._until_s = plain, until_s

    def sendall(self, data: bytes) -> None:
        self._plain.settimeout(_left_s(self._until_s))
        self._plain.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Hurried(self._plain, self._until_s))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._plain.settimeout(_left_s(self._until_s))
        return self._plain.recv_into(buffer)
