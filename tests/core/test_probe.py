"""Probing: hardware first, the model where there is none, a reason for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitprint.sensors.finding import Found
from fitprint.sensors.probe import Sensors, Surroundings, probe
from fitprint.sensors.sources import Source
from fitprint.testing import FakeClock, FakePowercap, ScriptedCounter

CPUINFO = "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz\n"
ENERGY_UNSUPPORTED = "no energy counter"


class Nvml:
    """Boards by name and energy in mJ; an energy of ENERGY_UNSUPPORTED raises; no boards at all: no driver."""

    class NVMLError(Exception):
        """What the driver's functions raise."""

    def __init__(self, boards: dict[str, int | str] | None) -> None:
        self.boards = None if boards is None else list(boards.items())

    def nvmlInit(self) -> None:  # noqa: N802
        if self.boards is None:
            raise self.NVMLError("NVML Shared Library Not Found")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return f"GPU-{handle}"

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return self.boards[handle][0]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        energy = self.boards[handle][1]
        if energy == ENERGY_UNSUPPORTED:
            raise self.NVMLError("Not Supported")
        return energy

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        raise self.NVMLError("Not Supported")


H100 = {"NVIDIA H100": 5_000}


@pytest.fixture
def look(tmp_path):
    """A function that probes a fake machine; what it opened is closed afterwards."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(CPUINFO)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 16000000 kB\n")
    (tmp_path / "proc" / "stat").write_text("cpu  100 0 0 0 0 0 0 0 0 0\n")
    outcomes = []

    def run(boards: dict[str, int | str] | None = None, environ: dict[str, str] | None = None, **options) -> Sensors:
        around = Surroundings(tmp_path / "sys", tmp_path / "proc", environ or {}, FakeClock(), lambda: Nvml(boards))
        outcomes.append(probe(around=around, **options))
        return outcomes[-1]

    yield run
    for sensors in outcomes:
        sensors.close()


def with_rapl(tmp_path: Path, *, dram: bool = True) -> None:
    powercap = FakePowercap(tmp_path / "sys")
    powercap.add_zone("intel-rapl:0", "package-0")
    if dram:
        powercap.add_zone("intel-rapl:0:0", "dram")


def ids(sensors: Sensors) -> list[str]:
    return [counter.sensor.id for counter in sensors.counters]


def open_files(root: Path) -> int:
    return sum(fd.resolve().is_relative_to(root) for fd in Path("/proc/self/fd").iterdir())


def test_where_everything_has_a_counter_nothing_is_modelled(tmp_path, look):
    with_rapl(tmp_path)
    sensors = look(H100)
    assert ids(sensors) == ["gpu:GPU-0", "cpu:package-0", "dram:package-0"]
    assert (sensors.assumptions, sensors.absent, sensors.uncounted) == ((), (), ())
    assert sensors.counters[0].read() == 5_000


def test_rapl_without_dram_leaves_only_dram_to_the_model(tmp_path, look):
    with_rapl(tmp_path, dram=False)
    sensors = look(H100)
    assert ids(sensors) == ["gpu:GPU-0", "cpu:package-0", "dram:modelled"]
    assert [row.name for row in sensors.assumptions] == ["dram_w_per_gb"]


def test_without_rapl_cpu_and_dram_are_modelled_and_the_reason_is_kept(look):
    sensors = look(H100)
    assert ids(sensors) == ["gpu:GPU-0", "cpu:modelled", "dram:modelled"]
    assert [absent.source for absent in sensors.absent] == ["RAPL (powercap)"]
    assert sensors.uncounted == ()


def test_the_gpu_alone_opens_nothing_else(tmp_path, look):
    with_rapl(tmp_path)
    sensors = look(H100, parts=("gpu",))
    assert ids(sensors) == ["gpu:GPU-0"]
    assert sensors.absent == ()
    assert open_files(tmp_path) == 0


@pytest.mark.parametrize(("part", "sensor_id"), [("cpu", "cpu:package-0"), ("dram", "dram:package-0")])
def test_a_zone_that_is_not_wanted_is_closed_again(tmp_path, look, part, sensor_id):
    with_rapl(tmp_path)
    assert ids(look(parts=(part,))) == [sensor_id]
    assert open_files(tmp_path) == 1


def test_the_driver_is_left_alone_where_no_gpu_is_wanted(tmp_path):
    around = Surroundings(tmp_path, tmp_path, {}, FakeClock(), lambda: pytest.fail("NVML was loaded"))
    sensors = probe(("cpu", "dram"), around)
    assert sensors.uncounted == ("the CPU", "the memory")


def test_a_board_that_cannot_be_read_and_is_in_no_table_is_named_as_uncounted(look):
    sensors = look({"GRID V9-8Q": ENERGY_UNSUPPORTED, **H100}, parts=("gpu",))
    assert ids(sensors) == ["gpu:GPU-1"]
    assert sensors.uncounted == ("GRID V9-8Q",)
    assert "Not Supported" in sensors.absent[0].reason


def test_no_driver_is_absent_with_reason_and_remedy(look):
    sensors = look(boards=None, parts=("gpu",))
    (absent,) = sensors.absent
    assert sensors.counters == ()
    assert absent.source == "NVML total energy counter"
    assert "no NVIDIA driver answers here (NVML Shared Library Not Found)" in absent.reason
    assert "--gpus all" in absent.remedy


def test_a_driver_without_boards_is_absent_with_reason(look):
    assert [absent.reason for absent in look({}, parts=("gpu",)).absent] == ["the driver lists no board"]


def test_only_visible_boards_are_counted(look):
    boards = {"first": 1, "second": 2, "third": 3}
    sensors = look(boards, {"CUDA_VISIBLE_DEVICES": "2,0"}, parts=("gpu",))
    assert ids(sensors) == ["gpu:GPU-2", "gpu:GPU-0"]
    hidden = look(boards, {"CUDA_VISIBLE_DEVICES": ""}, parts=("gpu",))
    assert hidden.counters == ()
    assert "CUDA_VISIBLE_DEVICES" in hidden.absent[0].reason


class Part(ScriptedCounter):
    """A counter that knows whether it was closed."""

    closed = False

    def close(self):
        self.closed = True


def found(clock, sensor_id, part, covers=()):
    return Found((Part(clock, part=part, sensor_id=sensor_id),), covers=covers)


@pytest.fixture
def machine_of(look, monkeypatch):
    """Probes a machine on which the first two sources find what the test says."""

    def run(*of_each_source, parts=("gpu", "cpu", "dram", "soc")):
        sources = tuple(Source(("gpu", "cpu", "dram", "soc"), (lambda around, f=f: list(f),)) for f in of_each_source)
        monkeypatch.setattr("fitprint.sensors.probe.SOURCES", sources)
        return look(parts=parts)

    return run


@pytest.mark.parametrize("module_first", [True, False])
def test_what_is_counted_inside_something_is_not_counted_beside_it(clock, machine_of, module_first):
    board = [found(clock, "gpu:GPU-0", "gpu")]
    module = [found(clock, "soc:jetson", "soc", covers=("cpu", "gpu", "dram"))]
    sensors = machine_of(*([module, board] if module_first else [board, module]))
    assert ids(sensors) == ["soc:jetson"]
    assert board[0].counters[0].closed or module_first, "what is open is given back, and nothing is asked in vain"


@pytest.mark.parametrize("grace_first", [True, False])
def test_a_module_total_takes_the_place_of_the_socket_inside_it(clock, machine_of, grace_first):
    grace = [found(clock, "cpu:package-0", "cpu", covers=("dram",))]
    hopper = [found(clock, f"gpu:GPU-{i}", "gpu", covers=("cpu", "dram")) for i in range(2)]
    assert ids(machine_of(*([grace, hopper] if grace_first else [hopper, grace]))) == ["gpu:GPU-0", "gpu:GPU-1"]


def test_a_whole_that_is_not_wanted_hides_none_of_its_parts(clock, machine_of):
    module = [found(clock, "soc:jetson", "soc", covers=("cpu", "gpu", "dram"))]
    board = [found(clock, "gpu:GPU-0", "gpu")]
    assert ids(machine_of(module, board, parts=("gpu",))) == ["gpu:GPU-0"]


def test_of_several_sensors_of_the_whole_machine_the_first_is_kept(clock, machine_of):
    nodes = [Found((Part(clock, part="node", role="node", sensor_id=f"node:{name}"),)) for name in ("bmc", "psys")]
    sensors = machine_of(nodes[:1], nodes[1:])
    assert [c.sensor.id for c in sensors.counters if c.sensor.role == "node"] == ["node:bmc"]
    assert nodes[1].counters[0].closed
