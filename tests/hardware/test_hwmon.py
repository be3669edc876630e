"""Sensors behind Linux hwmon, in built trees: which are counted, what they cover, and the exact joules."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitprint.errors import SensorError
from fitprint.sensors import hwmon
from fitprint.sensors.counter import UJ_IN_J, Integrated, Sensor
from fitprint.sensors.finding import Absent, Found
from fitprint.testing import FakeClock

PROBES = {
    "soc": hwmon.probe_soc,
    "cpu": lambda root, clock: hwmon.probe_cpu(root),
    "gpu": lambda sys_root, clock: hwmon.probe_intel_gpu(sys_root) + hwmon.probe_amd_gpu(sys_root, clock),
    "node": hwmon.probe_node,
}
ORIN_NX = {"VDD_IN": (5000, 4000), "VDD_CPU_GPU_CV": (4900, 2000), "VDD_SOC": (4900, 1000)}


class Sysfs:
    """A tree of the kernel's files under a folder that serves as FITPRINT_SYS_ROOT."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, value: object) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
        return file

    def hwmon(self, number: int, name: str, device: str, files: dict[str, object], *, old: bool = False) -> Path:
        """One hwmon device; old drivers put their files into the folder of the device."""
        real, folder = self.root / "devices" / device, self.root / "class" / "hwmon" / f"hwmon{number}"
        real.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True)
        (folder / "device").symlink_to(real)
        for file, value in {"name": name, **files}.items():
            self.write(f"class/hwmon/hwmon{number}/{'device/' if old else ''}{file}", value)
        return folder

    def jetson(self, rails: dict[str, tuple[int, int]], number: int = 1) -> None:
        """Monitors of three rails each, of so many millivolts and milliamperes, and the chip's sum of shunts."""
        names = list(rails)
        for chip in range(0, len(names), 3):
            real = f"devices/i2c-1/1-00{40 + chip // 3}/hwmon/hwmon{number + chip}"
            for channel, name in enumerate(names[chip : chip + 3], start=1):
                self.write(f"{real}/in{channel}_label", name)
                self.write(f"{real}/in{channel}_input", rails[name][0])
                self.write(f"{real}/curr{channel}_input", rails[name][1])
            self.write(f"{real}/in7_label", "sum of shunt voltages")
            self.write(f"{real}/in7_input", 99_000)
            self.write(f"{real}/curr4_input", 99_000)
            driver = self.root / "bus" / "i2c" / "drivers" / "ina3221"
            driver.mkdir(parents=True, exist_ok=True)
            (driver / f"1-00{40 + chip // 3}").symlink_to((self.root / real).parents[1])

    def meter(self, number: int, device: str, watts: float, oem_info: str = "", *, old: bool = False, **files: object) -> Path:
        """An ACPI power meter."""
        named = {"power1_average": round(watts * 1e6), "power1_oem_info": oem_info, "power1_average_interval": 1000}
        return self.hwmon(number, "power_meter", device, {**named, **files}, old=old)

    def graphics(self, number: int, driver: str, address: str, files: dict[str, object], device_id: str = "0x1234") -> Path:
        self.write(f"devices/{address}/device", device_id)
        return self.hwmon(number, driver, address, files)

    def amd_energy(self, energies: dict[str, int]) -> None:
        files = {f"energy{n}_label": label for n, label in enumerate(energies, start=1)}
        self.hwmon(3, "amd_energy", "amd_energy.0", files)
        for number, energy_uj in enumerate(energies.values(), start=1):
            self.write(f"class/hwmon/hwmon3/energy{number}_input", energy_uj)

    def numa(self, node: int, cpus: str, package: int = 0) -> None:
        """A NUMA node; its first CPU belongs to a package."""
        self.write(f"devices/system/node/node{node}/cpulist", cpus)
        if cpus:
            self.write(f"devices/system/cpu/cpu{cpus.split('-')[0]}/topology/physical_package_id", package)


@pytest.fixture
def sysfs(tmp_path) -> Sysfs:
    return Sysfs(tmp_path)


@pytest.fixture
def found(tmp_path, clock):
    """A function that probes the tree and returns what it found by id; counters are closed afterwards."""
    opened = []

    def probe(part: str) -> dict[str, object]:
        findings = [f for f in PROBES[part](tmp_path, clock) if isinstance(f, Found)]
        counters = [counter for finding in findings for counter in finding.counters]
        opened.extend(counters)
        by_id = {counter.sensor.id: counter for counter in counters}
        assert len(by_id) == len(counters), "a sensor was counted twice"
        return by_id

    yield probe
    for counter in opened:
        counter.close()


@pytest.fixture
def refused(monkeypatch):
    """Refuses to open files of a name: root may read anything, so the refusal is staged."""

    def refuse(name: str) -> None:
        really = os.open

        def open_(path, *arguments):
            if Path(path).name == name:
                raise PermissionError(13, "Permission denied", str(path))
            return really(path, *arguments)

        monkeypatch.setattr(hwmon.os, "open", open_)

    return refuse


def absent(sysfs: Sysfs, part: str) -> Absent:
    """The only finding, which is an absence."""
    (finding,) = PROBES[part](sysfs.root, FakeClock())
    assert isinstance(finding, Absent)
    return finding


def joules(counter, clock: FakeClock, seconds: float) -> float:
    before = counter.read()
    clock.advance(seconds)
    return (counter.read() - before) * counter.sensor.unit_j


def open_files(root: Path) -> int:
    return sum(fd.resolve().is_relative_to(root) for fd in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("part", PROBES)
def test_of_a_machine_without_such_sensors_nothing_is_said(sysfs, part):
    assert PROBES[part](sysfs.root, FakeClock()) == []


# -- Jetson ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rails", "watts"),
    [
        pytest.param(ORIN_NX, 20.0, id="Orin NX"),
        pytest.param({"VDD_IN": (19000, 500), "VDD_SYS_GPU": (19000, 100), "VDD_MUX": (19000, 900)}, 9.5, id="TX2"),
        pytest.param(
            {
                "VDD_GPU_SOC": (20000, 1000),
                "VDD_CPU_CV": (20000, 500),
                "VIN_SYS_5V0": (5000, 2000),
                "NC": (0, 0),
                "VDDQ_VDD2_1V8AO": (5000, 1000),
            },
            40.0,
            id="AGX Orin, whose memory hangs on the 5 V rail",
        ),
        pytest.param(dict.fromkeys(["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"], (10000, 500)), 30.0, id="AGX Xavier"),
        pytest.param({"VDD_GPU": (12000, 1000), "VDD_CPU_SOC_MSS": (12000, 500), "VIN_SYS_5V0": (5000, 1000)}, 23.0, id="AGX Thor"),
    ],
)
def test_a_jetson_draws_what_its_inputs_draw_and_not_what_hangs_on_them(sysfs, found, clock, rails, watts):
    sysfs.jetson(rails)
    counters = found("soc")
    assert list(counters) == ["soc:jetson"]
    assert joules(counters["soc:jetson"], clock, 60.0) == pytest.approx(60 * watts)


def test_a_jetsons_parts_are_all_inside_its_module(sysfs):
    sysfs.jetson(ORIN_NX)
    (finding,) = hwmon.probe_soc(sysfs.root, FakeClock())
    (counter,) = finding.counters
    counter.close()
    assert (counter.sensor.part, counter.sensor.method, counter.sensor.role) == ("soc", "integrated", "counted")
    assert set(finding.covers) == {"cpu", "gpu", "dram"}


@pytest.mark.parametrize("folder", ["iio:device0", "iio_device"])
def test_a_jetson_of_an_older_kernel_tells_milliwatts(sysfs, found, clock, folder):
    for channel, (name, milliwatts) in enumerate({"POM_5V_IN": 10_000, "POM_5V_GPU": 4000, "POM_5V_CPU": 3000}.items()):
        sysfs.write(f"bus/i2c/drivers/ina3221x/6-0040/{folder}/rail_name_{channel}", name)
        sysfs.write(f"bus/i2c/drivers/ina3221x/6-0040/{folder}/in_power{channel}_input", milliwatts)
    assert joules(found("soc")["soc:jetson"], clock, 60.0) == pytest.approx(600.0)


def test_power_that_changes_is_integrated_by_trapezoids(sysfs, found, clock):
    sysfs.jetson(ORIN_NX)
    counter = found("soc")["soc:jetson"]
    before = counter.read()
    for milliamperes in (2000, 6000):
        clock.advance(30.0)
        sysfs.write("devices/i2c-1/1-0040/hwmon/hwmon1/curr1_input", milliamperes)
        after = counter.read()
    assert (after - before) * UJ_IN_J == pytest.approx(30 * (20 + 10) / 2 + 30 * (10 + 30) / 2)


def test_monitors_of_unknown_rails_are_no_module(sysfs):
    sysfs.jetson({"PL_3V3": (3300, 100), "PS_1V8": (1800, 100)})
    finding = absent(sysfs, "soc")
    assert finding.reason.endswith("(PL_3V3, PS_1V8)")
    assert finding.uncounted == ""


def test_a_module_that_may_not_be_read_is_named_as_left_out_with_the_remedy(sysfs, refused):
    sysfs.jetson(ORIN_NX)
    refused("curr1_input")
    finding = absent(sysfs, "soc")
    assert (finding.uncounted, finding.part, finding.reason) == ("the Jetson module", "soc", "permission denied")
    assert finding.remedy.startswith("sudo chmod a+r ")
    assert finding.remedy.endswith("/curr1_input")
    assert open_files(sysfs.root) == 0


def test_a_gauge_that_fails_is_an_error_and_its_count_starts_anew(sysfs, found, clock):
    sysfs.jetson(ORIN_NX)
    counter = found("soc")["soc:jetson"]
    assert joules(counter, clock, 60.0) == pytest.approx(1200.0)
    sysfs.write("devices/i2c-1/1-0040/hwmon/hwmon1/in1_input", "")
    with pytest.raises(SensorError, match="no number"):
        counter.read()
    sysfs.write("devices/i2c-1/1-0040/hwmon/hwmon1/in1_input", 5000)
    assert counter.read() < 0
    assert joules(counter, clock, 1.0) == pytest.approx(20.0)


def test_a_closed_gauge_stays_closed(sysfs, found):
    sysfs.jetson(ORIN_NX)
    counter = found("soc")["soc:jetson"]
    assert open_files(sysfs.root) == 2
    counter.close()
    counter.close()
    assert open_files(sysfs.root) == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        counter.read()


# -- NVIDIA Grace ------------------------------------------------------------------------------


def grace(sysfs: Sysfs, socket: int = 0, *, old: bool = True) -> None:
    """A socket of 100 W in a module of 700 W."""
    watts = {"Module": 700.0, "Grace": 100.0, "CPU": 80.0, "SysIO": 5.0}
    for number, (name, power) in enumerate(watts.items(), start=4 * socket):
        sysfs.meter(number, f"ACPI000D:0{number}", power, f"{name} Power Socket {socket}", old=old, power1_average_interval=50)


@pytest.mark.parametrize("old", [True, False], ids=["files of the device", "files of hwmon"])
def test_a_grace_socket_is_its_total_alone(sysfs, found, clock, old):
    grace(sysfs, old=old)
    counters = found("soc")
    assert list(counters) == ["cpu:package-0"]
    assert joules(counters["cpu:package-0"], clock, 60.0) == pytest.approx(6000.0)
    assert counters["cpu:package-0"].sensor.tick_s == pytest.approx(0.05)


def test_a_grace_socket_counts_as_the_cpu_and_covers_its_memory(sysfs):
    grace(sysfs)
    (finding,) = hwmon.probe_soc(sysfs.root, FakeClock())
    (counter,) = finding.counters
    counter.close()
    assert (counter.sensor.part, finding.covers) == ("cpu", ("dram",))


def test_every_grace_socket_is_counted(sysfs, found):
    grace(sysfs, 0)
    grace(sysfs, 1)
    assert list(found("soc")) == ["cpu:package-0", "cpu:package-1"]


def test_no_meter_of_a_grace_machine_passes_for_the_whole_machine(sysfs):
    grace(sysfs)
    assert hwmon.probe_node(sysfs.root, FakeClock()) == []


@pytest.mark.parametrize("milliwatts", [0xFFFFFFFF, -5000])
def test_power_that_cannot_be_is_not_believed(sysfs, milliwatts):
    sysfs.meter(0, "ACPI000D:00", milliwatts / 1000, "Grace Power Socket 0")
    finding = absent(sysfs, "soc")
    assert (finding.uncounted, finding.part) == ("Grace socket 0", "cpu")
    assert "cannot be true" in finding.reason
    assert open_files(sysfs.root) == 0


# -- AMD sockets -------------------------------------------------------------------------------


def test_sockets_are_counted_and_their_cores_are_not(sysfs, found):
    sysfs.amd_energy({"Ecore000": 11, "Ecore001": 22, "Esocket0": 333, "Esocket1": 444})
    counters = found("cpu")
    assert {i: counter.read() for i, counter in counters.items()} == {"cpu:package-0": 333, "cpu:package-1": 444}
    assert {(c.sensor.part, c.sensor.method, c.sensor.unit_j) for c in counters.values()} == {("cpu", "counter", 1e-6)}


def test_a_socket_of_four_numa_nodes_is_counted_once(sysfs, found):
    sysfs.amd_energy({f"Esocket{node}": 1000 for node in range(8)})
    for node in range(8):
        sysfs.numa(node, f"{8 * node}-{8 * node + 7}", package=node // 4)
    assert list(found("cpu")) == ["cpu:package-0", "cpu:package-1"]
    assert open_files(sysfs.root) == 2


def test_a_numa_node_without_cpus_is_no_socket(sysfs, found):
    sysfs.amd_energy({"Esocket0": 1000, "Esocket1": 0xDEAD})
    sysfs.numa(0, "0-15")
    sysfs.numa(1, "")
    assert list(found("cpu")) == ["cpu:package-0"]


def test_sockets_that_only_root_may_read_come_with_the_remedy(sysfs, refused):
    sysfs.amd_energy({"Ecore000": 11, "Esocket0": 333})
    refused("energy2_input")
    finding = absent(sysfs, "cpu")
    assert finding.remedy == f"sudo chmod a+r {sysfs.root}/class/hwmon/hwmon3/energy2_input"
    assert (finding.uncounted, finding.part) == ("CPU package 0", "cpu")


# -- graphics boards ---------------------------------------------------------------------------


def test_an_intel_card_contains_its_chip(sysfs, found):
    files = {"energy1_label": "card", "energy1_input": 900, "energy2_label": "pkg", "energy2_input": 600}
    sysfs.graphics(2, "xe", "0000:03:00.0", files)
    counters = found("gpu")
    assert {i: counter.read() for i, counter in counters.items()} == {"gpu:pci-0000:03:00.0": 900}


@pytest.mark.parametrize("label", [{"energy2_label": "pkg"}, {}], ids=["named", "unnamed"])
def test_a_chip_without_its_card_may_fall_short_of_the_board(sysfs, found, label):
    sysfs.graphics(2, "i915", "0000:03:00.0", {**label, "energy2_input": 600})
    sensor = found("gpu")["gpu:pci-0000:03:00.0"].sensor
    assert sensor.high > sensor.low
    assert (1 + sensor.high) * 255 > 320  # the board of Navi 21, and its chip


def test_tiles_are_inside_their_board(sysfs, found):
    sysfs.graphics(2, "i915", "0000:03:00.0", {"energy1_input": 600})
    sysfs.graphics(3, "i915_gt0", "0000:03:00.0", {"energy1_input": 300})
    assert [counter.read() for counter in found("gpu").values()] == [600]


@pytest.mark.parametrize("file", ["power1_average", "power1_input"])
def test_an_amd_boards_power_is_integrated(sysfs, found, clock, file):
    sysfs.graphics(4, "amdgpu", "0000:c3:00.0", {file: 100_000_000})
    counter = found("gpu")["gpu:pci-0000:c3:00.0"]
    assert counter.sensor.method == "integrated"
    assert joules(counter, clock, 60.0) == pytest.approx(6000.0)


def test_an_apu_is_part_of_the_cpus_package_and_not_left_out(sysfs):
    sysfs.graphics(4, "amdgpu", "0000:c3:00.0", {"in1_label": "vddnb", "power1_average": 40_000_000})
    finding = absent(sysfs, "gpu")
    assert "package" in finding.reason
    assert finding.uncounted == ""


def test_an_apu_made_for_training_is_named_as_left_out(sysfs):
    sysfs.graphics(4, "amdgpu", "0000:01:00.0", {"power1_input": 400_000_000}, device_id="0x74a0")
    assert absent(sysfs, "gpu").uncounted == "AMD GPU 0000:01:00.0"


@pytest.mark.parametrize("driver", ["amdgpu", "i915", "xe"])
def test_a_board_whose_driver_tells_nothing_is_named_as_left_out(sysfs, driver):
    sysfs.graphics(4, driver, "0000:03:00.0", {"temp1_input": 40_000})
    finding = absent(sysfs, "gpu")
    assert finding.uncounted.endswith("GPU 0000:03:00.0")
    assert finding.part == "gpu"


def test_a_board_that_sleeps_cannot_be_read_and_no_chmod_helps(sysfs):
    folder = sysfs.graphics(4, "amdgpu", "0000:03:00.0", {})
    (folder / "power1_average").mkdir()  # opening it works, reading it does not
    finding = absent(sysfs, "gpu")
    assert "cannot be read" in finding.reason
    assert finding.remedy == ""
    assert open_files(sysfs.root) == 0


# -- the whole machine -------------------------------------------------------------------------


def test_a_power_meter_without_a_socket_is_the_machines_and_only_shown(sysfs, found, clock):
    sysfs.meter(1, "ACPI000D:00", 100.0, "Intel Node Manager")
    counter = found("node")["node:acpi-power-meter-0"]
    assert (counter.sensor.role, counter.sensor.part) == ("node", "node")
    assert joules(counter, clock, 60.0) == pytest.approx(6000.0)


def test_a_meter_keeps_its_number_when_hwmon_numbers_change(sysfs, found):
    sysfs.meter(9, "ACPI000D:00", 100.0)
    sysfs.meter(1, "ACPI000D:01", 300.0)
    sources = {i: counter.sensor.source for i, counter in found("node").items()}
    assert sources["node:acpi-power-meter-0"].endswith("ACPI000D:00")
    assert sources["node:acpi-power-meter-1"].endswith("ACPI000D:01")


def test_a_battery_is_no_machine(sysfs):
    sysfs.meter(1, "ACPI000D:00", 100.0, power1_is_battery=1)
    assert hwmon.probe_node(sysfs.root, FakeClock()) == []


def test_a_machine_that_cannot_be_metered_leaves_nothing_out(sysfs, refused):
    sysfs.meter(1, "ACPI000D:00", 100.0)
    refused("power1_average")
    finding = absent(sysfs, "node")
    assert (finding.uncounted, finding.part) == ("", "node")
    assert "chmod a+r" in finding.remedy


# -- properties --------------------------------------------------------------------------------


@given(steps=st.lists(st.tuples(st.integers(1, 3600), st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_the_joules_of_rails_are_the_area_under_their_power(tmp_path_factory, steps):
    folder, clock = tmp_path_factory.mktemp("rails"), FakeClock()
    volts, amperes, direct = (folder / name for name in ("in1_input", "curr1_input", "in_power0_input"))
    for path in (volts, amperes, direct):
        path.write_text("0")
    rails = [hwmon.Rail((volts, amperes), hwmon.UW_IN_W), hwmon.Rail((direct,), hwmon.MW_IN_W)]
    sensor = Sensor("soc:test", "soc", "integrated", UJ_IN_J, 0.0, 0.0, "test")
    counter = Integrated(hwmon.HwmonPower(rails, sensor, 1e9), clock)
    start, before_w, areas = counter.read(), 0.0, []
    for seconds, millivolts, milliwatts in steps:
        clock.advance(seconds)
        volts.write_text(str(millivolts))
        amperes.write_text("2000")
        direct.write_text(str(milliwatts))
        counter.read()
        now_w = millivolts / 1000 * 2 + milliwatts / 1000
        areas.append(seconds * (before_w + now_w) / 2)
        before_w = now_w
    assert (counter.read() - start) * UJ_IN_J == pytest.approx(math.fsum(areas), abs=1e-5)
    counter.close()


FILES = ["name", "device/name", "power1_average", "power1_oem_info", "energy1_label", "energy1_input", "in1_label", "power1_input"]
CONTENTS = ["", "x", "-1", "12", "power_meter", "amd_energy", "amdgpu", "xe", "Esocket0", "Grace Power Socket 0", "card", "9" * 30]


@given(tree=st.dictionaries(st.sampled_from(FILES), st.sampled_from(CONTENTS)))
@settings(max_examples=60, deadline=None)
def test_whatever_a_tree_holds_no_probe_raises(tmp_path_factory, tree):
    sysfs = Sysfs(tmp_path_factory.mktemp("sys"))
    for file, content in tree.items():
        sysfs.write(f"class/hwmon/hwmon0/{file}", content)
    findings = [finding for probe in PROBES.values() for finding in probe(sysfs.root, FakeClock())]
    assert all(finding.counters if isinstance(finding, Found) else finding.reason for finding in findings)
    for finding in findings:
        for counter in getattr(finding, "counters", ()):
            counter.close()
    assert open_files(sysfs.root) == 0
