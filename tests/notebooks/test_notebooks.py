"""Every notebook runs top to bottom on a CPU, and keeps what it said the last time."""

from __future__ import annotations

import platform
import re

import pytest

pytest.importorskip("nbclient")

import nbformat

from notebook_execution import FOLDER, executed, outputs

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


@named
def test_what_a_notebook_said_is_kept(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2


@named
def test_a_notebook_tells_no_folder_and_no_host_of_the_machine_it_ran_on(path):
    told = list(outputs(nbformat.read(path, as_version=4)))
    shown = [text for output in told for kind, text in output.get("data", {}).items() if kind != "image/png"]
    said = "\n".join([*map(str, shown), *(output.get("text", "") for output in told)])
    assert not re.search(r"site-packages|/home/|/tmp/|/root/|[A-Z]:\\Users", said)
    assert not re.search(rf"\b{re.escape(platform.node())}\b", said)


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
