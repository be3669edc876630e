"""CPU and DRAM where there is no sensor, written as counters.

joules = idle watts x wall seconds + (full - idle watts) / threads x busy CPU seconds

The published curves of power over load are laid straight between idle and full load; their misfit
is in the interval.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from fitprint.assumption import Assumption
from fitprint.clock import NS_PER_S, Clock
from fitprint.data import table
from fitprint.sensors.counter import UJ_IN_J, Sensor
from fitprint.sensors.finding import Absent, Finding, Found
from fitprint.sensors.machine import US_PER_S, Machine

UJ_PER_J = 1_000_000
# Software models of CPU power against wall meters: errors up to 40 % (Fischer 2025, hundreds of runs).
CPU_ERROR = 0.40
# Published DRAM figures per gigabyte and per DIMM disagree by a factor of two.
DRAM_ERROR = 0.50
# Mean power of boards that train over their TDP: 0.70 to 0.92 (A100 281 of 400 W and V100 275 of
# 300 W in Dodge 2022, H100 600 of 700 W in Morrison 2025).
TRAINING_SHARE, ACCELERATOR_ERROR = 0.8, 0.50


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
    idle_w, full_w, rows, (low, high) = _virtual_power(machine) if machine.virtual else _bare_power(machine)
    share = 1.0 if machine.cpu_limit is None else machine.cpu_limit / machine.threads
    sensor = Sensor("cpu:modelled", "cpu", "modelled", UJ_IN_J, low, high, f"model from {rows[-1].source}")
    counter = ModelledCounter(
        sensor,
        idle_w=idle_w * share,
        busy_w=(full_w - idle_w) / machine.threads,
        threads=machine.threads,
        clock=clock,
        busy_us=busy_us,
    )
    return Found((counter,), assumptions=tuple(rows))


def probe_dram(machine: Machine, clock: Clock) -> Finding:
    """Model the installed memory, or the cgroup's share of it, at constant power."""
    if machine.memory_gb <= 0:
        return Absent("modelled DRAM", "the size of the memory cannot be read", uncounted="the memory")
    row = _figure("dram_w_per_gb")
    power_w = machine.memory_gb * _value(row)
    sensor = Sensor(
        "dram:modelled",
        "dram",
        "modelled",
        UJ_IN_J,
        DRAM_ERROR,
        DRAM_ERROR,
        f"model, {machine.memory_gb:.0f} GB x {_value(row)} W/GB",
    )
    counter = ModelledCounter(sensor, idle_w=power_w, busy_w=0.0, threads=0, clock=clock, busy_us=lambda: 0)
    return Found((counter,), assumptions=(_assumption(row),))


def _virtual_power(machine: Machine) -> tuple[float, float, list[Assumption], tuple[float, float]]:
    """Idle and full watts, their sources, and the interval: the model's own, or what not knowing the CPU leaves at half load."""
    arch = _architecture(machine)
    if arch is not None:
        figures = [(name, float(arch[name])) for name in ("idle_w_per_vcpu", "full_w_per_vcpu")]
        basis = f"{arch['name']}, {arch['basis']}"
        rows = [Assumption(name, watts, None, None, "W/vCPU", arch["source"], int(arch["year"]), basis) for name, watts in figures]
        return figures[0][1] * machine.threads, figures[1][1] * machine.threads, rows, (CPU_ERROR, CPU_ERROR)
    idle, full = _assumption(_figure("vm_idle_w_per_vcpu")), _assumption(_figure("vm_full_w_per_vcpu"))
    idle_w, full_w = float(idle.value or 0), float(full.value or 0)
    error = _error(idle_w + full_w, (idle.low or 0) + (full.low or 0), (idle.high or 0) + (full.high or 0))
    return idle_w * machine.threads, full_w * machine.threads, [idle, full], error


def _architecture(machine: Machine) -> Mapping[str, str] | None:
    """The row of the CPU's microarchitecture; steppings of one model may be different ones."""
    vendor, family, model, stepping = machine.cpu_identity
    rows = [
        row for row in table("cpu_arch") if (row["vendor_id"], row["family"], row["model"]) == (vendor, str(family), str(model))
    ]
    fitting = [row for row in rows if int(row["stepping_from"]) <= stepping]
    return max(fitting, key=lambda row: int(row["stepping_from"]), default=None)


def _bare_power(machine: Machine) -> tuple[float, float, list[Assumption], tuple[float, float]]:
    """Idle and full watts, their sources, and the interval: that of the TDP where it is itself a guess."""
    idle, full = _assumption(_figure("idle_share_of_tdp")), _assumption(_figure("full_share_of_tdp"))
    tdp = _tdp(machine)
    tdp_w = float(tdp.value or 0)
    error = _error(tdp_w, tdp.low or tdp_w, tdp.high or tdp_w)
    return float(idle.value or 0) * tdp_w, float(full.value or 0) * tdp_w, [idle, full, tdp], error


def accelerator_tdp(name: str) -> Mapping[str, str] | None:
    """The row of an accelerator by the name that its driver gives, with or without the vendor's name before it."""
    wanted = name.casefold().removeprefix("nvidia ").strip()
    return next((row for row in table("accelerators") if row["name"].casefold().removeprefix("nvidia ") == wanted), None)


def model_accelerator(sensor_id: str, name: str, clock: Clock) -> Found | None:
    """Model an accelerator without any sensor as TRAINING_SHARE of its TDP for all of the time; None without a TDP."""
    row = accelerator_tdp(name)
    if row is None:
        return None
    tdp_w = float(row["tdp_w"])
    basis = f"{row['basis']} of {row['name']}; {TRAINING_SHARE:g} of it is assumed while a run lasts"
    tdp = Assumption("accelerator_tdp", tdp_w, None, None, "W", row["source"], int(row["year"]), basis)
    sensor = Sensor(
        sensor_id,
        "gpu",
        "modelled",
        UJ_IN_J,
        ACCELERATOR_ERROR,
        ACCELERATOR_ERROR,
        f"model, {name}: {TRAINING_SHARE:g} x {tdp_w:g} W",
    )
    counter = ModelledCounter(sensor, idle_w=TRAINING_SHARE * tdp_w, busy_w=0.0, threads=0, clock=clock, busy_us=lambda: 0)
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
    basis = f"{row['basis']} of {row['name']} x {machine.sockets}"
    return Assumption("cpu_tdp", watts, None, None, "W", row["source"], int(row["year"]), basis)


def _error(value: float, low: float, high: float) -> tuple[float, float]:
    """CPU_ERROR, or the range of the figure that decides where that is wider."""
    return max(CPU_ERROR, 1 - low / value), max(CPU_ERROR, high / value - 1)


def bare_cpu_name(cpu_name: str) -> str:
    """Strip trademarks, clock rates and core counts: ``Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz`` -> ``Intel Core i7-8700K``."""
    text = re.sub(r"(?:\((?:R|TM)\)|®|™)(?=(-?))", lambda mark: "" if mark[1] else " ", cpu_name, flags=re.IGNORECASE)
    text = re.sub(r"^\d+(?:st|nd|rd|th) Gen ", "", text)
    text = re.sub(r"\s+(?:with|w/) .*$|\s*@.*$", "", text)
    text = re.sub(r"\b(?:CPU|Processor|(?:\d+|Dual|Quad|Six|Eight|Twelve|Sixteen)-Cores?)(?=\s|$)", "", text)
    return " ".join(text.split())


def _figure(name: str) -> Mapping[str, str]:
    return next(row for row in table("cpu_model") if row["name"] == name)


def _value(row: Mapping[str, str]) -> float:
    return float(row["value"])


def _assumption(row: Mapping[str, str]) -> Assumption:
    return Assumption(
        row["name"], _value(row), float(row["low"]), float(row["high"]), row["unit"], row["source"], int(row["year"]), row["basis"]
    )
