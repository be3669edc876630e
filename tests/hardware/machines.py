"""Whole machines, as their kernel shows them to one process: a folder with ``sys``, ``proc`` and ``dev`` in it.

CPU identities, zones, ranges and layouts are those of real machines of the kind, some of which show
odd things: packages in no order, zones inside zones, links that lead nowhere, boards of two dies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from fitprint.clock import NS_PER_S
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock

# A RAPL counter has 32 bits: of 2^-14 J, of 2^-16 J, and of 15.3 microjoules for the DRAM of servers since Haswell.
RANGE_UJ, FINE_RANGE_UJ, DRAM_RANGE_UJ = 262_143_328_850, 65_532_610_987, 65_712_999_613
GIB = 1 << 30
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

BARE = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ht syscall nx lm"
VIRTUAL = f"{BARE} rep_good nopl cpuid pni pclmulqdq ssse3 fma cx16 aes xsave avx f16c rdrand hypervisor lahf_lm"
ARM = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp uscat ilrcpc flagm"


class Cpu(NamedTuple):
    """A processor, as /proc/cpuinfo identifies it."""

    vendor: str
    family: int
    model: int
    stepping: int
    name: str
    flags: str = BARE


class Machine:
    """A folder of the kernel's files.

    Args:
        root: The folder.

    Attributes:
        environ: What this process finds in its environment.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ: dict[str, str] = {}
        self._counters: dict[str, tuple[Path, int, int]] = {}

    def write(self, path: str, text: object) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
        return file

    def link(self, path: str, target: str) -> None:
        """A relative link, as the kernel makes them; it may lead nowhere."""
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(self.root / target, link.parent))

    def around(self, clock: FakeClock | None = None, **others: Any) -> Surroundings:
        """The machine to a process inside this one: no NVIDIA driver and no library, unless they are given."""
        defaults = {"nvml": lambda: NoDriver, "library": libraries(), "platform": "linux-x86_64", "clock": clock or FakeClock()}
        roots = {f"{name}_root": self.root / name for name in ("sys", "proc", "dev")}
        return Surroundings(environ={"TZ": "Etc/UTC", **self.environ}, **{**defaults, **roots, **others})

    # ---- CPU and memory

    def cpus(self, cpu: Cpu, threads: int, sockets: int = 1) -> None:
        """Hardware threads; the second ones of all cores come after the first ones."""
        cores = max(1, threads // 2)
        packages = [i % cores * sockets // cores for i in range(threads)]
        self.write("proc/cpuinfo", "\n".join(_cpu_block(cpu, i, package) for i, package in enumerate(packages)))
        self.busy(12_345.0)

    def arm_cpus(self, part: str, threads: int) -> None:
        """Cores of Arm by part number; the kernel knows no name of theirs."""
        rows = f"BogoMIPS\t: 62.50\nFeatures\t: {ARM}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        blocks = (f"processor\t: {i}\n{rows}CPU part\t: {part}\nCPU revision\t: 1\n" for i in range(threads))
        self.write("proc/cpuinfo", "\n".join(blocks))
        self.busy(12_345.0)

    def memory(self, kilobytes: int) -> None:
        self.write("proc/meminfo", f"MemTotal:       {kilobytes} kB\nMemFree:        {kilobytes // 3} kB\nSwapTotal:       0 kB")

    def busy(self, seconds: float) -> None:
        """The CPU seconds in which the machine has been busy since it booted."""
        user, system = round(0.8 * seconds * TICKS_PER_S), round(0.2 * seconds * TICKS_PER_S)
        times = f"{user} 0 {system} 9000000 7000 0 0 0 0 0"
        self.write("proc/stat", f"cpu  {times}\ncpu0 {times}\nctxt 1\nbtime 1760000000")

    # ---- the process

    def process(self, cgroup: str, cpus: str) -> None:
        """Which cgroup the process is in, and which CPUs it may run on."""
        self.write("proc/self/cgroup", cgroup)
        self.write("proc/self/status", f"Name:\tpython\nCpus_allowed_list:\t{cpus}\nMems_allowed_list:\t0")

    def cgroup(self, path: str, files: Mapping[str, object]) -> None:
        for name, text in files.items():
            self.write(f"sys/fs/cgroup/{path}/{name}", text)

    # ---- sensors

    def zone(self, zone: str, name: str, joules: float, range_uj: int = RANGE_UJ, limit_w: int | None = None) -> None:
        """A zone of powercap inside its parent, and the flat link to it."""
        kind, *numbers = zone.split(":")
        nested = "/".join(":".join([kind, *numbers[: i + 1]]) for i in range(len(numbers)))
        folder = f"sys/devices/virtual/powercap/{kind}/{nested}"
        for file, text in {"name": name, "max_energy_range_uj": range_uj, "enabled": 1, "uevent": ""}.items():
            self.write(f"{folder}/{file}", text)
        if limit_w:
            self.write(f"{folder}/constraint_0_name", "long_term")
            self.write(f"{folder}/constraint_0_max_power_uw", limit_w * 1_000_000)
        self._counters[zone] = (self.root / folder / "energy_uj", 0, range_uj)
        self.draw(zone, joules)
        self.link(f"sys/class/powercap/{zone}", folder)
        if not (self.root / "sys/class/powercap" / kind).is_symlink():
            self.link(f"sys/class/powercap/{kind}", f"sys/devices/virtual/powercap/{kind}")

    def draw(self, zone: str, joules: float) -> None:
        """Let a zone count so many joules more; it shows them wrapped."""
        file, before_uj, range_uj = self._counters[zone]
        total_uj = before_uj + round(joules * 1e6)
        self._counters[zone] = (file, total_uj, range_uj)
        file.write_text(f"{total_uj % (range_uj + 1)}\n")

    def deny(self) -> None:
        """Let nobody read the zones' energy: what the kernel's mode 0400 is to everybody but root."""
        for file, _, _ in self._counters.values():
            file.chmod(0)

    def events(self, cpus: str, **events: int) -> None:
        """The PMU ``power`` with its events, such as ``pkg=2``."""
        folder = "sys/bus/event_source/devices/power"
        self.write(f"{folder}/type", 9)
        self.write(f"{folder}/cpumask", cpus)
        for name, config in events.items():
            self.write(f"{folder}/events/energy-{name}", f"event=0x{config:02x}")
            self.write(f"{folder}/events/energy-{name}.unit", "Joules")
            self.write(f"{folder}/events/energy-{name}.scale", "2.3283064365386962890625e-10")

    def hwmon(self, number: int, name: str, device: str, **files: object) -> None:
        self.write(f"sys/class/hwmon/hwmon{number}/name", name)
        for file, value in files.items():
            self.write(f"sys/class/hwmon/hwmon{number}/{file}", value)
        (self.root / "sys/devices" / device).mkdir(parents=True, exist_ok=True)
        self.link(f"sys/class/hwmon/hwmon{number}/device", f"sys/devices/{device}")

    def monitor(self, number: int, rails: Mapping[str, tuple[int, int]]) -> None:
        """An INA3221 of a Jetson: rails of so many millivolts and milliamperes, and the chip's sum of shunts."""
        device = f"sys/devices/platform/c240000.i2c/i2c-1/1-004{number}"
        folder = f"{device}/hwmon/hwmon{number + 3}"
        for channel, (name, (millivolts, milliamperes)) in enumerate(rails.items(), start=1):
            self.write(f"{folder}/in{channel}_label", name)
            self.write(f"{folder}/in{channel}_input", millivolts)
            self.write(f"{folder}/curr{channel}_input", milliamperes)
        self.write(f"{folder}/in7_label", "sum of shunt voltages")
        self.link(f"sys/bus/i2c/drivers/ina3221/1-004{number}", device)

    def pci(self, address: str, vendor: str, device: str, kind: str, render: str = "") -> None:
        """A device on the bus, and its render node."""
        for file, value in {"vendor": vendor, "device": device, "class": kind, "subsystem_device": "0x0000"}.items():
            self.write(f"sys/bus/pci/devices/{address}/{file}", value)
        if render:
            (self.root / "sys/bus/pci/devices" / address / "drm" / render).mkdir(parents=True)
            self.write(f"dev/dri/{render}", "")


def _cpu_block(cpu: Cpu, number: int, package: int) -> str:
    rows = {
        "processor": number,
        "vendor_id": cpu.vendor,
        "cpu family": cpu.family,
        "model": cpu.model,
        "model name": cpu.name,
        "stepping": cpu.stepping,
        "cpu MHz": "2400.000",
        "physical id": package,
        "flags": cpu.flags,
        "bogomips": "4800.00",
    }
    return "".join(f"{name:<12}\t: {value}\n" for name, value in rows.items())


# ---- machines


def cloud_vm(root: Path) -> Machine:
    """Four threads of an EPYC 7763 under a hypervisor that shows no sensor; a login session whose cgroups limit nothing."""
    machine = Machine(root)
    machine.cpus(Cpu("AuthenticAMD", 25, 1, 1, "AMD EPYC 7763 64-Core Processor", VIRTUAL), 4)
    machine.memory(16_373_460)
    session = "user.slice/user-1000.slice/session-3.scope"
    machine.process(f"0::/{session}", "0-3")
    for path in ("user.slice", "user.slice/user-1000.slice", session):
        machine.cgroup(path, {"cpu.max": "max 100000", "memory.max": "max", "cpu.stat": "usage_usec 5000000"})
    machine.hwmon(0, "nvme", "pci0000:00/nvme0", temp1_input=36_850)
    return machine


def server(root: Path) -> Machine:
    """Two Xeon E5-2670 v2, 40 threads: packages in no order, cores inside them, DRAM beside them."""
    machine = Machine(root)
    machine.cpus(Cpu("GenuineIntel", 6, 62, 4, "Intel(R) Xeon(R) CPU E5-2670 v2 @ 2.50GHz"), 40, sockets=2)
    machine.memory(65_854_688)
    machine.process("0::/user.slice/user-1000.slice/session-3.scope", "0-39")
    for cpu, package in {0: 0, 10: 1}.items():
        machine.write(f"sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id", package)
    for number, (package, joules) in enumerate({"package-1": 5597.2, "package-0": 44_097.1}.items()):
        machine.zone(f"intel-rapl:{number}", package, joules, FINE_RANGE_UJ, limit_w=115)
        machine.zone(f"intel-rapl:{number}:0", "core", joules / 2, FINE_RANGE_UJ)
        machine.zone(f"intel-rapl:{number}:1", "dram", joules / 3, FINE_RANGE_UJ)
    machine.hwmon(1, "coretemp", "platform/coretemp.0", temp1_input=41_000, temp1_label="Package id 0")
    return machine


def server_with_twins(root: Path) -> Machine:
    """The same, with zones that are inside the packages or show them again, and the PMU that does so too."""
    machine = server(root)
    for number, (package, joules) in enumerate({"package-1": 5597.2, "package-0": 44_097.1}.items()):
        machine.zone(f"intel-rapl:{number}:2", "uncore", joules / 8, FINE_RANGE_UJ)
        machine.zone(f"intel-rapl-mmio:{number}", package, joules, FINE_RANGE_UJ)
        machine.zone(f"intel-rapl-mmio:{number}:0", "dram", joules / 3, FINE_RANGE_UJ)
    machine.events("0,10", cores=1, pkg=2, ram=3)
    return machine


def container(root: Path) -> Machine:
    """A Docker container on a Ryzen 9 5950X of 32 threads, started with --cpus 2 --memory 8g; Docker masks the zones."""
    machine = Machine(root)
    machine.cpus(Cpu("AuthenticAMD", 25, 33, 0, "AMD Ryzen 9 5950X 16-Core Processor"), 32)
    machine.memory(65_745_080)
    machine.process("0::/", "0-31")
    machine.cgroup(".", {"cpu.max": "200000 100000", "cpuset.cpus.effective": "0-31", "cpu.stat": "usage_usec 5000000"})
    machine.cgroup(".", {"memory.max": 8 * GIB})
    (root / "sys/devices/virtual/powercap").mkdir(parents=True)
    machine.link("sys/class/powercap/intel-rapl", "sys/devices/virtual/powercap/intel-rapl")
    for zone in ("intel-rapl:0", "intel-rapl:0:0"):
        machine.link(f"sys/class/powercap/{zone}", f"sys/devices/virtual/powercap/intel-rapl/{zone}")
    return machine


def laptop(root: Path) -> Machine:
    """A Core i7-1165G7: cores and graphics inside the package, the platform around it, the package again over mmio."""
    machine = Machine(root)
    machine.cpus(Cpu("GenuineIntel", 6, 140, 1, "11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz"), 8)
    machine.memory(16_098_040)
    machine.process("0::/user.slice/user-1000.slice/user@1000.service/app.slice", "0-7")
    machine.zone("intel-rapl:0", "package-0", 41_320.4, limit_w=28)
    machine.zone("intel-rapl:0:0", "core", 20_812.9)
    machine.zone("intel-rapl:0:1", "uncore", 611.3)
    machine.zone("intel-rapl:1", "psys", 93_544.7)
    machine.zone("intel-rapl-mmio:0", "package-0", 41_320.4, limit_w=28)
    machine.hwmon(0, "BAT0", "platform/battery", in0_input=15_800, power1_input=6_700_000)
    machine.hwmon(1, "coretemp", "platform/coretemp.0", temp1_input=52_000)
    machine.pci("0000:00:02.0", "0x8086", "0x9a49", "0x030000", "renderD128")
    return machine


SLURM_JOB = "4242"
SLURM_V2 = f"system.slice/slurmstepd.scope/job_{SLURM_JOB}"
SLURM_V1 = f"slurm/uid_1000/job_{SLURM_JOB}"


def cluster_node(root: Path) -> Machine:
    """Two Xeon Gold 6130, 64 threads, 192 GiB, readable counters; this process is in no job yet."""
    machine = Machine(root)
    machine.cpus(Cpu("GenuineIntel", 6, 85, 4, "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz"), 64, sockets=2)
    machine.memory(192 * GIB // 1024)
    machine.process("0::/user.slice/user-1000.slice/session-3.scope", "0-63")
    for number, joules in enumerate((226_618.7, 181_795.8)):
        machine.zone(f"intel-rapl:{number}", f"package-{number}", joules, limit_w=125)
        machine.zone(f"intel-rapl:{number}:0", "dram", joules / 4, DRAM_RANGE_UJ, limit_w=36)
    return machine


def in_slurm_job(machine: Machine, cpus: str = "0-3,32-35", memory: int = 48 * GIB) -> Machine:
    """Put the process into the second of two tasks of a SLURM job, under cgroup v2."""
    machine.environ |= {"SLURM_JOB_ID": SLURM_JOB, "SLURM_CPUS_ON_NODE": "8", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}
    machine.process(f"0::/{SLURM_V2}/step_0/user/task_1", "2-3,34-35")
    machine.cgroup(SLURM_V2, {"cpuset.cpus.effective": cpus, "memory.max": memory, "cpu.stat": "usage_usec 5000000"})
    for path, limit in {"step_0": "max", "step_0/user": memory, "step_0/user/task_1": "max"}.items():
        machine.cgroup(f"{SLURM_V2}/{path}", {"memory.max": limit, "cpu.stat": "usage_usec 1000000"})
    return machine


def slurm_job(root: Path) -> Machine:
    """A job with 8 of the 64 threads and 48 of the 192 GiB of a node whose counters everybody may read."""
    return in_slurm_job(cluster_node(root))


def graviton_vm(root: Path) -> Machine:
    """Four threads of a Graviton2: nothing in an Arm processor's description tells a hypervisor."""
    machine = Machine(root)
    machine.arm_cpus("0xd0c", 4)
    machine.memory(7_948_676)
    machine.process("0::/user.slice/user-1000.slice/session-1.scope", "0-3")
    return machine


def jetson(root: Path) -> Machine:
    """A Jetson AGX Orin: three monitored inputs, of which one feeds the memory's own rail."""
    machine = Machine(root)
    machine.arm_cpus("0xd42", 12)
    machine.memory(64_349_048)
    machine.process("0::/user.slice/user-1000.slice/session-1.scope", "0-11")
    machine.monitor(0, {"VDD_GPU_SOC": (19_000, 800), "VDD_CPU_CV": (19_000, 300), "VIN_SYS_5V0": (5000, 1900)})
    machine.monitor(1, {"NC": (19_000, 0), "VDDQ_VDD2_1V8AO": (5000, 500)})
    return machine


def gpu_server(root: Path) -> Machine:
    """Two Xeon Platinum 8480+ with four H100, two of them this process's, and a meter of the whole machine."""
    machine = Machine(root)
    machine.cpus(Cpu("GenuineIntel", 6, 143, 8, "Intel(R) Xeon(R) Platinum 8480+"), 224, sockets=2)
    machine.memory(2_113_339_392)
    machine.process("0::/user.slice/user-1000.slice/session-3.scope", "0-223")
    for number, joules in enumerate((147_773.6, 206_448.3)):
        machine.zone(f"intel-rapl:{number}", f"package-{number}", joules, limit_w=350)
        machine.zone(f"intel-rapl:{number}:0", "dram", joules / 7, DRAM_RANGE_UJ)
    machine.hwmon(2, "power_meter", "ACPI000D:00", power1_average=2_310_000_000, power1_average_interval=1000)
    for bus in ("18", "2a", "3a", "5d"):
        machine.pci(f"0000:{bus}:00.0", "0x10de", "0x2330", "0x030200")
    machine.environ |= {"CUDA_VISIBLE_DEVICES": "1,0"}
    return machine


# The places of a node's eight dies on the bus: of two neighbours the first reads both, the second nothing.
MI250X = ("c1", "c6", "c9", "ce", "d1", "d6", "d9", "de")


def instinct_node(root: Path) -> Machine:
    """One EPYC 7A53 and four MI250X of two dies each, of which the CPU has no zone for DRAM."""
    machine = Machine(root)
    machine.cpus(Cpu("AuthenticAMD", 25, 48, 1, "AMD EPYC 7A53 64-Core Processor"), 128)
    machine.memory(527_836_144)
    machine.process("0::/user.slice/user-1000.slice/session-3.scope", "0-127")
    machine.zone("intel-rapl:0", "package-0", 31_415.9, FINE_RANGE_UJ)
    machine.zone("intel-rapl:0:0", "core", 2718.2, FINE_RANGE_UJ)
    for number, bus in enumerate(MI250X):
        machine.pci(f"0000:{bus}:00.0", "0x1002", "0x7408", "0x038000", f"renderD{128 + number}")
        watts = 310_000_000 if number % 2 == 0 else 0
        machine.hwmon(4 + number, "amdgpu", f"pci0000:c0/0000:{bus}:00.0", power1_average=watts)
    return machine


# ---- drivers and libraries


class NoDriver:
    """The module ``pynvml`` where there is no driver."""

    @staticmethod
    def nvmlInit() -> None:  # noqa: N802
        raise RuntimeError("NVML Shared Library Not Found")


def libraries(**modules: Any) -> Any:
    """What imports optional libraries: these, and no others."""

    def load(name: str) -> Any:
        if name not in modules:
            raise ImportError(f"No module named {name!r}")
        return modules[name]

    return load


class AmdSmi:
    """The module ``amdsmi`` of the node above: 310 W a board."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def amdsmi_init(self) -> None:
        """The driver answers."""

    def amdsmi_get_processor_handles(self) -> list[str]:
        return list(MI250X)

    def amdsmi_get_gpu_asic_info(self, bus: str) -> dict[str, str]:
        return {"market_name": "AMD Instinct MI250X", "device_id": "0x7408", "asic_serial": f"0x{int(bus, 16):016X}"}

    def amdsmi_get_gpu_device_bdf(self, bus: str) -> str:
        return f"0000:{bus}:00.0"

    def amdsmi_get_gpu_enumeration_info(self, bus: str) -> dict[str, Any]:
        return {"hip_id": MI250X.index(bus), "hip_uuid": f"GPU-{int(bus, 16):016x}"}

    def amdsmi_get_energy_count(self, bus: str) -> dict[str, float]:
        ticks = round(self._watts(bus) * self._clock.monotonic_ns() / NS_PER_S / 15.3e-6)
        return {"energy_accumulator": ticks, "counter_resolution": 15.3, "timestamp": 1}

    def amdsmi_get_power_info(self, bus: str) -> dict[str, Any]:
        return {"average_socket_power": self._watts(bus), "current_socket_power": "N/A", "power_limit": 560}

    def _watts(self, bus: str) -> int:
        return 310 if MI250X.index(bus) % 2 == 0 else 0


class AppleSilicon:
    """The module ``zeus_apple_silicon`` on an M4; cores and clusters are inside the CPU's total."""

    @staticmethod
    def AppleEnergyMonitor() -> Any:  # noqa: N802
        energy = {"cpu_total_mj": 1000, "gpu_mj": 5000, "gpu_sram_mj": 20, "dram_mj": 300, "ane_mj": 7}
        inside = {"efficiency_cores_mj": [100, 100], "performance_cores_mj": [300, 300], "efficiency_cluster_mj": [400]}
        return SimpleNamespace(get_cumulative_energy=lambda: SimpleNamespace(**energy, **inside))
