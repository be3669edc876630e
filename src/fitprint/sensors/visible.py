"""Which accelerators this process may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def visible_gpus(uuids: Sequence[str], environ: Mapping[str, str]) -> list[int]:
    """Return the indices into ``uuids`` that CUDA_VISIBLE_DEVICES leaves visible, in its order.

    Like CUDA itself: an unset variable means all devices, an empty one none; the list ends at the
    first entry that names no device; a device named twice makes the whole list invalid.

    Args:
        uuids: UUIDs of the boards in the driver's (PCI bus) order, each ``GPU-...``.
        environ: The process environment.
    """
    text = environ.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return list(range(len(uuids)))
    chosen: list[int] = []
    for entry in text.split(","):
        index = _index(entry.strip(), uuids)
        if index is None:
            break
        chosen.append(index)
    return chosen if len(set(chosen)) == len(chosen) else []


def _index(entry: str, uuids: Sequence[str]) -> int | None:
    if entry.isdecimal():
        return int(entry) if int(entry) < len(uuids) else None
    if not entry.startswith("GPU-"):
        return None
    matches = [i for i, uuid in enumerate(uuids) if uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None
