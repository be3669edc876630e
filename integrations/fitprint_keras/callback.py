"""The Keras callback: hooks in, words of the tracker out."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitprint import Budget, Config
from fitprint.errors import MissingExtraError
from fitprint.leaving import Loop, end_left
from fitprint.listed import measure_once
from fitprint.pace import Schedule
from fitprint.series import Measured, Series
from fitprint.sidecar import Sidecar
from fitprint.work import Feed, parameters_of

if importlib.util.find_spec("keras") is None:
    raise MissingExtraError("fitprint_keras", "keras")
from keras.callbacks import Callback
from keras.ops import convert_to_tensor

from fitprint_keras.loops import ITERATOR, begun, listed_in, loops_from

if TYPE_CHECKING:
    from fitprint.tracker import Tracker
    from fitprint_tensorboard import CarbonWriter

LOGS = {
    "carbon/epoch_co2e_g": "co2e_g",
    "carbon/epoch_energy_wh": "energy_wh",
    "carbon/total_co2e_g": "total_co2e_g",
    "carbon/budget_used": "budget_used",
}

# All callbacks of one list get the same ``params``: under this key the others find the one that measures.
IN_PARAMS = "fitprint"


class CarbonCallback(Measured, Callback):  # type: ignore[misc]  # Keras is not typed
    """Measure the energy and CO2e of every epoch, log them, and stop on a budget.

    Puts ``co2e_g``, ``energy_wh``, ``total_co2e_g`` (and ``budget_used``) into the ``logs`` of every
    epoch: History and the progress bar always show them, CSVLogger and TensorBoard do if they come
    after this callback, so list it first.

    Args:
        budget: A mass of CO2e such as ``"250 g"``, an energy such as ``"0.5 kWh"``, a Budget, or a
            list of these. The run stops before it is overrun.
        region: Country by ISO code or English name, for the carbon intensity of its electricity.
        intensity: Carbon intensity in g CO2e per kWh, instead of the region's; or what tells it over time: the path
            of a CSV file, ``electricitymaps:FR`` and others (see ``Config``), an object with ``between(start, end)``.
        pue: Facility power over IT power, from 1 up.
        project: Name under which runs are kept together.
        name: Name of the run.
        run_id: Identity of the run; a new one by default. One that the ledger knows is gone on with: what was
            spent under it is spent, by whichever process.
        ledger: Path of the SQLite file that records runs, ``"postgresql://user@host/database"``, or ``"off"``.
        config: Options beyond these, and defaults for these.
        log: False records without logging.
        log_dir: Folder for TensorBoard events (``<log_dir>/train``, where the TensorBoard callback
            writes too); they need neither TensorFlow nor torch. None writes none.
        backup_dir: Folder of Keras' ``BackupAndRestore``, beside which the run's state is kept so that a
            ``fit`` that is started again goes on with what it had spent, even with the ledger off.

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
        intensity: float | str | None = None,
        pue: float | None = None,
        project: str | None = None,
        name: str | None = None,
        run_id: str | None = None,
        ledger: str | None = None,
        config: Config | None = None,
        log: bool = True,
        log_dir: str | Path | None = None,
        backup_dir: str | Path | None = None,
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
        self._sidecar = Sidecar(backup_dir) if backup_dir is not None else None
        self._writer = _writer(log_dir) if log_dir is not None and log else None
        self._log_dir = Path(log_dir) if log_dir is not None else None
        self._first_step = self._epoch = 0
        self._fitting = self._watched = self.in_epoch = False
        self._loop: Loop | None = None

    # ---- start and end

    def set_params(self, params: dict[str, Any]) -> None:
        """Keras sets these as a loop begins: inside of our own one, or what is still open then was left by an exception."""
        params[IN_PARAMS] = self
        if self._loop is not None and self._loop.runs():
            return
        super().set_params(params)
        end_left()
        self.left("failed")

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        tracker = self._begin("fit", awaits_state=self._sidecar is not None)
        self._fitting, self._watched = True, False
        if self._sidecar is not None:
            self.series.resume(self.series.shielded("reading the run's state", self._sidecar.load, {}))
        hparams: dict[str, Any] = self.series.shielded("reading the hyperparameters", lambda: _hparams(self.model, self.params), {})
        tracker.describe(hparams=hparams, seed=_seed())
        tracker.check_start()
        self._back_up()
        self._write_text(tracker.run_text())
        self._pass_on_stop()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._fitting = False
        self._save()
        ended = self._end()
        self._back_up()
        self._write_end(ended)

    def left(self, status: str, *, abandoned: bool = True) -> None:
        """An exception has left the loop, if one is open: Keras tells nobody.

        Args:
            status: What its run comes to.
            abandoned: That was some time ago.
        """
        fitting, self._fitting = self._fitting, False
        ended = self._end(status, abandoned=abandoned)
        if fitting:
            self._write_end(ended)

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._begin_stage("validate", "test")

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._end_stage("validate")

    def on_predict_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._begin_stage("predict", "predict")

    def on_predict_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._end_stage("predict")

    # ---- epochs

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.in_epoch, self._epoch, self._first_step = True, epoch, self._steps()
        self.series.begin_epoch(epoch, self._plan(), feed=self._feed())

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Runs in the loop's own thread, unlike batch-end hooks: decisions are made here."""
        if not self._watched:
            self._watch()
        if self.series.batch(batch):
            self._look(batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.in_epoch = False
        steps = self._steps() - self._first_step
        stopping = bool(getattr(self.model, "stop_training", False))
        self.series.end_epoch(steps=steps or None, stopping=stopping, batches_at_once=self._batches_at_once())
        self.series.tracker.annotate(logs or {})
        self._back_up()
        if self._log:
            self._publish(epoch, logs if logs is not None else {})
        self._pass_on_stop()

    # ---- inside

    def _begin(self, kind: str, *, awaits_state: bool = False) -> Tracker:
        """A run of Keras' loop that called us; those that an exception has left end before."""
        end_left()
        frame = next(loops_from(sys._getframe()), None)
        if frame is not None:
            self.series.shielded("reading the list of callbacks", lambda: measure_once(self, listed_in(frame), Callback), None)
        tracker = self.series.begin(kind, awaits_state=awaits_state)
        self._loop = begun(frame, self.left)
        return tracker

    def _end(self, status: str | None = None, *, abandoned: bool = False) -> Tracker | None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()
        return self.series.end(status, abandoned=abandoned)

    def _write_end(self, ended: Tracker | None) -> None:
        if ended is not None and ended.measuring:
            self._write_text(ended.run_text(at_once=True))
        if self._writer is not None:
            self._writer.close()

    def _begin_stage(self, phase: str, kind: str) -> None:
        """A phase inside a ``fit``, a run of its own outside."""
        if self._fitting:
            self.series.tracker.enter(phase)
        else:
            self._begin(kind)
            self._watched = True

    def _end_stage(self, phase: str) -> None:
        if self._fitting:
            self.series.tracker.leave(phase)
        else:
            work = self.series.tracker.work
            work.parameters = parameters_of(self.model)
            work.count_pass(self._feed(), (self.params or {}).get("steps"))
            self._end()

    def _watch(self) -> None:
        """The first step is watched where it is executed operator by operator."""
        self._watched = True
        work = self.series.tracker.work
        work.parameters = parameters_of(self.model)
        work.watch(self.model, self.model, "train_step")

    def _feed(self) -> Feed:
        steps = (self.params or {}).get("steps")
        return self.series.shielded("reading the batches' sizes", lambda: feed_of(_data(), steps), Feed())

    def _plan(self) -> Schedule:
        """What ``fit`` intends. It still runs what one hook stands for after a stop that is set as a batch begins."""
        params = self.params or {}
        at_once = self._batches_at_once()
        return Schedule(epochs=params.get("epochs"), batches=params.get("steps"), batches_after_stop=at_once)

    def _batches_at_once(self) -> int:
        at_once = getattr(self.model, "steps_per_execution", 1)
        return at_once if isinstance(at_once, int) else 1

    def _steps(self) -> int:
        """Optimizer steps so far; 0 where they cannot be had."""
        optimizer = getattr(self.model, "optimizer", None)
        iterations = getattr(optimizer, "iterations", 0)
        return self.series.shielded("reading the optimizer's steps", lambda: int(convert_to_tensor(iterations)), 0)

    def _look(self, batches_done: int) -> None:
        block = self.series.look(batches_done)
        if block and self._writer is not None:
            self._writer.scalars(block, step=self._steps())
        self._pass_on_stop()

    def _publish(self, epoch: int, logs: dict[str, Any]) -> None:
        tracker = self.series.tracker
        values = tracker.scalars()
        logs.update({key: values[tag] for tag, key in LOGS.items() if tag in values})
        if self._writer is not None and tracker.measuring:
            self._writer.scalars(values, step=epoch)
            self._write_text(tracker.run_text())

    def _pass_on_stop(self) -> None:
        if self.series.tracker.should_stop and self.model is not None:
            self.model.stop_training = True

    def _save(self) -> None:
        """Where a budget ends the run; Keras does not tell whether another callback keeps the model."""
        path = self.series.save_path(".keras", self._log_dir)
        if path is None or self.model is None:
            return
        self.series.tracker.enter("checkpoint")
        self.series.shielded("saving the model", lambda: _save_model(self.model, path), None)
        self.series.tracker.leave("checkpoint")

    def _back_up(self) -> None:
        """Keep the state beside Keras' own backup, which knows nothing of callbacks."""
        sidecar = self._sidecar
        state = self.series.state() if sidecar is not None else {}
        if sidecar is not None and state:
            self.series.shielded("writing the run's state", lambda: sidecar.save(state), None)

    def _write_text(self, text: str | None) -> None:
        if text and self._writer is not None:
            self._writer.run(text, step=self._epoch)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry the options, not open files or loops."""
        return {
            **self.__dict__,
            "_loop": None,
            "_writer": None if self._writer is None else _writer(Path(self._writer.log_dir).parent),
        }


def _save_model(model: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)


def _hparams(model: Any, params: Mapping[str, Any] | None) -> dict[str, Any]:
    """The optimizer's settings, and what ``fit`` was called with as far as it tells callbacks."""
    optimizer = getattr(model, "optimizer", None)
    settings = dict(optimizer.get_config()) if optimizer is not None else {}
    settings.pop("name", None)  # Keras numbers them: the second model's is another, though it is the same optimizer
    kind = type(optimizer).__name__ if optimizer is not None else None
    told = {"optimizer": kind, "loss": getattr(model, "loss", None), "epochs": (params or {}).get("epochs")}
    return {name: value for name, value in {**settings, **told}.items() if value is not None}


def _seed() -> int | None:
    """What ``keras.utils.set_random_seed`` was given; None where Keras does not keep it."""
    try:
        from keras.src.utils.rng_utils import get_random_seed

        seed: int | None = get_random_seed()
    except Exception:  # not public: another version may keep it elsewhere
        return None
    return seed


def feed_of(data: Any, steps: int | None) -> Feed:
    """What Keras' adapter of some data says of its batches."""
    if data is None or hasattr(data, "_dataloader"):
        return Feed.of_loader(getattr(data, "_dataloader", None))
    if data.batch_size is None:
        return Feed()
    if steps is not None and data.num_batches == steps:
        return Feed.with_last(data.batch_size, steps, data.partial_batch_size)
    return Feed(data.batch_size, None, not data.has_partial_batch)


def _data() -> Any:
    """The adapter of the data in the loop that called us: Keras tells callbacks no sizes, they are in its own variables."""
    frame = next(loops_from(sys._getframe()), None)
    return frame.f_locals[ITERATOR].data_adapter if frame is not None else None


def _writer(log_dir: str | Path) -> CarbonWriter:
    from fitprint_tensorboard import CarbonWriter

    return CarbonWriter(Path(log_dir) / "train")
