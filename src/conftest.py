"""Examples in docstrings run in an empty folder, as tests do."""

from pathlib import Path

import pytest

collect_ignore = ["conftest.py"]  # it is no example


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example writes is not in the tree."""
    monkeypatch.chdir(tmp_path)
