"""Which of AMD's boards a process may use, as ROCr and HIP decide it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fitprint.sensors.amdsmi_board import Die

ROCR, HIP, CUDA = "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"
# As long as ROCr lets the beginning of "GPU-" and 16 hexadecimal digits be.
ROCR_UUID_LENGTHS = range(5, 21)


IndexOf = Callable[[str, Sequence[Die]], int | None]


def visible_dies(dies: Sequence[Die], environ: Mapping[str, str], modules: Mapping[str, Any]) -> tuple[list[Die], str]:
    """What the process may use, and what is uncertain about that.

    ROCr filters first; HIP numbers what is left, and heeds CUDA_VISIBLE_DEVICES where its own variable is empty.
    """
    opened = _opened_by_torch(dies, modules)
    if opened:
        return opened, ""
    told = all(die.rank is not None for die in dies)
    order = sorted(dies, key=lambda die: die.rank or 0) if told else list(dies)
    rocr, hip = choices(environ)
    chosen = _chosen(_chosen(order, rocr, _rocr_index, again=False), hip, _hip_index, again=True)
    if told or len(chosen) in (0, len(dies)):
        return chosen, ""
    return chosen, f"this AMD SMI does not tell how HIP numbers boards: name them by UUID in {ROCR} to be sure"


def choices(environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    """What ROCr and what HIP is told to show; None where that is all."""
    return environ.get(ROCR), environ.get(HIP) or environ.get(CUDA) or None


def _chosen(dies: Sequence[Die], text: str | None, index_of: IndexOf, *, again: bool) -> list[Die]:
    """The dies of a list, which ends at the first entry that names none or, unless ``again``, one named before."""
    if text is None:
        return list(dies)
    chosen: list[Die] = []
    for entry in text.split(","):
        index = index_of(entry, dies)
        if index is None or (dies[index] in chosen and not again):
            break
        chosen.append(dies[index])
    return list(dict.fromkeys(chosen))


def _rocr_index(entry: str, dies: Sequence[Die]) -> int | None:
    """ROCr trims entries and takes the beginning of a UUID in either case, if that is unique (amd_filter_device.cpp)."""
    word = entry.strip().upper()
    if word.startswith("G"):
        matches = [i for i, die in enumerate(dies) if die.uuid.upper().startswith(word)]
        return matches[0] if len(matches) == 1 and len(word) in ROCR_UUID_LENGTHS else None
    return int(word) if word.isdecimal() and int(word) < len(dies) else None


def _hip_index(entry: str, dies: Sequence[Die]) -> int | None:
    """HIP trims nothing, and takes the first board whose UUID has the entry in it (rocdevice.cpp)."""
    if "GPU-" in entry:
        return next((i for i, die in enumerate(dies) if entry in die.uuid), None)
    return next((i for i in range(len(dies)) if entry == str(i)), None)


def _opened_by_torch(dies: Sequence[Die], modules: Mapping[str, Any]) -> list[Die]:
    """The dies that torch has opened; none if it has not, or if one of them cannot be found again."""
    torch: Any = modules.get("torch")
    try:
        if not torch.version.hip or not torch.cuda.is_initialized():
            return []
        properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        opened = [[die for die in dies if _is_it(die, of_one)] for of_one in properties]
    except Exception:  # not loaded, half loaded, another version, or its driver is gone: it is not asked
        return []
    return list(dict.fromkeys(die for found in opened for die in found)) if all(opened) else []


def _is_it(die: Die, properties: Any) -> bool:
    """By the place on the bus, which not every torch tells, or by the UUID, whose 16 bytes are its digits as text."""
    if hasattr(properties, "pci_bus_id"):
        return die.slot == f"{properties.pci_domain_id:04x}:{properties.pci_bus_id:02x}:{properties.pci_device_id:02x}"
    return die.uuid == f"GPU-{bytes.fromhex(str(properties.uuid).replace('-', '')).decode('ascii')}"
