"""Executes notebooks in a kernel of their own. By hand, to keep new outputs: ``python tests/notebook_execution.py NOTEBOOK...``"""

from __future__ import annotations

import os
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


def _kept(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without what changes with every execution and tells nothing."""
    for cell in book.cells:
        cell.metadata.pop("execution", None)
    book.metadata.language_info = {"name": "python"}
    return book


def main() -> None:
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(_kept(executed(Path(name), Path(folder))), name)


if __name__ == "__main__":
    main()
