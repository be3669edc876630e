"""NVIDIA boards through NVML's cumulative energy counter (Volta and newer)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fitprint.clock import Clock
from fitprint.errors import SensorError
from fitprint.sensors.counter import UJ_IN_J, Counter, Integrated, Sensor
from fitprint.sensors.finding import Absent, Finding, Found
from fitprint.sensors.modelled import model_accelerator
from fitprint.sensors.visible import visible_boards

SOURCE = "NVML total energy counter"
MJ_IN_J = 1e-3
# More than any board on the market draws (GB300: 1,400 W); only catches nonsense.
P_MAX_W = 3000.0
# The board's own gain error: about +-5 %, proportional, differs between identical boards
# (Yang, Adamek, Armour, "Part-time power measurements", SC'24, over 70 boards).
BOARD_GAIN = 0.05
# Reading the counter faster than about once a second can make it fall short
# (Dauner et al., HotCarbon '26: 1.6 % at 1 s, 13 % at 100 ms on one RTX 4090).
MIN_INTERVAL_S = 1.0
# The counter is brought up to date every 20 to 100 ms, by model; no vendor says which.
TICK_S = 0.1
# Board gain as above, and what a reading a second misses between two.
POWER_ERROR = 0.10
MW_PER_W = 1000.0


class _Board:
    """One board of the driver; what is asked of it fails as a SensorError."""

    p_max_w = P_MAX_W
    sensor: Sensor

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def _ask(self, function: str) -> int:
        try:
            return int(getattr(self._nvml, function)(self._handle))
        except self._nvml.NVMLError as error:
            raise SensorError(f"{self.sensor.id}: {error}") from error

    def close(self) -> None:
        """The driver handle is shared with frameworks in this process and stays open."""


class NvmlCounter(_Board):
    """Energy of one board in millijoules since the driver was loaded."""

    modulus = None
    min_interval_s = MIN_INTERVAL_S

    def __init__(self, nvml: Any, handle: Any, uuid: str, name: str) -> None:
        super().__init__(nvml, handle)
        self.sensor = Sensor(f"gpu:{uuid}", "gpu", "counter", MJ_IN_J, BOARD_GAIN, BOARD_GAIN, f"{SOURCE}, {name}", tick_s=TICK_S)

    def read(self) -> int:
        return self._ask("nvmlDeviceGetTotalEnergyConsumption")


class NvmlPower(_Board):
    """Power of one board in watts, for boards without an energy counter."""

    def __init__(self, nvml: Any, handle: Any, uuid: str, name: str) -> None:
        super().__init__(nvml, handle)
        self.sensor = Sensor(f"gpu:{uuid}", "gpu", "integrated", UJ_IN_J, POWER_ERROR, POWER_ERROR, f"NVML power, {name}")

    def watts(self) -> float:
        return self._ask("nvmlDeviceGetPowerUsage") / MW_PER_W


def probe(nvml: Any, environ: Mapping[str, str], clock: Clock, modules: Mapping[str, Any]) -> list[Finding]:
    """Find the boards that this process may use: by energy counter, else by power, else modelled.

    Args:
        nvml: The module ``pynvml`` of the package nvidia-ml-py, or a stand-in.
        environ: The process environment (CUDA_VISIBLE_DEVICES).
        clock: What power is integrated over.
        modules: Modules that are loaded already; a framework that has opened its boards is asked.
    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return [Absent(SOURCE, f"no NVIDIA driver answers here ({error})", _driver_remedy(error))]
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        return [Absent(SOURCE, f"the driver does not count its boards ({error})", uncounted="the GPUs")]
    if count == 0:
        return [Absent(SOURCE, "the driver lists no board")]
    names, uuids = zip(*(_identity(nvml, i) for i in range(count)), strict=True)
    visible = visible_boards(uuids, names, environ, modules=modules, parent_of_mig=lambda mig: _parent_uuid(nvml, mig))
    if not visible.indices:
        asked_for = environ.get("CUDA_VISIBLE_DEVICES", "")
        left_out = f"the GPUs of CUDA_VISIBLE_DEVICES={asked_for}" if asked_for.strip(" ,") not in ("", "-1") else ""
        return [Absent(SOURCE, f"CUDA_VISIBLE_DEVICES={asked_for!r} leaves no board visible", uncounted=left_out)]
    findings = [_board(nvml, i, names[i], uuids[i], clock) for i in visible.indices]
    notes = [visible.note] if visible.note else []
    notes += [f"{names[i]} is shared (MIG): the whole board is counted" for i in sorted(visible.shared)]
    return [*findings, Found((), notes=tuple(notes))]


def _identity(nvml: Any, index: int) -> tuple[str, str]:
    """The board's name and UUID; stand-ins that match nothing where the board does not answer."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        return _text(nvml.nvmlDeviceGetName(handle)), _text(nvml.nvmlDeviceGetUUID(handle))
    except nvml.NVMLError:
        return f"GPU {index}", f"unknown board {index}"


def _parent_uuid(nvml: Any, mig: str) -> str | None:
    """The board that a MIG device is cut out of."""
    try:
        device = nvml.nvmlDeviceGetHandleByUUID(mig)
        return _text(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device)))
    except nvml.NVMLError:
        return None


def _board(nvml: Any, index: int, name: str, uuid: str, clock: Clock) -> Finding:
    """The best that the board can do, found out by asking it: what an architecture promises may still fail."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError as error:
        return Absent(f"{SOURCE}, {name}", f"the board does not answer ({error})", uncounted=name)
    candidates: list[Counter] = [NvmlCounter(nvml, handle, uuid, name), Integrated(NvmlPower(nvml, handle, uuid, name), clock)]
    reasons = []
    for counter in candidates:
        try:
            counter.read()
        except SensorError as error:
            reasons.append(str(error))
            continue
        return Found((counter,))
    modelled = model_accelerator(f"gpu:{uuid}", name, clock)
    return modelled or Absent(f"{SOURCE}, {name}", f"neither energy nor power can be read ({'; '.join(reasons)})", uncounted=name)


def _driver_remedy(error: Exception) -> str:
    if "Library Not Found" in str(error) or "LibraryNotFound" in type(error).__name__:
        return "in a container, start it with --gpus all and NVIDIA_DRIVER_CAPABILITIES=utility,compute"
    return "check that nvidia-smi works for this user"


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
