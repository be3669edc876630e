"""CPU and DRAM where there is no sensor, written as counters.

joules = idle watts x owned share x wall seconds + (full - idle watts) / threads x busy CPU seconds

The published curves of power over load are laid straight between idle and full load; their misfit
is in the interval. A job that owns part of a machine is charged for its part of the idle power and for
its own busy time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from fitprint.assumption import Assumption
from fitprint.clock import NS_PER_S, Clock
from fitprint.data import table
from fitprint.sensors.counter import UJ_IN_J, Sensor
from fitprint.sensors.finding import Absent, Finding, Found
from fitprint.sensors.machine import US_PER_S, Machine

UJ_PER_J = 1_000_000
# Software models of CPU power against wall meters: errors up to 40 % (Fischer 2025, hundreds of runs).
CPU_ERROR = 0.40
# The curve of TDP over load (Teads; 0.12, 0.32, 0.75 and 1.02 at 0, 10, 50 and 100 % load) lies above the
# straight line everywhere between its ends: at most 0.32 / 0.21 - 1, at 10 % load.
CURVE_MISFIT = 0.52
# Published DRAM figures per gigabyte and per DIMM disagree by a factor of two.
DRAM_ERROR = 0.50
# Where nothing says how much of the memory is a job's: between half and twice its share of the threads is assumed.
SHARE_LOW, SHARE_HIGH = 0.5, 2.0
# Apple publishes no TDP: its chips draw what their cooling lets them (AnandTech, "Apple's M1 Pro, M1 Max
# SoCs Investigated", 2021), the M1 20 to 24 W where tables have 10 W. Between half and twice the table's is assumed.
APPLE, APPLE_LOW, APPLE_HIGH = "Apple ", 0.5, 2.0
# All models err together: they rest on the same busy time and on figures of the same few sources.
BIAS = "model"
# Mean power of boards that train over their TDP: 0.70 to 0.92 (A100 281 of 400 W and V100 275 of
# 300 W in Dodge 2022, H100 600 of 700 W in Morrison 2025).
TRAINING_SHARE, ACCELERATOR_ERROR = 0.8, 0.50

# Idle and full watts of all CPUs, their sources, and the relative half-widths of the interval.
CpuPower = tuple[float, float, list[Assumption], tuple[float, float]]

# Boards that NVML shows as several devices; the table's limit is the whole board's. (AMD's of two dies are counted as boards.)
DEVICES_ON_A_BOARD = {"Tesla K80": 2, "Tesla M60": 2, "NVIDIA A16": 4}


class ModelledCounter:
    """Energy in microjoules from wall time and busy CPU time."""

    modulus = None
    min_interval_s = 0.0

    def __init__(
        self, sensor: Sensor, *, idle_w: float, busy_w: float, threads: float, clock: Clock, busy_us: Callable[[], int]
    ) -> None:
        self.sensor = sensor
        self.p_max_w = max(1.0, 2 * (idle_w + busy_w * threads))
        self._idle_w = idle_w
        self._busy_w = busy_w
        self._clock = clock
        self._busy_us = busy_us

    def read(self) -> int:
        wall_uj = self._idle_w * self._clock.monotonic_ns() * UJ_PER_J / NS_PER_S
        return round(wall_uj + self._busy_w * self._busy_us() * UJ_PER_J / US_PER_S)

    def close(self) -> None:
        """Nothing is held."""


def probe_cpu(machine: Machine, clock: Clock, busy: Callable[[], Callable[[], int]]) -> Finding:
    """Model the CPUs that this process may use.

    Args:
        machine: What the machine is.
        clock: Wall seconds.
        busy: Opens the reader of busy CPU microseconds; raises OSError where there is none.
    """
    try:
        busy_us = busy()
    except (OSError, ValueError) as error:
        return Absent("modelled CPU", f"busy CPU time cannot be read ({error})", uncounted="the CPU")
    idle_w, full_w, rows, width = _cpu_power(machine)
    part = "" if machine.cpu_limit is None else f", {machine.owned_threads:g} of {machine.threads} threads"
    sensor = _sensor("cpu:modelled", "cpu", width, f"model from {rows[-1].source}{part}")
    counter = ModelledCounter(
        # The figures per virtual thread were measured on whole servers.
        replace(sensor, at_wall=machine.virtual),
        idle_w=idle_w * machine.owned_share,
        busy_w=(full_w - idle_w) / machine.threads,
        threads=machine.threads,
        clock=clock,
        busy_us=busy_us,
    )
    return Found((counter,), assumptions=tuple(rows))


def idle_over_dynamic(machine: Machine) -> float:
    """What a second of a reserved thread weighs beside a second of a busy one: idle power over what full load adds."""
    idle_w, full_w, _, _ = _cpu_power(machine)
    return idle_w / (full_w - idle_w)


def probe_dram(machine: Machine, clock: Clock) -> Finding:
    """Model the job's memory at constant power: its limit, else its share of what is installed, all of it by default."""
    row, share = _assumption(_figure("dram_w_per_gb")), _memory_share(machine)
    memory_gb = machine.memory_limit_gb or machine.memory_gb * _number(share, otherwise=1.0)
    if memory_gb <= 0:
        return Absent("modelled DRAM", "the size of the memory cannot be read", uncounted="the memory")
    sensor = _sensor("dram:modelled", "dram", _dram_error(share), f"model, {memory_gb:.3g} GB x {row.value} W/GB")
    # In virtual machines the CPU's figures are of whole servers: supplies and fans are in them.
    counter = _constant(replace(sensor, at_wall=machine.virtual), memory_gb * _number(row), clock)
    if share is None:
        return Found((counter,), (row,))
    note = f"the job's memory has no limit: {memory_gb:.3g} of {machine.memory_gb:.3g} GB are counted, its share of the threads"
    return Found((counter,), (row, share), (note,))


def _memory_share(machine: Machine) -> Assumption | None:
    """The share of the memory that is taken for the job's, where it owns part of the threads and its memory has no limit."""
    if machine.memory_limit_gb is not None or machine.cpu_limit is None:
        return None
    share = machine.owned_share
    basis = f"the job's share of the threads, {machine.owned_threads:g} of {machine.threads}; half to twice as much is assumed"
    source = "cgroup, cpuset or affinity of this process"
    return Assumption("memory_share", share, share * SHARE_LOW, min(1.0, share * SHARE_HIGH), "1", source, None, basis)


def _dram_error(share: Assumption | None) -> tuple[float, float]:
    """DRAM_ERROR, and the range of an assumed share on top of it."""
    if share is None:
        return DRAM_ERROR, DRAM_ERROR
    value, low, high = _number(share), share.low or 0.0, share.high or 0.0
    return 1 - (1 - DRAM_ERROR) * low / value, (1 + DRAM_ERROR) * high / value - 1


def _cpu_power(machine: Machine) -> CpuPower:
    return _virtual_power(machine) if machine.virtual else _bare_power(machine)


def _virtual_power(machine: Machine) -> CpuPower:
    """The interval is the model's own, and what not knowing the CPU leaves at half load."""
    arch = _architecture(machine)
    if arch is not None:
        figures = [(name, float(arch[name])) for name in ("idle_w_per_vcpu", "full_w_per_vcpu")]
        basis = f"{arch['name']}, {arch['basis']}"
        rows = [Assumption(name, watts, None, None, "W/vCPU", arch["source"], int(arch["year"]), basis) for name, watts in figures]
        return figures[0][1] * machine.threads, figures[1][1] * machine.threads, rows, (CPU_ERROR, CPU_ERROR)
    idle, full = _assumption(_figure("vm_idle_w_per_vcpu")), _assumption(_figure("vm_full_w_per_vcpu"))
    idle_w, full_w = _number(idle), _number(full)
    low, high = _relative(idle_w + full_w, (idle.low or 0) + (full.low or 0), (idle.high or 0) + (full.high or 0))
    error = math.hypot(CPU_ERROR, low), math.hypot(CPU_ERROR, high)
    return idle_w * machine.threads, full_w * machine.threads, [idle, full], error


def _architecture(machine: Machine) -> Mapping[str, str] | None:
    """The row of the CPU's microarchitecture; steppings of one model may be different ones."""
    vendor, family, model, stepping = machine.cpu_identity
    rows = [
        row for row in table("cpu_arch") if (row["vendor_id"], row["family"], row["model"]) == (vendor, str(family), str(model))
    ]
    fitting = [row for row in rows if int(row["stepping_from"]) <= stepping]
    return max(fitting, key=lambda row: int(row["stepping_from"]), default=None)


def _bare_power(machine: Machine) -> CpuPower:
    """The interval is the model's own, the curve's misfit, and that of a guessed TDP."""
    idle, full = _assumption(_figure("idle_share_of_tdp")), _assumption(_figure("full_share_of_tdp"))
    tdp = _tdp(machine)
    tdp_w = _number(tdp)
    low, high = _relative(tdp_w, tdp.low or tdp_w, tdp.high or tdp_w)
    error = math.hypot(CPU_ERROR, low), math.hypot(CPU_ERROR, high, CURVE_MISFIT)
    return _number(idle) * tdp_w, _number(full) * tdp_w, [idle, full, tdp], error


def accelerator_tdp(name: str) -> Mapping[str, str] | None:
    """The row of an accelerator by the name that its driver gives, with or without the vendor's name before it."""
    wanted = name.casefold().removeprefix("nvidia ").strip()
    return next((row for row in table("accelerators") if row["name"].casefold().removeprefix("nvidia ") == wanted), None)


def model_accelerator(sensor_id: str, name: str, clock: Clock) -> Found | None:
    """Model an accelerator without any sensor as TRAINING_SHARE of its TDP for all of the time; None without a TDP."""
    row = accelerator_tdp(name)
    if row is None:
        return None
    devices = DEVICES_ON_A_BOARD.get(row["name"], 1)
    tdp_w = float(row["tdp_w"]) / devices
    of = row["name"] if devices == 1 else f"{row['name']}, shared by its {devices} devices"
    basis = f"{row['basis']} of {of}; {TRAINING_SHARE:g} of it is assumed while a run lasts"
    tdp = Assumption("accelerator_tdp", tdp_w, None, None, "W", row["source"], int(row["year"]), basis)
    source = f"model, {name}: {TRAINING_SHARE:g} x {tdp_w:g} W"
    sensor = _sensor(sensor_id, "gpu", (ACCELERATOR_ERROR, ACCELERATOR_ERROR), source)
    counter = _constant(sensor, TRAINING_SHARE * tdp_w, clock)
    note = (
        f"MODELLED: {name} has no readable sensor; {TRAINING_SHARE:g} x {tdp_w:g} W (its TDP) is assumed, +-{ACCELERATOR_ERROR:.0%}"
    )
    return Found((counter,), (tdp,), (note,))


def _tdp(machine: Machine) -> Assumption:
    """The TDP of all packages: from the table where the name is known, else from the thread count."""
    name = bare_cpu_name(machine.cpu_name)
    row = next((row for row in table("cpu_tdp") if name and row["name"].casefold() == name.casefold()), None)
    if row is None:
        figure = _figure("fallback_w_per_thread")
        watts, low, high = (float(figure[key]) * machine.threads for key in ("value", "low", "high"))
        basis = f"{figure['basis']}, {machine.threads} threads ({machine.cpu_name or 'unknown CPU'} is in no table)"
        return Assumption("cpu_tdp", watts, low, high, "W", figure["source"], int(figure["year"]), basis)
    watts = float(row["tdp_w"]) * machine.sockets
    of = f"of {row['name']} x {machine.sockets}"
    if row["name"].startswith(APPLE):
        low, high, basis = watts * APPLE_LOW, watts * APPLE_HIGH, f"estimate {of}; Apple publishes no TDP"
        return Assumption("cpu_tdp", watts, low, high, "W", row["source"], int(row["year"]), basis)
    return Assumption("cpu_tdp", watts, None, None, "W", row["source"], int(row["year"]), f"{row['basis']} {of}")


def _relative(value: float, low: float, high: float) -> tuple[float, float]:
    """A range around a value as the two relative half-widths."""
    return 1 - low / value, high / value - 1


def _sensor(sensor_id: str, part: str, error: tuple[float, float], source: str) -> Sensor:
    return Sensor(sensor_id, part, "modelled", UJ_IN_J, error[0], error[1], source, bias=BIAS)


def _constant(sensor: Sensor, power_w: float, clock: Clock) -> ModelledCounter:
    return ModelledCounter(sensor, idle_w=power_w, busy_w=0.0, threads=0, clock=clock, busy_us=lambda: 0)


def bare_cpu_name(cpu_name: str) -> str:
    """Strip trademarks, clock rates and core counts: ``Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz`` -> ``Intel Core i7-8700K``."""
    text = re.sub(r"(?:\((?:R|TM)\)|®|™)(?=(-?))", lambda mark: "" if mark[1] else " ", cpu_name, flags=re.IGNORECASE)
    text = re.sub(r"^\d+(?:st|nd|rd|th) Gen ", "", text)
    text = re.sub(r"\s+(?:with|w/) .*$|\s*@.*$", "", text)
    text = re.sub(r"\b(?:CPU|Processor|(?:\d+|Dual|Quad|Six|Eight|Twelve|Sixteen)-Cores?)(?=\s|$)", "", text)
    return re.sub(r" 0$", "", " ".join(text.split()))  # the first E5 give themselves a version: "E5-2670 0"


def _figure(name: str) -> Mapping[str, str]:
    return next(row for row in table("cpu_model") if row["name"] == name)


def _number(row: Assumption | None, otherwise: float = 0.0) -> float:
    return otherwise if row is None else float(row.value or 0)


def _assumption(row: Mapping[str, str]) -> Assumption:
    value, low, high = (float(row[key]) for key in ("value", "low", "high"))
    return Assumption(row["name"], value, low, high, row["unit"], row["source"], int(row["year"]), row["basis"])
