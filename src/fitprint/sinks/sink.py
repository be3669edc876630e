"""What a sink is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fitprint.footprint import Footprint


class Sink(Protocol):
    """Takes what a run logs. A class that inherits from this one need only say what it does with it.

    A failure costs that call alone: the first is logged, and at the end how many there were. Calls that wait for one that
    hangs cost the training nothing. A callback's later runs use the same object: after ``close`` comes ``begin`` again.

    Attributes:
        place: Where it writes since it has begun, such as ``mlflow:RUN_ID``, or empty: a framework's own logger that writes
            into the same place is told apart by it.

    Example:
        >>> class Printing(Sink):
        ...     def log(self, scalars, step):
        ...         print(step, scalars["carbon/epoch_co2e_g"])
        >>> from fitprint import Config
        >>> options = Config(sinks=[Printing()])
    """

    place: str = ""

    def begin(self, before: Footprint | None) -> None:
        """A run begins; called in the thread that trains, so it has to return at once. The others have a thread of their own.

        Args:
            before: What earlier processes of this run have used; None where there were none.
        """

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Take the figures of an epoch or a block that has ended, or the training's totals at its end.

        Args:
            scalars: Under the public tags, ``carbon/...``, with the unit as their ending.
            step: Number of the epoch, or for ``carbon/block_...`` that of the block in the run.
        """

    def run(self, footprint: Footprint) -> None:
        """Take the run as of now: with each epoch and block, and at its end.

        A validation or test after a training is in the same experiment: its totals would stand where the training's are.

        Args:
            footprint: While its ``status`` is ``running`` it has no epochs; at the end it is the whole record.
        """

    def close(self) -> None:
        """The run is over."""


def facts(footprint: Footprint) -> dict[str, str]:
    """What says in an experiment's tracker which run of the ledger it is: ``run_id``, ``project`` if it has one, ``status``."""
    said = {"run_id": footprint.run_id, "project": footprint.project, "status": footprint.status}
    return {name: value for name, value in said.items() if value}


def powers(scalars: Mapping[str, float]) -> dict[str, float]:
    """Mean power of each part during an epoch, in watts: its share of the energy at the power of all."""
    energy_wh, power_w = scalars.get("carbon/epoch_energy_wh", 0.0), scalars.get("carbon/power_w", 0.0)
    if energy_wh <= 0:
        return {}
    parts = {tag.split("/")[-1].removesuffix("_wh"): wh for tag, wh in scalars.items() if tag.startswith("carbon/part/")}
    return {part: power_w * wh / energy_wh for part, wh in parts.items()}
