"""Accelerators that train without a sensor: found on the PCI bus, modelled at a share of their TDP.

What the process could not open, what is hidden from it and what its framework cannot drive is left
alone: the run does not use it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fitprint.clock import Clock
from fitprint.data import table
from fitprint.errors import pip_line
from fitprint.sensors.finding import Absent, Finding
from fitprint.sensors.modelled import model_accelerator

NO_SENSOR = "no sensor of it can be read, and its power limit is in no table"
APPLE, APPLE_GPU = "darwin-arm64", "gpu:apple"
NVIDIA, AMD, INTEL = "0x10de", "0x1002", "0x8086"

# PCI classes: VGA, 3D and other display controllers; processing accelerators.
DISPLAY, ACCELERATOR = ("0x0300", "0x0302", "0x0380"), ("0x1200",)
CLASS_DIGITS = 6

# A package of CPU, GPU and memory draws as one: what counts it counts these parts too.
PACKAGES = {"AMD Instinct MI300A": ("cpu", "dram")}
# A board of two dies: two PCI devices, one power limit.
DUAL_DIE = "MI250"
# GPUs inside AMD's CPUs have device ids below this, those on cards above (PCI ID Repository).
AMD_CARDS_FROM = 0x2000


class Family(NamedTuple):
    """A maker's accelerators.

    Attributes:
        vendor: PCI vendor id.
        label: What a model that is in no table is called.
        classes: PCI classes by which a model that is in no table is taken for an accelerator.
        nodes: Patterns under ``/dev`` of what a process opens, one node a device; without patterns it
            is the device's own render node.
        hidden_by: Variables that choose devices, group after group; of a group the first that is set.
        built_for: The attribute of ``torch.version`` that is set where torch can drive the family.
        remedy: What lets a sensor be read.
    """

    vendor: str
    label: str
    classes: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    hidden_by: tuple[tuple[str, ...], ...] = ()
    built_for: str = ""
    remedy: str = ""


NVIDIA_REMEDY = "in a container, start it with NVIDIA_DRIVER_CAPABILITIES=utility,compute"
AMD_CHOICE = (("ROCR_VISIBLE_DEVICES",), ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"))
GOOGLE = Family("0x1ae0", "Google TPU", (), ("accel[0-9]*", "vfio/[0-9]*"), (("TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES"),))
FAMILIES = (
    Family(NVIDIA, "NVIDIA GPU", DISPLAY, ("nvidia[0-9]*",), (("CUDA_VISIBLE_DEVICES",),), "cuda", NVIDIA_REMEDY),
    Family(AMD, "AMD GPU", DISPLAY + ACCELERATOR, (), AMD_CHOICE, "hip", pip_line("amd")),
    Family(INTEL, "Intel GPU", DISPLAY, (), (("ZE_AFFINITY_MASK",),), "xpu"),
    Family("0x1da3", "Habana accelerator", ACCELERATOR, ("accel/accel[0-9]*", "hl[0-9]*"), (("HABANA_VISIBLE_DEVICES",),)),
    Family("0x1d0f", "AWS Neuron device", (), ("neuron[0-9]*",)),
    GOOGLE,
)
FRAMEWORKS = ("torch", "jax", "tensorflow")

# What Google calls a generation in TPU_ACCELERATOR_TYPE, where that differs.
TPU_GENERATIONS = {"v5litepod": "TPU v5e", "v5lite": "TPU v5e", "tpu7x": "TPU7x"}


class Device(NamedTuple):
    """An accelerator on the bus.

    Attributes:
        address: For example ``0000:c1:00.0``.
        name: Its model.
        board: The address under which its board is counted, which two dies share.
        folder: Its folder under ``/sys``.
    """

    address: str
    name: str
    board: str
    folder: Path


def probe(
    sys_root: Path,
    dev_root: Path,
    environ: Mapping[str, str],
    clock: Clock,
    modules: Mapping[str, Any],
    taken: Collection[str] = (),
    platform: str = "",
) -> list[Finding]:
    """Model each accelerator that this process may use and nothing else counts; name those of unknown power.

    Args:
        sys_root: Normally ``/sys``.
        dev_root: Normally ``/dev``.
        environ: The process environment; variables that hide devices are heeded.
        clock: What the model runs on.
        modules: Modules that are loaded already: a framework does not train on what it cannot drive.
        taken: What is counted or decided elsewhere: sensor ids, PCI addresses, or the vendor ids of
            makers whose own library has answered (what that found hidden stays hidden).
        platform: ``sys.platform`` and ``platform.machine()``, joined by a dash.
    """
    on_bus = _on_bus(sys_root)
    there = {family: _devices(on_bus.get(family.vendor, ()), family) for family in FAMILIES if family.vendor not in taken}
    findings: list[Finding] = []
    for family, devices in there.items():
        used = _visible(_openable(devices, family, dev_root), family, environ) if _drives(family, modules) else []
        findings += _count(_once(used, devices, taken), family, clock)
    if there.get(GOOGLE) == []:
        findings += _tpu_of_environment(environ, clock)
    if platform == APPLE and APPLE_GPU not in taken:
        reason = "nothing here reads Apple's energy model"
        findings.append(Absent("Apple GPU", reason, pip_line("apple"), "the Apple GPU", "gpu"))
    return findings


def boards_on_bus(sys_root: Path) -> int:
    """How many accelerators the machine holds, those that this process may not use included."""
    on_bus = _on_bus(sys_root)
    return sum(len({device.board for device in _devices(on_bus.get(family.vendor, ()), family)}) for family in FAMILIES)


def sensor_id(address: str) -> str:
    """The id of whatever counts the board at a PCI address."""
    return f"gpu:pci-{address}"


def known_name(vendor: str, device: str, subsystem: str = "") -> str | None:
    """The name of a model by its PCI ids, each as ``0x740f``; None if it is in no table."""
    rows = [row for row in table("accelerator_ids") if (row["vendor"], row["device"]) == (vendor, device)]
    return next((row["name"] for row in rows if row["subsystem"] in ("", subsystem)), None)


def is_card(vendor: str, device: str, address: str) -> bool:
    """Tell a card from a GPU inside a CPU, which the CPU's own counter includes."""
    if vendor == AMD:
        return re.fullmatch(r"0x[0-9a-f]{1,8}", device, re.IGNORECASE) is not None and int(device, 16) >= AMD_CARDS_FROM
    return vendor != INTEL or address.split(":")[1:2] != ["00"]  # Intel's own is always on bus 0


def _on_bus(sys_root: Path) -> dict[str, list[Path]]:
    """The folders of all PCI devices by vendor, in the order of their addresses."""
    by_vendor: dict[str, list[Path]] = {}
    for folder in sorted((sys_root / "bus" / "pci" / "devices").glob("*")):
        by_vendor.setdefault(_read(folder / "vendor"), []).append(folder)
    return by_vendor


def _devices(folders: Iterable[Path], family: Family) -> list[Device]:
    """The accelerators among a maker's devices; a chip of several functions is one."""
    named = {folder: _name(folder, family) for folder in folders}
    by_slot = {folder.name.rpartition(".")[0]: (folder, name) for folder, name in reversed(named.items()) if name}
    chips = list(reversed(by_slot.values()))
    dies = [folder.name for folder, name in chips if DUAL_DIE in name]
    boards = {address: dies[i - i % 2] for i, address in enumerate(dies)}
    return [Device(folder.name, name, boards.get(folder.name, folder.name), folder) for folder, name in chips]


def _name(folder: Path, family: Family) -> str:
    """The model's name; empty for what is no accelerator."""
    device = _read(folder / "device")
    known = known_name(family.vendor, device, _read(folder / "subsystem_device"))
    if known or _read(folder / "class")[:CLASS_DIGITS] not in family.classes or not is_card(family.vendor, device, folder.name):
        return known or ""
    return f"{family.label} {family.vendor.removeprefix('0x')}:{device.removeprefix('0x')}"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip().lower()
    except OSError:
        return ""


def _openable(devices: Sequence[Device], family: Family, dev_root: Path) -> list[Device]:
    """The devices that the process may open: a container shows all of them under ``/sys``, few under ``/dev``."""
    if family.nodes:
        nodes = sum(_may_open(node) for pattern in family.nodes for node in dev_root.glob(pattern))
        return list(devices[:nodes])
    return [d for d in devices if any(_may_open(dev_root / "dri" / node.name) for node in d.folder.glob("drm/renderD*"))]


def _may_open(node: Path) -> bool:
    return os.access(node, os.R_OK | os.W_OK)


def _visible(devices: list[Device], family: Family, environ: Mapping[str, str]) -> list[Device]:
    """What the maker's variables leave of the devices."""
    for group in family.hidden_by:
        text = next((environ[name] for name in group if name in environ), "all")
        devices = devices if text.strip().lower() == "all" else _chosen(devices, text)
    return devices


def _chosen(devices: list[Device], text: str) -> list[Device]:
    """Devices by number, a tile (``0.1``) by its device's; entries that are no numbers are only counted."""
    entries = list(dict.fromkeys(entry.strip().partition(".")[0] for entry in text.split(",")))
    entries = entries[: next((i for i, entry in enumerate(entries) if entry in ("", "-1")), None)]
    if all(entry.isdecimal() for entry in entries):
        return [devices[int(entry)] for entry in entries if int(entry) < len(devices)]
    return devices[: len(entries)]


def _drives(family: Family, modules: Mapping[str, Any]) -> bool:
    """False where torch is the only framework here and was built for other hardware."""
    if not family.built_for or [name for name in FRAMEWORKS if name in modules] != ["torch"]:
        return True
    return bool(getattr(getattr(modules["torch"], "version", None), family.built_for, None))


def _once(used: Iterable[Device], devices: Iterable[Device], taken: Collection[str]) -> list[Device]:
    """Each board once, and none of which a die is counted elsewhere."""
    gone = {device.board for device in devices if device.address in taken or sensor_id(device.address) in taken}
    boards = {device.board: device for device in used}
    return [device for board, device in boards.items() if board not in gone]


def _count(devices: Iterable[Device], family: Family, clock: Clock) -> list[Finding]:
    """One finding for each model."""
    by_name: dict[str, list[str]] = {}
    for device in devices:
        by_name.setdefault(device.name, []).append(sensor_id(device.board))
    return [_model(name, ids, family, clock) for name, ids in by_name.items()]


def _model(name: str, ids: Sequence[str], family: Family, clock: Clock) -> Finding:
    """The model of so many devices of one name, or their name as left out."""
    modelled = [found for found in (model_accelerator(one, name, clock) for one in ids) if found]
    if not modelled:
        uncounted = name if len(ids) == 1 else f"{len(ids)} x {name}"
        return Absent(name, NO_SENSOR, family.remedy, uncounted, "gpu")
    counters = tuple(counter for found in modelled for counter in found.counters)
    return modelled[0]._replace(counters=counters, covers=PACKAGES.get(name, ()))


def _tpu_of_environment(environ: Mapping[str, str], clock: Clock) -> list[Finding]:
    """A TPU that its host tells of, where its chips are not to be seen on the bus.

    ``TPU_ACCELERATOR_TYPE`` is for example ``v4-8``, ``TPU_CHIPS_PER_HOST_BOUNDS`` ``2,2,1`` (Google Cloud).
    """
    generation = environ.get("TPU_ACCELERATOR_TYPE", "").partition("-")[0]
    if not generation:
        return []
    name = f"Google {TPU_GENERATIONS.get(generation, f'TPU {generation}')}"
    bounds = environ.get("TPU_CHIPS_PER_HOST_BOUNDS", "").split(",")
    if not all(bound.strip().isdecimal() for bound in bounds):
        return [Absent(name, "the number of its chips on this host is not known", "", name, "gpu")]
    chips = math.prod(int(bound) for bound in bounds)
    return [_model(name, [f"gpu:tpu-{chip}" for chip in range(chips)], GOOGLE, clock)]
