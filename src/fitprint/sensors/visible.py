"""Which accelerators this process may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Visible:
    """The boards that a process may use.

    Attributes:
        indices: Indices into the driver's list of boards, each once, in the order asked for.
        shared: Those of them of which the process may use a part only (MIG).
        note: What a reader of the result has to know about the choice; empty if it is certain.
    """

    indices: tuple[int, ...]
    shared: frozenset[int] = frozenset()
    note: str = ""


def no_mig(_: str) -> str | None:
    """The parent board of a MIG device, where there are none."""
    return None


def visible_boards(
    uuids: Sequence[str],
    names: Sequence[str],
    environ: Mapping[str, str],
    *,
    modules: Mapping[str, Any],
    parent_of_mig: Callable[[str], str | None] = no_mig,
) -> Visible:
    """Decide by the framework's own view where it is initialised, else by CUDA_VISIBLE_DEVICES.

    That is read as CUDA itself reads it: an unset variable means all devices, an empty one none; the
    list ends at the first entry that names no device; a device named twice makes the whole list invalid.

    Args:
        uuids: UUIDs of the boards in the driver's (PCI bus) order, each ``GPU-...``.
        names: Their product names.
        environ: The process environment.
        modules: Modules that are loaded already (``sys.modules``); nothing is imported.
        parent_of_mig: The UUID of the board that a MIG device is cut out of, or None.
    """
    seen = _framework_uuids(modules)
    if seen is not None:
        known = [uuids.index(uuid) for uuid in seen if uuid in uuids]
        return Visible(tuple(dict.fromkeys(known)))
    parsed = _parse(uuids, environ.get("CUDA_VISIBLE_DEVICES"), parent_of_mig)
    return Visible(parsed.indices, parsed.shared, _order_note(names, environ, len(parsed.indices)))


def _parse(uuids: Sequence[str], text: str | None, parent_of_mig: Callable[[str], str | None]) -> Visible:
    if text is None:
        return Visible(tuple(range(len(uuids))))
    chosen: list[int] = []
    shared: set[int] = set()
    entries: list[str] = []
    for entry in (entry.strip() for entry in text.split(",")):
        parent = _parent(entry, parent_of_mig)
        index = _index(parent or entry, uuids)
        if index is None:
            break
        entries.append(entry if parent else str(index))
        chosen.append(index)
        shared |= {index} if parent else set()
    if len(set(entries)) < len(entries):
        return Visible(())
    return Visible(tuple(dict.fromkeys(chosen)), frozenset(shared))


def _parent(entry: str, parent_of_mig: Callable[[str], str | None]) -> str | None:
    """The board of a MIG entry; the older form ``MIG-GPU-<uuid>/<gi>/<ci>`` names it itself."""
    if entry.startswith("MIG-GPU-"):
        return entry.removeprefix("MIG-").partition("/")[0]
    return parent_of_mig(entry) if entry.startswith("MIG-") else None


def _index(entry: str, uuids: Sequence[str]) -> int | None:
    if entry.isdecimal():
        return int(entry) if int(entry) < len(uuids) else None
    if not entry.startswith("GPU-"):
        return None
    matches = [i for i, uuid in enumerate(uuids) if uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None


def _framework_uuids(modules: Mapping[str, Any]) -> list[str] | None:
    """The boards that torch has opened, as the driver names them; None if it has not opened any."""
    cuda = getattr(modules.get("torch"), "cuda", None)
    try:
        if cuda is None or not cuda.is_initialized():
            return None
        return [f"GPU-{cuda.get_device_properties(i).uuid}" for i in range(cuda.device_count())] or None
    except (AttributeError, RuntimeError):  # an older torch without UUIDs, or one whose driver is gone
        return None


def _order_note(names: Sequence[str], environ: Mapping[str, str], visible: int) -> str:
    """CUDA numbers boards by speed unless told otherwise; that matters where they differ and not all are used."""
    entries = environ.get("CUDA_VISIBLE_DEVICES", "")
    by_number = any(entry.strip().isdecimal() for entry in entries.split(","))
    by_bus = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if not by_number or by_bus or len(set(names)) < 2 or visible == len(names):
        return ""
    return (
        f"CUDA_VISIBLE_DEVICES={entries} was read in bus order, but these boards differ and CUDA numbers them by speed: "
        "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name boards by UUID"
    )
