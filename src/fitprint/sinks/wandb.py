"""Weights & Biases: the history of a run that the program has started there."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from fitprint.errors import ConfigError, refusal
from fitprint.footprint import TRAINING_KINDS, Footprint
from fitprint.sinks.sink import Sink

EPOCH, BLOCK = "carbon/epoch", "carbon/block"


class WandbSink(Sink):
    """Logs under the public tags into ``wandb.run``; it never starts or finishes one.

    Steps of W&B must not go back, so ours are values: ``carbon/epoch`` is the axis of ``carbon/...``, and
    ``carbon/block`` that of ``carbon/block_...``. ``fitprint_run_id`` in the run's config names the ledger's run.

    Args:
        argument: None is taken.
    """

    def __init__(self, argument: str = "") -> None:
        if argument:
            raise refusal("sinks", expected="'wandb' alone, which logs into wandb.run", came=f"wandb:{argument}")
        self._run: Any = None
        self._run_id = ""

    def begin(self, before: Footprint | None) -> None:
        self._run = sys.modules["wandb"].run if "wandb" in sys.modules else None
        self._run_id = ""
        if self._run is None:
            raise ConfigError("W&B has no run. Expected wandb.init() before the first epoch.")
        self.place = f"wandb:{self._run.id}"
        self._run.define_metric("carbon/*", step_metric=EPOCH)
        for name in ("co2e_g", "energy_wh"):
            self._run.define_metric(f"carbon/block_{name}", step_metric=BLOCK)

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        of_block = any(tag.startswith("carbon/block_") for tag in scalars)
        self._run.log({**scalars, BLOCK if of_block else EPOCH: step})

    def run(self, footprint: Footprint) -> None:
        if footprint.kind in TRAINING_KINDS and footprint.run_id != self._run_id:
            self._run.config.update({"fitprint_run_id": footprint.run_id}, allow_val_change=True)
            self._run_id = footprint.run_id

    def close(self) -> None:
        self._run = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_run": None}
