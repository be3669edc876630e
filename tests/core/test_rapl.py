"""RAPL zones in a powercap tree: which are counted, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitprint.meter import Meter
from fitprint.sensors import rapl
from fitprint.sensors.finding import Absent, Found
from fitprint.testing import FakeClock, FakePowercap


@pytest.fixture
def probed(tmp_path):
    """A function that probes ``tmp_path`` and returns counters by id; they are closed afterwards."""
    opened = []

    def probe() -> dict[str, rapl.RaplZone]:
        counters = [c for finding in rapl.probe(tmp_path) if isinstance(finding, Found) for c in finding.counters]
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
    assert list(probed()) == ["cpu:package-0", "dram:package-0"]


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
    assert "modprobe intel_rapl_msr" in finding.remedy


def test_a_tree_of_uncountable_zones_is_absent(tmp_path):
    FakePowercap(tmp_path).add_zone("intel-rapl:0", "psys")
    assert "no package or dram zone" in absent(tmp_path).reason


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
