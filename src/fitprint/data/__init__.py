"""Tables of figures, each row with its source, year, basis and licence (see ATTRIBUTION.md)."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def table(name: str) -> tuple[Mapping[str, str], ...]:
    """Return the rows of ``<name>.csv`` in file order, read once per process."""
    text = shipped(Path(__file__).with_name(f"{name}.csv"))
    return tuple(MappingProxyType(row) for row in csv.DictReader(text.splitlines()))


def shipped(path: Path) -> str:
    """The text of a file of this package, which may lie in a zip archive, where there are no paths to open."""
    loader: Any = __spec__.loader
    content: bytes = loader.get_data(str(path))
    return content.decode("utf-8")
