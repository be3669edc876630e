"""AMD boards through the library amdsmi: the energy counters of Instinct MI200 and later, the power of all others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from fitprint.clock import Clock
from fitprint.errors import SensorError
from fitprint.sensors.accelerators import AMD, DUAL_DIE, PACKAGES, is_card, known_name, sensor_id
from fitprint.sensors.counter import UJ_IN_J, Counter, Integrated, Sensor
from fitprint.sensors.finding import Absent, Finding, Found
from fitprint.sensors.hwmon import CHIP_ERROR_HIGH
from fitprint.sensors.modelled import accelerator_tdp, model_accelerator

SOURCE = "AMD SMI"
SILENT = "no AMD driver answers here"
# More than any board on the market draws (MI355X: 1,400 W); only catches nonsense.
P_MAX_W = 3000.0
# Nobody has published these readings against a meter: twice the gain error of NVIDIA's boards is stated.
ERROR = 0.10
# The library hands out the same reading for a millisecond (AMDSMI_GPU_METRICS_CACHE_MS); firmware is no slower.
TICK_S = 0.001
# For each reading the firmware copies its whole table: ten a second are plenty.
MIN_INTERVAL_S = 0.1
# The counter of a board that is on moves in this time; where the library or the firmware hands out one
# reading for ever (ROCm/amdsmi issue 38, ROCm/rocm_smi_lib issue 180), the power is integrated instead.
LOOKS_APART_S = 0.02

# Boards whose energy Linux hands on as 64 bits of a known unit (aldebaran_ppt.c, smu_v13_0_6_ppt.c). MI100's
# often stands still; a Radeon's has 32 bits or is declared invalid (smu_v14_0_2_ppt.c).
COUNTING = re.compile(r"Instinct MI[2-9]\d\d")
# What stands for "no such value" in fields of 32 and 64 bits.
NO_VALUE = (2**32 - 1, 2**64 - 1)

ROCR, HIP, CUDA = "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"
# As long as ROCr lets the beginning of "GPU-" and 16 hexadecimal digits be.
ROCR_UUID_LENGTHS = range(5, 21)


class Energy(NamedTuple):
    """A reading of a counter."""

    ticks: int
    unit_j: float


@dataclass(frozen=True, slots=True)
class Die:
    """What the library lists: a board, one of the two dies of a board, or a partition of it.

    Attributes:
        handle: What the library calls it.
        name: Its product name.
        address: Where it is on the PCI bus, for example ``0000:c1:00.0``.
        uuid: What ROCm calls it, ``GPU-`` and 16 hexadecimal digits.
        rank: Its place among the devices of HIP; None if the library does not tell.
        card: False for a GPU inside a CPU.
        energy: What its counter shows, if it has one.
        power_w: Its power, 0 if it tells none.
    """

    handle: Any
    name: str
    address: str
    uuid: str
    rank: int | None
    card: bool
    energy: Energy | None
    power_w: float

    @property
    def slot(self) -> str:
        """The address without the function, which partitions of a board share."""
        return self.address.rpartition(".")[0]

    @property
    def reads(self) -> bool:
        """Of the two dies of a board one reads both, the other nothing."""
        return self.power_w > 0 or (self.energy is not None and self.energy.ticks > 0)


IndexOf = Callable[[str, Sequence[Die]], int | None]


class _Board:
    """One board; the library is shared with frameworks in this process and stays initialised."""

    p_max_w = P_MAX_W
    sensor: Sensor

    def __init__(self, library: Any, die: Die) -> None:
        self._library = library
        self._handle = die.handle

    def close(self) -> None:
        """Nothing is held."""


class AmdCounter(_Board):
    """Energy of one board in ticks of about 15.3 microjoules since the driver was loaded."""

    modulus = None
    min_interval_s = MIN_INTERVAL_S

    def __init__(self, library: Any, die: Die, unit_j: float) -> None:
        super().__init__(library, die)
        source = f"{SOURCE} energy counter, {die.name}"
        self.sensor = Sensor(sensor_id(die.address), "gpu", "counter", unit_j, ERROR, ERROR, source, tick_s=TICK_S)

    def read(self) -> int:
        return _energy(self._library, self._handle).ticks


class AmdPower(_Board):
    """Power of one board in watts: of an Instinct the whole, of a Radeon its chip."""

    def __init__(self, library: Any, die: Die) -> None:
        super().__init__(library, die)
        high = ERROR if "Instinct" in die.name else CHIP_ERROR_HIGH
        self.sensor = Sensor(sensor_id(die.address), "gpu", "integrated", UJ_IN_J, ERROR, high, f"{SOURCE} power, {die.name}")

    def watts(self) -> float:
        return _watts(self._library, self._handle)


def probe(library: Any, environ: Mapping[str, str], clock: Clock, modules: Mapping[str, Any]) -> list[Finding]:
    """Find the boards that this process may use: by energy counter, else by power, else modelled.

    Args:
        library: The module ``amdsmi`` of ROCm, or a stand-in.
        environ: The process environment (ROCR_, HIP_ and CUDA_VISIBLE_DEVICES).
        clock: What power is integrated over, and what passes between two looks at the counters.
        modules: Modules that are loaded already; torch is asked if it has opened AMD's boards.
    """
    try:
        _ask(library, "amdsmi_init")
        handles = _ask(library, "amdsmi_get_processor_handles")
    except SensorError as error:
        return [Absent(SOURCE, f"{SILENT} ({error})", _remedy(str(error)))]
    dies = [_die(library, index, handle) for index, handle in enumerate(handles)]
    if not dies:
        return [Absent(SOURCE, "the driver lists no board")]
    visible, note = visible_dies(dies, environ, modules)
    if not visible:
        return [_none_visible(environ)]
    boards = [board for board in boards_of(die for die in dies if die.card) if any(die in visible for die in board)]
    clock.sleep(LOOKS_APART_S)
    notes = tuple(filter(None, [note, *(_shared(board, visible) for board in boards)]))
    inside = [Absent(f"{SOURCE}, {die.name}", "it is part of the CPU") for die in visible if not die.card]
    return [*(_count(library, board, clock) for board in boards), *inside, Found((), notes=notes)]


def answered(findings: Iterable[Finding]) -> bool:
    """Whether the driver has told what there is among these: what it does not count then is hidden from the process."""
    for finding in findings:
        if isinstance(finding, Found) and any(counter.sensor.source.startswith(SOURCE) for counter in finding.counters):
            return True
        if isinstance(finding, Absent) and finding.source.startswith(SOURCE) and not finding.reason.startswith(SILENT):
            return True
    return False


def boards_of(dies: Iterable[Die]) -> list[list[Die]]:
    """Group what one counter measures, so that a board is counted once.

    Partitions of a board share its slot. The two dies of a board are neighbours on the bus; either may
    be the one that reads (ROCm/rocm_smi_lib issue 160).
    """
    slots: dict[str, list[Die]] = {}
    for die in sorted(dies, key=lambda die: die.address):
        slots.setdefault(die.slot, []).append(die)
    boards: list[list[Die]] = []
    for board in slots.values():
        if boards and _is_second_die(board, boards[-1]):
            boards[-1] = boards[-1] + board
        else:
            boards.append(board)
    return boards


def _is_second_die(board: Sequence[Die], before: Sequence[Die]) -> bool:
    names_fit = all(DUAL_DIE in die.name for die in (*before, *board))
    return names_fit and len(before) == len(board) == 1 and not (before[0].reads and board[0].reads)


def visible_dies(dies: Sequence[Die], environ: Mapping[str, str], modules: Mapping[str, Any]) -> tuple[list[Die], str]:
    """What the process may use, and what is uncertain about that.

    ROCr filters first; HIP numbers what is left, and heeds CUDA_VISIBLE_DEVICES where its own variable is empty.
    """
    opened = _opened_by_torch(dies, modules)
    if opened:
        return opened, ""
    told = all(die.rank is not None for die in dies)
    order = sorted(dies, key=lambda die: die.rank or 0) if told else list(dies)
    rocr, hip = _choices(environ)
    chosen = _chosen(_chosen(order, rocr, _rocr_index, again=False), hip, _hip_index, again=True)
    if told or len(chosen) in (0, len(dies)):
        return chosen, ""
    return chosen, f"this AMD SMI does not tell how HIP numbers boards: name them by UUID in {ROCR} to be sure"


def _choices(environ: Mapping[str, str]) -> tuple[str | None, str | None]:
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


def _die(library: Any, index: int, handle: Any) -> Die:
    """What is known of a handle; what is not is replaced by something that matches nothing."""
    asic = _or_none(_ask, library, "amdsmi_get_gpu_asic_info", handle) or {}
    hip = _or_none(_ask, library, "amdsmi_get_gpu_enumeration_info", handle) or {}
    address = _or_none(_ask, library, "amdsmi_get_gpu_device_bdf", handle) or f"unknown-{index}.0"
    device = str(asic.get("device_id", "")).lower()
    rank = hip.get("hip_id")
    return Die(
        handle=handle,
        name=_name(device, str(asic.get("market_name") or f"AMD GPU {index}")),
        address=address,
        uuid=hip.get("hip_uuid") or f"GPU-{str(asic.get('asic_serial')).lower().removeprefix('0x')}",
        rank=rank if isinstance(rank, int) else None,
        card=not device.startswith("0x") or is_card(AMD, device, address),
        energy=_or_none(_energy, library, handle),
        power_w=_or_none(_watts, library, handle) or 0.0,
    )


def _name(device: str, market_name: str) -> str:
    """As in the tables; the library says ``Instinct MI210``, or ``Aldebaran/MI200 [Instinct MI210`` of the same board."""
    plain = market_name.rpartition("[")[2].rstrip("]")
    full = plain if plain.startswith("AMD ") else f"AMD {plain}"
    return full if accelerator_tdp(full) else known_name(AMD, device) or full


def _count(library: Any, board: Sequence[Die], clock: Clock) -> Finding:
    """The best that the board can do, found out by asking it."""
    die = next((die for die in board if die.reads), board[0])
    ways: list[Callable[[], Counter]] = [lambda: _open_counter(library, die), lambda: Integrated(AmdPower(library, die), clock)]
    reasons = []
    for way in ways if die.reads else []:
        try:
            counter = way()
            counter.read()
        except SensorError as error:
            reasons.append(str(error))
            continue
        told = bool(reasons) and COUNTING.search(die.name) is not None
        notes = (f"{die.name} at {die.address}: {reasons[0]}, its power is integrated instead",) if told else ()
        return Found((counter,), notes=notes, covers=PACKAGES.get(die.name, ()))
    modelled = model_accelerator(sensor_id(die.address), die.name, clock)
    if modelled:
        return replace(modelled, covers=PACKAGES.get(die.name, ()))
    reason = "; ".join(reasons) or "it tells neither energy nor power"
    return Absent(f"{SOURCE}, {die.name}", reason, uncounted=die.name, part="gpu")


def _open_counter(library: Any, die: Die) -> AmdCounter:
    if die.energy is None or not COUNTING.search(die.name):
        raise SensorError("it keeps no energy in a known unit")
    if _energy(library, die.handle).ticks == die.energy.ticks:
        raise SensorError("its energy counter stands still")
    return AmdCounter(library, die, die.energy.unit_j)


def _energy(library: Any, handle: Any) -> Energy:
    """Libraries before ROCm 6.2.1 call the ticks ``power``."""
    answer = _ask(library, "amdsmi_get_energy_count", handle)
    try:
        ticks = answer["energy_accumulator"] if "energy_accumulator" in answer else answer["power"]
        energy = Energy(int(ticks), float(answer["counter_resolution"]) * UJ_IN_J)
    except (KeyError, TypeError, ValueError) as error:
        raise SensorError(f"amdsmi_get_energy_count answers {answer!r}") from error
    if energy.ticks in NO_VALUE or energy.unit_j <= 0:
        raise SensorError("it counts no energy")
    return energy


def _watts(library: Any, handle: Any) -> float:
    """Average or current power, of which most boards tell one; the other is "N/A" or, in older libraries, 0."""
    answer = _ask(library, "amdsmi_get_power_info", handle)
    powers = [answer.get(f"{kind}_socket_power") for kind in ("average", "current")]
    told = [float(watts) for watts in powers if isinstance(watts, int | float) and 0 <= watts < P_MAX_W]
    if not told:
        raise SensorError("it tells no power")
    return next((watts for watts in told if watts > 0), 0.0)


def _shared(board: Sequence[Die], visible: Sequence[Die]) -> str:
    used = sum(die in visible for die in board)
    if used == len(board):
        return ""
    return f"{board[0].name} at {board[0].address}: {used} of its {len(board)} dies or partitions are used, all of it is counted"


def _none_visible(environ: Mapping[str, str]) -> Absent:
    said = ", ".join(f"{name}={environ[name]}" for name in (ROCR, HIP, CUDA) if name in environ)
    meant = any(text is not None and text.strip(" ,") in ("", "-1") for text in _choices(environ))
    return Absent(SOURCE, f"{said} leaves no board visible", uncounted="" if meant else f"the GPUs of {said}")


def _remedy(error: str) -> str:
    if "NO_PERM" in error:
        return "sudo usermod -aG render,video $USER, and log in again"
    if "DRIVER_NOT_LOADED" in error:
        return "sudo modprobe amdgpu"
    return "in a container, start it with --device=/dev/kfd --device=/dev/dri"


def _or_none(ask: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return ask(*arguments)
    except SensorError:
        return None


def _ask(library: Any, function: str, *arguments: Any) -> Any:
    try:
        return getattr(library, function)(*arguments)
    except Exception as error:  # the library's own kinds, and functions that this version or its .so does not have
        raise SensorError(f"{function}: {' '.join(str(error).split())}") from error
