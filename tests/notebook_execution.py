"""Executes notebooks in a kernel of their own. By hand, to keep new outputs: ``python tests/notebook_execution.py NOTEBOOK...``"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

# Small networks gain nothing from many threads. Keras on torch loads TensorFlow where it is installed; that and tqdm talk.
QUIET = {
    "PYTHONWARNINGS": "ignore:IProgress not found",
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}
LIMIT_S = 240
# Lightning's lines that ask to install something else.
TIP = re.compile(r"\bTip: .* installing ")
FOLDER = Path(__file__).parents[1] / "notebooks"


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with what its cells say now, run top to bottom in an empty folder.

    Raises:
        CellExecutionError: If a cell fails.
    """
    book = nbformat.read(path, as_version=4)
    own = {name: str(folder / ".jupyter") for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")}
    kernel = AsyncKernelManager(kernel_name="python3")
    client = NotebookClient(book, km=kernel, timeout=LIMIT_S, resources={"metadata": {"path": str(folder)}})
    with mock.patch.dict(os.environ, own | QUIET):
        client.execute()
    return book


def outputs(book: nbformat.NotebookNode) -> Iterator[nbformat.NotebookNode]:
    """What the cells have said."""
    for cell in book.cells:
        yield from cell.get("outputs", ())


def kept(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without what changes with every execution and tells nothing, and without what libraries advertise."""
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_without_tips, cell.outputs) if output.get("text", True)]
    book.metadata.language_info = {"name": "python"}
    return book


def _without_tips(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    if output.output_type == "stream":
        output.text = "".join(line for line in output.text.splitlines(keepends=True) if not TIP.search(line))
    return output


def main() -> None:
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(kept(executed(Path(name), Path(folder))), name)


if __name__ == "__main__":
    main()
