"""Apple silicon through a stand-in for zeus-apple-silicon whose energy is known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fitprint.errors import SensorError
from fitprint.meter import Meter
from fitprint.sensors import apple
from fitprint.sensors.finding import Absent, Found
from fitprint.testing import FakeClock

# A reading of an M4-like chip, whose parts other than the totals must never be added to them.
INSIDE = {
    "efficiency_cores_mj": [100, 100],
    "performance_cores_mj": [300, 300],
    "efficiency_cluster_mj": [400],
    "performance_cluster_mj": [600],
    "efficiency_core_manager_mj": 50,
    "performance_core_manager_mj": 70,
}
TOTALS = {"cpu_total_mj": 1000, "gpu_mj": 5000, "gpu_sram_mj": 20, "dram_mj": 300, "ane_mj": 7}


class FakeChip:
    """The library and its monitor in one; ``energy`` is what the next reading shows."""

    def __init__(self, **energy):
        self.energy = energy
        self.calls = 0
        self.fails = False

    def AppleEnergyMonitor(self):  # noqa: N802
        return self

    def get_cumulative_energy(self):
        self.calls += 1
        if self.fails:
            raise RuntimeError("IOReport does not answer")
        return SimpleNamespace(**self.energy)


@pytest.fixture
def clock():
    return FakeClock()


def counters(chip, clock):
    """The counters found, by part."""
    found = [finding for finding in apple.probe(chip, clock) if isinstance(finding, Found)]
    return {counter.sensor.part: counter for finding in found for counter in finding.counters}


def absences(chip, clock):
    return [finding for finding in apple.probe(chip, clock) if isinstance(finding, Absent)]


def test_each_part_is_counted_once_and_nothing_that_is_inside_another(clock):
    parts = counters(FakeChip(**TOTALS, **INSIDE), clock)
    assert {part: counter.read() for part, counter in parts.items()} == {"cpu": 1000, "gpu": 5020, "dram": 300, "soc": 7}
    assert all(counter.sensor.unit_j == 1e-3 for counter in parts.values())


def test_the_energy_of_a_window_is_the_chips_own(clock):
    chip = FakeChip(**TOTALS)
    with Meter(list(counters(chip, clock).values()), clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(10.0)
        chip.energy = {"cpu_total_mj": 31_000, "gpu_mj": 155_000, "gpu_sram_mj": 40, "dram_mj": 2_300, "ane_mj": 107}
        energy = meter.between(before, meter.snapshot())
    assert energy.by_part == pytest.approx({"cpu": 30.0, "gpu": 150.02, "dram": 2.0, "soc": 0.1})
    assert energy.measured_fraction == 1.0


def test_one_call_of_the_library_serves_all_counters_of_a_snapshot(clock):
    chip = FakeChip(**TOTALS)
    parts = counters(chip, clock)
    clock.advance(1.0)
    chip.calls = 0
    for counter in parts.values():
        counter.read()
        clock.advance(0.001)
    assert chip.calls == 1


def test_a_later_snapshot_reads_anew(clock):
    chip = FakeChip(**TOTALS)
    gpu = counters(chip, clock)["gpu"]
    clock.advance(1.0)
    chip.energy = {**TOTALS, "gpu_mj": 6000}
    assert gpu.read() == 6020


def test_a_chip_without_a_cpu_total_has_its_clusters_added(clock):
    parts = counters(FakeChip(**{**TOTALS, "cpu_total_mj": None}, **INSIDE), clock)
    assert parts["cpu"].read() == 1000


def test_clusters_that_a_library_does_not_know_are_no_cpu(clock):
    parts = counters(FakeChip(gpu_mj=1), clock)
    assert list(parts) == ["gpu"]


def test_a_gpu_without_a_memory_channel_counts_alone(clock):
    assert counters(FakeChip(**{**TOTALS, "gpu_sram_mj": None}), clock)["gpu"].read() == 5000


@pytest.mark.parametrize(
    ("field", "part", "left_out"), [("dram_mj", "dram", ""), ("ane_mj", "soc", ""), ("gpu_mj", "gpu", "the Apple GPU")]
)
def test_a_part_that_the_chip_does_not_tell_is_absent(clock, field, part, left_out):
    chip = FakeChip(**{**TOTALS, field: None})
    assert part not in counters(chip, clock)
    (absence,) = absences(chip, clock)
    assert (absence.part, absence.uncounted) == (part, left_out)


def test_an_idle_gpu_and_neural_engine_are_measured_zeros_and_not_gaps(clock):
    chip = FakeChip(**TOTALS)
    idle = [counter for part, counter in counters(chip, clock).items() if part in ("gpu", "soc")]
    with Meter(idle, clock=clock) as meter:
        before = meter.snapshot()
        for _ in range(6):
            clock.advance(10.0)
            meter.snapshot()
        energy = meter.between(before, meter.snapshot())
    assert (energy.joules, energy.coverage) == (0.0, 1.0)


def test_a_cpu_counter_that_has_stopped_costs_coverage(clock):
    with Meter([counters(FakeChip(**TOTALS), clock)["cpu"]], clock=clock) as meter:
        before = meter.snapshot()
        for _ in range(6):
            clock.advance(10.0)
            meter.snapshot()
        energy = meter.between(before, meter.snapshot())
    assert (energy.joules, energy.coverage) == (0.0, 0.0)


def test_the_chips_figures_err_together_and_by_more_than_a_measurement(clock):
    sensors = [counter.sensor for counter in counters(FakeChip(**TOTALS), clock).values()]
    assert {sensor.bias for sensor in sensors} == {"apple"}
    assert min(sensor.low for sensor in sensors) >= 0.4


def test_a_chip_that_does_not_answer_names_its_gpu_as_left_out(clock):
    chip = FakeChip(**TOTALS)
    chip.fails = True
    (absence,) = absences(chip, clock)
    assert absence.uncounted == "the Apple GPU"
    assert "IOReport does not answer" in absence.reason


def test_a_reading_that_fails_later_is_a_sensor_error(clock):
    chip = FakeChip(**TOTALS)
    gpu = counters(chip, clock)["gpu"]
    clock.advance(1.0)
    chip.fails = True
    with pytest.raises(SensorError, match="IOReport does not answer"):
        gpu.read()
    chip.fails, chip.energy = False, {"cpu_total_mj": 1}
    with pytest.raises(SensorError, match="gpu:apple"):
        gpu.read()
