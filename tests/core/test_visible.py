"""CUDA_VISIBLE_DEVICES is read as CUDA itself reads it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fitprint.sensors.visible import visible_boards

UUIDS = [
    "GPU-6c1f0000-1111-2222-3333-444455556666",
    "GPU-6c1f9999-1111-2222-3333-444455556666",
    "GPU-ab120000-1111-2222-3333-444455556666",
    "GPU-cd340000-1111-2222-3333-444455556666",
]


def visible_gpus(uuids, environ):
    return list(visible_boards(uuids, ["A100"] * len(uuids), environ, modules={}).indices)


def test_an_unset_variable_leaves_every_board_visible():
    assert visible_gpus(UUIDS, {}) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        pytest.param("", [], id="empty means none"),
        pytest.param("0", [0], id="one index"),
        pytest.param("3,0,2", [3, 0, 2], id="order is kept"),
        pytest.param(" 1 , 2 ", [1, 2], id="spaces do not matter"),
        pytest.param("0,2,-1,1", [0, 2], id="ends at the first negative entry"),
        pytest.param("1,4,0", [1], id="ends at the first index without a board"),
        pytest.param("1,two,0", [1], id="ends at the first word"),
        pytest.param("NoDevFiles", [], id="a word alone hides all"),
        pytest.param("-1", [], id="minus one hides all"),
        pytest.param("1,1", [], id="a duplicate voids the list"),
        pytest.param("0,1,0", [], id="a duplicate apart voids the list"),
        pytest.param(f"0,{UUIDS[0]}", [], id="a duplicate by two names voids the list"),
        pytest.param(UUIDS[2], [2], id="a UUID"),
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


def test_without_boards_nothing_is_visible():
    assert visible_gpus([], {}) == []
    assert visible_gpus([], {"CUDA_VISIBLE_DEVICES": "0"}) == []


def boards(text, *, names=("A100",) * 4, modules=None, order=None, mig=None):
    environ = {"CUDA_VISIBLE_DEVICES": text, "CUDA_DEVICE_ORDER": order or "FASTEST_FIRST"}
    return visible_boards(UUIDS, names, environ, modules=modules or {}, parent_of_mig=(mig or {}).get)


def test_two_parts_of_one_board_count_it_once_and_flag_it():
    visible = boards("MIG-a,MIG-b,0", mig={"MIG-a": UUIDS[2], "MIG-b": UUIDS[2]})
    assert (visible.indices, visible.shared) == ((2, 0), {2})


def test_one_part_named_twice_voids_the_list():
    assert boards("MIG-a,MIG-a", mig={"MIG-a": UUIDS[2]}).indices == ()


def test_the_older_form_of_a_part_names_its_board():
    assert boards(f"MIG-{UUIDS[3]}/7/0").indices == (3,)


def test_an_unknown_part_ends_the_list():
    assert boards("1,MIG-unknown,0").indices == (1,)


def torch_with(*uuids, initialized=True):
    properties = [SimpleNamespace(uuid=uuid.removeprefix("GPU-")) for uuid in uuids]
    cuda = SimpleNamespace(
        is_initialized=lambda: initialized, device_count=lambda: len(properties), get_device_properties=properties.__getitem__
    )
    return {"torch": SimpleNamespace(cuda=cuda)}


def test_a_framework_that_has_opened_its_boards_is_asked():
    assert boards("0", modules=torch_with(UUIDS[3], UUIDS[1])).indices == (3, 1)


def test_a_framework_that_has_not_is_not():
    assert boards("0", modules=torch_with(UUIDS[3], initialized=False)).indices == (0,)
    assert boards("0", modules={"torch": SimpleNamespace()}).indices == (0,)


@pytest.mark.parametrize(
    ("names", "order", "said"),
    [
        (("A100", "T4", "A100", "A100"), None, True),
        (("A100", "T4", "A100", "A100"), "PCI_BUS_ID", False),
        (("A100",) * 4, None, False),
    ],
)
def test_numbers_of_boards_that_differ_are_uncertain_unless_the_order_is_set(names, order, said):
    assert ("PCI_BUS_ID" in boards("1", names=names, order=order).note) is said
