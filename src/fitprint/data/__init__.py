"""Tables of figures, each row with its source, year, basis and licence (see ATTRIBUTION.md)."""

from __future__ import annotations

import csv
import pkgutil
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def table(name: str) -> tuple[Mapping[str, str], ...]:
    """Return the rows of ``<name>.csv`` in file order, read once per process."""
    text = pkgutil.get_data(__name__, f"{name}.csv") or b""  # a package in a zip archive has no path to open
    return tuple(MappingProxyType(row) for row in csv.DictReader(text.decode("utf-8").splitlines()))
