"""The model for CPU and DRAM without a sensor, against arithmetic by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.data import table
from fitprint.energy import Energy
from fitprint.sensors.counter import Unwrapped
from fitprint.sensors.finding import Absent, Found
from fitprint.sensors.machine import Machine
from fitprint.sensors.modelled import (
    accelerator_tdp,
    bare_cpu_name,
    idle_over_dynamic,
    model_accelerator,
    probe_cpu,
    probe_dram,
)
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
    unwrapped.read(clock)
    clock.advance(3600.0)
    busy_us[0] = 3600 * of.threads * 1_000_000
    unwrapped.read(clock)
    assert unwrapped.gaps == []
    assert unwrapped.total > 0


# Above, the published curve leaves the straight line by up to 0.32 / 0.21 - 1 = 0.52, at 10 % load.
LINE = 0.32 / (0.12 + 0.1 * 0.9) - 1


def test_a_cpu_from_the_table_is_known_to_40_percent_and_above_to_the_misfit_of_the_line():
    assert interval(machine()) == (0.40, pytest.approx(math.hypot(0.40, LINE), abs=0.005))


def test_a_guessed_cpu_has_the_interval_of_the_guess_too():
    assert interval(UNKNOWN) == (
        pytest.approx(math.hypot(0.40, 1 - 2 / 4)),
        pytest.approx(math.hypot(0.40, 8 / 4 - 1, LINE), abs=0.005),
    )
    assert interval(VIRTUAL) == (
        pytest.approx(math.hypot(0.40, 1 - (0.4454 + 1.5752) / (0.7128 + 3.6853))),
        pytest.approx(math.hypot(0.40, (2.2122 + 8.6309) / (0.7128 + 3.6853) - 1)),
    )


@pytest.mark.parametrize(("load", "curve"), [(0.0, 0.12), (0.1, 0.32), (0.5, 0.75), (1.0, 1.02)])
@pytest.mark.parametrize("threads", [1, 12, 64])
def test_every_point_of_the_published_curve_lies_within_the_interval(load, curve, threads):
    of = machine(threads=threads)
    modelled_j, curve_j = joules(of, 10.0, 10.0 * threads * load), 10.0 * 95.0 * curve
    low, high = interval(of)
    assert modelled_j * (1 - low) <= curve_j <= modelled_j * (1 + high)


@pytest.mark.parametrize(("name", "tdp_w"), [("Apple M2 Pro", 35.0), ("Apple M1", 10.0)])
def test_an_apple_chip_has_no_published_tdp_so_the_tables_is_taken_for_a_guess(name, tdp_w):
    tdp = probe_cpu(machine(name, threads=12), FakeClock(), lambda: lambda: 0).assumptions[-1]
    assert (tdp.value, tdp.low, tdp.high) == (tdp_w, tdp_w / 2, tdp_w * 2)
    assert "Apple publishes no TDP" in tdp.basis
    assert interval(machine(name))[0] == pytest.approx(math.hypot(0.40, 0.5))


def test_an_apple_chip_that_is_in_no_table_is_modelled_by_its_threads():
    tdp = probe_cpu(machine("Apple M9 Ultra", threads=12), FakeClock(), lambda: lambda: 0).assumptions[-1]
    assert (tdp.value, tdp.low, tdp.high) == (48.0, 24.0, 96.0)


@given(
    limits=st.lists(st.floats(0.1, 12.0), min_size=1, max_size=6),
    busy_s=st.lists(st.floats(0.0, 100.0), min_size=6, max_size=6),
)
def test_jobs_that_own_all_of_a_machine_together_are_charged_for_all_of_it(limits, busy_s):
    scale = 12.0 / sum(limits)
    parts = [machine(cpu_limit=limit * scale) for limit in limits]
    alone = joules(machine(), 10.0, sum(busy_s[: len(parts)]))
    together = math.fsum(joules(part, 10.0, busy) for part, busy in zip(parts, busy_s, strict=False))
    assert together == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize(("of", "rho"), [(machine(), 0.12 / 0.90), (VIRTUAL, 0.7128 / 2.9725)])
def test_a_reserved_second_weighs_idle_power_over_what_load_adds(of, rho):
    assert idle_over_dynamic(of) == pytest.approx(rho)
    idle_j, busy_j = joules(of, 1.0, 0.0), joules(of, 0.0, 1.0)
    assert idle_j / of.threads == pytest.approx(rho * busy_j, rel=1e-4)


def test_the_sensor_says_how_many_threads_it_counts():
    source = probe_cpu(machine(cpu_limit=2.5), FakeClock(), lambda: lambda: 0).counters[0].sensor.source
    assert source.endswith("2.5 of 12 threads")


def test_all_models_err_together():
    counters = [probe_cpu(machine(), FakeClock(), lambda: lambda: 0), probe_dram(machine(), FakeClock())]
    counters += [model_accelerator(f"gpu:{i}", "NVIDIA H100 80GB HBM3", FakeClock()) for i in range(2)]
    sensors = tuple(finding.counters[0].sensor for finding in counters)
    energy = Energy(sensors, (10**6,) * 4, (10**9,) * 4, 10**9)
    assert {sensor.bias for sensor in sensors} == {"model"}
    assert energy.joules - energy.low_j == pytest.approx(sum(sensor.low for sensor in sensors))
    assert energy.high_j - energy.joules == pytest.approx(sum(sensor.high for sensor in sensors))


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


def dram_w(of: Machine) -> float:
    clock = FakeClock()
    counter = probe_dram(of, clock).counters[0]
    before = counter.read()
    clock.advance(100.0)
    return (counter.read() - before) * counter.sensor.unit_j / 100


@pytest.mark.parametrize(
    ("of", "counted_gb"),
    [
        pytest.param(machine(memory_limit_gb=8.0), 8.0, id="a limit"),
        pytest.param(machine(memory_limit_gb=8.0, cpu_limit=3.0), 8.0, id="a limit, and part of the threads"),
        pytest.param(machine(memory_gb=0.0, memory_limit_gb=8.0), 8.0, id="a limit alone"),
        pytest.param(machine(cpu_limit=3.0), 16.0, id="a quarter of the threads"),
    ],
)
def test_a_job_is_charged_for_its_own_memory_and_not_for_its_hosts(of, counted_gb):
    assert dram_w(of) == pytest.approx(counted_gb * 0.3725)


def test_a_share_of_the_memory_that_is_assumed_is_named_and_widens_the_interval():
    found = probe_dram(machine(cpu_limit=3.0), FakeClock())
    share, sensor = found.assumptions[-1], found.counters[0].sensor
    assert (share.name, share.value, share.low, share.high) == ("memory_share", 0.25, 0.125, 0.5)
    assert "3 of 12" in share.basis
    assert found.notes == ("the job's memory has no limit: 16 of 64 GB are counted, its share of the threads",)
    assert (sensor.low, sensor.high) == (pytest.approx(1 - 0.5 * 0.5), pytest.approx(1.5 * 2 - 1))


def test_a_job_with_most_of_the_threads_has_at_most_all_of_the_memory():
    found = probe_dram(machine(cpu_limit=9.0), FakeClock())
    assert found.assumptions[-1].high == 1.0
    assert found.counters[0].sensor.high == pytest.approx(1.5 / 0.75 - 1)


@pytest.mark.parametrize("of", [machine(), machine(memory_limit_gb=8.0, cpu_limit=3.0)])
def test_memory_that_is_known_to_be_the_jobs_needs_no_share(of):
    found = probe_dram(of, FakeClock())
    assert [row.name for row in found.assumptions] == ["dram_w_per_gb"]
    assert found.notes == ()


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


@pytest.mark.parametrize(("of", "at_wall"), [(machine(), False), (VIRTUAL, True)])
def test_figures_of_whole_servers_are_marked_as_containing_the_rest_of_the_machine(of, at_wall):
    found = probe_cpu(of, FakeClock(), lambda: lambda: 0)
    assert found.counters[0].sensor.at_wall is at_wall
