"""AMD boards through a stand-in for amdsmi whose watts are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.errors import SensorError
from fitprint.meter import Meter
from fitprint.sensors import amdsmi
from fitprint.sensors.finding import Absent, Found
from fitprint.testing import FakeClock

UNIT_UJ = 15.300000190734863
NOT_SUPPORTED = "Error code:\n\t2 | AMDSMI_STATUS_NOT_SUPPORTED - Feature not supported"
NO_PERMISSION = "Error code:\n\t10 | AMDSMI_STATUS_NO_PERM - Permission Denied"


class AmdSmiLibraryException(Exception):
    pass


class Gpu:
    """What the library lists.

    Args:
        bus: Its PCI bus.
        name: Its market name.
        device: Its PCI device id.
        watts: What it draws from now on.
        counter: ``counts``, ``frozen``, ``none`` (an error) or ``invalid`` (all bits set).
        power: Its socket power, by kind: ``watts``, or what the library says instead.
        rank: Its number in HIP, or None where this library does not tell.
        function: Its PCI function, which is the number of a partition.
    """

    def __init__(
        self, bus, name="AMD Instinct MI210", device="0x740f", *, watts=100.0, counter="counts", power=None, rank=0, function=0
    ):
        self.bdf = f"0000:{bus:02x}:00.{function}"
        self.asic = {"market_name": name, "device_id": device, "asic_serial": f"0x{0xA0A0 + bus:016X}"}
        self.uuid = f"GPU-{0xA0A0 + bus:016x}"
        self.rank = rank
        self.watts = watts
        self.counter = counter
        self.power = power or {"average": "watts", "current": "N/A"}
        self.joules = 5000.0


class FakeAmdSmi:
    """The module ``amdsmi``; energy follows the clock."""

    def __init__(self, *gpus, clock=None, init_error=None, old=False):
        self.clock = clock or FakeClock()
        self.gpus = gpus
        self.init_error = init_error
        self.old = old
        self._since_ns = self.clock.monotonic_ns()

    def run(self, seconds):
        self.clock.advance(seconds)
        self._count()

    def _count(self):
        elapsed_s = (self.clock.monotonic_ns() - self._since_ns) / 1e9
        self._since_ns = self.clock.monotonic_ns()
        for gpu in self.gpus:
            gpu.joules += gpu.watts * elapsed_s

    def amdsmi_init(self):
        if self.init_error:
            raise AmdSmiLibraryException(self.init_error)

    def amdsmi_get_processor_handles(self):
        return list(self.gpus)

    def amdsmi_get_gpu_asic_info(self, gpu):
        return gpu.asic

    def amdsmi_get_gpu_device_bdf(self, gpu):
        return gpu.bdf

    def amdsmi_get_gpu_enumeration_info(self, gpu):
        if gpu.rank is None:
            raise AttributeError("undefined symbol: amdsmi_get_gpu_enumeration_info")
        return {"drm_card": 0, "hip_id": gpu.rank, "hip_uuid": gpu.uuid}

    def amdsmi_get_energy_count(self, gpu):
        self._count()
        if gpu.counter == "none":
            raise AmdSmiLibraryException(NOT_SUPPORTED)
        ticks = {"frozen": 8_152_136, "invalid": 2**64 - 1, "second die": 0}.get(gpu.counter)
        key = "power" if self.old else "energy_accumulator"
        return {key: int(gpu.joules / UNIT_UJ * 1e6) if ticks is None else ticks, "counter_resolution": UNIT_UJ, "timestamp": 1}

    def amdsmi_get_power_info(self, gpu):
        told = {kind: round(gpu.watts) if power == "watts" else power for kind, power in gpu.power.items()}
        return {f"{kind}_socket_power": power for kind, power in told.items()} | {"power_limit": 300}


def mi250x(*buses, watts=300.0, first=0):
    """A board: the die that reads both, and the one that reads nothing; ``first`` says which is on the first bus."""
    dies = [
        Gpu(buses[0], "AMD Instinct MI250X", "0x7408", watts=watts),
        Gpu(buses[0], "AMD Instinct MI250X", "0x7408", watts=0.0, counter="second die", power={"average": 0, "current": "N/A"}),
    ]
    dies = dies[::-1] if first else dies
    for bus, die in zip(buses, dies, strict=True):
        die.bdf, die.rank, die.uuid = f"0000:{bus:02x}:00.0", bus, f"GPU-{bus:016x}"
    return dies


def probe(library, environ=None, modules=None):
    return amdsmi.probe(library, environ or {}, library.clock, modules or {})


def counters(library, *args):
    return [c for finding in probe(library, *args) if isinstance(finding, Found) for c in finding.counters]


def addresses(library, *args):
    return [counter.sensor.id.removeprefix("gpu:pci-") for counter in counters(library, *args)]


def notes(library, *args):
    return [note for finding in probe(library, *args) if isinstance(finding, Found) for note in finding.notes]


def absences(library, *args):
    return [finding for finding in probe(library, *args) if isinstance(finding, Absent)]


def measured_j(library, seconds, looks=1):
    """What the counters found measure over a window of so many equal stretches."""
    with Meter(counters(library), clock=library.clock) as meter:
        before = meter.snapshot()
        for _ in range(looks):
            library.run(seconds / looks)
            after = meter.snapshot()
        return meter.between(before, after).joules


def test_an_instinct_board_is_read_through_its_energy_counter():
    (counter,) = counters(FakeAmdSmi(Gpu(0xC1)))
    assert (counter.sensor.id, counter.sensor.part, counter.sensor.method) == ("gpu:pci-0000:c1:00.0", "gpu", "counter")
    assert counter.sensor.unit_j == pytest.approx(15.3e-6)


def test_the_energy_of_a_window_is_what_the_board_drew():
    assert measured_j(FakeAmdSmi(Gpu(0xC1, watts=250.0)), 100.0) == pytest.approx(25_000, abs=UNIT_UJ * 1e-6 * 2)


def test_a_library_before_rocm_6_2_calls_the_ticks_power():
    assert measured_j(FakeAmdSmi(Gpu(0xC1, watts=250.0), old=True), 10.0) == pytest.approx(2_500, abs=1e-3)


@given(st.lists(st.tuples(st.floats(0.1, 30.0), st.floats(30.0, 1000.0)), min_size=1, max_size=20))
def test_whatever_a_board_draws_is_counted_to_the_tick(stretches):
    gpu = Gpu(0xC1)
    library = FakeAmdSmi(gpu)
    with Meter(counters(library), clock=library.clock) as meter:
        before, joules = meter.snapshot(), gpu.joules
        for seconds, watts in stretches:
            gpu.watts = watts
            library.run(seconds)
            after = meter.snapshot()
        assert meter.between(before, after).joules == pytest.approx(gpu.joules - joules, abs=UNIT_UJ * 1e-6 * 2)


@pytest.mark.parametrize("first", [0, 1], ids=["reads", "reads nothing"])
def test_a_board_of_two_dies_is_counted_once(first):
    library = FakeAmdSmi(*mi250x(0xC1, 0xC6, first=first), *mi250x(0xC9, 0xCE, first=first))
    assert len(counters(library)) == 2
    assert measured_j(library, 10.0) == pytest.approx(2 * 3000, abs=1e-3)


@pytest.mark.parametrize("die", ["0", "1"])
def test_a_job_with_one_die_counts_the_whole_board_and_says_so(die):
    library = FakeAmdSmi(*mi250x(0xC1, 0xC6), *mi250x(0xC9, 0xCE))
    assert addresses(library, {"HIP_VISIBLE_DEVICES": die}) == ["0000:c1:00.0"]
    (note,) = notes(library, {"HIP_VISIBLE_DEVICES": die})
    assert "AMD Instinct MI250X at 0000:c1:00.0: 1 of its 2 dies" in note


def test_a_job_with_both_dies_has_nothing_to_note():
    assert notes(FakeAmdSmi(*mi250x(0xC1, 0xC6))) == []


def test_a_board_of_two_dies_that_tells_nothing_is_modelled_once():
    dies = mi250x(0xC1, 0xC6)
    dies[0].counter, dies[0].power = "second die", {"average": "N/A", "current": "N/A"}
    assert measured_j(FakeAmdSmi(*dies), 10.0) == pytest.approx(0.8 * 500 * 10)


def test_a_second_die_without_a_valid_counter_reads_nothing_either():
    dies = mi250x(0xC1, 0xC6)
    dies[1].counter, dies[1].power = "invalid", {"average": "N/A", "current": "N/A"}
    assert addresses(FakeAmdSmi(*dies)) == ["0000:c1:00.0"]


def test_a_second_die_alone_is_modelled_and_not_taken_for_a_board_that_draws_nothing():
    library = FakeAmdSmi(mi250x(0xC1, 0xC6)[1])
    assert [counter.sensor.method for counter in counters(library)] == ["modelled"]


def test_two_dies_that_both_read_are_of_two_boards():
    dies = [mi250x(0xC1, 0xC6)[0], mi250x(0xC9, 0xCE)[0]]
    assert addresses(FakeAmdSmi(*dies)) == ["0000:c1:00.0", "0000:c9:00.0"]


def test_partitions_of_a_board_are_counted_once():
    parts = [Gpu(0x05, "AMD Instinct MI300X", "0x74a1", watts=600.0, rank=i, function=i) for i in range(8)]
    library = FakeAmdSmi(*parts)
    assert measured_j(library, 10.0) == pytest.approx(6000, abs=1e-3)
    assert "3 of its 8 dies or partitions" in notes(library, {"HIP_VISIBLE_DEVICES": "2,3,4"})[0]


def test_a_counter_that_stands_still_has_the_power_integrated_instead_and_says_so():
    library = FakeAmdSmi(Gpu(0xC1, watts=200.0, counter="frozen"))
    (counter,) = counters(library)
    assert counter.sensor.method == "integrated"
    assert "stands still, its power is integrated" in notes(library)[0]
    assert measured_j(library, 10.0, looks=10) == pytest.approx(2000)


def test_a_counter_that_stops_during_a_run_costs_coverage():
    gpu = Gpu(0xC1)
    library = FakeAmdSmi(gpu)
    with Meter(counters(library), clock=library.clock) as meter:
        before = meter.snapshot()
        gpu.counter = "frozen"
        for _ in range(6):
            library.run(10.0)
            after = meter.snapshot()
        energy = meter.between(before, after)
    assert energy.coverage < 0.2


@pytest.mark.parametrize(
    ("gpu", "note"),
    [
        pytest.param(Gpu(0xC1, watts=200.0, counter="none"), True, id="no counter on this virtual machine"),
        pytest.param(Gpu(0xC1, watts=200.0, counter="invalid"), True, id="no valid counter"),
        pytest.param(Gpu(0xC1, "AMD Instinct MI100", "0x738c", watts=200.0), False, id="MI100, whose counter is not to be trusted"),
        pytest.param(Gpu(0xC1, "Radeon RX 7900 XTX", "0x744c", watts=200.0), False, id="Radeon, whose unit is unknown"),
        pytest.param(
            Gpu(0xC1, watts=200.0, counter="none", power={"average": "N/A", "current": "watts"}), True, id="current power"
        ),
        pytest.param(Gpu(0xC1, watts=200.0, counter="none", power={"average": 0, "current": "watts"}), True, id="0 for not told"),
        pytest.param(Gpu(0xC1, watts=200.0, counter="none", power={"average": 65535, "current": "watts"}), True, id="all bits set"),
    ],
)
def test_a_board_without_a_good_counter_has_its_power_integrated(gpu, note):
    library = FakeAmdSmi(gpu)
    assert [counter.sensor.method for counter in counters(library)] == ["integrated"]
    assert measured_j(library, 10.0, looks=10) == pytest.approx(2000)
    assert bool(notes(library)) is note


def test_a_radeon_tells_the_power_of_its_chip_so_that_more_is_likely_than_less():
    (counter,) = counters(FakeAmdSmi(Gpu(0xC1, "Radeon RX 7900 XTX", "0x744c")))
    assert counter.sensor.high > 2 * counter.sensor.low


def silent(name, device):
    return Gpu(0xC1, name, device, counter="none", power={"average": "N/A", "current": "N/A"})


@pytest.mark.parametrize(
    ("name", "device", "tdp_w"),
    [
        ("AMD Instinct MI300X", "0x74a1", 750),
        ("Instinct MI210", "0x740f", 300),
        ("Aldebaran/MI200 [Instinct MI210", "0x740f", 300),
        ("AMD Instinct MI250X / MI250", "0x740c", 500),
        ("0x740f", "0x740f", 300),
        ("Radeon RX 7900 XTX", "0x744c", 355),
    ],
)
def test_a_board_that_tells_nothing_is_modelled_by_its_name_or_its_device(name, device, tdp_w):
    library = FakeAmdSmi(silent(name, device))
    assert measured_j(library, 10.0) == pytest.approx(0.8 * tdp_w * 10)
    assert notes(library)[0].startswith("MODELLED: AMD ")


def test_a_board_that_tells_nothing_and_is_in_no_table_is_named_as_left_out():
    assert [a.uncounted for a in absences(FakeAmdSmi(silent("Instinct MI999", "0x7fff")))] == ["AMD Instinct MI999"]


def test_a_package_with_a_cpu_counts_that_too():
    library = FakeAmdSmi(Gpu(0x01, "AMD Instinct MI300A", "0x74a0"))
    assert [finding.covers for finding in probe(library) if finding.counters] == [("cpu", "dram")]


def test_a_gpu_inside_a_cpu_is_left_to_the_cpus_counter_but_has_its_number():
    library = FakeAmdSmi(Gpu(0x03, rank=0), Gpu(0x0C, "AMD Radeon Graphics", "0x164e", rank=1), Gpu(0x41, rank=2))
    assert addresses(library) == ["0000:03:00.0", "0000:41:00.0"]
    assert [(a.reason, a.uncounted) for a in absences(library)] == [("it is part of the CPU", "")]
    assert addresses(library, {"HIP_VISIBLE_DEVICES": "2"}) == ["0000:41:00.0"]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (NO_PERMISSION, "sudo usermod -aG render,video $USER"),
        ("AMDSMI_STATUS_DRIVER_NOT_LOADED - Driver not loaded", "sudo modprobe amdgpu"),
        ("AMDSMI_STATUS_INIT_ERROR - Initialization error", "--device=/dev/kfd --device=/dev/dri"),
    ],
)
def test_a_driver_that_does_not_answer_is_absent_with_what_helps(error, remedy):
    (absence,) = probe(FakeAmdSmi(init_error=error))
    assert remedy in absence.remedy
    assert "\n" not in absence.reason


def test_a_driver_without_boards_is_absent():
    (absence,) = probe(FakeAmdSmi())
    assert (absence.reason, absence.uncounted) == ("the driver lists no board", "")


@pytest.mark.parametrize(
    ("library", "environ", "answered"),
    [
        pytest.param(FakeAmdSmi(Gpu(0xC1)), {}, True, id="a board"),
        pytest.param(FakeAmdSmi(Gpu(0xC1)), {"HIP_VISIBLE_DEVICES": "-1"}, True, id="a hidden board"),
        pytest.param(FakeAmdSmi(silent("Instinct MI999", "0x7fff")), {}, True, id="a board that tells nothing"),
        pytest.param(FakeAmdSmi(), {}, True, id="no board"),
        pytest.param(FakeAmdSmi(init_error=NO_PERMISSION), {}, False, id="no driver"),
    ],
)
def test_a_driver_that_answers_has_spoken_for_all_boards(library, environ, answered):
    assert amdsmi.answered(probe(library, environ)) is answered


def four(ranks=(0, 1, 2, 3)):
    """Boards 0 to 3 in the library's order; their UUIDs are GPU-...a0a0 to GPU-...a0a3."""
    return FakeAmdSmi(*(Gpu(bus, rank=rank) for bus, rank in enumerate(ranks)))


def boards(library, environ=None, modules=None):
    """The buses of the boards found, in their order."""
    return sorted(int(address[5:7], 16) for address in addresses(library, environ, modules))


@pytest.mark.parametrize(
    ("environ", "left"),
    [
        pytest.param({}, [0, 1, 2, 3], id="nothing is set"),
        pytest.param({"HIP_VISIBLE_DEVICES": "0,2"}, [0, 2], id="HIP"),
        pytest.param({"CUDA_VISIBLE_DEVICES": "1"}, [1], id="HIP heeds CUDA's variable"),
        pytest.param({"HIP_VISIBLE_DEVICES": "3", "CUDA_VISIBLE_DEVICES": "1"}, [3], id="its own comes first"),
        pytest.param({"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "1"}, [1], id="unless it is empty"),
        pytest.param({"CUDA_VISIBLE_DEVICES": ""}, [0, 1, 2, 3], id="empty is unset for HIP"),
        pytest.param({"HIP_VISIBLE_DEVICES": "-1"}, [], id="minus one hides all"),
        pytest.param({"HIP_VISIBLE_DEVICES": "0,9,1"}, [0], id="ends at a number without a board"),
        pytest.param({"HIP_VISIBLE_DEVICES": "0, 1"}, [0], id="HIP trims nothing"),
        pytest.param({"HIP_VISIBLE_DEVICES": "01"}, [], id="nor reads a number that is written otherwise"),
        pytest.param({"HIP_VISIBLE_DEVICES": "2,2,1"}, [1, 2], id="named twice is named once"),
        pytest.param({"HIP_VISIBLE_DEVICES": "GPU-000000000000a0a2"}, [2], id="UUID"),
        pytest.param({"HIP_VISIBLE_DEVICES": "GPU-00000000"}, [0], id="part of a UUID: the first"),
        pytest.param({"ROCR_VISIBLE_DEVICES": "3, 1"}, [1, 3], id="ROCr trims"),
        pytest.param({"ROCR_VISIBLE_DEVICES": ""}, [], id="empty is none for ROCr"),
        pytest.param({"ROCR_VISIBLE_DEVICES": "1,1,2"}, [1], id="ROCr ends at a repetition"),
        pytest.param({"ROCR_VISIBLE_DEVICES": "gpu-000000000000A0A2"}, [2], id="ROCr's UUID in any case"),
        pytest.param({"ROCR_VISIBLE_DEVICES": "GPU-0000"}, [], id="an ambiguous UUID"),
        pytest.param({"ROCR_VISIBLE_DEVICES": "1,x,2"}, [1], id="ROCr ends at a word"),
        pytest.param({"ROCR_VISIBLE_DEVICES": "3,1", "HIP_VISIBLE_DEVICES": "0"}, [3], id="HIP numbers what ROCr left"),
        pytest.param({"ROCR_VISIBLE_DEVICES": "3,1", "HIP_VISIBLE_DEVICES": "2"}, [], id="and no more"),
    ],
)
def test_the_variables_are_read_as_rocm_reads_them(environ, left):
    assert boards(four(), environ) == left


def test_hip_numbers_boards_otherwise_than_the_library_lists_them():
    assert boards(four(ranks=(4, 2, 7, 3)), {"HIP_VISIBLE_DEVICES": "0,1"}) == [1, 3]


def test_numbers_are_uncertain_where_the_library_does_not_tell_hips():
    library = four(ranks=(None,) * 4)
    assert boards(library, {"HIP_VISIBLE_DEVICES": "1"}) == [1]
    assert "name them by UUID" in notes(library, {"HIP_VISIBLE_DEVICES": "1"})[0]
    assert notes(library) == []


def test_a_library_that_does_not_tell_hips_uuid_tells_the_serial_number_that_it_is():
    assert boards(four(ranks=(None,) * 4), {"ROCR_VISIBLE_DEVICES": "GPU-000000000000a0a3"}) == [3]


@pytest.mark.parametrize(
    ("environ", "uncounted"),
    [
        ({"HIP_VISIBLE_DEVICES": "-1"}, ""),
        ({"ROCR_VISIBLE_DEVICES": ""}, ""),
        ({"HIP_VISIBLE_DEVICES": "9"}, "the GPUs of HIP_VISIBLE_DEVICES=9"),
    ],
)
def test_hidden_boards_are_left_out_and_named_only_if_that_was_not_meant(environ, uncounted):
    (absence,) = probe(four(), environ)
    assert absence.uncounted == uncounted


def torch(*properties, hip="6.4", initialized=True):
    cuda = SimpleNamespace(
        is_initialized=lambda: initialized, device_count=lambda: len(properties), get_device_properties=properties.__getitem__
    )
    return {"torch": SimpleNamespace(version=SimpleNamespace(hip=hip), cuda=cuda)}


def on_bus(bus):
    return SimpleNamespace(pci_domain_id=0, pci_bus_id=bus, pci_device_id=0, uuid="")


def with_uuid(bus):
    """Torch shows the 16 digits of ROCm's UUID as if they were its 16 bytes."""
    digits = f"{0xA0A0 + bus:016x}".encode().hex()
    return SimpleNamespace(uuid="-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))


@pytest.mark.parametrize("told_by", [on_bus, with_uuid])
def test_a_torch_for_rocm_that_has_opened_its_boards_is_asked(told_by):
    assert boards(four(), {"HIP_VISIBLE_DEVICES": "0"}, torch(told_by(2), told_by(3))) == [2, 3]


@pytest.mark.parametrize(
    "modules",
    [
        pytest.param(torch(on_bus(2), hip=None), id="a torch for NVIDIA"),
        pytest.param(torch(on_bus(2), initialized=False), id="nothing opened"),
        pytest.param(torch(on_bus(2), on_bus(0x99)), id="a board that the library does not list"),
        pytest.param(torch(SimpleNamespace(uuid="no hexadecimal")), id="a strange UUID"),
        pytest.param({"torch": SimpleNamespace()}, id="half loaded"),
    ],
)
def test_any_other_torch_is_not(modules):
    assert boards(four(), {"HIP_VISIBLE_DEVICES": "0"}, modules) == [0]


def test_a_reading_that_fails_later_is_a_sensor_error():
    gpu = Gpu(0xC1)
    library = FakeAmdSmi(gpu)
    (counter,) = counters(library)
    gpu.counter = "none"
    with pytest.raises(SensorError, match="NOT_SUPPORTED"):
        counter.read()


def test_power_that_cannot_be_read_later_is_a_gap():
    gpu = Gpu(0xC1, watts=200.0, counter="none")
    library = FakeAmdSmi(gpu)
    (counter,) = counters(library)
    gpu.power = {"average": "N/A", "current": "N/A"}
    with pytest.raises(SensorError, match="tells no power"):
        counter.read()


def test_a_library_that_answers_nonsense_about_everything_still_gets_an_answer():
    class Nonsense(FakeAmdSmi):
        def amdsmi_get_gpu_asic_info(self, gpu):
            raise ValueError("invalid literal for int() with base 16: ''")

        def amdsmi_get_gpu_device_bdf(self, gpu):
            raise AmdSmiLibraryException(NOT_SUPPORTED)

        def amdsmi_get_energy_count(self, gpu):
            return {"energy_accumulator": "N/A", "counter_resolution": "N/A"}

        def amdsmi_get_power_info(self, gpu):
            raise KeyError("socket_power")

    absences = [finding for finding in probe(Nonsense(Gpu(1), Gpu(2))) if isinstance(finding, Absent)]
    assert [absence.uncounted for absence in absences] == ["AMD GPU 0", "AMD GPU 1"]
