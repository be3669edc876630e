"""RAPL through perf events: a PMU described by a tree, its events files whose counts the test sets."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from fitprint.errors import SensorError
from fitprint.meter import Meter
from fitprint.sensors import perf, rapl
from fitprint.sensors.finding import Absent, Found
from fitprint.testing import FakeClock, FakePowercap

PMU_TYPE = 23
CONFIGS = {"cores": 1, "pkg": 2, "ram": 3, "gpu": 4, "psys": 5}
COUNTS_PER_JOULE = 2**32
INTEL, AMD = "cpu:type:x86,ven0000fam0006mod0055:feature:,0000", "cpu:type:x86,ven0002fam0017mod0001:feature:,0000"
# Every read of a perf event gives its count; a file gives its next 8 bytes, so it holds many copies.
COPIES = 100


class FakePerf:
    """The kernel's side: a PMU ``power`` in a tree, and an opener whose events count what the test says.

    Args:
        sys_root: An empty folder.
        events: The events that the PMU has, out of ``CONFIGS``.
        cpumask: The CPUs on which they are opened.
        places: Package and die by CPU.
        modalias: Tells the vendor.
    """

    def __init__(
        self,
        sys_root: Path,
        events: tuple[str, ...] = ("cores", "pkg", "ram", "gpu"),
        cpumask: str = "0",
        places: Mapping[int, tuple[int, int]] = {0: (0, 0)},
        modalias: str = INTEL,
    ) -> None:
        self.errors: dict[tuple[str, int], int] = {}
        self.opened: dict[tuple[str, int], int] = {}
        self.pmu = sys_root / "bus" / "event_source" / "devices" / "power"
        cpus = sys_root / "devices" / "system" / "cpu"
        write(self.pmu, {"type": PMU_TYPE, "cpumask": cpumask})
        for event in events:
            texts = {"": f"event=0x{CONFIGS[event]:02x}", ".unit": "Joules", ".scale": "2.3283064365386962890625e-10"}
            write(self.pmu / "events", {f"energy-{event}{suffix}": text for suffix, text in texts.items()})
        for cpu, (package, die) in places.items():
            write(cpus / f"cpu{cpu}" / "topology", {"physical_package_id": package, "die_id": die})
        write(cpus, {"modalias": modalias})

    def __call__(self, pmu_type: int, config: int, cpu: int) -> int:
        assert pmu_type == PMU_TYPE
        event = next(name for name, number in CONFIGS.items() if number == config)
        if (event, cpu) in self.errors:
            raise OSError(self.errors[event, cpu], os.strerror(self.errors[event, cpu]))
        self.opened[event, cpu] = os.memfd_create("perf event")
        self.count(0.0, event, cpu)
        return self.opened[event, cpu]

    def count(self, joules: float, event: str = "pkg", cpu: int = 0) -> None:
        """Let an event have counted so many joules since it was opened."""
        os.pwrite(self.opened[event, cpu], struct.pack("=q", round(joules * COUNTS_PER_JOULE)) * COPIES, 0)


def write(folder: Path, files: Mapping[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def open_events() -> int:
    return sum("perf event" in str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())


@pytest.fixture
def probed(tmp_path):
    """A function that probes ``tmp_path`` and returns counters by id; they are closed afterwards."""
    opened = []

    def probe(kernel: FakePerf) -> dict[str, perf.PerfCounter]:
        counters = [c for finding in perf.probe(tmp_path, kernel) if isinstance(finding, Found) for c in finding.counters]
        opened.extend(counters)
        return {counter.sensor.id: counter for counter in counters}

    yield probe
    for counter in opened:
        counter.close()
    assert open_events() == 0


def absents(sys_root: Path, kernel: FakePerf) -> list[Absent]:
    return [finding for finding in perf.probe(sys_root, kernel) if isinstance(finding, Absent)]


def test_package_and_dram_are_found_and_what_they_contain_is_not_added(tmp_path, probed):
    kernel = FakePerf(tmp_path)
    counters = probed(kernel)
    assert {i: (c.sensor.part, c.sensor.method) for i, c in counters.items()} == {
        "cpu:package-0": ("cpu", "counter"),
        "dram:package-0": ("dram", "counter"),
    }
    assert set(kernel.opened) == {("pkg", 0), ("ram", 0)}


def test_the_joules_of_a_window_are_the_kernels(tmp_path, probed):
    kernel = FakePerf(tmp_path)
    clock = FakeClock()
    with Meter(list(probed(kernel).values()), clock=clock) as meter:
        kernel.count(7.0)
        before = meter.snapshot()
        clock.advance(100.0)
        kernel.count(7.0 + 12_345.5)
        kernel.count(678.25, "ram")
        energy = meter.between(before, meter.snapshot())
    assert energy.by_part == {"cpu": 12_345.5, "dram": 678.25}
    assert energy.coverage == 1.0


def test_counts_beyond_the_hardwares_32_bits_are_counted_on(tmp_path, probed):
    kernel = FakePerf(tmp_path, events=("pkg",))
    clock = FakeClock()
    with Meter(list(probed(kernel).values()), clock=clock) as meter:
        kernel.count(260_000.0)
        before = meter.snapshot()
        clock.advance(30.0)
        kernel.count(270_000.0)
        assert meter.between(before, meter.snapshot()).joules == 10_000.0


def test_a_count_that_goes_back_is_a_gap_after_which_it_counts_on(tmp_path, probed):
    kernel = FakePerf(tmp_path, events=("pkg",))
    clock = FakeClock()
    with Meter(list(probed(kernel).values()), clock=clock) as meter:
        before = meter.snapshot()
        for joules in (-50.0, 10.0):
            clock.advance(1.0)
            kernel.count(joules)
            energy = meter.between(before, meter.snapshot())
    assert (energy.joules, energy.coverage) == (60.0, 0.5)


@pytest.mark.parametrize(
    ("cpumask", "places"),
    [
        pytest.param("0", {0: (0, 0)}, id="one socket"),
        pytest.param("0,18", {0: (0, 0), 18: (1, 0)}, id="two sockets"),
        pytest.param("0-1", {0: (0, 0), 1: (1, 0)}, id="two sockets, alternating"),
        pytest.param("0,24,48,72", {0: (0, 0), 24: (0, 1), 48: (1, 0), 72: (1, 1)}, id="two sockets of two dies"),
    ],
)
def test_ids_are_those_of_powercap(tmp_path, probed, cpumask, places):
    kernel = FakePerf(tmp_path, cpumask=cpumask, places=places)
    powercap = FakePowercap(tmp_path)
    split = any(die for _, die in places.values())
    for zone, (package, die) in enumerate(places.values()):
        powercap.add_zone(f"intel-rapl:{zone}", f"package-{package}-die-{die}" if split else f"package-{package}")
        powercap.add_zone(f"intel-rapl:{zone}:0", "dram")
    zones = [counter for finding in rapl.probe(tmp_path) for counter in finding.counters]
    for zone in zones:
        zone.close()
    assert set(probed(kernel)) == {zone.sensor.id for zone in zones}
    assert set(kernel.opened) == {(event, cpu) for event in ("pkg", "ram") for cpu in places}


def test_dies_of_amd_show_their_packages_counter_and_are_counted_once(tmp_path, probed):
    places = {0: (0, 0), 8: (0, 1), 16: (1, 0), 24: (1, 1)}
    kernel = FakePerf(tmp_path, ("pkg",), "0,8,16,24", places, AMD)
    assert list(probed(kernel)) == ["cpu:package-0-die-0", "cpu:package-1-die-0"]
    assert set(kernel.opened) == {("pkg", 0), ("pkg", 16)}
    notes = [note for finding in perf.probe(tmp_path, kernel) for note in finding.notes]
    assert len(notes) == 1
    assert "4 dies" in notes[0]
    for fd in kernel.opened.values():
        os.close(fd)


def test_two_amd_sockets_are_both_counted(tmp_path, probed):
    kernel = FakePerf(tmp_path, ("pkg",), "0,64", {0: (0, 0), 64: (1, 0)}, AMD)
    assert list(probed(kernel)) == ["cpu:package-0", "cpu:package-1"]


def test_psys_is_the_whole_machine_from_whichever_package_answers(tmp_path, probed):
    kernel = FakePerf(tmp_path, ("pkg", "psys"), "0,18", {0: (0, 0), 18: (1, 0)})
    clock = FakeClock()
    with Meter(list(probed(kernel).values()), clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(10.0)
        for joules, event, cpu in [(100.0, "pkg", 0), (200.0, "pkg", 18), (102_000.0, "psys", 18)]:
            kernel.count(joules, event, cpu)
        energy = meter.between(before, meter.snapshot())
    assert energy.by_part == {"cpu": 300.0}
    assert energy.node_j == 102_000.0
    assert [s.id for s in energy.sensors if s.role == "node"] == ["node:psys"]


def test_psys_that_is_refused_leaves_nothing_out(tmp_path):
    kernel = FakePerf(tmp_path, ("psys",))
    kernel.errors["psys", 0] = errno.EACCES
    (finding,) = absents(tmp_path, kernel)
    assert finding.uncounted == ""


@pytest.mark.parametrize(
    ("error", "remedy"),
    [(errno.EACCES, "sudo sysctl kernel.perf_event_paranoid=0"), (errno.EPERM, "in a container, start it with --cap-add PERFMON")],
    ids=["by the kernel", "by the container"],
)
def test_a_refusal_comes_with_what_mends_it(tmp_path, error, remedy):
    kernel = FakePerf(tmp_path, ("pkg", "ram"))
    kernel.errors = {("pkg", 0): error, ("ram", 0): error}
    findings = absents(tmp_path, kernel)
    assert [(f.reason, f.remedy) for f in findings] == [("permission denied", remedy)] * 2
    assert [(f.part, f.uncounted) for f in findings] == [("cpu", "cpu of package-0"), ("dram", "dram of package-0")]


def test_one_cpu_that_fails_does_not_lose_the_others(tmp_path, probed):
    kernel = FakePerf(tmp_path, ("pkg",), "0,18", {0: (0, 0), 18: (1, 0)})
    kernel.errors["pkg", 0] = errno.ENODEV
    assert list(probed(kernel)) == ["cpu:package-1"]
    (finding,) = absents(tmp_path, kernel)
    os.close(kernel.opened["pkg", 18])
    assert finding.uncounted == "cpu of package-0"
    assert "No such device" in finding.reason


def test_what_was_opened_before_a_failure_is_closed(tmp_path):
    kernel = FakePerf(tmp_path, ("psys",), "0,18", {0: (0, 0), 18: (1, 0)})
    kernel.errors["psys", 18] = errno.ENODEV
    assert len(absents(tmp_path, kernel)) == 1
    assert ("psys", 0) in kernel.opened
    assert open_events() == 0


def test_an_event_that_gives_no_count_is_absent_and_closed(tmp_path):
    FakePerf(tmp_path, ("pkg",))
    (finding,) = absents(tmp_path, lambda *_: os.memfd_create("perf event"))
    assert "has stopped" in finding.reason
    assert open_events() == 0


def test_an_event_that_stops_in_a_run_costs_coverage(tmp_path, probed):
    kernel = FakePerf(tmp_path, ("pkg",))
    counter = probed(kernel)["cpu:package-0"]
    clock = FakeClock()
    with Meter([counter], clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(1.0)
        os.ftruncate(kernel.opened["pkg", 0], 0)
        with pytest.raises(SensorError, match="cpu:package-0"):
            counter.read()
        assert meter.between(before, meter.snapshot()).coverage == 0.0


def test_a_closed_counter_stays_closed(tmp_path, probed):
    counter = probed(FakePerf(tmp_path, ("pkg",)))["cpu:package-0"]
    counter.close()
    counter.close()
    with pytest.raises(SensorError, match="no event is open"):
        counter.read()


def test_a_hidden_topology_loses_no_energy(tmp_path, probed):
    counters = probed(FakePerf(tmp_path, ("pkg",), "0,18", places={}))
    assert [counter.sensor.part for counter in counters.values()] == ["cpu", "cpu"]


def test_of_a_kernel_without_the_pmu_nothing_is_said(tmp_path):
    assert perf.probe(tmp_path, lambda *_: pytest.fail("an event was opened")) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("cpumask", ""),
        ("cpumask", "all"),
        ("type", "power"),
        ("events/energy-pkg", "event=0x02,umask=0x01"),
        ("events/energy-pkg.unit", "Calories"),
        ("events/energy-pkg.scale", "small"),
    ],
)
def test_a_pmu_that_is_not_understood_is_absent_and_left_alone(tmp_path, file, text):
    kernel = FakePerf(tmp_path)
    (kernel.pmu / file).write_text(text)
    (finding,) = absents(tmp_path, kernel)
    assert "not understood" in finding.reason
    assert kernel.opened == {}


def test_a_pmu_without_packages_is_absent(tmp_path):
    (finding,) = absents(tmp_path, FakePerf(tmp_path, ("cores",)))
    assert "no event for packages" in finding.reason


def test_the_system_call_opens_an_event_that_counts_and_is_not_inherited(tmp_path, probed):
    """The kernel's own CPU clock (software event 0 of type 1) in the place of a package: it counts nanoseconds."""
    kernel = FakePerf(tmp_path, ("pkg",))
    write(kernel.pmu, {"type": 1, "events/energy-pkg": "event=0x0", "events/energy-pkg.scale": "1e-9"})
    try:
        fd = perf.open_event(pmu_type=1, config=0, cpu=0)
    except PermissionError:
        pytest.skip("this user may not count system-wide")
    assert not os.get_inheritable(fd)
    os.close(fd)
    counter = probed(perf.open_event)["cpu:package-0"]
    first, second = counter.read(), counter.read()
    assert 0 < first < second


def test_an_event_that_the_kernel_does_not_know_raises_its_reason():
    with pytest.raises(OSError, match="Errno") as caught:
        perf.open_event(pmu_type=2**31, config=0, cpu=0)
    assert caught.value.errno in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOSYS)


def test_an_architecture_whose_system_call_is_unknown_is_absent(tmp_path, monkeypatch):
    FakePerf(tmp_path, ("pkg",))
    monkeypatch.setattr(perf, "architecture", lambda: "pdp11")
    (finding,) = perf.probe(tmp_path)
    assert "no perf events on" in finding.reason
