"""Sensors behind Linux hwmon: modules, CPU sockets, graphics boards and whole machines."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from fitprint.clock import Clock
from fitprint.errors import SensorError
from fitprint.open_files import leave_room
from fitprint.sensors import ipmi, rapl
from fitprint.sensors.counter import UJ_IN_J, Counter, Integrated, Sensor
from fitprint.sensors.finding import Absent, Finding, Found

JETSON, GRACE, NODE = "Jetson power monitor (INA3221)", "NVIDIA Grace power meter (ACPI)", "ACPI power meter"
AMD_CPU = "amd_energy (hwmon)"

# Watts in a microwatt, which millivolts times milliamperes are too, and in a milliwatt.
UW_IN_W, MW_IN_W = 1e-6, 1e-3
MS_IN_S = 1e-3
# No comparison of these sensors with a meter is published. Stated as for NVML's power: 5 % for the
# gain, 5 % for what a reading a second misses of gauges that average over 50 ms (Grace) and the like.
ERROR = 0.10
# What reads the chip misses the board's memory, converters or fans: 255 W of the 320 W that a
# Navi 21 board draws (Igor's Lab 2020), so that the truth is up to 25 % above, and the error.
CHIP_ERROR_HIGH = 0.35
# More than any module and any board on the market draws (Thor: 130 W; GB300: 1,400 W).
SOC_P_MAX_W, GPU_P_MAX_W = 300.0, 3000.0
# Neither vendor says when it renews a board's energy; NVIDIA's boards do it every 20 to 100 ms.
GPU_TICK_S = 0.1

# Rails that make up a module's input; every other rail hangs on one of these, and is never added.
# Names: Jetson Linux 32.6 and 34.1 (device trees, developer guides); Linux tegra234-p3701, -p3767.
MODULE_INPUTS = (
    ("VDD_IN",),  # TX1, TX2, TX2 NX, Xavier NX, Orin NX, Orin Nano
    ("POM_5V_IN",),  # Nano
    # AGX modules have two inputs and measure what hangs on each; on Orin the memory's rail,
    # VDDQ_VDD2_1V8AO, hangs on VIN_SYS_5V0, on Xavier the memory's rail hangs on no other.
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
    ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),  # AGX Thor: taken to be wired as AGX Orin is
)
# An APU is told by the voltage of its north bridge (Linux amdgpu_pm.c: only APUs have it), but for
# the MI300A, which is told by its PCI device.
NORTH_BRIDGE, MI300A = "vddnb", "0x74a0"


class Rail(NamedTuple):
    """Where the power of a rail is read.

    Attributes:
        paths: Files whose product is the power.
        unit_w: Watts per unit of the product.
    """

    paths: tuple[Path, ...]
    unit_w: float


class _Number:
    """A file that holds an integer, kept open: reading it again at offset 0 measures anew."""

    def __init__(self, path: Path) -> None:
        leave_room()
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> int:
        text = os.pread(self._fd, 64, 0)
        try:
            return int(text)
        except ValueError as error:
            raise SensorError(f"{text!r} is no number") from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class HwmonEnergy(_Number):
    """A driver's count of microjoules; the drivers make 64 bits of registers that wrap."""

    modulus = None
    min_interval_s = 0.0

    def __init__(self, path: Path, sensor: Sensor, p_max_w: float) -> None:
        super().__init__(path)
        self.sensor = sensor
        self.p_max_w = p_max_w


class HwmonPower:
    """The power of some rails together, in watts."""

    def __init__(self, rails: Sequence[Rail], sensor: Sensor, p_max_w: float) -> None:
        self.sensor = sensor
        self.p_max_w = p_max_w
        with ExitStack() as files:
            self._rails = [(rail.unit_w, [files.enter_context(closing(_Number(path))) for path in rail.paths]) for rail in rails]
            self._files = files.pop_all()

    def watts(self) -> float:
        total = 0.0
        for unit_w, numbers in self._rails:
            power_w = unit_w
            for number in numbers:
                power_w *= number.read()
            total += power_w
        # Firmware that cannot measure just now answers 0xFFFFFFFF (NVIDIA's ACPI tables).
        if not 0 <= total <= self.p_max_w:
            raise SensorError(f"{self.sensor.id}: {total:g} W cannot be true")
        return total

    def close(self) -> None:
        self._files.close()


def probe_soc(sys_root: Path, clock: Clock) -> list[Finding]:
    """Find what measures several parts as one: NVIDIA's Jetson modules and Grace sockets.

    A Grace socket's total contains its memory. The meter of a Grace Hopper *module* is left out: it
    contains the GPU, so that it cannot be added, and no fans or supplies, so that it is no wall power.
    """
    return [*_jetson(sys_root, clock), *_grace(sys_root, clock)]


def probe_cpu(sys_root: Path) -> list[Finding]:
    """Find AMD sockets through the driver amd_energy; its cores are inside its sockets."""
    findings: dict[str, Finding] = {}
    for folder in _devices(sys_root, "amd_energy"):
        for label in sorted(folder.glob("energy*_label")):
            node = _text(label).removeprefix("Esocket")
            package = _package_of(sys_root, node) if node.isdecimal() else ""
            if package and package not in findings:
                findings[package] = _amd_socket(label, package)
    return list(findings.values())


def probe_intel_gpu(sys_root: Path) -> list[Finding]:
    """Find Intel's discrete boards, whose drivers count energy."""
    return [_intel_gpu(folder, driver) for driver in ("i915", "xe") for folder in _devices(sys_root, driver)]


def probe_amd_gpu(sys_root: Path, clock: Clock) -> list[Finding]:
    """Find AMD's discrete boards, whose driver only tells power; AMD's own library misses nothing."""
    return [_amd_gpu(folder, clock) for folder in _devices(sys_root, "amdgpu")]


def probe_node(sys_root: Path, clock: Clock) -> list[Finding]:
    """Find ACPI power meters of the whole machine; one that names a socket measures a part of it."""
    meters = [meter for meter in _devices(sys_root, "power_meter") if _measures_the_machine(meter)]
    return [_node(meter, index, clock) for index, meter in enumerate(meters)]


def _jetson(sys_root: Path, clock: Clock) -> list[Finding]:
    rails = dict(_rails(sys_root / "bus" / "i2c" / "drivers"))
    if not rails:
        return []
    names = next((names for names in MODULE_INPUTS if rails.keys() >= set(names)), None)
    if names is None:
        return [Absent(JETSON, f"which rail is the module's input is not known ({', '.join(sorted(rails))})")]
    sensor = Sensor("soc:jetson", "soc", "integrated", UJ_IN_J, ERROR, ERROR, f"{JETSON}, {' + '.join(names)}")
    inputs = [rails[name] for name in names]
    return [_open_gauge(inputs, sensor, SOC_P_MAX_W, clock, "the Jetson module", covers=("cpu", "gpu", "dram"))]


def _rails(drivers: Path) -> Iterator[tuple[str, Rail]]:
    """Every rail by its name, as Linux shows it, and as NVIDIA's kernels before Jetson Linux 34 did."""
    for label in drivers.glob("ina3221*/*/hwmon/hwmon*/in*_label"):
        channel = label.name.removeprefix("in").removesuffix("_label")
        volts, amperes = (label.with_name(f"{quantity}{channel}_input") for quantity in ("in", "curr"))
        if _is_there(amperes):  # channel 7 is a sum of shunt voltages
            yield _text(label), Rail((volts, amperes), UW_IN_W)
    for label in drivers.glob("ina3221*/*/iio?device*/rail_name_*"):
        channel = label.name.removeprefix("rail_name_")
        yield _text(label), Rail((label.with_name(f"in_power{channel}_input"),), MW_IN_W)


def _grace(sys_root: Path, clock: Clock) -> Iterator[Finding]:
    for meter in _devices(sys_root, "power_meter"):
        socket = re.fullmatch(r"Grace Power Socket (\d+)", _text(_file(meter, "power1_oem_info")))
        if socket is None:
            continue
        source, tick_s = f"{GRACE}, socket {socket[1]}", _interval_s(meter)
        sensor = Sensor(f"cpu:package-{socket[1]}", "cpu", "integrated", UJ_IN_J, ERROR, ERROR, source, tick_s)
        left_out = f"Grace socket {socket[1]}"
        yield _open_gauge([_mean_power(meter)], sensor, rapl.P_MAX_W, clock, left_out, covers=("dram",))


def _amd_socket(label: Path, package: str) -> Finding:
    source = f"{AMD_CPU}, package {package}"
    sensor = Sensor(
        f"cpu:package-{package}", "cpu", "counter", UJ_IN_J, rapl.RAPL_ERROR, rapl.RAPL_ERROR, source, tick_s=rapl.TICK_S
    )
    path = label.with_name(label.name.replace("_label", "_input"))
    return _open(sensor, f"CPU package {package}", lambda: HwmonEnergy(path, sensor, rapl.P_MAX_W))


def _package_of(sys_root: Path, node: str) -> str:
    """The package that the driver reads for a "socket", which is a NUMA node: a package may have several or a node no CPU."""
    system = sys_root / "devices" / "system"
    if not _is_there(system / "node"):
        return node
    cpu = re.match(r"\d+", _text(system / "node" / f"node{node}" / "cpulist"))
    return _text(system / "cpu" / f"cpu{cpu[0]}" / "topology" / "physical_package_id") if cpu else ""


def _intel_gpu(folder: Path, driver: str) -> Finding:
    """The card's counter, or the chip's, which the card's contains; older kernels name neither."""
    address = _address(folder)
    source, board = f"{driver} (hwmon), {address}", f"Intel GPU {address}"
    paths = {_text(path.with_name(path.name.replace("_input", "_label"))): path for path in folder.glob("energy*_input")}
    scope = next((scope for scope in ("card", "pkg", "") if scope in paths), None)
    if scope is None:
        return Absent(source, "the driver does not count this board's energy", "", board, "gpu")
    high = ERROR if scope == "card" else CHIP_ERROR_HIGH
    sensor = Sensor(f"gpu:pci-{address}", "gpu", "counter", UJ_IN_J, ERROR, high, source, tick_s=GPU_TICK_S)
    return _open(sensor, board, lambda: HwmonEnergy(paths[scope], sensor, GPU_P_MAX_W))


def _amd_gpu(folder: Path, clock: Clock) -> Finding:
    address = _address(folder)
    source, board = f"amdgpu (hwmon), {address}", f"AMD GPU {address}"
    if _text(folder / "in1_label") == NORTH_BRIDGE:
        return Absent(source, "it is part of the CPU's package, whose power this would be", part="gpu")
    if _text(folder / "device" / "device") == MI300A:
        return Absent(source, "its power cannot be told from that of the CPU in its package", "", board, "gpu")
    path = next((path for path in (folder / "power1_average", folder / "power1_input") if _is_there(path)), None)
    if path is None:
        return Absent(source, "the driver does not tell this board's power", "", board, "gpu")
    sensor = Sensor(f"gpu:pci-{address}", "gpu", "integrated", UJ_IN_J, ERROR, CHIP_ERROR_HIGH, source)
    return _open_gauge([Rail((path,), UW_IN_W)], sensor, GPU_P_MAX_W, clock, board)


def _node(meter: Path, index: int, clock: Clock) -> Finding:
    source, tick_s = f"{NODE} {_address(meter)}", _interval_s(meter)
    sensor = Sensor(
        f"node:acpi-power-meter-{index}", "node", "integrated", UJ_IN_J, ipmi.WALL_LOW, ipmi.WALL_HIGH, source, tick_s, "node"
    )
    return _open_gauge([_mean_power(meter)], sensor, ipmi.P_MAX_W, clock, "")


def _measures_the_machine(meter: Path) -> bool:
    part_of_it = "socket" in _text(_file(meter, "power1_oem_info")).casefold()
    return not part_of_it and _text(_file(meter, "power1_is_battery")) != "1"


def _open_gauge(
    rails: Sequence[Rail], sensor: Sensor, p_max_w: float, clock: Clock, left_out: str, covers: tuple[str, ...] = ()
) -> Finding:
    return _open(sensor, left_out, lambda: Integrated(HwmonPower(rails, sensor, p_max_w), clock), covers)


def _open(sensor: Sensor, left_out: str, make: Callable[[], Counter], covers: tuple[str, ...] = ()) -> Finding:
    """Open a counter and read it once: what a driver shows may still fail."""
    try:
        counter = make()
    except PermissionError as error:
        return Absent(sensor.source, "permission denied", f"sudo chmod a+r {error.filename}", left_out, sensor.part)
    except OSError as error:
        return Absent(sensor.source, f"cannot be opened ({error})", "", left_out, sensor.part)
    try:
        counter.read()
    except (OSError, SensorError) as error:
        counter.close()
        return Absent(sensor.source, f"cannot be read ({error})", "", left_out, sensor.part)
    return Found((counter,), covers=covers)


def _devices(sys_root: Path, driver: str) -> list[Path]:
    """The folders of a driver, by device: hwmon's own numbers change from boot to boot."""
    folders = (sys_root / "class" / "hwmon").glob("hwmon*")
    return sorted((folder for folder in folders if _text(_file(folder, "name")) == driver), key=_address)


def _address(folder: Path) -> str:
    return (folder / "device").resolve().name


def _file(folder: Path, name: str) -> Path:
    """A file of the hwmon folder, or of its device's, where older drivers put everything."""
    return folder / name if _is_there(folder / name) else folder / "device" / name


def _mean_power(meter: Path) -> Rail:
    return Rail((_file(meter, "power1_average"),), UW_IN_W)


def _interval_s(meter: Path) -> float:
    """The time that a meter's power is the mean of."""
    try:
        return int(_text(_file(meter, "power1_average_interval"))) * MS_IN_S
    except ValueError:
        return 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
