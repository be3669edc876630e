"""The notebook of the papers runs, and shows what it shows."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "papers.ipynb"


def test_every_cell_runs_and_prints_what_the_notebook_shows():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    namespace: dict[str, object] = {}
    for cell in cells:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), namespace)
        assert said.getvalue() == "".join(line for output in cell["outputs"] for line in output["text"])
    assert len(cells) > 5


def test_it_is_a_notebook_of_version_4_with_a_name_for_every_cell():
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids)
