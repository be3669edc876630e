"""The Hugging Face callback: events in, words of the tracker out."""

from __future__ import annotations

import importlib.util
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from fitprint import Budget, Config
from fitprint.errors import MissingExtraError, refusal
from fitprint.leaving import Loop, end_left
from fitprint.listed import measure_once
from fitprint.notices import logger
from fitprint.pace import Schedule
from fitprint.series import Measured, Series
from fitprint.status import status_of
from fitprint.work import Feed, parameters_of

if importlib.util.find_spec("transformers") is None:
    raise MissingExtraError("fitprint_transformers", "transformers")
from fitprint_transformers.plan import feed_of, plan, word_of
from fitprint_transformers.settings import hparams_of
from fitprint_transformers.stages import bracket, count
from fitprint_transformers.trainings import Noting, begun, training_of
from transformers import TrainerCallback

if TYPE_CHECKING:
    from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments

STATE_KEY = "fitprint.CarbonCallback"
# All callbacks of a Trainer get the same control: in this attribute the others find the one that measures.
IN_CONTROL = "fitprint"
# The Trainer's epoch is a fraction of steps: 2.9999999 is the third epoch's end.
ROUNDING = 1e-6
# Trackers of experiments by their reporters.
REPORTERS = {"MLflowCallback": "mlflow", "WandbCallback": "wandb", "ClearMLCallback": "clearml"}


class CarbonCallback(Measured, TrainerCallback):  # type: ignore[misc]  # transformers is not followed by the type checker
    r"""Measures the energy and CO2e of every epoch of a Hugging Face Trainer, logs them, and stops on a budget.

    The values of an epoch, its evaluation included, are in ``state.log_history``. ``attach`` brings them into every
    reporter too (TensorBoard, MLflow, ...), which the Trainer calls before any callback of the user's. The state
    is in ``trainer_state.json``; a run that is resumed goes on with what it had spent, whatever options the
    callback has by then. A stop evaluates and saves before it leaves where the Trainer evaluates and saves at all.
    Once attached, ``trainer.evaluate()`` and ``trainer.predict()`` outside of training are runs of their own, of kind
    ``validate`` and ``predict``, in ``footprints``.

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
        ledger: Path of the SQLite file that records runs, or ``"off"``.
        config: Options beyond these, and defaults for these.
        log: False records without logging.

    Raises:
        ConfigError: If an option makes no sense; the message says what would.

    Example::

        carbon = CarbonCallback(budget="250 g").attach(trainer)
        trainer.train()
        print(carbon.footprint)
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
        self._trainer: Trainer | None = None
        self._log_dir = ""
        self.fitting = self._in_epoch = self._stopping = self._watched = self._said_unattached = False
        self._phase = ""
        self.over = False  # the epoch's training is, its evaluation is to come
        self._first_step = self._began_at = 0
        self._loop: Loop | None = None
        self._noting: Noting | None = None
        self._broke_off: str | None = None  # how, by the last exception

    def attach(self, trainer: Trainer) -> Self:
        """Add this callback to a Trainer, or make one that it has already reach the Trainer's reporters and methods.

        Args:
            trainer: Before ``train``.

        Returns:
            The callback.

        Raises:
            ConfigError: If it is no Trainer.
        """
        if not hasattr(trainer, "callback_handler"):
            raise refusal("trainer", expected="a Trainer of transformers", came=trainer, hint="Write callback.attach(trainer).")
        if self not in trainer.callback_handler.callbacks:
            trainer.add_callback(self)
        if self._trainer is not trainer:
            bracket(trainer, self)
        self._trainer = trainer
        return self

    # ---- start and end

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.series.shielded("reading the list of callbacks", lambda: measure_once(self, listed(), TrainerCallback), None)
        training = self.series.shielded("looking for the training", lambda: training_of(self), None)
        again = self._begins_again(training, args)
        self._in_epoch, self.over, self._stopping, self._watched, self._phase = False, False, False, False, ""
        setattr(control, IN_CONTROL, self)
        if not again:
            self._begin(args, state, training)
        if args.eval_on_start:
            self._enter("validate")
        self._write_text(state, self.series.tracker.run_text(), begins=True)
        self.pass_on_stop(args, control)

    def _begin(self, args: TrainingArguments, state: TrainerState, training: FrameType | None) -> None:
        """A run begins; those that an exception has left end before."""
        end_left()
        self._warn_of_others(args)
        tracker = self.series.begin("fit", awaits_state=True)
        self._close()
        self.fitting = True
        if training is not None:
            self.series.shielded("watching for the training's end", lambda: self._open(training), None)
        self.series.resume((state.stateful_callbacks or {}).get(STATE_KEY, {}).get("attributes", {}))
        hparams: dict[str, Any] = self.series.shielded("reading the hyperparameters", lambda: hparams_of(args), {})
        tracker.describe(hparams=hparams, seed=args.seed)
        tracker.check_start()
        if self._log and self._trainer is not None:
            tracker.logged_in(_trackers(self._trainer))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._end_epoch(args, state, control)
        self._close()
        ended = self.series.end()
        if ended is not None and ended.measuring:
            self._write_text(state, ended.run_text(at_once=True))

    def left(self, status: str, *, abandoned: bool = True) -> None:
        """An exception has left the training.

        Args:
            status: What its run comes to, where that was not noted as it came.
            abandoned: It has some time ago: the Trainer tells nobody.
        """
        broke_off = self._broke_off
        self._close()
        self.series.end(broke_off or status, abandoned=abandoned)

    # ---- epochs and phases

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, train_dataloader: Any = None, **kwargs: Any
    ) -> None:
        self._leave()
        self._end_epoch(args, state, control)
        schedule = self.series.shielded("reading the trainer's plan", lambda: plan(args, state, train_dataloader), Schedule())
        index = int((state.epoch or 0.0) + ROUNDING)
        done = state.global_step - index * schedule.batches if schedule.batches else 0
        self._in_epoch, self._began_at, self._first_step = True, state.global_step, state.global_step - done
        feed = self.series.shielded("reading the batches' sizes", lambda: feed_of(args, train_dataloader), Feed())
        self.series.begin_epoch(index, schedule, batches_done=done, feed=feed)
        if not self._watched:
            self._watch(args, kwargs.get("model"))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._broke_off = None
        steps = state.global_step - self._first_step
        if self.series.batch(steps):
            self._publish(state, self.series.look(steps))
            self.pass_on_stop(args, control)
        self._begin_work(state, control)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The evaluation that comes now belongs to the epoch, which is closed after it; without one it is closed here."""
        self.over = True
        if not control.should_evaluate:
            self._end_epoch(args, state, control)
        self._begin_work(state, control)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """The Trainer's own metrics: losses come after the end of their epoch, evaluations inside it."""
        if self._trains():
            self.series.tracker.annotate({name: value for name, value in (logs or {}).items() if name != "epoch"})

    def on_prediction_step(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """An evaluation that was not announced, such as one that another callback makes."""
        if not self._phase and self._trains():
            self._enter("validate")

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not self._trains():
            self._count_stage(**kwargs)
            return
        self._leave()
        if self.over:
            self._end_epoch(args, state, control, evaluated=True)
        self._begin_work(state, control)

    def on_predict(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any, **kwargs: Any
    ) -> None:
        if self._trains():
            self._leave()
        else:
            self._count_stage(**kwargs)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._leave()

    # ---- inside

    def _begins_again(self, training: FrameType | None, args: TrainingArguments) -> bool:
        """The training that is open begins anew, with smaller batches: ``auto_find_batch_size`` has caught its exception.

        It is one run, whose budget has to last for all of it. Ranks that train together would have to agree on that.
        """
        if self._loop is None or training is None or not self._loop.among([training]) or args.world_size > 1:
            return False
        self._leave()
        if self._in_epoch:
            self.series.end_epoch(steps=None, stopping=True)
        self._broke_off = None
        return self.series.open is not None

    def _open(self, training: FrameType) -> None:
        """From now on it is known whether the training lasts."""
        self._loop = begun(training, self.left)
        if self._trainer is None:
            self._noting = Noting(training.f_locals["self"], self._note)

    def _close(self) -> None:
        """The training is over."""
        loop, noting = self._loop, self._noting
        self.fitting, self._loop, self._noting, self._broke_off = False, None, None, None
        if loop is not None:
            loop.close()
        if noting is not None:
            noting.remove()

    def _note(self, error: BaseException) -> None:
        """An exception goes up, and leaves the training unless somebody catches it: its joules up to here are known now."""
        if self._trains():
            self._broke_off = status_of(error) or "failed"
            self.series.tracker.enter("train")
            self.series.tracker.leave("train")

    def _trains(self) -> bool:
        """Whether a hook is the training's. The Trainer calls those of a later evaluation, too."""
        if self.fitting and self._loop is not None and not self._loop.runs():
            self._loop.abandon()
        return self.fitting

    def _count_stage(self, model: Any = None, eval_dataloader: Any = None, **kwargs: Any) -> None:
        """A pass outside of training; where nobody could see it begin, it is not measured."""
        if self.series.open is not None:
            work = self.series.tracker.work
            self.series.shielded("counting what was evaluated", lambda: count(work, model, eval_dataloader), None)
        elif self._trainer is None and not self._said_unattached:
            self._said_unattached = True
            logger().warning("an evaluation outside of training is measured only once carbon.attach(trainer) was called before it.")

    def _end_epoch(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, *, evaluated: bool = False) -> None:
        """Close the open epoch, publish it, and pass a stop on, with the last evaluation and checkpoint."""
        if not self._in_epoch:
            return
        self._in_epoch = self.over = False
        self.series.end_epoch(steps=state.global_step - self._began_at, stopping=control.should_training_stop)
        self._publish(state, self.series.tracker.scalars())
        self._write_text(state, self.series.tracker.run_text())
        self.pass_on_stop(args, control, evaluated=evaluated)

    def _watch(self, args: TrainingArguments, model: Any) -> None:
        """In ``training_step`` are forward and backward of a batch; only the Trainer itself has it."""
        self._watched = True
        work, trainer = self.series.tracker.work, self._trainer
        work.parameters = parameters_of(model)
        if trainer is None:
            work.first_step.why_not = "call carbon.attach(trainer) before training"
        else:
            work.watch(trainer.model_wrapped, trainer, "training_step", batches=int(args.gradient_accumulation_steps))

    def _begin_work(self, state: TrainerState, control: TrainerControl) -> None:
        """Evaluation comes first, then the checkpoint, which has to hold what was used by now."""
        if control.should_evaluate:
            self._enter("validate")
        elif control.should_save:
            self._enter("checkpoint")
        if self.fitting and (control.should_evaluate or control.should_save):
            state.stateful_callbacks[STATE_KEY] = {"args": {}, "attributes": self.series.state()}

    def pass_on_stop(self, args: TrainingArguments, control: TrainerControl, *, evaluated: bool = False) -> None:
        """Stop, and as the Trainer does at its own last step: what is evaluated or saved now and then is so once more."""
        if self._stopping or not self.series.tracker.should_stop:
            return
        self._stopping = control.should_training_stop = True
        if not evaluated and word_of(args.eval_strategy) == "steps":
            control.should_evaluate = True
        if word_of(args.save_strategy) in ("steps", "epoch"):
            control.should_save = True

    def _publish(self, state: TrainerState, values: dict[str, float]) -> None:
        if values and self._log:
            self.series.shielded("logging", lambda: self._log_values(state, values), None)

    def _log_values(self, state: TrainerState, values: dict[str, float]) -> None:
        """To every reporter by the Trainer, which takes that for the log it was about to write; else to its history."""
        if self._trainer is None:
            state.log_history.append({**values, "epoch": state.epoch, "step": state.global_step})
            return
        control = self._trainer.control
        due = control.should_log
        self._trainer.log(dict(values))
        control.should_log = due

    def _write_text(self, state: TrainerState, text: str | None, *, begins: bool = False) -> None:
        """Give TensorBoard the run's record, from which the Carbon tab reads totals and sources."""
        trainer = self._trainer
        if text and self._log and trainer is not None and state.is_world_process_zero:
            self.series.shielded("writing the run's text", lambda: self._to_tensorboard(trainer, text, begins), None)

    def _to_tensorboard(self, trainer: Trainer, text: str, begins: bool) -> None:
        """By its reporter, which has closed its file before our last event comes: then into a file beside it."""
        from fitprint_tensorboard.texts import show_in, texts

        step = trainer.state.global_step
        reporters = [vars(callback) for callback in trainer.callback_handler.callbacks if hasattr(callback, "tb_writer")]
        for writer in [reporter["tb_writer"] for reporter in reporters if reporter["tb_writer"] is not None]:
            self._log_dir = writer.log_dir
            show_in(writer, text, step, prefix="train/", begins=begins)
            return
        if self._log_dir:
            from fitprint_tensorboard import CarbonWriter

            last = CarbonWriter(self._log_dir)
            for tag, words in texts(text).items():
                last.text(tag, words, step)
            last.close()

    def _warn_of_others(self, args: TrainingArguments) -> None:
        reporters = [args.report_to] if isinstance(args.report_to, str) else list(args.report_to or ())
        if "codecarbon" in reporters or "all" in reporters:
            logger().warning(
                "codecarbon measures this run too, as report_to asks for it; two tools read the same sensors. "
                "Leave one of them out, for example with report_to='tensorboard'."
            )
        if self._log and self._trainer is None and set(reporters) - {"none"}:
            names = ", ".join(reporters)
            logger().warning("carbon/... values go to state.log_history alone; for %s too, call carbon.attach(trainer).", names)

    def _enter(self, phase: str) -> None:
        self._leave()
        self._phase = phase
        self.series.tracker.enter(phase)

    def _leave(self) -> None:
        phase, self._phase = self._phase, ""
        if phase:
            self.series.tracker.leave(phase)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry the options, not the trainer."""
        return {**self.__dict__, "_trainer": None, "_loop": None, "_noting": None}


def listed() -> list[Any]:
    """The callbacks that the Trainer calls, as it goes through them; none where the hook is called by hand."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_name != "call_event":
        frame = frame.f_back
    callbacks: list[Any] = getattr(frame.f_locals.get("self"), "callbacks", [])
    return callbacks


def _trackers(trainer: Trainer) -> list[str]:
    """The reporters that write into the run that is active, where a sink of that name writes, too."""
    kinds = {type(callback).__name__ for callback in trainer.callback_handler.callbacks}
    return [name for kind, name in REPORTERS.items() if kind in kinds]
