"""One board of AMD's, as the library amdsmi lists and reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fitprint.errors import SensorError
from fitprint.sensors.accelerators import AMD, is_card, known_name, sensor_id
from fitprint.sensors.counter import UJ_IN_J, Sensor
from fitprint.sensors.hwmon import CHIP_ERROR_HIGH
from fitprint.sensors.modelled import accelerator_tdp

SOURCE = "AMD SMI"
# More than any board on the market draws (MI355X: 1,400 W); only catches nonsense.
P_MAX_W = 3000.0
# Nobody has published these readings against a meter: twice the gain error of NVIDIA's boards is stated.
ERROR = 0.10
# The library hands out the same reading for a millisecond (AMDSMI_GPU_METRICS_CACHE_MS); firmware is no slower.
TICK_S = 0.001
# For each reading the firmware copies its whole table: ten a second are plenty.
MIN_INTERVAL_S = 0.1
# What stands for "no such value" in fields of 32 and 64 bits.
NO_VALUE = (2**32 - 1, 2**64 - 1)


class Energy(NamedTuple):
    """A reading of a counter."""

    ticks: int
    unit_j: float


class Die(NamedTuple):
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


class Board:
    """One board; the library is shared with frameworks in this process and stays initialised."""

    p_max_w = P_MAX_W
    sensor: Sensor

    def __init__(self, library: Any, die: Die) -> None:
        self._library = library
        self._handle = die.handle

    def close(self) -> None:
        """Nothing is held."""


class AmdCounter(Board):
    """Energy of one board in ticks of about 15.3 microjoules since the driver was loaded."""

    modulus = None
    min_interval_s = MIN_INTERVAL_S

    def __init__(self, library: Any, die: Die, unit_j: float) -> None:
        super().__init__(library, die)
        source = f"{SOURCE} energy counter, {die.name}"
        self.sensor = Sensor(sensor_id(die.address), "gpu", "counter", unit_j, ERROR, ERROR, source, tick_s=TICK_S)

    def read(self) -> int:
        return energy_of(self._library, self._handle).ticks


class AmdPower(Board):
    """Power of one board in watts: of an Instinct the whole, of a Radeon its chip."""

    def __init__(self, library: Any, die: Die) -> None:
        super().__init__(library, die)
        high = ERROR if "Instinct" in die.name else CHIP_ERROR_HIGH
        self.sensor = Sensor(sensor_id(die.address), "gpu", "integrated", UJ_IN_J, ERROR, high, f"{SOURCE} power, {die.name}")

    def watts(self) -> float:
        return watts_of(self._library, self._handle)


def die_of(library: Any, index: int, handle: Any) -> Die:
    """What is known of a handle; what is not is replaced by something that matches nothing."""
    asic = _or_none(ask, library, "amdsmi_get_gpu_asic_info", handle) or {}
    hip = _or_none(ask, library, "amdsmi_get_gpu_enumeration_info", handle) or {}
    address = _or_none(ask, library, "amdsmi_get_gpu_device_bdf", handle) or f"unknown-{index}.0"
    device = str(asic.get("device_id", "")).lower()
    rank = hip.get("hip_id")
    return Die(
        handle=handle,
        name=_name(device, str(asic.get("market_name") or f"AMD GPU {index}")),
        address=address,
        uuid=hip.get("hip_uuid") or f"GPU-{str(asic.get('asic_serial')).lower().removeprefix('0x')}",
        rank=rank if isinstance(rank, int) else None,
        card=not device.startswith("0x") or is_card(AMD, device, address),
        energy=_or_none(energy_of, library, handle),
        power_w=_or_none(watts_of, library, handle) or 0.0,
    )


def _name(device: str, market_name: str) -> str:
    """As in the tables; the library says ``Instinct MI210``, or ``Aldebaran/MI200 [Instinct MI210`` of the same board."""
    plain = market_name.rpartition("[")[2].rstrip("]")
    full = plain if plain.startswith("AMD ") else f"AMD {plain}"
    return full if accelerator_tdp(full) else known_name(AMD, device) or full


def energy_of(library: Any, handle: Any) -> Energy:
    """Libraries before ROCm 6.2.1 call the ticks ``power``."""
    answer = ask(library, "amdsmi_get_energy_count", handle)
    try:
        ticks = answer["energy_accumulator"] if "energy_accumulator" in answer else answer["power"]
        energy = Energy(int(ticks), float(answer["counter_resolution"]) * UJ_IN_J)
    except (KeyError, TypeError, ValueError) as error:
        raise SensorError(f"amdsmi_get_energy_count answers {answer!r}") from error
    if energy.ticks in NO_VALUE or energy.unit_j <= 0:
        raise SensorError("it counts no energy")
    return energy


def watts_of(library: Any, handle: Any) -> float:
    """Average or current power, of which most boards tell one; the other is "N/A" or, in older libraries, 0."""
    answer = ask(library, "amdsmi_get_power_info", handle)
    powers = [answer.get(f"{kind}_socket_power") for kind in ("average", "current")]
    told = [float(watts) for watts in powers if isinstance(watts, int | float) and 0 <= watts < P_MAX_W]
    if not told:
        raise SensorError("it tells no power")
    return next((watts for watts in told if watts > 0), 0.0)


def _or_none(question: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return question(*arguments)
    except SensorError:
        return None


def ask(library: Any, function: str, *arguments: Any) -> Any:
    """Call a function of the library; whatever goes wrong in it is a SensorError."""
    try:
        return getattr(library, function)(*arguments)
    except Exception as error:  # the library's own kinds, and functions that this version or its .so does not have
        raise SensorError(f"{function}: {' '.join(str(error).split())}") from error
