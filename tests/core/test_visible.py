"""CUDA_VISIBLE_DEVICES is read as CUDA itself reads it."""

from __future__ import annotations

import pytest

from fitprint.sensors.visible import visible_gpus

UUIDS = [
    "GPU-6c1f0000-1111-2222-3333-444455556666",
    "GPU-6c1f9999-1111-2222-3333-444455556666",
    "GPU-ab120000-1111-2222-3333-444455556666",
    "GPU-cd340000-1111-2222-3333-444455556666",
]


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
