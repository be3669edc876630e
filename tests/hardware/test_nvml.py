"""NVML through nvidia-ml-py and a driver whose truth is known."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

import fitprint
from fitprint.sensors.probe import probe

# The counter is brought up to date every 100 ms: a window's ends are each off by at most one tick.
TICK_S = 0.1


def test_the_energy_counter_of_a_board_is_found(gpu):
    assert [c.sensor.id for c in probe(("gpu",)).counters] == ["gpu:GPU-000000a0-0000-0000-0000-000000000000"]


def test_the_energy_of_a_window_is_the_drivers_own(gpu):
    gpu.set_watts(400.0)
    with fitprint.Meter(probe(("gpu",)).counters) as meter:
        before, truth = meter.snapshot(), gpu.joules()
        time.sleep(0.55)
        energy, truth = meter.between(before, meter.snapshot()), gpu.joules() - truth
    assert energy.joules == pytest.approx(truth, abs=400.0 * TICK_S + 1)
    assert energy.measured_fraction == 1.0


def test_only_the_visible_boards_are_counted(gpu, monkeypatch):
    gpu.set_boards(3, 50.0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-000000a0")
    assert [c.sensor.id[:16] for c in probe(("gpu",)).counters] == ["gpu:GPU-000000a2", "gpu:GPU-000000a0"]


def test_an_empty_list_of_visible_devices_counts_none(gpu, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    sensors = probe(("gpu",))
    assert sensors.counters == ()
    assert "no board visible" in sensors.absent[0].reason


def test_a_mig_device_counts_its_board_once_and_says_that_it_is_shared(gpu, monkeypatch):
    gpu.set_boards(2, 50.0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1,MIG-GPU-000000a1-0000-0000-0000-000000000000/1/0")
    sensors = probe(("gpu",))
    assert [c.sensor.id[:16] for c in sensors.counters] == ["gpu:GPU-000000a1"]
    assert "shared (MIG)" in sensors.notes[0]


def test_a_uuid_counts_exactly_that_board(gpu, monkeypatch):
    gpu.set_boards(3, 50.0)
    gpu.set_watts(400.0, board=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-000000a1-0000-0000-0000-000000000000")
    with fitprint.Meter(probe(("gpu",)).counters) as meter:
        before, truth = meter.snapshot(), gpu.joules(1)
        time.sleep(0.55)
        energy, truth = meter.between(before, meter.snapshot()), gpu.joules(1) - truth
    assert energy.joules == pytest.approx(truth, abs=400.0 * TICK_S + 1)


def test_a_lost_board_costs_coverage_and_not_the_run(gpu):
    with fitprint.Tracker(ledger="off", config=fitprint.Config(parts=["gpu"])) as tracker:
        for index in tracker.epochs(range(2)):
            gpu.lose(lost=index == 1)
            time.sleep(0.2)
    footprint = tracker.footprint
    assert footprint.status == "completed"
    assert 0 < footprint.coverage < 0.8
    assert footprint.epochs[0].energy_j > 0


def test_a_board_without_an_energy_counter_has_its_power_integrated(gpu, monkeypatch):
    monkeypatch.setenv("FAKE_NVML_UNSUPPORTED", "0")
    gpu.set_watts(300.0)
    with fitprint.Tracker(ledger="off", config=fitprint.Config(parts=["gpu"])) as tracker:
        before = gpu.joules()
        for watts in tracker.epochs([300.0, 300.0]):
            gpu.set_watts(watts)
            time.sleep(0.3)
        truth = gpu.joules() - before
    assert [s["method"] for s in tracker.footprint.sensors] == ["integrated"]
    assert tracker.footprint.energy_j == pytest.approx(truth, rel=0.02)
    assert tracker.footprint.measured_fraction == 1.0


def test_a_board_without_any_sensor_is_modelled_and_said_first(gpu, monkeypatch):
    monkeypatch.setenv("FAKE_NVML_UNSUPPORTED", "0")
    monkeypatch.setenv("FAKE_NVML_NO_POWER", "0")
    monkeypatch.setenv("FAKE_NVML_NAME", "Tesla T4")
    with fitprint.Tracker(ledger="off", config=fitprint.Config(parts=["gpu"])) as tracker:
        time.sleep(0.2)
    footprint = tracker.footprint
    assert footprint.energy_j == pytest.approx(0.8 * 70 * footprint.duration_s, rel=1e-3)
    assert footprint.energy_high_j == pytest.approx(1.5 * footprint.energy_j)
    assert str(footprint).startswith("MODELLED: Tesla T4")
    assert "accelerator_tdp" in {row["name"] for row in footprint.assumptions}


def test_a_board_that_can_neither_be_read_nor_modelled_is_named_first_in_the_summary(gpu, monkeypatch):
    monkeypatch.setenv("FAKE_NVML_UNSUPPORTED", "0")
    monkeypatch.setenv("FAKE_NVML_NO_POWER", "0")
    with fitprint.Tracker(ledger="off") as tracker:
        pass
    assert "gpu" not in tracker.footprint.by_part
    assert str(tracker.footprint).startswith("NOT COUNTED: Fake GPU 0")


def test_detect_finds_the_boards_of_a_driver_on_the_library_path(fake_nvml_library):
    environ = {**os.environ, "LD_LIBRARY_PATH": str(fake_nvml_library.parent), "FAKE_NVML_WATTS": "250,300"}
    command = [sys.executable, "-m", "fitprint", "detect", "--json"]
    out = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60).stdout
    assert out.count('"part": "gpu"') == 2
