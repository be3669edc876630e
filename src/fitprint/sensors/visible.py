"""Which accelerators this process may use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# An entry of CUDA_VISIBLE_DEVICES is a number as C's strtoul reads one: "+1" and "01" are 1, and so
# is "1gpu" (the parser and the tests of torch.cuda).
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_ANY_NUMBER = re.compile(r"(?:^|,)\s*[+-]?[0-9]")


class Identity(NamedTuple):
    """A board as the driver lists it.

    Attributes:
        uuid: ``GPU-...``.
        name: Its product name.
        bus_id: Where it sits on the PCI bus, as ``bus_id`` writes it; empty if unknown.
    """

    uuid: str
    name: str
    bus_id: str = ""


class Opened(NamedTuple):
    """A GPU that a framework in this process has opened.

    Attributes:
        ordinal: Its place among the devices that CUDA shows this process.
        name: What the framework calls it.
        uuid: ``GPU-...``; empty where the framework does not tell.
        bus_id: As in ``Identity``.
    """

    ordinal: int
    name: str
    uuid: str = ""
    bus_id: str = ""


class Place(NamedTuple):
    """A device of CUDA: a board, by its index in the driver's list, or the MIG device of it that was named."""

    board: int
    mig: str = ""


class Visible(NamedTuple):
    """The boards that a process may use.

    Attributes:
        indices: Indices into the driver's list of boards, each once, in the order asked for.
        parts: By index, the MIG devices that were named, where the process may use these alone.
        unlisted: GPUs that a framework has opened and the driver does not list.
        note: What a reader of the result has to know about the choice; empty if it is certain.
    """

    indices: tuple[int, ...]
    parts: Mapping[int, tuple[str, ...]]
    unlisted: tuple[Opened, ...] = ()
    note: str = ""


def bus_id(domain: int, bus: int, device: int) -> str:
    """A place on the PCI bus, for example ``00000000:65:00``."""
    return f"{domain:08x}:{bus:02x}:{device:02x}"


def no_mig(_: str) -> str | None:
    """The parent board of a MIG device, where there are none."""
    return None


def visible_boards(
    boards: Sequence[Identity],
    environ: Mapping[str, str],
    *,
    modules: Mapping[str, Any],
    parent_of_mig: Callable[[str], str | None] = no_mig,
) -> Visible:
    """Decide by the frameworks' own view where one is initialised, else by CUDA_VISIBLE_DEVICES.

    That is read as CUDA itself reads it: an unset variable means all devices, an empty one none; the
    list ends at the first entry that names no device; a device named twice makes the whole list invalid.

    Args:
        boards: The boards in the driver's (PCI bus) order.
        environ: The process environment.
        modules: Modules that are loaded already (``sys.modules``); nothing is imported or initialised.
        parent_of_mig: The UUID of the board that a MIG device is cut out of, or None.
    """
    listed = _cuda_order(boards, environ.get("CUDA_VISIBLE_DEVICES"), parent_of_mig)
    opened = opened_gpus(modules)
    found = [_places_of(gpu, boards, listed, parent_of_mig) for gpu in opened]
    unlisted = tuple(gpu for gpu, places in zip(opened, found, strict=True) if not places)
    places = [place for places in found for place in places] if opened else listed
    indices = tuple(dict.fromkeys(place.board for place in places))
    by_number = any(not gpu.uuid for gpu in opened) if opened else _ANY_NUMBER.search(environ.get("CUDA_VISIBLE_DEVICES", ""))
    note = _order_note(boards, environ) if by_number and len(indices) < len(boards) else ""
    return Visible(indices, _parts(places), unlisted, note)


def opened_gpus(modules: Mapping[str, Any]) -> tuple[Opened, ...]:
    """The GPUs that frameworks in this process have opened; none if none has, which says nothing about later.

    Frameworks in one process number the same devices alike; the one that tells most is asked first.
    """
    gpus: dict[int, Opened] = {}
    for view in (_torch_gpus, _tensorflow_gpus, _jax_gpus):
        try:
            for gpu in view(modules):
                gpus.setdefault(gpu.ordinal, gpu)
        except Exception:  # not loaded, half loaded, another version, or its driver is gone: it is not asked
            continue
    return tuple(gpus[ordinal] for ordinal in sorted(gpus))


def _torch_gpus(modules: Mapping[str, Any]) -> Iterable[Opened]:
    torch = modules["torch"]
    if not torch.cuda.is_initialized() or getattr(getattr(torch, "version", None), "hip", None):
        return []
    return [_torch_gpu(i, torch.cuda.get_device_properties(i)) for i in range(torch.cuda.device_count())]


def _torch_gpu(ordinal: int, properties: Any) -> Opened:
    """Torch before 2.4 tells no UUID, and not every version the bus."""
    uuid = getattr(properties, "uuid", "")
    on_bus = hasattr(properties, "pci_bus_id")
    place = bus_id(properties.pci_domain_id, properties.pci_bus_id, properties.pci_device_id) if on_bus else ""
    return Opened(ordinal, properties.name, f"GPU-{uuid}" if uuid else "", place)


def _tensorflow_gpus(modules: Mapping[str, Any]) -> Iterable[Opened]:
    """TensorFlow tells PCI buses only by creating its devices, which takes the memory of all GPUs: it is asked for numbers."""
    if not modules["tensorflow.python.platform.build_info"].build_info["is_cuda_build"]:
        return []
    context = modules["tensorflow.python.eager.context"].context_safe()
    if context is None or context._physical_devices is None:
        return []
    ordinals = [int(device.name.rpartition(":")[2]) for device in context.get_visible_devices("GPU")]
    return [Opened(ordinal, f"GPU {ordinal} of TensorFlow") for ordinal in ordinals]


def _jax_gpus(modules: Mapping[str, Any]) -> Iterable[Opened]:
    if not modules["jax._src.xla_bridge"].backends_are_initialized():
        return []
    devices = [device for device in modules["jax"].local_devices() if device.platform in ("gpu", "cuda")]
    return [Opened(d.local_hardware_id, d.device_kind) for d in devices if "rocm" not in d.client.platform_version]


def _places_of(
    gpu: Opened, boards: Sequence[Identity], listed: Sequence[Place], parent_of_mig: Callable[[str], str | None]
) -> list[Place]:
    """Where an opened GPU is: by UUID, else by bus, and by its number only if it told no UUID."""
    if not gpu.uuid:
        return list(listed[gpu.ordinal : gpu.ordinal + 1])
    board = _with_uuid(gpu.uuid, boards)
    mig = f"MIG-{gpu.uuid.removeprefix('GPU-')}"
    if board is None and (cut := _with_uuid(parent_of_mig(mig), boards)) is not None:
        return [Place(cut, mig)]
    if board is None:
        board = next((i for i, other in enumerate(boards) if gpu.bus_id and other.bus_id == gpu.bus_id), None)
    if board is None:
        return []
    return [place for place in listed if place.board == board and place.mig] or [Place(board)]


def _with_uuid(uuid: str | None, boards: Sequence[Identity]) -> int | None:
    return next((i for i, board in enumerate(boards) if board.uuid == uuid), None)


def _cuda_order(boards: Sequence[Identity], text: str | None, parent_of_mig: Callable[[str], str | None]) -> list[Place]:
    """The devices of CUDA_VISIBLE_DEVICES, in the order in which CUDA numbers them."""
    if text is None:
        return [Place(index) for index in range(len(boards))]
    places: list[Place] = []
    for entry in (entry.strip() for entry in text.split(",")):
        mig = entry if entry.startswith("MIG-") else ""
        index = _index(_parent(mig, parent_of_mig) if mig else entry, boards)
        if index is None:
            break
        places.append(Place(index, mig))
    return places if len(set(places)) == len(places) else []


def _parent(mig: str, parent_of_mig: Callable[[str], str | None]) -> str:
    """The board of a MIG entry; the older form ``MIG-GPU-<uuid>/<gi>/<ci>`` names it itself."""
    if mig.startswith("MIG-GPU-"):
        return mig.removeprefix("MIG-").partition("/")[0]
    return parent_of_mig(mig) or ""


def _index(entry: str, boards: Sequence[Identity]) -> int | None:
    number = _NUMBER.match(entry)
    if number is not None:
        index = int(number[0])
        return index if 0 <= index < len(boards) else None
    matches = [i for i, board in enumerate(boards) if entry.startswith("GPU-") and board.uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None


def _parts(places: Sequence[Place]) -> dict[int, tuple[str, ...]]:
    """MIG devices by the index of their board."""
    return {cut.board: tuple(place.mig for place in places if place.board == cut.board and place.mig) for cut in places if cut.mig}


def _order_note(boards: Sequence[Identity], environ: Mapping[str, str]) -> str:
    """CUDA numbers boards by speed unless told otherwise; that matters where they differ and not all are used."""
    if environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({board.name for board in boards}) < 2:
        return ""
    return (
        f"boards were chosen by number (CUDA_VISIBLE_DEVICES={environ.get('CUDA_VISIBLE_DEVICES', '')}) in bus order, but they "
        "differ and CUDA numbers them by speed: set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name boards by UUID"
    )
