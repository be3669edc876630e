"""The Lightning callback: hooks in, words of the tracker out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fitprint import Budget, Config, Decision, Footprint, Tracker
from fitprint.budget import Schedule
from fitprint.series import Series
from fitprint.tracker import status_of

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback as LightningCallback
else:
    from fitprint_lightning.base import LightningCallback

KINDS = {"fit": "fit", "validate": "validate", "test": "test", "predict": "predict"}
PROGRESS_BAR_TAG = "carbon/total_co2e_g"


class CarbonCallback(LightningCallback):  # type: ignore[misc]  # the framework is not followed by the type checker
    r"""Measures the energy and CO2e of every epoch, logs them, and stops on a budget.

    The values go through ``LightningModule.log`` to whatever loggers the Trainer has, under
    ``carbon/...`` in grams, watt-hours and watts, so that EarlyStopping and ModelCheckpoint can
    monitor them. The state is in every checkpoint; a resumed run goes on with what it had spent.

    Args:
        budget: A mass of CO2e such as ``"250 g"``, an energy such as ``"0.5 kWh"``, a Budget, or a
            list of these. The run stops before it is overrun.
        region: Country by ISO code or English name, for the carbon intensity of its electricity.
        intensity: Carbon intensity in g CO2e per kWh, instead of the region's.
        pue: Facility power over IT power, from 1 up.
        project: Name under which runs are kept together.
        name: Name of the run.
        run_id: Identity of the run; a new one by default.
        ledger: Path of the SQLite file that records runs, or ``"off"``.
        config: Options beyond these, and defaults for these.
        log: False records without logging.

    Raises:
        ConfigError: If an option makes no sense; the message says what would.

    Example::

        trainer = Trainer(max_epochs=10, callbacks=[CarbonCallback(budget="250 g")])
    """

    def __init__(
        self,
        *,
        budget: str | Budget | list[str | Budget] | None = None,
        region: str | None = None,
        intensity: float | None = None,
        pue: float | None = None,
        project: str | None = None,
        name: str | None = None,
        run_id: str | None = None,
        ledger: str | None = None,
        config: Config | None = None,
        log: bool = True,
    ) -> None:
        super().__init__()
        self.series = Series(
            (config or Config()).overridden(
                budget=budget,
                region=region,
                intensity=intensity,
                pue=pue,
                project=project,
                name=name,
                run_id=run_id,
                ledger=ledger,
            )
        )
        self._log = log
        self._kind = "fit"
        self._restored: Mapping[str, Any] = {}
        self._look_at = self._batches_done = self._first_step = 0
        self._schedule = Schedule()

    @property
    def footprint(self) -> Footprint | None:
        """The last ``fit``'s record, live while it lasts; None before the first."""
        return self.series.footprint

    @property
    def footprints(self) -> list[Footprint]:
        """The records of all runs that have ended, in order."""
        return self.series.footprints

    @property
    def decision(self) -> Decision | None:
        """Why the budget ends the run that lasts now, or None."""
        return self.series.tracker.decision if self.series.tracker else None

    # ---- start and end

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._kind = KINDS.get(str(getattr(stage, "value", stage)), "fit")
        self.series.begin(self._kind)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write_text(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tracker.check_start()
        self._pass_on_stop(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take_metrics(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        tracker = self.series.tracker
        self.series.end()
        if tracker is not None:
            self._write_text(trainer, tracker)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._take_metrics(trainer)
        self.series.end(status_of(type(exception)))

    # ---- epochs and phases

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take_metrics(trainer)
        self._schedule = plan(trainer)
        self._batches_done, self._first_step = 0, trainer.global_step
        self._look_at = self._tracker.begin_epoch(trainer.current_epoch, self._schedule)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._batches_done = batch_idx + 1
        if self._batches_done >= self._look_at:
            self._look(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = self._schedule.batches
        complete = self._batches_done >= batches if batches is not None else not trainer.should_stop
        self._tracker.end_epoch(steps=trainer.global_step - self._first_step, complete=complete)
        if self._log and not _barebones(trainer):
            values = self._tracker.scalars()
            total = values.pop(PROGRESS_BAR_TAG)
            pl_module.log_dict(values, on_step=False, on_epoch=True, batch_size=1)
            pl_module.log(PROGRESS_BAR_TAG, total, on_step=False, on_epoch=True, batch_size=1, prog_bar=True)
            self._write_text(trainer)
        self._pass_on_stop(trainer)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tracker.enter("sanity_check")

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tracker.leave("sanity_check")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._kind == "fit" and not trainer.sanity_checking:
            self._tracker.enter("validate")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._kind == "fit" and not trainer.sanity_checking:
            self._tracker.leave("validate")

    # ---- state in checkpoints

    @property
    def state_key(self) -> str:
        """Constant, so that a changed budget still finds its state."""
        return "fitprint.CarbonCallback"

    def state_dict(self) -> dict[str, Any]:
        """Plain types only: survives ``torch.load(weights_only=True)``."""
        return self.series.tracker.state() if self.series.tracker and self._kind == "fit" else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.series.tracker and self._kind == "fit":
            self.series.tracker.resume(state_dict)

    # ---- inside

    @property
    def _tracker(self) -> Tracker:
        """The open run's tracker; one that does nothing where a hook comes without ``setup``."""
        return self.series.tracker or Tracker()

    def _look(self, trainer: Trainer) -> None:
        self._look_at, block = self._tracker.look(self._batches_done)
        if block and self._log:
            for logger in trainer.loggers:
                logger.log_metrics(block, step=trainer.fit_loop.epoch_loop._batches_that_stepped)
        if trainer.world_size == 1:
            self._pass_on_stop(trainer)

    def _pass_on_stop(self, trainer: Trainer) -> None:
        """Every rank passes here, and all stop if one of them has to: a lone stop would break the others."""
        stop = self._tracker.should_stop
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        trainer.should_stop = trainer.should_stop or stop

    def _take_metrics(self, trainer: Trainer) -> None:
        """The user's own metrics of the epoch that ended: complete only after all of its hooks."""
        own = {k: float(v) for k, v in trainer.callback_metrics.items() if not k.startswith("carbon/")}
        self._tracker.annotate(own)

    def _write_text(self, trainer: Trainer, closed: Tracker | None = None) -> None:
        """Give TensorBoard the run's record, from which the Carbon tab reads totals and sources."""
        if not self._log or not trainer.is_global_zero or self._kind != "fit":
            return
        text = closed.run_text(at_once=True) if closed else self._tracker.run_text()
        for writer in text_writers(trainer.loggers) if text else ():
            writer.add_text("fitprint/run", text, trainer.global_step)


def plan(trainer: Trainer) -> Schedule:
    """What the Trainer intends, as far as it says."""
    epochs = trainer.max_epochs
    return Schedule(
        epochs=epochs if epochs is not None and epochs > 0 else None,
        batches=_finite(trainer.num_training_batches),
        batches_per_step=trainer.accumulate_grad_batches,
        validation_batches=_validation_batches(trainer),
    )


def text_writers(loggers: Sequence[Any]) -> list[Any]:
    """The TensorBoard writers among the loggers, of either package."""
    return [logger.experiment for logger in loggers if type(logger).__name__ == "TensorBoardLogger"]


def _validation_batches(trainer: Trainer) -> int | None:
    if not trainer.enable_validation:
        return 0
    counts = trainer.num_val_batches
    return _finite(sum(counts) if isinstance(counts, list) else counts)


def _finite(number: float) -> int | None:
    return int(number) if math.isfinite(number) else None


def _barebones(trainer: Trainer) -> bool:
    return bool(getattr(trainer, "barebones", False))
