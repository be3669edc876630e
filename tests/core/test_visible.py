"""CUDA_VISIBLE_DEVICES is read as CUDA itself reads it, and frameworks that have opened GPUs are believed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.sensors.visible import Identity, bus_id, opened_gpus, visible_boards

UUIDS = [
    "GPU-6c1f0000-1111-2222-3333-444455556666",
    "GPU-6c1f9999-1111-2222-3333-444455556666",
    "GPU-ab120000-1111-2222-3333-444455556666",
    "GPU-cd340000-1111-2222-3333-444455556666",
]


def listed(uuids=UUIDS, names=("A100",) * 4):
    return [Identity(uuid, name, bus_id(0, 0x65 + i, 0)) for i, (uuid, name) in enumerate(zip(uuids, names, strict=False))]


def visible_gpus(uuids, environ):
    return list(visible_boards(listed(uuids), environ, modules={}).indices)


def test_an_unset_variable_leaves_every_board_visible():
    assert visible_gpus(UUIDS, {}) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        pytest.param("", [], id="empty means none"),
        pytest.param("  ", [], id="blanks mean none"),
        pytest.param("0", [0], id="one index"),
        pytest.param("3,0,2", [3, 0, 2], id="order is kept"),
        pytest.param(" 1 , 2 ", [1, 2], id="spaces do not matter"),
        pytest.param("2,+3,-0,1", [2, 3, 0, 1], id="signs as C reads them"),
        pytest.param("01,002", [1, 2], id="leading zeros"),
        pytest.param("1gpu2,2ampere", [1, 2], id="what follows a number is ignored"),
        pytest.param("0,2,-1,1", [0, 2], id="ends at the first negative entry"),
        pytest.param("1,4,0", [1], id="ends at the first index without a board"),
        pytest.param("1,two,0", [1], id="ends at the first word"),
        pytest.param("1,,0", [1], id="ends at nothing between commas"),
        pytest.param("NoDevFiles", [], id="a word alone hides all"),
        pytest.param("-1", [], id="minus one hides all"),
        pytest.param("9" * 5000, [], id="a number beyond all numbers"),
        pytest.param("\N{ARABIC-INDIC DIGIT ONE}", [], id="other digits than C's"),
        pytest.param("1,1", [], id="a duplicate voids the list"),
        pytest.param("0,1,0", [], id="a duplicate apart voids the list"),
        pytest.param("1,+01", [], id="a duplicate in other digits voids the list"),
        pytest.param(f"0,{UUIDS[0]}", [], id="a duplicate by two names voids the list"),
        pytest.param("0,-1,0", [0], id="what follows the end is no duplicate"),
        pytest.param(UUIDS[2], [2], id="a UUID counts exactly that board"),
        pytest.param(f"{UUIDS[3]},{UUIDS[1]}", [3, 1], id="UUIDs keep their order"),
        pytest.param("GPU-ab", [2], id="a unique prefix"),
        pytest.param("GPU-6c1f9", [1], id="a prefix as long as it must be"),
        pytest.param("GPU-6c1f", [], id="an ambiguous prefix names no board"),
        pytest.param("2,GPU-6c1f,0", [2], id="ends at an ambiguous prefix"),
        pytest.param("GPU-ff", [], id="an unknown UUID"),
        pytest.param("ab12", [], id="a UUID without GPU-"),
    ],
)
def test_the_variable_chooses_boards(text, visible):
    assert visible_gpus(UUIDS, {"CUDA_VISIBLE_DEVICES": text}) == visible


@given(st.text(alphabet="0123 ,+-GPUMI6c1fab/", max_size=40))
def test_whatever_the_variable_holds_boards_are_real_and_counted_once(text):
    chosen = visible_gpus(UUIDS, {"CUDA_VISIBLE_DEVICES": text})
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(range(len(UUIDS)))


@given(st.lists(st.sampled_from(range(4)), unique=True))
def test_a_list_of_numbers_and_the_list_of_their_uuids_choose_the_same(numbers):
    by_number = visible_gpus(UUIDS, {"CUDA_VISIBLE_DEVICES": ",".join(map(str, numbers))})
    by_uuid = visible_gpus(UUIDS, {"CUDA_VISIBLE_DEVICES": ",".join(UUIDS[number] for number in numbers)})
    assert by_number == by_uuid == numbers


def test_without_boards_nothing_is_visible():
    assert visible_gpus([], {}) == []
    assert visible_gpus([], {"CUDA_VISIBLE_DEVICES": "0"}) == []


def boards(text, *, names=("A100",) * 4, modules=None, order=None, mig=None):
    environ = {"CUDA_VISIBLE_DEVICES": text, "CUDA_DEVICE_ORDER": order or "FASTEST_FIRST"}
    return visible_boards(listed(names=names), environ, modules=modules or {}, parent_of_mig=(mig or {}).get)


def test_two_parts_of_one_board_count_it_once_and_are_both_named():
    visible = boards("MIG-a,MIG-b,0", mig={"MIG-a": UUIDS[2], "MIG-b": UUIDS[2]})
    assert (visible.indices, visible.parts) == ((2, 0), {2: ("MIG-a", "MIG-b")})


def test_one_part_named_twice_voids_the_list():
    assert boards("MIG-a,MIG-a", mig={"MIG-a": UUIDS[2]}).indices == ()


@pytest.mark.parametrize("board", [UUIDS[3], "GPU-cd34"])
def test_the_older_form_of_a_part_names_its_board(board):
    visible = boards(f"MIG-{board}/7/0")
    assert (visible.indices, visible.parts) == ((3,), {3: (f"MIG-{board}/7/0",)})


@pytest.mark.parametrize("unknown", ["MIG-unknown", "MIG-GPU-6c1f/1/0", "MIG-GPU-ff/1/0"])
def test_an_unknown_part_ends_the_list(unknown):
    assert boards(f"1,{unknown},0").indices == (1,)


def torch_with(*gpus, initialized=True, hip=None):
    """Loaded torch whose devices have these properties; a string is a UUID."""
    properties = [
        SimpleNamespace(name="A100", uuid=gpu.removeprefix("GPU-")) if isinstance(gpu, str) else SimpleNamespace(name="A100", **gpu)
        for gpu in gpus
    ]
    cuda = SimpleNamespace(
        is_initialized=lambda: initialized, device_count=lambda: len(properties), get_device_properties=properties.__getitem__
    )
    return {"torch": SimpleNamespace(cuda=cuda, version=SimpleNamespace(hip=hip))}


def test_a_framework_that_has_opened_its_boards_is_asked():
    assert boards("0", modules=torch_with(UUIDS[3], UUIDS[1])).indices == (3, 1)


@pytest.mark.parametrize(
    "modules",
    [
        pytest.param(torch_with(UUIDS[3], initialized=False), id="not initialised"),
        pytest.param(torch_with(), id="initialised without devices"),
        pytest.param(torch_with(UUIDS[3], hip="6.0"), id="built for AMD"),
        pytest.param({"torch": SimpleNamespace()}, id="half loaded"),
        pytest.param({"torch": None}, id="blocked"),
    ],
)
def test_a_framework_that_has_opened_none_is_not(modules):
    visible = boards("0", modules=modules)
    assert (visible.indices, visible.unlisted) == ((0,), ())


def test_a_part_that_a_framework_has_opened_is_that_part():
    visible = boards("0", modules=torch_with("GPU-a"), mig={"MIG-a": UUIDS[2]})
    assert (visible.indices, visible.parts) == ((2,), {2: ("MIG-a",)})


def test_a_framework_that_calls_a_part_by_its_board_still_has_only_the_part():
    visible = boards("MIG-a", modules=torch_with(UUIDS[2]), mig={"MIG-a": UUIDS[2]})
    assert (visible.indices, visible.parts) == ((2,), {2: ("MIG-a",)})


def test_a_board_under_another_uuid_is_found_at_its_place_on_the_bus():
    remapped = {"uuid": "0000", "pci_domain_id": 0, "pci_bus_id": 0x67, "pci_device_id": 0}
    visible = boards("0", modules=torch_with(remapped))
    assert (visible.indices, visible.unlisted) == ((2,), ())


@pytest.mark.parametrize(
    "stranger", [{"uuid": "0000"}, {"uuid": "0000", "pci_domain_id": 0, "pci_bus_id": 0x01, "pci_device_id": 0}]
)
def test_a_board_that_the_driver_does_not_list_is_named_and_not_guessed(stranger):
    visible = boards("0", modules=torch_with(UUIDS[1], stranger))
    assert visible.indices == (1,)
    assert [(gpu.ordinal, gpu.name, gpu.uuid) for gpu in visible.unlisted] == [(1, "A100", "GPU-0000")]


def test_a_framework_too_old_to_tell_uuids_tells_numbers_among_the_visible_devices():
    assert boards("3,1", modules=torch_with({}, {})).indices == (3, 1)


def tensorflow_with(*ordinals, opened=True, cuda=True):
    devices = [SimpleNamespace(name=f"/physical_device:GPU:{ordinal}") for ordinal in ordinals]
    context = SimpleNamespace(
        _physical_devices=devices if opened else None,
        get_visible_devices=lambda kind: devices if opened else pytest.fail("TensorFlow was made to look for devices"),
    )
    return {
        "tensorflow.python.platform.build_info": SimpleNamespace(build_info={"is_cuda_build": cuda}),
        "tensorflow.python.eager.context": SimpleNamespace(context_safe=lambda: context),
    }


def test_tensorflows_numbers_are_those_among_the_visible_devices():
    assert boards("3,1,2", modules=tensorflow_with(0, 2)).indices == (3, 2)


@pytest.mark.parametrize(
    "modules",
    [tensorflow_with(1, opened=False), tensorflow_with(1, cuda=False), tensorflow_with()],
    ids=["asleep", "AMD", "hidden"],
)
def test_tensorflow_that_has_opened_no_gpu_of_ours_is_not_asked(modules):
    assert boards("3,1", modules=modules).indices == (3, 1)


def jax_with(*ordinals, opened=True, platform="gpu", version="cuda 12090"):
    client = SimpleNamespace(platform_version=version)
    devices = [
        SimpleNamespace(platform=platform, local_hardware_id=ordinal, device_kind="NVIDIA A100", client=client)
        for ordinal in ordinals
    ]
    return {
        "jax": SimpleNamespace(local_devices=lambda: devices if opened else pytest.fail("JAX was made to open its devices")),
        "jax._src.xla_bridge": SimpleNamespace(backends_are_initialized=lambda: opened),
    }


def test_the_boards_of_jax_are_numbered_among_the_visible_devices():
    assert boards("3,1,2", modules=jax_with(1)).indices == (1,)


@pytest.mark.parametrize(
    "modules",
    [jax_with(1, opened=False), jax_with(0, platform="cpu"), jax_with(1, version="rocm 60000")],
    ids=["asleep", "on the CPU", "AMD"],
)
def test_jax_that_has_opened_no_gpu_of_ours_is_not_asked(modules):
    assert boards("3,1", modules=modules).indices == (3, 1)


def test_a_number_beyond_the_visible_devices_is_named_and_not_guessed():
    visible = boards("3", modules=jax_with(0, 5))
    assert visible.indices == (3,)
    assert [(gpu.ordinal, gpu.name) for gpu in visible.unlisted] == [(5, "NVIDIA A100")]


def test_frameworks_that_share_a_process_share_its_boards():
    modules = {**torch_with(UUIDS[3]), **tensorflow_with(), **jax_with(0, 1)}
    assert boards("3,1", modules=modules).indices == (3, 1)
    assert [gpu.uuid for gpu in opened_gpus(modules)] == [UUIDS[3], ""]


@pytest.mark.parametrize(
    ("names", "order", "modules", "said"),
    [
        (("A100", "T4", "A100", "A100"), None, None, True),
        (("A100", "T4", "A100", "A100"), "PCI_BUS_ID", None, False),
        (("A100",) * 4, None, None, False),
        (("A100", "T4", "A100", "A100"), None, jax_with(0), True),
        (("A100", "T4", "A100", "A100"), None, torch_with(UUIDS[1]), False),
    ],
)
def test_numbers_of_boards_that_differ_are_uncertain_unless_the_order_is_set(names, order, modules, said):
    assert ("PCI_BUS_ID" in boards("1", names=names, order=order, modules=modules).note) is said
