"""The Keras callback: hooks in, words of the tracker out."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitprint import Budget, Config, Decision, Footprint, Tracker
from fitprint.budget import Schedule
from fitprint.errors import MissingExtraError
from fitprint.series import Series

try:
    from keras.callbacks import Callback
except ModuleNotFoundError as error:
    raise MissingExtraError("fitprint_keras", "keras") from error

if TYPE_CHECKING:
    from fitprint_tensorboard import CarbonWriter

LOGS = {
    "carbon/epoch_co2e_g": "co2e_g",
    "carbon/epoch_energy_wh": "energy_wh",
    "carbon/total_co2e_g": "total_co2e_g",
    "carbon/budget_used": "budget_used",
}


class CarbonCallback(Callback):  # type: ignore[misc]  # Keras is not typed
    """Measure the energy and CO2e of every epoch, log them, and stop on a budget.

    Puts ``co2e_g``, ``energy_wh``, ``total_co2e_g`` (and ``budget_used``) into the ``logs`` of every
    epoch: History and the progress bar always show them, CSVLogger and TensorBoard do if they come
    after this callback, so list it first.

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
        log_dir: Folder for TensorBoard events (``<log_dir>/train``, where the TensorBoard callback
            writes too); they need neither TensorFlow nor torch. None writes none.

    Raises:
        ConfigError: If an option makes no sense; the message says what would.
        MissingExtraError: If ``log_dir`` is given and TensorBoard is not installed.

    Example:
        >>> callback = CarbonCallback(budget="250 g", log_dir="logs")  # doctest: +SKIP
        >>> history = model.fit(x, y, epochs=10, callbacks=[callback])  # doctest: +SKIP
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
        log_dir: str | Path | None = None,
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
        self._writer = _writer(log_dir) if log_dir is not None and log else None
        self._look_at = self._batches_begun = self._first_step = self._epoch = 0

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

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._fitting = True
        self.series.begin("fit").check_start()
        self._write_text(self._tracker.run_text())
        self._pass_on_stop()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._fitting = False
        tracker = self._tracker
        self.series.end()
        self._write_text(tracker.run_text(at_once=True))
        if self._writer is not None:
            self._writer.close()

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._fitting:
            self._tracker.enter("validate")
        else:
            self.series.begin("test")

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._fitting:
            self._tracker.leave("validate")
        else:
            self.series.end()

    def on_predict_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        if not self._fitting:
            self.series.begin("predict")

    def on_predict_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if not self._fitting:
            self.series.end()

    # ---- epochs

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._epoch, self._batches_begun, self._first_step = epoch, 0, self._steps()
        self._look_at = self._tracker.begin_epoch(epoch, self._plan())

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Runs in the loop's own thread, unlike batch-end hooks: decisions are made here."""
        self._batches_begun = batch + 1
        if batch >= self._look_at:
            self._look(batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        batches = self._plan().batches
        complete = self._batches_begun >= batches if batches is not None else not self._stopping
        self._tracker.end_epoch(steps=self._steps() - self._first_step or None, complete=complete)
        own = {k: float(v) for k, v in (logs or {}).items() if isinstance(v, numbers.Real)}
        self._tracker.annotate(own)
        if self._log:
            self._publish(epoch, logs if logs is not None else {})
        self._pass_on_stop()

    # ---- inside

    _fitting = False

    @property
    def _tracker(self) -> Tracker:
        """The open run's tracker; one that does nothing where a hook comes on its own."""
        return self.series.tracker or Tracker()

    @property
    def _stopping(self) -> bool:
        return bool(getattr(self.model, "stop_training", False))

    def _plan(self) -> Schedule:
        """What ``fit`` intends. It still runs one batch after a stop that is set as a batch begins."""
        params = self.params or {}
        return Schedule(epochs=params.get("epochs"), batches=params.get("steps"), batches_after_stop=1)

    def _steps(self) -> int:
        """Optimizer steps so far; 0 where the model has no optimizer."""
        optimizer = getattr(self.model, "optimizer", None)
        return int(optimizer.iterations) if optimizer is not None else 0

    def _look(self, batches_done: int) -> None:
        self._look_at, block = self._tracker.look(batches_done)
        if block and self._writer is not None:
            self._writer.scalars(block, step=self._steps())
        self._pass_on_stop()

    def _publish(self, epoch: int, logs: dict[str, Any]) -> None:
        values = self._tracker.scalars()
        logs.update({key: values[tag] for tag, key in LOGS.items() if tag in values})
        if self._writer is not None:
            self._writer.scalars(values, step=epoch)
            self._write_text(self._tracker.run_text())

    def _pass_on_stop(self) -> None:
        if self._tracker.should_stop and self.model is not None:
            self.model.stop_training = True

    def _write_text(self, text: str | None) -> None:
        if text and self._writer is not None:
            self._writer.text("fitprint/run", text, step=self._epoch)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry the options, not open files."""
        return {**self.__dict__, "_writer": None if self._writer is None else _writer(Path(self._writer.log_dir).parent)}


def _writer(log_dir: str | Path) -> CarbonWriter:
    from fitprint_tensorboard import CarbonWriter

    return CarbonWriter(Path(log_dir) / "train")
