"""Accelerators without a sensor, on PCI trees as Linux shows them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fitprint.data import table
from fitprint.meter import Meter
from fitprint.sensors import accelerators
from fitprint.sensors.finding import Absent, Found
from fitprint.testing import FakeClock

VGA, CONTROLLER_3D, DISPLAY, ACCELERATOR, NVME, AUDIO = "0x030000", "0x030200", "0x038000", "0x120000", "0x010802", "0x040300"
TPU_V4 = ("0x1ae0", "0x005e", ACCELERATOR)
TPU_V5E = ("0x1ae0", "0x0063", ACCELERATOR)
MAX_1550 = ("0x8086", "0x0bd5", DISPLAY)
MI210 = ("0x1002", "0x740f", DISPLAY)
MI250X = ("0x1002", "0x7408", DISPLAY)
H100 = ("0x10de", "0x2330", CONTROLLER_3D)
GAUDI2 = ("0x1da3", "0x1020", ACCELERATOR)
TRAINIUM = ("0x1d0f", "0x7164", "0x088000")


class Machine:
    """``/sys`` and ``/dev`` under a folder."""

    def __init__(self, root):
        self.sys_root, self.dev_root = root / "sys", root / "dev"
        self.dev_root.mkdir()
        self.clock = FakeClock()
        self._renders = 0

    def plug(self, address, kind, *, render=False, subsystem="0x0000"):
        """Put in a device of (vendor, device, class), with a render node that may be opened or without."""
        folder = self.sys_root / "bus" / "pci" / "devices" / address
        folder.mkdir(parents=True)
        for name, value in zip(("vendor", "device", "class", "subsystem_device"), (*kind, subsystem), strict=True):
            (folder / name).write_text(f"{value}\n")
        if render:
            self._renders += 1
            (folder / "drm" / f"renderD{127 + self._renders}").mkdir(parents=True)
            self.node(f"dri/renderD{127 + self._renders}")

    def node(self, *names):
        """Let the process open devices under ``/dev``."""
        for name in names:
            (self.dev_root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.dev_root / name).touch()

    def probe(self, environ=None, modules=None, taken=(), platform="linux-x86_64"):
        return accelerators.probe(self.sys_root, self.dev_root, environ or {}, self.clock, modules or {}, taken, platform)

    def counters(self, *args, **kwargs):
        return [c for finding in self.probe(*args, **kwargs) if isinstance(finding, Found) for c in finding.counters]

    def ids(self, *args, **kwargs):
        return [counter.sensor.id.removeprefix("gpu:pci-") for counter in self.counters(*args, **kwargs)]

    def uncounted(self, *args, **kwargs):
        return [finding.uncounted for finding in self.probe(*args, **kwargs) if isinstance(finding, Absent)]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_machine_without_accelerators_has_nothing_to_say(machine):
    machine.plug("0000:00:1f.0", ("0x8086", "0x1234", "0x060100"))
    assert machine.probe() == []


def test_each_chip_of_a_tpu_host_draws_a_share_of_its_power_limit(machine):
    for chip in range(4):
        machine.plug(f"0000:00:0{4 + chip}.0", TPU_V4)
        machine.node(f"accel{chip}")
    with Meter(machine.counters(), clock=machine.clock) as meter:
        before = meter.snapshot()
        machine.clock.advance(100.0)
        energy = meter.between(before, meter.snapshot())
    assert energy.joules == pytest.approx(4 * 0.8 * 192 * 100)
    assert energy.measured_fraction == 0.0


def test_a_model_says_in_one_note_and_one_figure_what_it_assumes(machine):
    for chip in range(2):
        machine.plug(f"0000:00:0{4 + chip}.0", TPU_V4)
        machine.node(f"accel{chip}")
    (found,) = machine.probe()
    assert [note.startswith("MODELLED: Google TPU v4") for note in found.notes] == [True]
    assert [row.value for row in found.assumptions] == [192]


def test_chips_of_unknown_power_are_named_with_their_number(machine):
    for chip in range(8):
        machine.plug(f"0000:00:0{chip}.0", TPU_V5E)
        machine.node(f"vfio/{chip}")
    assert machine.uncounted() == ["8 x Google TPU v5e"]


@pytest.mark.parametrize(("subsystem", "watts"), [("0x004e", 280), ("0x004f", 450)])
def test_two_generations_of_tpus_are_told_apart_by_their_subsystem(machine, subsystem, watts):
    machine.plug("0000:00:04.0", ("0x1ae0", "0x0027", ACCELERATOR), subsystem=subsystem)
    machine.node("accel0")
    (found,) = machine.probe()
    assert [row.value for row in found.assumptions] == [watts]


def test_googles_disks_and_network_cards_are_no_tpus(machine):
    machine.plug("0000:00:04.0", ("0x1ae0", "0x001f", NVME))
    machine.plug("0000:00:05.0", ("0x1ae0", "0x0042", "0x020000"))
    machine.node("accel0", "vfio/0")
    assert machine.probe() == []


def test_a_chip_of_several_functions_is_one(machine):
    for function in range(2):
        machine.plug(f"0000:00:04.{function}", TPU_V4)
    machine.node("vfio/0", "vfio/1")
    assert machine.ids() == ["0000:00:04.0"]


def test_a_container_counts_the_chips_that_it_was_given(machine):
    for chip in range(4):
        machine.plug(f"0000:00:0{4 + chip}.0", TPU_V4)
    machine.node("accel0", "vfio/vfio")
    assert len(machine.ids()) == 1


def test_what_the_process_cannot_open_is_not_its_own(machine):
    machine.plug("0000:00:04.0", TPU_V4)
    machine.plug("0000:3a:00.0", MAX_1550)
    machine.plug("0000:c1:00.0", MI210)
    machine.plug("0000:41:00.0", H100)
    assert machine.probe() == []


@pytest.mark.parametrize(
    ("kind", "node", "watts"),
    [
        pytest.param(H100, "nvidia0", 700, id="NVIDIA without its library"),
        pytest.param(MI210, None, 300, id="AMD"),
        pytest.param(("0x1002", "0x74a1", ACCELERATOR), None, 750, id="AMD, as processing accelerator"),
        pytest.param(MAX_1550, None, 600, id="Intel"),
    ],
)
def test_a_card_of_known_power_is_modelled_under_its_address(machine, kind, node, watts):
    machine.plug("0000:41:00.0", kind, render=node is None)
    machine.node(*filter(None, [node]))
    (found,) = machine.probe()
    assert [(counter.sensor.id, counter.sensor.method) for counter in found.counters] == [("gpu:pci-0000:41:00.0", "modelled")]
    assert [row.value for row in found.assumptions] == [watts]


@pytest.mark.parametrize(
    ("kind", "node", "name"),
    [
        pytest.param(GAUDI2, "accel/accel0", "Habana Gaudi2", id="Gaudi"),
        pytest.param(GAUDI2, "hl0", "Habana Gaudi2", id="Gaudi, older driver"),
        pytest.param(TRAINIUM, "neuron0", "AWS Trainium", id="Trainium"),
        pytest.param(("0x10de", "0x9999", CONTROLLER_3D), "nvidia0", "NVIDIA GPU 10de:9999", id="a GPU in no table"),
        pytest.param(("0x1002", "0x7999", ACCELERATOR), None, "AMD GPU 1002:7999", id="an AMD accelerator in no table"),
    ],
)
def test_an_accelerator_of_unknown_power_is_named_as_left_out(machine, kind, node, name):
    machine.plug("0000:41:00.0", kind, render=node is None)
    machine.node(*filter(None, [node]))
    assert machine.uncounted() == [name]


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        pytest.param("0000:00:02.0", ("0x8086", "0xa780", VGA), id="Intel's, on bus 0"),
        pytest.param("0000:0c:00.0", ("0x1002", "0x164e", VGA), id="Raphael"),
        pytest.param("0000:c4:00.0", ("0x1002", "0x15bf", DISPLAY), id="Phoenix, without a screen"),
        pytest.param("0000:41:00.1", ("0x10de", "0x22a3", AUDIO), id="the sound of a GPU"),
    ],
)
def test_gpus_inside_a_cpu_are_no_accelerators(machine, address, kind):
    machine.plug(address, kind, render=True)
    machine.node("nvidia0")
    assert machine.probe() == []


def test_a_card_passed_through_to_a_virtual_machine_may_be_on_bus_0(machine):
    machine.plug("0000:00:05.0", MAX_1550, render=True)
    assert machine.ids() == ["0000:00:05.0"]


def test_two_dies_of_a_board_are_modelled_as_one(machine):
    for address in ("0000:c1:00.0", "0000:c6:00.0", "0000:c9:00.0", "0000:ce:00.0"):
        machine.plug(address, MI250X, render=True)
    assert machine.ids() == ["0000:c1:00.0", "0000:c9:00.0"]
    assert machine.ids({"HIP_VISIBLE_DEVICES": "1"}) == ["0000:c1:00.0"]


@pytest.mark.parametrize(
    "taken",
    [
        pytest.param({"0x1002"}, id="AMD's library has answered"),
        pytest.param({"0000:c6:00.0"}, id="the address of a die"),
        pytest.param({"gpu:pci-0000:c1:00.0"}, id="the sensor of the board"),
    ],
)
def test_what_is_counted_elsewhere_is_not_modelled(machine, taken):
    machine.plug("0000:c1:00.0", MI250X, render=True)
    machine.plug("0000:c6:00.0", MI250X, render=True)
    machine.plug("0000:41:00.0", MAX_1550, render=True)
    assert machine.ids(taken=taken) == ["0000:41:00.0"]


@pytest.mark.parametrize(
    ("environ", "left"),
    [
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"CUDA_VISIBLE_DEVICES": "2"}, ["0000:43:00.0"]),
        ({"CUDA_VISIBLE_DEVICES": "2, 0"}, ["0000:43:00.0", "0000:41:00.0"]),
        ({"CUDA_VISIBLE_DEVICES": "1,9"}, ["0000:42:00.0"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-6c1f,GPU-ab12"}, ["0000:41:00.0", "0000:42:00.0"]),
        ({"HIP_VISIBLE_DEVICES": "0"}, ["0000:41:00.0", "0000:42:00.0", "0000:43:00.0"]),
    ],
)
def test_hidden_boards_are_not_modelled(machine, environ, left):
    for board in range(3):
        machine.plug(f"0000:4{board + 1}:00.0", H100)
        machine.node(f"nvidia{board}")
    assert machine.ids(environ) == left


@pytest.mark.parametrize(
    ("environ", "left"),
    [
        ({"ROCR_VISIBLE_DEVICES": "1,2", "HIP_VISIBLE_DEVICES": "1"}, ["0000:43:00.0"]),
        ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "2"}, ["0000:41:00.0"]),
    ],
)
def test_rocr_filters_before_hip(machine, environ, left):
    for board in range(3):
        machine.plug(f"0000:4{board + 1}:00.0", MI210, render=True)
    assert machine.ids(environ) == left


@pytest.mark.parametrize(("mask", "boards"), [("0.0,0.1", 1), ("0,1", 2), ("1.1", 1), ("all", 2)])
def test_a_tile_counts_its_whole_board_once(machine, mask, boards):
    machine.plug("0000:41:00.0", MAX_1550, render=True)
    machine.plug("0000:42:00.0", MAX_1550, render=True)
    assert len(machine.ids({"ZE_AFFINITY_MASK": mask})) == boards


def torch(**built_for):
    return {"torch": SimpleNamespace(version=SimpleNamespace(**built_for))}


@pytest.mark.parametrize(
    ("modules", "ids"),
    [
        pytest.param(torch(hip="6.4", cuda=None), ["0000:c1:00.0"], id="torch for ROCm"),
        pytest.param(torch(cuda="12.6", hip=None), ["0000:41:00.0"], id="torch for CUDA"),
        pytest.param(torch(cuda=None), [], id="torch for CPUs"),
        pytest.param({**torch(cuda=None), "jax": None}, ["0000:41:00.0", "0000:c1:00.0"], id="another framework too"),
        pytest.param({}, ["0000:41:00.0", "0000:c1:00.0"], id="no framework yet"),
    ],
)
def test_a_framework_does_not_train_on_what_it_cannot_drive(machine, modules, ids):
    machine.plug("0000:41:00.0", H100)
    machine.node("nvidia0")
    machine.plug("0000:c1:00.0", MI210, render=True)
    assert machine.ids(modules=modules) == ids


def test_a_package_with_a_cpu_counts_that_too(machine):
    machine.plug("0000:01:00.0", ("0x1002", "0x74a0", ACCELERATOR), render=True)
    (found,) = machine.probe()
    assert found.covers == ("cpu", "dram")


@pytest.mark.parametrize(
    ("environ", "chips", "uncounted"),
    [
        ({"TPU_ACCELERATOR_TYPE": "v4-8", "TPU_CHIPS_PER_HOST_BOUNDS": "2,2,1"}, 4, []),
        ({"TPU_ACCELERATOR_TYPE": "v3-32", "TPU_CHIPS_PER_HOST_BOUNDS": "2,2,1"}, 4, []),
        ({"TPU_ACCELERATOR_TYPE": "v5litepod-8", "TPU_CHIPS_PER_HOST_BOUNDS": "2,4,1"}, 0, ["8 x Google TPU v5e"]),
        ({"TPU_ACCELERATOR_TYPE": "tpu7x-8", "TPU_CHIPS_PER_HOST_BOUNDS": "2,2,1"}, 0, ["4 x Google TPU7x"]),
        ({"TPU_ACCELERATOR_TYPE": "v4-8"}, 0, ["Google TPU v4"]),
    ],
)
def test_a_tpu_that_is_not_on_the_bus_is_known_from_its_hosts_variables(machine, environ, chips, uncounted):
    machine.plug("0000:00:04.0", ("0x1ae0", "0x0042", "0x020000"))  # Google's network card
    assert len(machine.ids(environ)) == chips
    assert machine.uncounted(environ) == uncounted


def test_variables_add_nothing_to_the_chips_on_the_bus(machine):
    machine.plug("0000:00:04.0", TPU_V4)
    machine.node("accel0")
    assert machine.ids({"TPU_ACCELERATOR_TYPE": "v4-8", "TPU_CHIPS_PER_HOST_BOUNDS": "2,2,1"}) == ["0000:00:04.0"]


@pytest.mark.parametrize(
    ("platform", "taken", "left_out"),
    [("darwin-arm64", (), ["the Apple GPU"]), ("darwin-arm64", {"gpu:apple"}, []), ("darwin-x86_64", (), []), ("", (), [])],
)
def test_an_apple_gpu_that_no_library_reads_is_named_with_what_to_install(machine, platform, taken, left_out):
    findings = machine.probe(platform=platform, taken=taken)
    assert [finding.uncounted for finding in findings] == left_out
    assert all("fitprint[apple]" in finding.remedy for finding in findings)


def test_no_pci_ids_stand_twice_in_the_table_and_all_are_four_digits():
    keys = [(row["vendor"], row["device"], row["subsystem"]) for row in table("accelerator_ids")]
    assert sorted(set(keys)) == sorted(keys)
    assert all(len(key) in (0, 6) and key == key.lower() for row in keys for key in row)


def test_every_pci_id_says_where_it_is_from():
    rows = table("accelerator_ids")
    assert [row for row in rows if not all(row[column] for column in ("name", "source", "year", "basis", "licence"))] == []
