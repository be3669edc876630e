"""Programs that were run twice, with fitprint and without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def paired(rows: Iterable[Mapping], folder: Path, told: Callable[[Path, Mapping], T]) -> dict[str, dict[str, T]]:
    """By case, what came of it ``with`` and ``without``; each has left its files in a folder of that name."""
    pairs: dict[str, dict[str, T]] = {}
    for row in rows:
        name = "with" if row["watched"] else "without"
        pairs.setdefault(row["case"], {})[name] = told(folder / row["case"] / name, row)
    return pairs
