"""Every notebook runs top to bottom on a CPU, and keeps what it said the last time."""

from __future__ import annotations

import platform
import re
import sys

import pytest

pytest.importorskip("nbclient")

import nbformat

from notebook_execution import FOLDER, TIP, executed, kept, outputs

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# The papers' notebook shows numbers that are the same everywhere: they are compared in tests/papers.
MEASURED = [path for path in NOTEBOOKS if path.stem != "papers"]
named = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_a_notebook_runs_top_to_bottom(path, tmp_path):
    book = executed(path, tmp_path)
    assert not [output for output in outputs(book) if output.output_type == "error"]
    said = "".join(output.get("text", "") for output in outputs(book))
    assert re.search(r"\d (J|Wh)\b", said)
    assert "CO2e" in said


def told(path):
    """All text that a notebook shows."""
    said = list(outputs(nbformat.read(path, as_version=4)))
    shown = [text for output in said for kind, text in output.get("data", {}).items() if kind != "image/png"]
    return "\n".join([*map(str, shown), *(output.get("text", "") for output in said)])


@named
def test_what_a_notebook_said_is_kept(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2


@named
def test_a_notebook_tells_no_folder_and_no_host_of_the_machine_it_ran_on(path):
    said = told(path)
    assert not re.search(r"site-packages|/home/|/tmp/|/root/|/Users/|[A-Z]:\\Users", said)
    assert not re.search(rf"\b{re.escape(platform.node())}\b", said)
    assert not [place for place in (FOLDER.parent, sys.prefix) if str(place) in said]


@named
def test_a_notebook_keeps_nothing_that_a_library_advertises(path):
    assert not TIP.search(told(path))


def test_what_libraries_advertise_is_left_out_of_what_is_kept():
    lines = ["GPU available: False\n", "💡 Tip: For seamless logging, try installing [other](https://other.example/)\n"]
    streams = [nbformat.v4.new_output("stream", name="stderr", text=text) for text in ("".join(lines), lines[1])]
    result = nbformat.v4.new_output("execute_result", {"text/plain": "3"}, execution_count=1)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 2", outputs=[*streams, result])])
    assert [output.get("text") for output in outputs(kept(book))] == ["GPU available: False\n", None]


@named
def test_a_notebook_can_be_read_by_every_front_end(path):
    book = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(book)
    assert len({cell.id for cell in book.cells}) == len(book.cells)


def test_there_is_one_for_each_question():
    assert {path.stem for path in NOTEBOOKS} == {
        "lightning_quickstart",
        "keras_quickstart",
        "budget",
        "sweep",
        "papers",
        "statement",
    }
