"""NVML through nvidia-ml-py and a driver whose truth is known."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pynvml
import pytest

import fitprint
from fitprint.clock import SystemClock
from fitprint.sensors import nvml
from fitprint.sensors.finding import Absent, Found
from fitprint.sensors.probe import probe
from fitprint.testing import FakeClock

# The counter is brought up to date every 100 ms: a window's ends are each off by at most one tick.
TICK_S = 0.1
# Power is sampled every 20 ms: where it jumps, half of that has the wrong power.
SAMPLE_S = 0.02
UUIDS = [f"GPU-{0xA0 + i:08x}-0000-0000-0000-000000000000" for i in range(3)]
OTHER = 4_000_001


def look(environ=None, *, modules=None, clock=None, **options):
    """What the probe of NVIDIA boards alone answers."""
    return nvml.probe(pynvml, environ or {}, clock or SystemClock(), modules or {}, **options)


def sources(findings):
    return [counter.sensor.source for finding in findings if isinstance(finding, Found) for counter in finding.counters]


def shares(findings):
    """Shares by the board's number."""
    return {UUIDS.index(i.removeprefix("gpu:")): share for f in findings if isinstance(f, Found) for i, share in f.shares.items()}


def notes(findings):
    return [note for finding in findings if isinstance(finding, Found) for note in finding.notes]


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


def test_a_uuid_counts_exactly_that_board(gpu, monkeypatch):
    gpu.set_boards(3, 50.0)
    gpu.set_watts(400.0, board=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-000000a1-0000-0000-0000-000000000000")
    with fitprint.Meter(probe(("gpu",)).counters) as meter:
        before, truth = meter.snapshot(), gpu.joules(1)
        time.sleep(0.55)
        energy, truth = meter.between(before, meter.snapshot()), gpu.joules(1) - truth
    assert energy.joules == pytest.approx(truth, abs=400.0 * TICK_S + 1)


def test_a_boards_samples_of_power_are_integrated_where_it_has_no_energy_counter(gpu, monkeypatch):
    monkeypatch.setenv("FAKE_NVML_UNSUPPORTED", "0")
    time.sleep(0.1)
    with fitprint.Tracker(ledger="off", config=fitprint.Config(parts=["gpu"])) as tracker:
        before = gpu.joules()
        for watts in tracker.epochs([500.0, 100.0, 300.0]):
            gpu.set_watts(watts)
            time.sleep(0.25)
        truth = gpu.joules() - before
    (sensor,) = tracker.footprint.sensors
    assert (sensor["method"], sensor["source"]) == ("integrated", "NVML power samples, Fake GPU 0")
    assert tracker.footprint.energy_j == pytest.approx(truth, abs=SAMPLE_S / 2 * (400 + 400 + 200) + SAMPLE_S * 300)
    assert tracker.footprint.measured_fraction == 1.0
    assert tracker.footprint.coverage == pytest.approx(1.0, abs=0.05)


def test_a_jump_of_power_between_two_readings_is_seen_in_the_samples(gpu, monkeypatch):
    monkeypatch.setenv("FAKE_NVML_UNSUPPORTED", "0")
    time.sleep(0.1)
    with fitprint.Meter(probe(("gpu",)).counters) as meter:
        before, truth = meter.snapshot(), gpu.joules()
        for watts in (1000.0, 100.0):
            gpu.set_watts(watts)
            time.sleep(0.2)
        energy, truth = meter.between(before, meter.snapshot()), gpu.joules() - truth
    assert truth > 0.2 * 1000
    assert energy.joules == pytest.approx(truth, abs=SAMPLE_S / 2 * 1800 + SAMPLE_S * 100)


def test_a_board_with_power_alone_has_it_integrated(gpu, monkeypatch):
    monkeypatch.setenv("FAKE_NVML_UNSUPPORTED", "0")
    monkeypatch.setenv("FAKE_NVML_NO_SAMPLES", "0")
    gpu.set_watts(300.0)
    with fitprint.Tracker(ledger="off", config=fitprint.Config(parts=["gpu"])) as tracker:
        before = gpu.joules()
        for watts in tracker.epochs([300.0, 300.0]):
            gpu.set_watts(watts)
            time.sleep(0.3)
        truth = gpu.joules() - before
    assert [s["source"] for s in tracker.footprint.sensors] == ["NVML power, Fake GPU 0"]
    assert tracker.footprint.energy_j == pytest.approx(truth, rel=0.02)
    assert tracker.footprint.measured_fraction == 1.0


@pytest.mark.parametrize(
    ("environ", "source"),
    [
        ({}, "NVML total energy counter"),
        ({"FAKE_NVML_UNSUPPORTED": "0", "FAKE_NVML_FIELDS": "83,191"}, "NVML total energy counter (field 83)"),
        ({"FAKE_NVML_UNSUPPORTED": "0", "FAKE_NVML_FIELDS": "191"}, "NVML total energy counter (field 191)"),
        ({"FAKE_NVML_UNSUPPORTED": "0"}, "NVML power samples"),
        ({"FAKE_NVML_UNSUPPORTED": "0", "FAKE_NVML_NO_SAMPLES": "0"}, "NVML power"),
    ],
)
def test_the_best_that_a_board_answers_to_is_read(gpu, monkeypatch, environ, source):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    time.sleep(2 * SAMPLE_S)
    assert sources(look()) == [f"{source}, Fake GPU 0"]


def test_the_energy_of_a_field_is_that_of_the_counter(gpu, monkeypatch):
    counters = [counter for finding in look() for counter in finding.counters]
    monkeypatch.setenv("FAKE_NVML_UNSUPPORTED", "0")
    monkeypatch.setenv("FAKE_NVML_FIELDS", "191")
    fields = [counter for finding in look() for counter in finding.counters]
    monkeypatch.delenv("FAKE_NVML_UNSUPPORTED")
    gpu.freeze()
    assert fields[0].read() == counters[0].read() >= 1e6


def test_each_board_is_read_by_the_best_of_its_own(gpu, monkeypatch):
    gpu.set_boards(3, 50.0)
    monkeypatch.setenv("FAKE_NVML_UNSUPPORTED", "1,2")
    monkeypatch.setenv("FAKE_NVML_NO_SAMPLES", "2")
    time.sleep(2 * SAMPLE_S)
    assert [source.partition(",")[0] for source in sources(look())] == [
        "NVML total energy counter",
        "NVML power samples",
        "NVML power",
    ]


@pytest.mark.parametrize(
    ("fields", "source", "covers"),
    [("83,191", "NVML total energy counter (field 191)", ()), ("83", "NVML total energy counter", ("cpu", "dram"))],
    ids=["the GPU alone can be read", "the module's counter is all there is"],
)
def test_the_counter_of_a_superchips_module_covers_its_cpu_and_memory(gpu, monkeypatch, fields, source, covers):
    monkeypatch.setenv("FAKE_NVML_NAME", "NVIDIA GH200 480GB")
    monkeypatch.setenv("FAKE_NVML_FIELDS", fields)
    (found,) = look()
    assert sources([found]) == [f"{source}, NVIDIA GH200 480GB"]
    assert found.covers == covers
    assert len(found.notes) == len(covers[:1])


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
    environ.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-m", "fitprint", "detect", "--json"]
    out = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60).stdout
    assert out.count('"part": "gpu"') == 2


def test_boards_that_this_process_may_not_open_are_not_numbered(gpu, monkeypatch):
    gpu.set_boards(3, 50.0)
    monkeypatch.setenv("FAKE_NVML_DENIED", "0")
    assert sources(look({"CUDA_VISIBLE_DEVICES": "1"})) == ["NVML total energy counter, Fake GPU 2"]
    assert len(sources(look())) == 2


def test_a_process_that_may_open_no_board_is_told_how_to(gpu, monkeypatch):
    monkeypatch.setenv("FAKE_NVML_DENIED", "0")
    (absent,) = look()
    assert isinstance(absent, Absent)
    assert "may open none of the driver's 1 boards" in absent.reason
    assert absent.remedy.startswith("sudo chmod")


def torch_with(**properties):
    cuda = SimpleNamespace(
        is_initialized=lambda: True, device_count=lambda: 1, get_device_properties=lambda i: SimpleNamespace(**properties)
    )
    return {"torch": SimpleNamespace(cuda=cuda)}


def test_a_board_that_a_framework_calls_otherwise_is_found_on_the_bus(gpu):
    gpu.set_boards(3, 50.0)
    modules = torch_with(name="A100", uuid="0000", pci_domain_id=0, pci_bus_id=0x66, pci_device_id=0)
    assert sources(look(modules=modules)) == ["NVML total energy counter, Fake GPU 1"]


def test_a_gpu_that_the_driver_does_not_list_is_named_as_uncounted(gpu):
    (absent,) = look(modules=torch_with(name="GRID V9-8Q", uuid="0000"))
    assert isinstance(absent, Absent)
    assert absent.uncounted == "GRID V9-8Q"


def test_a_gpu_that_the_driver_does_not_list_is_modelled_where_its_tdp_is_known(gpu):
    (found,) = look(modules=torch_with(name="Tesla T4", uuid="0000"))
    assert [(counter.sensor.id, counter.sensor.method) for counter in found.counters] == [("gpu:GPU-0000", "modelled")]
    assert found.notes[0].startswith("MODELLED: Tesla T4")


def test_a_board_of_ones_own_has_no_share(gpu):
    assert shares(look()) == {}
    gpu.set_processes({os.getpid(): 80})
    assert shares(look()) == {}
    assert notes(look()) == []


@pytest.mark.parametrize(
    ("slices", "visible", "share"),
    [
        ([3, 2, 1], "MIG-000000b0-0000-0000-0000-000000000000", 3 / 7),
        ([3, 2, 1], "MIG-000000b1-0000-0000-0000-000000000000,MIG-000000b2-0000-0000-0000-000000000000", 3 / 7),
        ([3, 2, 1], f"MIG-{UUIDS[0]}/2/0", 2 / 7),
        ([2, 3], "0", 2 / 7),
        ([2, 3], None, 2 / 7),
        ([7], "0", 1.0),
    ],
    ids=["one", "several add up", "the older form", "a number means the first", "none named means the first", "all slices"],
)
def test_of_a_board_that_is_cut_the_slices_of_this_process_are_its_share(gpu, slices, visible, share):
    gpu.cut(slices)
    findings = look({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert {board: of() for board, of in shares(findings).items()} == {0: pytest.approx(share)}
    assert len(sources(findings)) == 1
    assert "is shared (MIG)" in notes(findings)[0]


def test_a_cut_board_is_counted_once_however_many_of_its_parts_are_visible(gpu):
    gpu.set_boards(2, 50.0)
    first, second = gpu.cut([1, 2], board=1)
    findings = look({"CUDA_VISIBLE_DEVICES": f"{first},0,{second}"})
    assert sources(findings) == ["NVML total energy counter, Fake GPU 1", "NVML total energy counter, Fake GPU 0"]
    assert {board: of() for board, of in shares(findings).items()} == {1: pytest.approx(3 / 7)}


@pytest.mark.parametrize("instance", ["9/0", "1/x", "1"])
def test_a_part_that_does_not_exist_counts_the_whole_board_and_says_so(gpu, instance):
    gpu.cut([2])
    findings = look({"CUDA_VISIBLE_DEVICES": f"MIG-{UUIDS[0]}/{instance}"})
    assert shares(findings) == {}
    assert "so the whole board is counted" in notes(findings)[0]


def test_a_run_on_a_part_of_a_board_is_charged_its_slices(gpu, monkeypatch):
    gpu.set_watts(700.0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpu.cut([2, 5])[0])
    with fitprint.Tracker(ledger="off", config=fitprint.Config(parts=["gpu"])) as tracker:
        before = gpu.joules()
        time.sleep(0.5)
        truth = gpu.joules() - before
    assert tracker.footprint.energy_j == pytest.approx(truth * 2 / 7, abs=700 * TICK_S * 2 / 7 + 1)
    assert tracker.footprint.gross_energy_j == pytest.approx(truth, abs=700 * TICK_S + 1)
    assert any("shared (MIG)" in note for note in tracker.footprint.notes)


@pytest.fixture
def process_tree(tmp_path):
    """A function that writes a process of a fake /proc; its name holds what could be taken for the fields after it."""

    def add(pid, parent):
        (tmp_path / "proc" / str(pid)).mkdir(parents=True)
        (tmp_path / "proc" / str(pid) / "stat").write_text(f"{pid} (worker) S 1 (x) S {parent} 0 0 -1\n")

    add(os.getpid(), 1)
    add.root = tmp_path / "proc"
    return add


def share_of(gpu, percent, process_tree, clock=None):
    gpu.set_processes(percent)
    found = shares(look(clock=clock, proc_root=process_tree.root))
    return found[0]() if found else None


def test_the_share_of_a_board_goes_by_how_busy_each_process_keeps_it(gpu, process_tree):
    assert share_of(gpu, {os.getpid(): 60, OTHER: 20}, process_tree) == pytest.approx(0.75)


def test_what_descendants_compute_is_ours(gpu, process_tree):
    process_tree(501, os.getpid())
    process_tree(502, 501)
    process_tree(OTHER, 1)
    assert share_of(gpu, {501: 10, 502: 20, OTHER: 30}, process_tree) == pytest.approx(0.5)


@pytest.mark.parametrize("percent", [{0: None, 1: None, 2: None}, {0: 0, 1: 0, 2: 0}], ids=["unknown", "all idle"])
def test_where_use_tells_nothing_processes_bear_the_same(gpu, process_tree, percent):
    pids = [os.getpid(), OTHER, OTHER + 1]
    assert share_of(gpu, {pids[i]: busy for i, busy in percent.items()}, process_tree) == pytest.approx(1 / 3)


def test_rubbish_from_processes_that_have_ended_is_left_out(gpu, process_tree):
    assert share_of(gpu, {os.getpid(): 50, OTHER: 50, OTHER + 1: 2147483632}, process_tree) == pytest.approx(0.5)


def test_a_process_that_is_not_seen_on_the_board_claims_no_share(gpu, process_tree):
    gpu.set_processes({OTHER: 90})
    findings = look(proc_root=process_tree.root)
    assert shares(findings)[0]() == 1.0
    assert "counted in full until this process is seen" in notes(findings)[0]


def test_a_share_is_asked_for_at_most_once_a_minute(gpu, process_tree):
    clock = FakeClock()
    gpu.set_processes({OTHER: 90})
    share = shares(look(clock=clock, proc_root=process_tree.root))[0]
    asked = [share()]
    gpu.set_processes({OTHER: 30, os.getpid(): 90})
    for seconds in (59.0, 1.0):
        clock.advance(seconds)
        asked.append(share())
    assert asked == [1.0, 1.0, pytest.approx(0.75)]


def test_a_run_beside_another_process_is_charged_its_use_of_the_board(gpu):
    gpu.set_watts(700.0)
    gpu.set_processes({OTHER: 30, os.getpid(): 10})
    with fitprint.Tracker(ledger="off", config=fitprint.Config(parts=["gpu"])) as tracker:
        before = gpu.joules()
        time.sleep(0.5)
        truth = gpu.joules() - before
    assert tracker.footprint.energy_j == pytest.approx(truth / 4, abs=700 * TICK_S / 4 + 1)


def test_a_lost_board_keeps_its_share(gpu, process_tree):
    clock = FakeClock()
    gpu.set_processes({OTHER: 25, os.getpid(): 75})
    share = shares(look(clock=clock, proc_root=process_tree.root))[0]
    before = share()
    gpu.lose()
    clock.advance(61.0)
    assert share() == before == pytest.approx(0.75)


def test_parents_that_go_in_circles_are_nobodys(gpu, process_tree):
    process_tree(601, 602)
    process_tree(602, 601)
    assert share_of(gpu, {os.getpid(): 50, 601: 50}, process_tree) == pytest.approx(0.5)
