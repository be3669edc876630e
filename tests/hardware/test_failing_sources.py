"""Whatever a source of joules does, at the start or in mid-run, costs what it would have told and nothing else."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import machines
import pytest

from fitprint import Config, Tracker
from fitprint.sensors.probe import probe
from fitprint.testing import FakeClock

MAC = "darwin-arm64"
NONSENSE = {"bytes that are no text": bytes(range(256)), "a number without end": b"9" * 5000 + b"\n"}
LAYOUTS = (
    machines.cloud_vm,
    machines.server_with_twins,
    machines.slurm_job,
    machines.jetson,
    machines.instinct_node,
)


class Broken:
    """A library whose every function fails, once that is asked for, in a way that is not its own."""

    def __init__(self, whole, faults: set[str]) -> None:
        self._whole, self._faults = whole, faults

    def __getattr__(self, name: str):
        found = getattr(self._whole, name)
        return (lambda *given: self._answer(found, given)) if callable(found) else found

    def _answer(self, function, given):
        if self._faults:
            raise ZeroDivisionError("of the library")
        answer = function(*given)
        return Broken(answer, self._faults) if isinstance(answer, SimpleNamespace) else answer


class WithoutCounter(machines.AmdSmi):
    """The same boards, of which the library tells the power alone."""

    def amdsmi_get_energy_count(self, bus: str) -> dict[str, float]:
        return {}


class Rig:
    """A machine that goes to pieces."""

    def __init__(self, root: Path, kind: str) -> None:
        self.clock, self.faults = FakeClock(), set[str]()
        self.machine = {"a Mac": machines.Machine}.get(kind, getattr(machines, kind, machines.instinct_node))(root)
        libraries = {
            "a Mac": {"zeus_apple_silicon": machines.AppleSilicon},
            "AMD SMI": {"amdsmi": machines.AmdSmi(self.clock)},
            "AMD SMI, power": {"amdsmi": WithoutCounter(self.clock)},
        }
        modules = {name: Broken(library, self.faults) for name, library in libraries.get(kind, {}).items()}
        options = {"platform": MAC} if kind == "a Mac" else {}
        self.around = self.machine.around(self.clock, library=machines.libraries(**modules), **options)

    def ruin(self, how: str) -> None:
        self.faults.add(how)
        for file in [path for path in self.machine.root.rglob("*") if path.is_file() and how == "nonsense"]:
            file.write_bytes(b"\0nonsense\n")
        if how == "gone":
            shutil.rmtree(self.machine.root, ignore_errors=True)


# What reads each kind of machine: all kinds of sensors but those with files of their own tests (NVML, perf events, BMC).
KINDS = {
    "cloud_vm": {"ModelledCounter"},
    "server": {"RaplZone"},
    "jetson": {"Integrated:HwmonPower"},
    "instinct_node": {"Integrated:HwmonPower", "RaplZone", "ModelledCounter"},
    "AMD SMI": {"AmdCounter", "RaplZone", "ModelledCounter"},
    "AMD SMI, power": {"Integrated:AmdPower", "RaplZone", "ModelledCounter"},
    "a Mac": {"AppleCounter"},
}


def kind_of(counter) -> str:
    name = type(counter).__name__
    return f"{name}:{type(counter._gauge).__name__}" if name == "Integrated" else name


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["nonsense", "gone"])
@pytest.mark.parametrize("when", ["at the start", "in mid-epoch"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sensor_that_fails_at_boundaries_and_in_the_keeper_costs_coverage_alone(tmp_path, monkeypatch, caplog, kind, when, how):
    monkeypatch.setattr("fitprint.meter.LONGEST_PERIOD_S", 0.005)
    rig, read, trained = Rig(tmp_path / "machine", kind), [], []

    def found(*given):
        sensors = probe(*given)
        read.extend(sensors.whole)
        if when == "at the start":
            rig.ruin(how)
        return sensors

    monkeypatch.setattr("fitprint.tracker.probe", found)
    with Tracker(region="FR", ledger="off", config=Config(attribute="all"), around=rig.around) as tracker:
        for epoch in tracker.epochs(range(4)):
            rig.clock.advance(1.0)
            if when == "in mid-epoch" and epoch == 2:
                rig.ruin(how)
            time.sleep(0.02)  # the keeper comes by
            trained.append(epoch)
        keeper = tracker._guard.run._books.meter._keeper
        assert keeper.is_alive()
    assert {kind_of(counter) for counter in read} == KINDS[kind]
    footprint = tracker.footprint
    assert (trained, footprint.status, len(footprint.epochs)) == ([0, 1, 2, 3], "completed", 4)
    assert "training goes on" not in caplog.text, "nothing of ours failed"
    assert 0.0 <= footprint.energy_j < math.inf
    assert footprint.energy_j == pytest.approx(math.fsum(footprint.by_part.values()), abs=1e-6)
    files_stay_open = how == "gone" and kind in ("server", "jetson", "instinct_node")
    assert footprint.coverage < 1.0 or files_stay_open


# ---- the search


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize("text", NONSENSE.values(), ids=NONSENSE)
def test_no_file_of_a_machine_ends_the_search_whatever_is_in_it(tmp_path, layout, text):
    machine = layout(tmp_path)
    for file in [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]:
        before = file.read_bytes()
        file.write_bytes(text)
        sensors = probe(around=machine.around())
        sensors.close()
        file.write_bytes(before)
        assert sensors.counters
        assert [absent.reason for absent in sensors.absent if "failed" in absent.reason] == [], file


def undefined(*_: object) -> object:
    raise ZeroDivisionError("of the library")


def test_a_library_that_fails_while_it_is_loaded_costs_no_other_sensor_and_its_boards_are_modelled(tmp_path):
    machine = machines.gpu_server(tmp_path)
    machine.environ.pop("CUDA_VISIBLE_DEVICES")
    for number in range(4):
        machine.write(f"dev/nvidia{number}", "")
    sensors = probe(around=machine.around(nvml=undefined))
    sensors.close()
    counted = [(counter.sensor.part, counter.sensor.method) for counter in sensors.whole]
    assert counted.count(("gpu", "modelled")) == 4
    assert {("cpu", "counter"), ("dram", "counter")} <= set(counted)
    assert [absent.reason for absent in sensors.absent] == ["looking for it failed (ZeroDivisionError: of the library)"]
