"""One figure that was not measured, with its source: a row of ``Footprint.assumptions``."""

from __future__ import annotations

from typing import Any, NamedTuple


class Assumption(NamedTuple):
    """A figure that went into the result without having been measured in this run.

    Attributes:
        name: What it is, for example ``intensity``.
        value: The figure that was used.
        low: Lower end of its 95 % interval, or None where it has none.
        high: Upper end of its 95 % interval, or None where it has none.
        unit: Unit of the three, ``"1"`` for a ratio.
        source: Where it comes from.
        year: The year that it describes, or None.
        basis: What exactly it counts, or how it was chosen.
    """

    name: str
    value: float | str | None
    low: float | None
    high: float | None
    unit: str
    source: str
    year: int | None
    basis: str

    def to_dict(self) -> dict[str, Any]:
        return self._asdict()
