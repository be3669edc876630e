"""The Lightning callback: hooks in, words of the tracker out."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitprint import Budget, Config
from fitprint.pace import Schedule
from fitprint.series import Measured, Series
from fitprint.status import status_of
from fitprint.work import Feed, parameters_of

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback as LightningCallback
else:
    from fitprint_lightning.base import LightningCallback

TRACKERS = {"MLFlowLogger": "mlflow", "WandbLogger": "wandb"}
PROGRESS_BAR_TAGS = ("carbon/total_co2e_g", "carbon/forecast_co2e_g")


class CarbonCallback(Measured, LightningCallback):  # type: ignore[misc]  # the framework is not followed by the type checker
    r"""Measures the energy and CO2e of every epoch, logs them, and stops on a budget.

    The values go through ``LightningModule.log`` to whatever loggers the Trainer has, under
    ``carbon/...`` in grams, watt-hours and watts, so that EarlyStopping and ModelCheckpoint can
    monitor them. The state is in every checkpoint; a resumed run goes on with what it had spent.

    Args:
        budget: A mass of CO2e such as ``"250 g"``, an energy such as ``"0.5 kWh"``, a Budget, or a
            list of these. The run stops before it is overrun.
        region: Country by ISO code or English name, for the carbon intensity of its electricity.
        intensity: Carbon intensity in g CO2e per kWh, instead of the region's; or what tells it over time: the path
            of a CSV file, ``electricitymaps:FR`` and others (see ``Config``), an object with ``between(start, end)``.
        pue: Facility power over IT power, from 1 up.
        project: Name under which runs are kept together.
        name: Name of the run.
        run_id: Identity of the run; a new one by default.
        ledger: Path of the SQLite file that records runs, ``"postgresql://user@host/database"``, or ``"off"``.
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
        intensity: float | str | None = None,
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
            config,
            budget=budget,
            region=region,
            intensity=intensity,
            pue=pue,
            project=project,
            name=name,
            run_id=run_id,
            ledger=ledger,
        )
        self._log = log
        self._kind = "fit"
        self.in_epoch = False
        self._first_step = 0
        self._stale: dict[str, Any] = {}

    # ---- start and end

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._kind = str(getattr(stage, "value", stage))
        self.series.begin(self._kind, awaits_state=self._kind == "fit", rehearsal="fast_dev_run" if trainer.fast_dev_run else None)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.in_epoch = False
        hparams: dict[str, Any] = self.series.shielded("reading the hyperparameters", lambda: hparams_of(trainer, pl_module), {})
        self.series.tracker.describe(hparams=hparams, seed=_seed())
        self._write_text(trainer, self.series.tracker.run_text(), begins=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.series.tracker.check_start()
        if self._log and trainer.is_global_zero:
            places: list[str] = self.series.shielded("finding the loggers' runs", lambda: logged_in(trainer), [])
            self.series.tracker.logged_in(places)
        self.series.tracker.work.parameters = parameters_of(pl_module)
        self.series.shielded("watching the first step", lambda: self._watch_first_step(trainer, pl_module), None)
        self._pass_on_stop(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take_metrics(trainer)
        self._save(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._kind == "validate":
            self._count(pl_module, trainer.val_dataloaders, trainer.num_val_batches)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(pl_module, trainer.test_dataloaders, trainer.num_test_batches)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(pl_module, trainer.predict_dataloaders, trainer.num_predict_batches)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._end(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._take_metrics(trainer)
        self._end(trainer, status_of(exception) or "interrupted")

    # ---- epochs and phases

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take_metrics(trainer)
        self._stale = dict(trainer.callback_metrics)
        self._begin_epoch(trainer, 0)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self.in_epoch:  # a run that is resumed inside an epoch has no start of it
            self._begin_epoch(trainer, batch_idx)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.series.batch(batch_idx + 1):
            self._look(trainer, pl_module, batch_idx + 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.in_epoch = False
        ending = trainer.should_stop or trainer.global_step == trainer.max_steps
        self.series.end_epoch(steps=trainer.global_step - self._first_step, stopping=ending)
        if self._log and not getattr(trainer, "barebones", False):
            self.series.shielded("logging the epoch", lambda: self._publish(pl_module), None)
            self._write_text(trainer, self.series.tracker.run_text())
        self._pass_on_stop(trainer)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.series.tracker.enter("sanity_check")

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.series.tracker.leave("sanity_check")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._kind == "fit" and not trainer.sanity_checking:
            self.series.tracker.enter("validate")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._kind == "fit" and not trainer.sanity_checking:
            self.series.tracker.leave("validate")

    # ---- state in checkpoints

    @property
    def state_key(self) -> str:
        """Constant, so that a changed budget still finds its state."""
        return "fitprint.CarbonCallback"

    def state_dict(self) -> dict[str, Any]:
        """Plain types only: survives ``torch.load(weights_only=True)``."""
        return self.series.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.series.resume(state_dict)

    # ---- inside

    def _begin_epoch(self, trainer: Trainer, batches_done: int) -> None:
        self.in_epoch = True
        self._first_step = trainer.global_step
        schedule = self.series.shielded("reading the trainer's plan", lambda: plan(trainer), Schedule())
        feed = self.series.shielded("reading the batches' sizes", lambda: Feed.of_loader(trainer.train_dataloader), Feed())
        self.series.begin_epoch(trainer.current_epoch, schedule, batches_done=batches_done, feed=feed)

    def _watch_first_step(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """In this loop's ``run`` are forward, backward and optimizer of a batch, closures and manual ones too."""
        loop = trainer.fit_loop.epoch_loop
        optimization = loop.automatic_optimization if pl_module.automatic_optimization else loop.manual_optimization
        self.series.tracker.work.watch(pl_module, optimization, "run", batches=trainer.accumulate_grad_batches)

    def _count(self, pl_module: LightningModule, loaders: Any, batches: list[int | float]) -> None:
        """A stage outside ``fit`` has ended."""
        work = self.series.tracker.work
        work.parameters = parameters_of(pl_module)
        for loader, number in zip(loaders if isinstance(loaders, list | tuple) else [loaders], batches, strict=False):
            work.count_pass(Feed.of_loader(loader), _finite(number))

    def _look(self, trainer: Trainer, pl_module: LightningModule, batches_done: int) -> None:
        block = self.series.look(batches_done)
        if self._log and not getattr(trainer, "barebones", False):
            self.series.shielded("logging a block", lambda: self._publish_inside(trainer, pl_module, block), None)
        self._pass_on_stop(trainer)

    def _publish(self, pl_module: LightningModule) -> None:
        values = self.series.tracker.scalars()
        shown = {tag: values.pop(tag) for tag in PROGRESS_BAR_TAGS if tag in values}
        pl_module.log_dict(values, on_step=False, on_epoch=True, batch_size=1)
        pl_module.log_dict(shown, on_step=False, on_epoch=True, batch_size=1, prog_bar=True)

    def _publish_inside(self, trainer: Trainer, pl_module: LightningModule, block: Mapping[str, float]) -> None:
        """Inside an epoch: the forecast on the progress bar, and with a block's end in the loggers."""
        if trainer.progress_bar_callback is None and not block:  # logging costs more than looking
            return
        forecast = self.series.tracker.forecast
        ahead = {"carbon/forecast_co2e_g": forecast.mean} if forecast is not None else {}
        for tag, value in ahead.items():
            pl_module.log(tag, value, on_step=True, on_epoch=False, batch_size=1, prog_bar=True, logger=False)
        if block:
            _log_to_all(trainer, {**block, **ahead})

    def _pass_on_stop(self, trainer: Trainer) -> None:
        """What all ranks have agreed on: a lone stop would break the others."""
        trainer.should_stop = trainer.should_stop or self.series.tracker.should_stop

    def _take_metrics(self, trainer: Trainer) -> None:
        """The user's own metrics of the epoch that ended, complete only after all of its hooks; old ones left out."""
        fresh = {k: v for k, v in trainer.callback_metrics.items() if v is not self._stale.get(k)}
        self.series.tracker.annotate(fresh)

    def _save(self, trainer: Trainer) -> None:
        """Where a budget ends the run and no ModelCheckpoint keeps the model; every rank takes part."""
        path = self.series.save_path(".ckpt", Path(trainer.default_root_dir))
        if path is None or trainer.checkpoint_callbacks:
            return
        self.series.tracker.enter("checkpoint")
        self.series.shielded("saving the model", lambda: trainer.save_checkpoint(path), None)
        self.series.tracker.leave("checkpoint")

    def _end(self, trainer: Trainer, status: str | None = None) -> None:
        ended = self.series.end(status)
        if ended is not None:
            self._write_text(trainer, ended.run_text(at_once=True))

    def _write_text(self, trainer: Trainer, text: str | None, *, begins: bool = False) -> None:
        """Give TensorBoard the run's record, from which the Carbon tab reads totals and sources."""
        if text and self._log and self._kind == "fit" and trainer.is_global_zero:
            self.series.shielded("writing the run's text", lambda: _text_to_tensorboard(trainer, text, begins), None)


def plan(trainer: Trainer) -> Schedule:
    """What the Trainer intends, as far as it says."""
    epochs = trainer.max_epochs
    return Schedule(
        epochs=epochs if epochs is not None and epochs > 0 else None,
        batches=_finite(trainer.num_training_batches),
        batches_per_step=trainer.accumulate_grad_batches,
        validation_batches=_validation_batches(trainer),
        validate_every=trainer.check_val_every_n_epoch,
        steps=trainer.max_steps if trainer.max_steps > 0 else None,
    )


def hparams_of(trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
    """What module and data module have saved, and what loggers were told."""
    holders = (*trainer.loggers, getattr(trainer, "datamodule", None), pl_module)
    found = [getattr(holder, "hparams", None) for holder in holders]
    return {name: value for hparams in found if isinstance(hparams, Mapping) for name, value in hparams.items()}


def logged_in(trainer: Trainer) -> list[str]:
    """Where loggers write whose place a sink may share, as the sinks name it."""
    known = [(TRACKERS.get(type(logger).__name__), logger) for logger in trainer.loggers]
    return [f"{name}:{logger.version}" for name, logger in known if name is not None]


def _seed() -> int | None:
    """What ``seed_everything`` was given; None without it, for torch draws a seed of its own."""
    text = os.environ.get("PL_GLOBAL_SEED", "")
    return int(text) if text.isdecimal() else None


def _log_to_all(trainer: Trainer, values: Mapping[str, float]) -> None:
    for logger in trainer.loggers:
        logger.log_metrics(values, step=trainer.fit_loop.epoch_loop._batches_that_stepped)


def _text_to_tensorboard(trainer: Trainer, text: str, begins: bool) -> None:
    """To the TensorBoard loggers, of either package."""
    from fitprint_tensorboard.texts import show_in

    for logger in trainer.loggers:
        if type(logger).__name__ == "TensorBoardLogger":
            show_in(logger.experiment, text, trainer.global_step, begins=begins)


def _validation_batches(trainer: Trainer) -> int | None:
    if not trainer.enable_validation:
        return 0
    counts = trainer.num_val_batches
    if isinstance(counts, list) and not counts:  # not loaded before the first epoch that validates
        return None
    return _finite(sum(counts) if isinstance(counts, list) else counts)


def _finite(number: float) -> int | None:
    return int(number) if math.isfinite(number) else None
