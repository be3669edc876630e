"""RAPL zones in a powercap tree: which are counted, and what is said of the others."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitprint.errors import SensorError
from fitprint.meter import Meter
from fitprint.sensors import rapl
from fitprint.sensors.finding import Absent, Found
from fitprint.testing import FakeClock, FakePowercap


def fail_to_sleep(_: float) -> None:
    pytest.fail("probing slept although no two zones are alike")


@pytest.fixture
def probed(tmp_path):
    """A function that probes ``tmp_path`` and returns counters by id; they are closed afterwards."""
    opened = []

    def probe(sleep=fail_to_sleep) -> dict[str, rapl.RaplZone]:
        counters = [c for finding in rapl.probe(tmp_path, sleep) if isinstance(finding, Found) for c in finding.counters]
        opened.extend(counters)
        by_id = {counter.sensor.id: counter for counter in counters}
        assert len(by_id) == len(counters), "a zone was counted twice"
        return by_id

    yield probe
    for counter in opened:
        counter.close()


def open_files(root: Path) -> int:
    return sum(fd.resolve().is_relative_to(root) for fd in Path("/proc/self/fd").iterdir())


def absent(tmp_path) -> Absent:
    """The only finding, which is an absence."""
    (finding,) = rapl.probe(tmp_path)
    assert isinstance(finding, Absent)
    return finding


@pytest.mark.parametrize(
    "dram_zones",
    [
        pytest.param(["intel-rapl:0/intel-rapl:0:0"], id="nested"),
        pytest.param(["intel-rapl:0:0"], id="flat"),
        pytest.param(["intel-rapl:0/intel-rapl:0:0", "intel-rapl:0:0"], id="both, counted once"),
    ],
)
def test_package_and_dram_are_found(tmp_path, probed, dram_zones):
    powercap = FakePowercap(tmp_path)
    powercap.add_zone("intel-rapl:0", "package-0", energy_uj=11)
    for zone in dram_zones:
        powercap.add_zone(zone, "dram", energy_uj=22)
    counters = probed()
    assert {i: (c.sensor.part, c.read()) for i, c in counters.items()} == {
        "cpu:package-0": ("cpu", 11),
        "dram:package-0": ("dram", 22),
    }
    assert all(counter.sensor.method == "counter" and counter.sensor.unit_j == 1e-6 for counter in counters.values())


def test_zones_that_overlap_others_are_never_added(tmp_path, probed):
    powercap = FakePowercap(tmp_path)
    powercap.add_zone("intel-rapl:0", "package-0")
    powercap.add_zone("intel-rapl:0:0", "core")
    powercap.add_zone("intel-rapl:0:1", "uncore")
    powercap.add_zone("intel-rapl:0:2", "dram")
    powercap.add_zone("intel-rapl:1", "psys")
    powercap.add_zone("intel-rapl-mmio:0", "package-0")
    counted = [i for i, counter in probed().items() if counter.sensor.role == "counted"]
    assert counted == ["cpu:package-0", "dram:package-0"]


def test_psys_is_shown_as_the_whole_machine(tmp_path, probed):
    powercap = FakePowercap(tmp_path)
    powercap.add_zone("intel-rapl:0", "package-0", energy_uj=11)
    powercap.add_zone("intel-rapl:1", "psys", energy_uj=44)
    psys = probed()["node:psys"]
    assert (psys.sensor.part, psys.sensor.role, psys.read()) == ("node", "node", 44)
    assert psys.sensor.low > probed()["cpu:package-0"].sensor.low, "psys is the coarser of the two"


def test_psys_of_another_package_than_the_first_is_the_same_machine(tmp_path, probed):
    powercap = FakePowercap(tmp_path)
    powercap.add_zone("intel-rapl:2", "psys-1", energy_uj=44)
    powercap.add_zone("intel-rapl:3", "psys-2", energy_uj=44)
    assert {i: counter.read() for i, counter in probed().items()} == {"node:psys": 44}


def test_psys_may_draw_what_a_machine_draws(tmp_path, probed):
    powercap = FakePowercap(tmp_path)
    powercap.add_zone("intel-rapl:0", "psys", energy_uj=0)
    clock = FakeClock()
    with Meter(list(probed().values()), clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(10.0)
        powercap.write("intel-rapl:0", 102_000_000_000)
        energy = meter.between(before, meter.snapshot())
    assert energy.node_j == pytest.approx(102_000.0)
    assert energy.joules == 0.0


def test_psys_that_cannot_be_read_leaves_nothing_out(tmp_path):
    powercap = FakePowercap(tmp_path)
    powercap.add_zone("intel-rapl:0", "package-0")
    (powercap.add_zone("intel-rapl:1", "psys") / "energy_uj").unlink()
    (finding,) = [finding for finding in rapl.probe(tmp_path) if isinstance(finding, Absent)]
    assert "psys" in finding.source
    assert finding.uncounted == ""


def test_a_package_that_only_mmio_shows_is_counted_from_there(tmp_path, probed):
    powercap = FakePowercap(tmp_path)
    powercap.add_zone("intel-rapl-mmio:0", "package-0", energy_uj=1)
    powercap.add_zone("intel-rapl-mmio:0:0", "dram", energy_uj=2)
    powercap.add_zone("intel-rapl-mmio:1", "package-1", energy_uj=3)
    powercap.add_zone("intel-rapl:0", "package-0", energy_uj=4)
    assert {i: counter.read() for i, counter in probed().items()} == {
        "cpu:package-0": 4,
        "dram:package-0": 2,
        "cpu:package-1": 3,
    }


def test_two_packages_are_told_apart(tmp_path, probed):
    powercap = FakePowercap(tmp_path)
    for socket in (0, 1):
        powercap.add_zone(f"intel-rapl:{socket}", f"package-{socket}", energy_uj=socket)
        powercap.add_zone(f"intel-rapl:{socket}:0", "dram", energy_uj=10 + socket)
    assert {i: counter.read() for i, counter in probed().items()} == {
        "cpu:package-0": 0,
        "dram:package-0": 10,
        "cpu:package-1": 1,
        "dram:package-1": 11,
    }


def test_a_zone_starts_again_one_unit_after_its_largest_value(tmp_path, probed):
    FakePowercap(tmp_path, range_uj=65_712_999_613).add_zone("intel-rapl:0", "package-0")
    assert probed()["cpu:package-0"].modulus == 65_712_999_614


def test_a_wrap_around_is_counted_end_to_end(tmp_path, probed):
    powercap = FakePowercap(tmp_path)
    start_uj = powercap.range_uj - 40_000_000
    powercap.add_zone("intel-rapl:0", "package-0", energy_uj=start_uj)
    clock = FakeClock()
    with Meter(list(probed().values()), clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(1.0)
        powercap.write("intel-rapl:0", start_uj + 100_000_001)
        energy = meter.between(before, meter.snapshot())
    assert energy.counts == (100_000_001,)
    assert energy.coverage == 1.0


def test_without_a_readable_range_a_decrease_is_a_gap(tmp_path, probed):
    powercap = FakePowercap(tmp_path)
    zone = powercap.add_zone("intel-rapl:0", "package-0", energy_uj=5_000_000)
    (zone / "max_energy_range_uj").unlink()
    counter = probed()["cpu:package-0"]
    assert counter.modulus is None
    clock = FakeClock()
    with Meter([counter], clock=clock) as meter:
        before = meter.snapshot()
        clock.advance(1.0)
        powercap.write("intel-rapl:0", 1_000_000)
        energy = meter.between(before, meter.snapshot())
    assert (energy.joules, energy.coverage) == (0.0, 0.0)


@pytest.mark.parametrize(("limit_uw", "p_max_w"), [("1500000000", 1500.0), ("125000000", 1000.0), ("unknown", 1000.0)])
def test_a_zones_own_limit_only_raises_what_it_may_draw(tmp_path, probed, limit_uw, p_max_w):
    zone = FakePowercap(tmp_path).add_zone("intel-rapl:0", "package-0")
    (zone / "constraint_0_max_power_uw").write_text(f"{limit_uw}\n")
    assert probed()["cpu:package-0"].p_max_w == pytest.approx(p_max_w)


@pytest.mark.parametrize("content", [None, "", "not a number\n"], ids=["a folder", "empty", "words"])
def test_a_counter_that_cannot_be_read_is_absent_with_the_reason(tmp_path, content):
    zone = FakePowercap(tmp_path).add_zone("intel-rapl:0", "package-0")
    if content is None:
        (zone / "energy_uj").unlink()
        (zone / "energy_uj").mkdir()
    else:
        (zone / "energy_uj").write_text(content)
    finding = absent(tmp_path)
    assert "package-0" in finding.source
    assert "cannot be read" in finding.reason
    assert finding.uncounted == "cpu of package-0"
    assert open_files(tmp_path) == 0


# Reading it at offset 0, which no process maps, is a real EIO.
ALWAYS_EIO = "/proc/self/mem"


def test_a_zone_that_answers_eio_is_absent_with_the_reason(tmp_path):
    zone = FakePowercap(tmp_path).add_zone("intel-rapl:0", "package-0")
    (zone / "energy_uj").unlink()
    (zone / "energy_uj").symlink_to(ALWAYS_EIO)
    assert "Input/output error" in absent(tmp_path).reason


def test_eio_in_a_run_costs_coverage_and_the_next_good_reading_catches_up(tmp_path, probed):
    powercap = FakePowercap(tmp_path)
    powercap.add_zone("intel-rapl:0", "package-0", energy_uj=5_000_000)
    counter = probed()["cpu:package-0"]
    (number,) = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if fd.resolve().is_relative_to(tmp_path)]
    good, bad = os.dup(number), os.open(ALWAYS_EIO, os.O_RDONLY)
    clock = FakeClock()
    with Meter([counter], clock=clock) as meter:
        start = meter.snapshot()
        clock.advance(1.0)
        powercap.write("intel-rapl:0", 25_000_000)
        os.dup2(bad, number)
        with pytest.raises(OSError, match="Input/output error"):
            counter.read()
        lost = meter.between(start, meter.snapshot())
        os.dup2(good, number)
        whole = meter.between(start, meter.snapshot())
    os.close(good)
    os.close(bad)
    assert (lost.joules, lost.coverage) == (0.0, 0.0)
    assert (whole.joules, whole.coverage) == (20.0, 1.0)


def test_a_zone_that_goes_empty_in_a_run_fails_as_a_sensor(tmp_path, probed):
    zone = FakePowercap(tmp_path).add_zone("intel-rapl:0", "package-0")
    counter = probed()["cpu:package-0"]
    os.truncate(zone / "energy_uj", 0)
    with pytest.raises(SensorError, match="cpu:package-0"):
        counter.read()


def test_permission_denied_comes_with_the_command_that_mends_it(tmp_path, monkeypatch):
    FakePowercap(tmp_path).add_zone("intel-rapl:0", "package-0")

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:  # root may read anything, so the refusal is staged
        patch.setattr(rapl.os, "open", refuse)
        finding = absent(tmp_path)
    assert finding.reason == "permission denied"
    assert finding.remedy == f"sudo chmod a+r {tmp_path}/class/powercap/intel-rapl*/energy_uj"


def test_no_zone_at_all_is_absent_with_a_hint(tmp_path):
    finding = absent(tmp_path)
    assert "no zone" in finding.reason
    assert finding.remedy == "sudo modprobe intel_rapl_msr"


def test_a_virtual_machine_without_zones_is_told_why_and_no_command_that_cannot_help(tmp_path):
    (finding,) = rapl.probe(tmp_path, virtual=True)
    assert "virtual machine" in finding.reason
    assert finding.remedy == ""


def test_zones_that_a_container_masks_are_told_apart_from_none(tmp_path):
    root = tmp_path / "class" / "powercap"
    root.mkdir(parents=True)
    for zone in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1"):
        (root / zone).symlink_to(f"../../devices/virtual/powercap/intel-rapl/{zone}")
    finding = absent(tmp_path)
    assert "masked" in finding.reason
    assert "FITPRINT_SYS_ROOT=/host/sys" in finding.remedy


def test_permission_denied_at_reading_leaves_no_file_open(tmp_path, monkeypatch):
    FakePowercap(tmp_path).add_zone("intel-rapl:0", "package-0")

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(rapl.os, "pread", refuse)
        assert absent(tmp_path).reason == "permission denied"
    assert open_files(tmp_path) == 0


def test_a_tree_of_uncountable_zones_is_absent(tmp_path):
    FakePowercap(tmp_path).add_zone("intel-rapl:0", "psys")
    psys, finding = sorted(rapl.probe(tmp_path), key=lambda finding: isinstance(finding, Absent))
    psys.counters[0].close()
    assert "no package or dram zone" in finding.reason


def test_a_closed_zone_stays_closed(tmp_path, probed):
    FakePowercap(tmp_path).add_zone("intel-rapl:0", "package-0")
    counter = probed()["cpu:package-0"]
    assert open_files(tmp_path) == 1
    counter.close()
    counter.close()
    assert open_files(tmp_path) == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        counter.read()


def test_one_unreadable_package_of_two_is_named_as_left_out(tmp_path):
    tree = FakePowercap(tmp_path)
    tree.add_zone("intel-rapl:0", "package-0")
    broken = tree.add_zone("intel-rapl:1", "package-1")
    (broken / "energy_uj").unlink()
    absent = [finding for finding in rapl.probe(tmp_path) if isinstance(finding, Absent)]
    assert [finding.uncounted for finding in absent] == ["cpu of package-1"]


class Hardware:
    """Zones by energy at the first look and at the second, in microjoules; ``sleep`` lies in between."""

    def __init__(self, sys_root: Path, zones: dict[str, tuple[str, int, int]]) -> None:
        self.sleeps: list[float] = []
        self._powercap = FakePowercap(sys_root)
        self._zones = zones
        for zone, (name, first, _) in zones.items():
            self._powercap.add_zone(zone, name, energy_uj=first)

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        for zone, (_, _, second) in self._zones.items():
            self._powercap.write(zone, second)


def two_dies(first: tuple[int, int], second: tuple[int, int]) -> dict[str, tuple[str, int, int]]:
    return {"intel-rapl:0": ("package-0-die-0", *first), "intel-rapl:1": ("package-0-die-1", *second)}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param((5_000_000_000, 5_000_400_000), id="the same numbers"),
        pytest.param((4_999_900_000, 5_000_300_000), id="an update behind"),
        pytest.param((5_000_100_000, 5_000_300_000), id="ahead, then behind"),
    ],
)
def test_dies_that_show_one_counter_are_counted_once(tmp_path, probed, other):
    hardware = Hardware(tmp_path, two_dies((5_000_000_000, 5_000_400_000), other))
    assert list(probed(hardware.sleep)) == ["cpu:package-0-die-0"]
    assert sum(hardware.sleeps) <= 0.005, "probing is quick"
    assert open_files(tmp_path) == 1, "the other zone is closed"


def test_what_is_counted_once_is_said_of_each_copy(tmp_path):
    hardware = Hardware(tmp_path, {f"intel-rapl:{die}": (f"package-0-die-{die}", 5_000_000_000, 5_000_400_000) for die in range(3)})
    findings = rapl.probe(tmp_path, hardware.sleep)
    notes = [note for finding in findings if isinstance(finding, Found) for note in finding.notes]
    for counter in [c for finding in findings for c in finding.counters]:
        counter.close()
    assert notes == [f"cpu:package-0-die-{die} shows the counter of cpu:package-0-die-0: counted once" for die in (1, 2)]


def test_each_package_keeps_one_of_its_dies_and_their_dram(tmp_path, probed):
    packages = {0: (5_000_000_000, 5_000_400_000), 1: (9_000_000_000, 9_000_500_000)}
    zones = {
        f"intel-rapl:{2 * package + die}": (f"package-{package}-die-{die}", *energy)
        for package, energy in packages.items()
        for die in (0, 1)
    }
    dram = {f"intel-rapl:{zone}:0": ("dram", 700_000_000, 700_010_000) for zone in (0, 1)}
    hardware = Hardware(tmp_path, zones | dram)
    assert list(probed(hardware.sleep)) == ["cpu:package-0-die-0", "dram:package-0-die-0", "cpu:package-1-die-0"]
    assert len(hardware.sleeps) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param((5_000_000_000, 5_000_000_000), (5_000_000_000, 5_000_000_000), id="standing still, equal"),
        pytest.param((5_000_000_000, 5_000_400_000), (5_000_200_000, 5_000_200_000), id="one of them stands still"),
        pytest.param((5_000_000_000, 5_001_400_000), (5_001_000_000, 5_001_600_000), id="one catches up with the other"),
        pytest.param((5_000_000_000, 5_100_000_000), (5_001_000_000, 5_131_000_000), id="a late second look"),
        pytest.param((5_000_000_000, 5_000_400_000), (5_000_100_000, 5_000_700_000), id="near by chance, other power"),
        pytest.param((5_000_000_000, 5_000_400_000), (5_001_000_000, 5_001_400_000), id="further apart than an update"),
    ],
)
def test_zones_that_are_alike_at_first_and_do_not_move_together_are_both_counted(tmp_path, probed, first, second):
    hardware = Hardware(tmp_path, two_dies(first, second))
    assert list(probed(hardware.sleep)) == ["cpu:package-0-die-0", "cpu:package-0-die-1"]
    assert len(hardware.sleeps) == 1


@pytest.mark.parametrize("energy_uj", [0, 1_000_000])
def test_zones_that_have_just_begun_at_the_same_value_are_both_counted(tmp_path, probed, energy_uj):
    Hardware(tmp_path, two_dies((energy_uj, 0), (energy_uj, 0)))
    assert list(probed()) == ["cpu:package-0-die-0", "cpu:package-0-die-1"]


def test_zones_that_are_not_alike_cost_no_waiting(tmp_path, probed):
    Hardware(tmp_path, two_dies((5_000_000_000, 0), (9_000_000_000, 0)))
    assert list(probed(fail_to_sleep)) == ["cpu:package-0-die-0", "cpu:package-0-die-1"]


def test_a_package_and_dram_of_the_same_value_are_both_counted(tmp_path, probed):
    Hardware(tmp_path, {"intel-rapl:0": ("package-0", 10**10, 0), "intel-rapl:0:0": ("dram", 10**10, 0)})
    assert list(probed()) == ["cpu:package-0", "dram:package-0"]


def test_zones_that_fail_while_they_are_compared_are_all_kept(tmp_path, probed):
    energy = (5_000_000_000, 5_000_400_000)
    Hardware(tmp_path, two_dies(energy, energy))

    def vanish(_: float) -> None:
        os.truncate(tmp_path / "class/powercap/intel-rapl:1/energy_uj", 0)

    assert list(probed(vanish)) == ["cpu:package-0-die-0", "cpu:package-0-die-1"]


COUNTER = st.integers(10_000_000, 200_000_000_000)
MOVED = st.integers(1, 4_000_000)


def counted(zones: dict[str, tuple[str, int, int]]) -> list[str]:
    """Ids of what is counted."""
    with tempfile.TemporaryDirectory() as folder:
        hardware = Hardware(Path(folder), zones)
        found = [f for f in rapl.probe(Path(folder), hardware.sleep) if isinstance(f, Found)]
        counters = [counter for finding in found for counter in finding.counters]
        for counter in counters:
            counter.close()
    return [counter.sensor.id for counter in counters]


@settings(max_examples=50)
@given(start=COUNTER, moved=MOVED)
def test_copies_that_move_are_counted_once_wherever_they_stand(start, moved):
    energy = (start, start + moved)
    assert counted(two_dies(energy, energy)) == ["cpu:package-0-die-0"]


@settings(max_examples=50)
@given(start=COUNTER, apart=st.integers(2_000_001, 10**10), moved=MOVED, other_moved=MOVED)
def test_zones_further_apart_than_two_milliseconds_of_power_are_both_counted(start, apart, moved, other_moved):
    zones = two_dies((start, start + moved), (start + apart, start + apart + other_moved))
    assert counted(zones) == ["cpu:package-0-die-0", "cpu:package-0-die-1"]
