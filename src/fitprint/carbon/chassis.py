"""What kind of machine this is: a data centre stands around a server, and nothing around a laptop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["server", "desktop", "laptop", "unknown"]

# System enclosure types (DMTF, SMBIOS specification 3.7, 7.4.1).
KINDS: Mapping[Kind, frozenset[int]] = {
    "server": frozenset({17, 23, 25, 28, 29}),
    "desktop": frozenset({3, 4, 5, 6, 7, 13, 15, 16, 24, 35, 36}),
    "laptop": frozenset({8, 9, 10, 11, 14, 30, 31, 32}),
}
# Set inside the jobs of SLURM, PBS, LSF, OAR, Flux and HTCondor, and inside the pods of Kubernetes.
SCHEDULERS = (
    "SLURM_JOB_ID",
    "PBS_JOBID",
    "LSB_JOBID",
    "OAR_JOB_ID",
    "FLUX_JOB_ID",
    "_CONDOR_JOB_AD",
    "KUBERNETES_SERVICE_HOST",
)
# Guests of Hyper-V, those in Azure too, are shown the chassis of a desktop that is not there.
HYPER_V = ("Microsoft Corporation", "Virtual Machine")
# Windows runs Linux programs under a hypervisor on a person's own machine.
WSL = "WSL_DISTRO_NAME"


class Chassis(NamedTuple):
    """The kind of machine and how it was recognised.

    Attributes:
        kind: ``server``, ``desktop``, ``laptop`` or ``unknown``.
        found_by: How, in words that can be printed.
    """

    kind: Kind
    found_by: str


UNKNOWN = Chassis("unknown", "no chassis, hypervisor, scheduler or cloud is recognised")


def find_chassis(sys_root: Path, environ: Mapping[str, str], *, virtual: bool = False, provider: str | None = None) -> Chassis:
    """Recognise the machine by its chassis type, else by what only servers have.

    Args:
        sys_root: Normally ``/sys``.
        environ: The process environment; schedulers leave their marks in it.
        virtual: A hypervisor lies below.
        provider: The cloud, where one is recognised.
    """
    number = _chassis_type(sys_root / "class" / "dmi" / "id")
    kind = next((kind for kind, numbers in KINDS.items() if number in numbers), None)
    if kind is not None:
        return Chassis(kind, f"DMI chassis type {number}")
    sign = _sign_of_a_server(environ, virtual, provider)
    return Chassis("server", sign) if sign else UNKNOWN


def _sign_of_a_server(environ: Mapping[str, str], virtual: bool, provider: str | None) -> str:
    """What shows that this is a server; empty where nothing does."""
    if provider:
        return f"the cloud {provider}"
    scheduler = next((name for name in SCHEDULERS if environ.get(name)), None)
    if scheduler is not None:
        return f"a scheduler ({scheduler} is set)"
    return "a hypervisor" if virtual and WSL not in environ else ""


def _chassis_type(folder: Path) -> int | None:
    if (_text(folder / "sys_vendor"), _text(folder / "product_name")) == HYPER_V:
        return None
    text = _text(folder / "chassis_type")
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
