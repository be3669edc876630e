"""The model for CPU and DRAM without a sensor, against arithmetic by hand."""

from __future__ import annotations

import pytest

from fitprint.data import table
from fitprint.sensors.counter import Unwrapped
from fitprint.sensors.finding import Absent, Found
from fitprint.sensors.machine import Machine
from fitprint.sensors.modelled import accelerator_tdp, bare_cpu_name, model_accelerator, probe_cpu, probe_dram
from fitprint.testing import FakeClock

I7 = "Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz"  # 95 W: idle 0.12 x 95 = 11.4 W, full 1.02 x 95 = 96.9 W


def machine(name: str = I7, threads: int = 12, **options) -> Machine:
    rest = {"sockets": 1, "virtual": False, "memory_gb": 64.0, "cpu_limit": None}
    return Machine(name, threads, **(rest | options))


VIRTUAL = machine("Intel(R) Xeon(R) CPU @ 2.20GHz", threads=4, virtual=True)
UNKNOWN = machine("Nobody's Processor", threads=8)


def joules(of: Machine, wall_s: float, busy_s: float) -> float:
    """What the model of a machine's CPU counts over some wall and busy seconds."""
    clock, busy_us = FakeClock(), [7_000_000]
    counter = probe_cpu(of, clock, lambda: lambda: busy_us[0]).counters[0]
    before = counter.read()
    clock.advance(wall_s)
    busy_us[0] += round(busy_s * 1_000_000)
    return (counter.read() - before) * counter.sensor.unit_j


def interval(of: Machine) -> tuple[float, float]:
    sensor = probe_cpu(of, FakeClock(), lambda: lambda: 0).counters[0].sensor
    return sensor.low, sensor.high


@pytest.mark.parametrize(
    ("of", "wall_s", "busy_s", "expected_j"),
    [
        pytest.param(machine(), 10, 0, 114.0, id="idle: 11.4 W"),
        pytest.param(machine(), 10, 120, 969.0, id="all 12 threads busy: 96.9 W"),
        pytest.param(machine(), 10, 30, 327.75, id="114 J + 30 s x 85.5 W / 12"),
        pytest.param(machine(threads=24, sockets=2), 10, 30, 441.75, id="two sockets: 228 J + 30 s x 171 W / 24"),
        pytest.param(VIRTUAL, 10, 0, 28.512, id="virtual and idle: 4 x 0.7128 W"),
        pytest.param(VIRTUAL, 10, 20, 87.962, id="virtual: 28.512 J + 20 s x 2.9725 W"),
        pytest.param(UNKNOWN, 10, 0, 38.4, id="unknown: 0.12 x 8 x 4 W"),
        pytest.param(UNKNOWN, 10, 5, 56.4, id="unknown: 38.4 J + 5 s x 0.9 x 4 W"),
        pytest.param(machine(cpu_limit=3.0), 10, 0, 28.5, id="a quarter of the threads: a quarter of idle"),
        pytest.param(machine(cpu_limit=3.0), 10, 30, 242.25, id="busy seconds cost what they cost"),
    ],
)
def test_cpu_joules_are_idle_watts_by_wall_time_plus_the_rest_by_busy_time(of, wall_s, busy_s, expected_j):
    assert joules(of, wall_s, busy_s) == pytest.approx(expected_j, abs=1e-3)


@pytest.mark.parametrize("of", [machine(), VIRTUAL, UNKNOWN, machine(cpu_limit=0.5)])
def test_every_thread_busy_is_no_impossible_jump(of):
    clock, busy_us = FakeClock(), [0]
    unwrapped = Unwrapped(probe_cpu(of, clock, lambda: lambda: busy_us[0]).counters[0])
    unwrapped.read(clock.monotonic_ns())
    clock.advance(3600.0)
    busy_us[0] = 3600 * of.threads * 1_000_000
    unwrapped.read(clock.monotonic_ns())
    assert unwrapped.gaps == []
    assert unwrapped.total > 0


def test_a_cpu_from_the_table_is_known_to_40_percent():
    assert interval(machine()) == (0.40, 0.40)


def test_a_guessed_cpu_has_the_wider_interval_of_the_guess():
    assert interval(UNKNOWN) == (pytest.approx(1 - 2 / 4), pytest.approx(8 / 4 - 1))
    assert interval(VIRTUAL) == (
        pytest.approx(1 - (0.4454 + 1.5752) / (0.7128 + 3.6853)),
        pytest.approx((3.6824 + 8.9614) / (0.7128 + 3.6853) - 1),
    )


@pytest.mark.parametrize("name", ["Nobody's Processor", ""])
def test_the_assumption_names_a_cpu_that_is_in_no_table(name):
    tdp = probe_cpu(machine(name, threads=8), FakeClock(), lambda: lambda: 0).assumptions[-1]
    assert (tdp.value, tdp.low, tdp.high, tdp.unit) == (32.0, 16.0, 64.0, "W")
    assert (name or "unknown CPU") in tdp.basis


@pytest.mark.parametrize(
    ("printed", "bare"),
    [
        (I7, "Intel Core i7-8700K"),
        ("12th Gen Intel(R) Core(TM) i7-12700K", "Intel Core i7-12700K"),
        ("Intel(R) Xeon(R) Platinum 8358 CPU @ 2.60GHz", "Intel Xeon Platinum 8358"),
        ("Intel(R) Xeon(R) Platinum 8480+", "Intel Xeon Platinum 8480+"),
        ("Intel(R) Xeon(R) Gold 6230R CPU @ 2.10GHz", "Intel Xeon Gold 6230R"),
        ("Intel(R) Xeon(R) W-2245 CPU @ 3.90GHz", "Intel Xeon W-2245"),
        ("Intel(R) Core(TM) Ultra 7 155H", "Intel Core Ultra 7 155H"),
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763"),
        ("AMD Ryzen 9 5950X 16-Core Processor            ", "AMD Ryzen 9 5950X"),
        ("AMD Ryzen 7 5800U with Radeon Graphics", "AMD Ryzen 7 5800U"),
        ("AMD Ryzen 7 8845HS w/ Radeon 780M Graphics", "AMD Ryzen 7 8845HS"),
        ("", ""),
    ],
)
def test_a_cpu_name_is_stripped_to_what_tables_list(printed, bare):
    assert bare_cpu_name(printed) == bare


def test_a_name_is_found_whatever_its_case():
    tdp = probe_cpu(machine("INTEL(R) XEON(R) PLATINUM 8580"), FakeClock(), lambda: lambda: 0).assumptions[-1]
    assert (tdp.name, tdp.value) == ("cpu_tdp", 350.0)


def test_dram_power_is_constant_by_the_gigabyte():
    clock = FakeClock()
    counter = probe_dram(machine(memory_gb=64.0), clock).counters[0]
    before = counter.read()
    clock.advance(10.0)
    assert (counter.read() - before) * counter.sensor.unit_j == pytest.approx(64 * 0.3725 * 10)
    assert (counter.sensor.part, counter.sensor.low, counter.sensor.high) == ("dram", 0.5, 0.5)


def test_memory_of_unknown_size_is_named_as_uncounted():
    finding = probe_dram(machine(memory_gb=0.0), FakeClock())
    assert isinstance(finding, Absent)
    assert finding.uncounted == "the memory"


def test_unreadable_busy_time_names_the_cpu_as_uncounted():
    def nothing_to_read():
        raise OSError("no stat here")

    finding = probe_cpu(machine(), FakeClock(), nothing_to_read)
    assert isinstance(finding, Absent)
    assert finding.uncounted == "the CPU"
    assert "no stat here" in finding.reason


CPUS = [probe_cpu(of, FakeClock(), lambda: lambda: 0) for of in (machine(), VIRTUAL, UNKNOWN)]


@pytest.mark.parametrize("finding", [*CPUS, probe_dram(machine(), FakeClock())], ids=["bare", "vm", "unknown", "dram"])
def test_every_figure_of_the_model_is_an_assumption_with_a_source(finding):
    assert isinstance(finding, Found)
    assert finding.assumptions
    for row in finding.assumptions:
        assert row.source
        assert row.basis
        assert row.year
        assert row.low is None or row.low < row.value < row.high
    assert [counter.sensor.method for counter in finding.counters] == ["modelled"]


@pytest.mark.parametrize(
    ("printed", "in_the_table"),
    [
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "Intel Xeon E5-2680 v4"),
        ("Intel(R) Core(TM)2 Duo CPU     E8400  @ 3.00GHz", "Intel Core 2 Duo E8400"),
        ("AMD Opteron(tm) Processor 6272", "AMD Opteron 6272"),
        ("AMD Ryzen Threadripper PRO 5995WX 64-Cores", "AMD Ryzen Threadripper PRO 5995WX"),
        ("AMD Ryzen 7 1700 Eight-Core Processor", "AMD Ryzen 7 1700"),
        ("AMD FX(tm)-8350 Eight-Core Processor", "AMD FX-8350"),
    ],
)
def test_names_that_processors_give_themselves_are_found_in_the_table(printed, in_the_table):
    assert bare_cpu_name(printed).casefold() == in_the_table.casefold()
    assert in_the_table in {row["name"] for row in table("cpu_tdp")}


@pytest.mark.parametrize(
    ("identity", "full_w"),
    [(("GenuineIntel", 6, 85, 4), 4.0552), (("GenuineIntel", 6, 85, 7), 3.9285), (("AuthenticAMD", 25, 1, 1), 1.9368)],
)
def test_a_virtual_cpu_of_known_microarchitecture_has_its_own_watts(identity, full_w):
    machine = Machine("virtual", 2, 1, True, 8.0, None, identity)
    found = probe_cpu(machine, FakeClock(), lambda: lambda: 0)
    assert [row.value for row in found.assumptions][1] == pytest.approx(full_w, abs=1e-3)
    assert (found.counters[0].sensor.low, found.counters[0].sensor.high) == (0.4, 0.4)


@pytest.mark.parametrize("name", ["NVIDIA H100 80GB HBM3", "H100 80GB HBM3", "nvidia h100 80gb hbm3"])
def test_an_accelerator_is_found_with_and_without_its_vendors_name(name):
    assert accelerator_tdp(name)["tdp_w"] == "700"


def test_an_accelerator_that_is_in_no_table_is_not_modelled():
    assert model_accelerator("gpu:x", "GRID V9-8Q", FakeClock()) is None
