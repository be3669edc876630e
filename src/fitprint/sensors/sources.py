"""Where joules may come from, and in what order they are looked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

from fitprint.sensors.counter import NODE
from fitprint.sensors.finding import Finding
from fitprint.sensors.surroundings import Surroundings

X86 = ("-x86_64", "-i686", "-amd64")
# As in ``nvml``, where a driver that does not answer leaves its boards to the model.
NVML = "NVML total energy counter"
Probe = Callable[[Surroundings], list[Finding]]


class Source(NamedTuple):
    """Somewhere joules may come from.

    Attributes:
        parts: What it can count.
        alternatives: Ways to read it, the best first; each is tried where those before it found nothing.
        name: What it is called where it cannot even say so itself.
    """

    parts: tuple[str, ...]
    alternatives: tuple[Probe, ...]
    name: str = "sensors"


def _modules(around: Surroundings) -> list[Finding]:
    from fitprint.sensors import hwmon

    return hwmon.probe_soc(around.sys_root, around.clock)


def _apple(around: Surroundings) -> list[Finding]:
    library = around.optional("zeus_apple_silicon") if around.system == "darwin" else None
    if library is None:
        return []
    from fitprint.sensors import apple

    return apple.probe(library, around.clock)


def _nvidia(around: Surroundings) -> list[Finding]:
    from fitprint.sensors import nvml

    runs = around.registry.pids if around.registry is not None else set
    return nvml.probe(around.nvml(), around.environment(), around.clock, sys.modules, proc_root=around.proc_root, runs=runs)


def _amd(around: Surroundings) -> list[Finding]:
    library = around.optional("amdsmi")
    if library is None:
        return []
    from fitprint.sensors import amdsmi

    return amdsmi.probe(library, around.environment(), around.clock, sys.modules)


def _amd_driver(around: Surroundings) -> list[Finding]:
    from fitprint.sensors import hwmon

    return hwmon.probe_amd_gpu(around.sys_root, around.clock)


def _intel_driver(around: Surroundings) -> list[Finding]:
    from fitprint.sensors import hwmon

    return hwmon.probe_intel_gpu(around.sys_root)


def _bmc(around: Surroundings) -> list[Finding]:
    device = around.dev_root / "ipmi0"
    if not device.exists():
        return []
    from fitprint.sensors import ipmi

    return ipmi.probe(device, around.clock)


def _acpi_meter(around: Surroundings) -> list[Finding]:
    from fitprint.sensors import hwmon

    return hwmon.probe_node(around.sys_root, around.clock)


def _powercap(around: Surroundings) -> list[Finding]:
    if around.system != "linux":
        return []
    from fitprint.sensors import rapl

    return rapl.probe(around.sys_root, virtual=around.machine.virtual, x86=around.platform.endswith(X86))


def _perf(around: Surroundings) -> list[Finding]:
    from fitprint.sensors import perf

    return perf.probe(around.sys_root)


def _amd_energy(around: Surroundings) -> list[Finding]:
    from fitprint.sensors import hwmon

    return hwmon.probe_cpu(around.sys_root)


# A new way to read something is a function above and a word here. A source is asked where one of its
# parts is wanted and not inside something that is counted already; boards of several makers stand
# beside each other. Modules are loaded when they are asked.
SOURCES = (
    Source(("soc", "cpu"), (_modules,), "power of modules"),
    Source(("cpu", "gpu", "dram", "soc"), (_apple,), "Apple energy model"),
    Source(("gpu",), (_nvidia,), NVML),
    Source(("gpu",), (_amd, _amd_driver), "AMD GPUs"),
    Source(("gpu",), (_intel_driver,), "Intel GPUs"),
    Source((NODE,), (_bmc, _acpi_meter), "power of the whole machine"),
    Source(("cpu", "dram"), (_powercap, _perf, _amd_energy), "RAPL"),
)
