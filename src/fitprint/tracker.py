"""Floor 5: the tracker, what every adapter and every plain loop drives.

Whatever goes wrong inside a run costs its measurement and one log line, never the training.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, ParamSpec, Self, TypeVar

from fitprint.account import PHASES
from fitprint.batches import BatchCount
from fitprint.blocks import NEVER
from fitprint.budget import Budget, Decision, Spent
from fitprint.carbon.intensity import IntensitySource
from fitprint.config import Config
from fitprint.drift import Range
from fitprint.footprint import Footprint
from fitprint.job import Job, owned_alone
from fitprint.ledger.project import check_project
from fitprint.notices import logger, show_on_console
from fitprint.pace import Schedule
from fitprint.process import machine
from fitprint.provenance import Provenance
from fitprint.ranks import Member, Peers, torch_peers
from fitprint.run import Run
from fitprint.scalars import block_scalars, idle_scalars
from fitprint.sensors.counter import Counter
from fitprint.sensors.probe import Sensors, Surroundings, probe
from fitprint.settings import Settings, check_network, resolve
from fitprint.told import Told
from fitprint.work import Work

AGAIN = "the Tracker was started again after its run had ended; nothing of what followed was measured"

T = TypeVar("T")
P = ParamSpec("P")


class Tracker:
    """Measures a run: a context manager with epochs and phases inside.

    Args:
        budget: ``"250 g"``, ``"0.5 kWh"``, a Budget, or a list of these.
        region: Country, part of one or cloud region: ``FR``, ``US-CA``, ``gcp:europe-west1``.
        intensity: Carbon intensity in g CO2e per kWh; or what tells it over time: a CSV file, a service, an object (see Config).
        pue: Facility power over IT power, from 1 up.
        project: Name under which runs are kept together.
        name: Name of the run.
        run_id: Identity of the run; a new one by default. One that the ledger knows is gone on with, by whatever
            process: what was spent under it is spent.
        ledger: Path of the SQLite file that records runs, ``"postgresql://user@host/database"``, or ``"off"``.
        config: Options beyond these, and defaults for these.
        kind: ``fit``, ``validate``, ``test``, ``predict`` or ``command``.
        counters: Counters to read instead of this machine's sensors.
        around: The machine: clock, folders, environment.
        peers: The ranks with which this one trains; by default those of PyTorch's process group, if there is one.
        awaits_state: ``resume`` may be called up to ``check_start``; nothing is written before.

    Raises:
        ConfigError: If an option makes no sense; nothing has been started or written then.

    Example:
        >>> from fitprint.testing import FakeClock, ScriptedCounter
        >>> from fitprint.sensors.probe import Surroundings
        >>> clock = FakeClock()
        >>> gpu = ScriptedCounter(clock, watts=360.0)
        >>> with Tracker(region="FR", ledger="off", counters=[gpu], around=Surroundings(clock=clock)) as tracker:
        ...     for epoch in tracker.epochs(range(2)):
        ...         clock.advance(10.0)
        >>> [epoch.energy_j for epoch in tracker.footprint.epochs]
        [3600.0, 3600.0]

        A budget is looked at inside epochs, too, where their batches are counted::

            with Tracker(budget=Budget("250 g", check=50), region="FR") as tracker:
                for epoch in tracker.epochs(range(100)):
                    for x, y in batches:
                        with tracker.batch(len(x)):
                            train(x, y)
                        if tracker.should_stop:
                            break
    """

    def __init__(
        self,
        *,
        budget: str | Budget | Sequence[str | Budget] | None = None,
        region: str | None = None,
        intensity: float | str | IntensitySource | None = None,
        pue: float | None = None,
        project: str | None = None,
        name: str | None = None,
        run_id: str | None = None,
        ledger: str | None = None,
        config: Config | None = None,
        kind: str = "fit",
        counters: Sequence[Counter] | None = None,
        around: Surroundings | None = None,
        peers: Peers | None = None,
        awaits_state: bool = False,
    ) -> None:
        self._config = Config.of(config).overridden(
            budget=budget,
            region=region,
            intensity=intensity,
            pue=pue,
            project=project,
            name=name,
            run_id=run_id,
            ledger=ledger,
        )
        check_network(self._config, around.environ if around else None)
        check_project(self._config)
        self._kind = kind
        self._counters = counters
        self._around = around
        self._peers = peers
        self._job: Job | None = None
        self._pid = 0
        self._run: Run | None = None
        self._final: Footprint | None = None
        self._broken = False
        self._left_loop = False
        self._broke_off: str | None = None
        self._started = self._inside = self._parted = self._reminded = False
        self._last_scalars: dict[str, float] = {}
        self._awaits_state = awaits_state
        self._described = Provenance()
        self._told = Told()
        self._batches = BatchCount()

    # ---- start and end

    def start(self) -> Self:
        """Begin the run. Failures are logged once and leave a tracker that does nothing."""
        if self._run is not None or self._broken:
            self._remind_of_the_end()
            return self
        self._started = True
        try:
            settings = resolve(self._config, self._around.environ if self._around else None)
            self._last_scalars = idle_scalars(settings.budgets, settings.parts)
            if not settings.disabled:
                self._run = self._begin(settings)
        except Exception:
            self._give_up("could not be started")
        self._exchange(0)
        return self

    def close(self, status: str | None = None, *, abandoned: bool = False) -> None:
        """End the run; may be called any number of times.

        Args:
            status: ``completed``, ``stopped``, ``failed`` or ``interrupted``; by default one of the
                first two, as the budget decided.
            abandoned: The run ended some time ago without telling: what was used since its last event
                is not its own.
        """
        self._end(status, abandoned=abandoned, together=status is None and not abandoned)

    def _end(self, status: str | None, *, abandoned: bool = False, together: bool) -> None:
        """End the run, ``together`` with all other ranks if they end it too."""
        run = self._run
        if run is not None and not run.alive:
            return
        self._part(abandoned=abandoned, together=together)
        if run is None:
            return
        try:
            self._final = run.close(status, abandoned=abandoned or self._broken)
        except Exception:
            self._give_up("could not be ended properly")

    def __del__(self) -> None:
        """Nobody holds the tracker any more: its run is over, and so are its threads."""
        try:
            self.close("failed", abandoned=True)
        except Exception:  # the interpreter may be half gone
            return

    def __enter__(self) -> Self:
        self.start()
        self._inside = True
        _entered().append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is not None and self._left_loop:
            self._safely(lambda run: run.cut_short(), None)
        if self in _entered():
            _entered().remove(self)
        self._inside = False
        self.close(status_of(error))

    # ---- epochs and phases

    def epochs(self, iterable: Iterable[T]) -> Iterator[T]:
        """Iterate over epochs; ends by itself after the epoch in which the stop was decided.

        Args:
            iterable: One item per epoch, for example ``range(100)``; ``range(5, 100)`` goes on from epoch 5.
        """
        self._remind_to_start()
        first = iterable.start if isinstance(iterable, range) and iterable.step == 1 else 0
        schedule = Schedule(epochs=first + len(iterable) if isinstance(iterable, Sized) else None)
        self.check_start()
        for index, item in enumerate(iterable, start=first):
            if self.should_stop:
                return
            with self.epoch(index, schedule):
                yield item

    @contextmanager
    def epoch(self, index: int, schedule: Schedule | None = None) -> Iterator[None]:
        """Measure one epoch; an exception leaves it incomplete, a ``break`` out of it does not.

        Args:
            index: Its number, from 0.
            schedule: What is planned, if anything is known.
        """
        self._remind_to_start()
        self._left_loop, self._broke_off = False, None
        self._batches.look_at = self.begin_epoch(index, self._batches.begin(schedule or Schedule()))
        try:
            yield
        except GeneratorExit:  # a break, or an exception in the loop's body: only __exit__ can tell
            self._end_counted(self._leave_epoch)
            self._left_loop = True
            raise
        except BaseException as error:
            self._leave_epoch(complete=False)
            self._broke_off = status_of(error)
            raise
        self._end_counted(self.end_epoch)

    def _leave_epoch(self, *, complete: bool) -> None:
        """Close an epoch out of which the program has jumped; other ranks may not have, so that nobody is met here."""
        if self._team is None:
            self.end_epoch(complete=complete)
        else:
            self._safely(lambda run: run.leave_epoch(complete=complete), None)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book everything inside to a phase: train, validate, sanity_check, checkpoint, test, predict or other."""
        self._remind_to_start()
        if name not in PHASES:
            logger().warning("phase %r is not known and is booked as 'other'; known are %s", name, ", ".join(PHASES))
            name = "other"
        self.enter(name)
        try:
            yield
        finally:
            self.leave(name)

    @contextmanager
    def batch(self, samples: int | None = None, model: Any = None) -> Iterator[None]:
        """Train on, or predict, one batch inside, so that samples and operations are known.

        Inside an epoch the budgets are asked between batches, and ``should_stop`` turns true where the next ones
        would not fit; of processes that train together it does so between epochs. A batch of validation inside an
        epoch is not counted: it trains nothing.

        Args:
            samples: Samples of the batch, or None.
            model: A PyTorch module: the floating-point operations of its first batch are counted as they are executed.

        Example::

            with tracker.batch(len(x), model):
                loss(model(x), y).backward()
                optimizer.step()
            if tracker.should_stop:
                break
        """
        self._remind_to_start()
        nothing: AbstractContextManager[None] = nullcontext()
        with self._safely(lambda run: run.batch(model), nothing):
            yield
        known = self._told.samples(samples)
        if self._safely(lambda run: run.count(known), False):
            self._look_inside()

    @property
    def should_stop(self) -> bool:
        """Whether a budget decided to stop; the cached decision, which costs nothing to ask."""
        return self.decision is not None

    @property
    def decision(self) -> Decision | None:
        """Why the run is to stop, or None; of a job's ranks the same for all."""
        if self._job is not None:
            return self._job.decision
        return self._run.watch.decision if self._run is not None else None

    @property
    def footprint(self) -> Footprint:
        """The record: live while the run lasts, final after it; of a job of many ranks as of their last exchange."""
        if self._final is not None:
            return self._final
        status, why = ("completed", "switched off or failed") if self._started else ("failed", "the Tracker was never started")
        nothing = Footprint(run_id=self._config.run_id or "", status=status, notes=(f"nothing was measured: {why}",))
        return self._so_far() or self._safely(lambda run: run.footprint(), nothing)

    @property
    def forecast(self) -> Range | None:
        """Grams of CO2e that the run will have emitted at its end, with their 95 % interval.

        None where the run's length is unknown, and before anything was seen of an epoch. The interval is
        that of the work ahead: how epochs differ and may still drift. It leaves out how sure the grams are.
        """
        return self._safely(lambda run: run.forecast_g(), None)

    # ---- the words that adapters use

    def begin_epoch(self, index: int, schedule: Schedule) -> int:
        """Open an epoch; returns the number of batches after which to call ``look``."""
        self._exchange(index, schedule)
        return self._agree(self._safely(lambda run: run.begin_epoch(index, schedule), NEVER), index)

    def look(self, batches_done: int) -> tuple[int, dict[str, float]]:
        """Look inside the epoch.

        Args:
            batches_done: Training batches of this epoch that are done.

        Returns:
            The number of batches after which to look next, and the scalars of a block that ended.
        """
        nothing: tuple[int, dict[str, float]] = (NEVER, {})
        self._exchange(batches_done, fresh=False)
        next_look, block = self._safely(lambda run: _look(run, batches_done), nothing)
        return self._agree(next_look, batches_done), block

    def end_epoch(self, *, steps: int | None = None, complete: bool = True) -> None:
        """Close the epoch, record it, and decide whether another may begin."""
        self._exchange(0)
        self._safely(lambda run: run.end_epoch(steps=steps, complete=complete), None)
        self._agree(NEVER, 0)

    def describe(self, *, hparams: object = None, seed: int | None = None, git_commit: str | None = None) -> Self:
        """Keep with the run what it was made from, before it starts or while it lasts.

        Args:
            hparams: Hyperparameters, a mapping or a namespace: ``{"lr": 0.1, "width": 64}``. Plain values are
                kept, at most 200 and mappings flattened; objects, folders and what looks like a secret are not.
            seed: Seed of the random numbers.
            git_commit: Full hash, where the working folder is not in the repository of the code.

        Example:
            >>> tracker = Tracker(ledger="off").describe(hparams={"lr": 0.1}, seed=1)
        """
        self._described = self._described.described(self._told.hparams(hparams), seed, git_commit)
        self._safely(lambda run: run.describe(self._described), None)
        return self

    def annotate(self, metrics: Mapping[str, Any]) -> None:
        """Add metrics to the open epoch, else to the one that ended last, for example ``{"val_acc": 0.91}``.

        What is not one number (a vector, a text) is left out, and so is what we log ourselves. What is no
        mapping at all is ignored and said once.
        """
        numbers = self._told.metrics(metrics)
        self._safely(lambda run: run.annotate(numbers), None)

    def enter(self, phase: str) -> None:
        """Begin a phase."""
        self._safely(lambda run: run.enter(phase), None)

    def leave(self, phase: str) -> None:
        """End a phase."""
        self._safely(lambda run: run.leave(phase), None)

    def check_start(self) -> None:
        """Let the budgets decide whether the first epoch may begin."""
        self._safely(lambda run: run.await_no_state(), None)
        self._exchange(0)
        self._safely(lambda run: run.begin_training(), None)
        self._agree(NEVER, 0)

    def check(self, ahead_s: float) -> None:
        """Let the budgets decide outside of epochs whether so many further seconds at this power fit."""
        self._safely(lambda run: run.check(ahead_s), None)

    @property
    def spent(self) -> Spent | None:
        """What the run has used so far; None where nothing is measured."""
        return self._safely(lambda run: run.spent(), None)

    def stop(self, decision: Decision | None) -> bool:
        """Stop for a reason that is no budget's, such as the efficiency rule's; every rank of a job calls it or none.

        Args:
            decision: The reason, or None where there is none on this rank.

        Returns:
            Whether the run is to stop, for this reason or another.
        """
        if decision is not None:
            self._safely(lambda run: run.stop(decision), None)
        self._agree(NEVER, 0)
        return self.should_stop

    def scalars(self) -> dict[str, float]:
        """The last epoch and the run so far under their public tags (``carbon/...``); the last known if all fails."""
        self._last_scalars = {**self._last_scalars, **self._safely(lambda run: run.scalars(), {})}
        return dict(self._last_scalars)

    @property
    def work(self) -> Work:
        """What the run counts besides joules; one that nobody reads where nothing is measured."""
        return self._safely(lambda run: run.work, Work())

    @property
    def alive(self) -> bool:
        """True from start to close, in the process that started it."""
        return self._run is not None and self._run.alive

    @property
    def measuring(self) -> bool:
        """False where measuring is switched off or has failed."""
        return self._run is not None and not self._broken

    def run_text(self, *, at_once: bool = False) -> str | None:
        """The run's record without its epochs as JSON, for a logger's text; None if it is not due.

        Args:
            at_once: True for the last one; otherwise it is due at the start and once a minute.
        """
        if self._final is not None and at_once:
            return self._final.to_json(epochs=False)
        return self._safely(lambda run: run.text(at_once=at_once), None)

    def state(self) -> dict[str, Any]:
        """Plain types to keep in a checkpoint; empty where nothing is measured."""
        if self._final is not None:
            return (
                self._run.state() if self._run is not None else {"schema": self._final.schema, "footprint": self._final.to_dict()}
            )
        return self._safely(lambda run: run.state(), {})

    def resume(self, state: Mapping[str, Any], *, own: bool = False) -> None:
        """Go on with the run that ``state`` was taken from; call it before the first epoch.

        Where a live process writes for that run, or the run has gone on from there and ended already, this one is
        another run, with ``forked_from`` and ``inherited``.

        Args:
            state: What ``state()`` returned, then or in another process.
            own: It is of a run of the same series, whose run id was given once for all.
        """
        self._safely(lambda run: run.resume(state, own=own), None)

    # ---- inside

    def _begin(self, settings: Settings) -> Run:
        show_on_console()
        around = self._around or settings.surroundings()
        self._job, self._pid = self._joined(around), os.getpid()
        if self._job is not None:
            around = replace(around, pids=self._job.pids())
        sensors = self._sensors(settings, around)
        parent = _parent_run_id(around.environment())
        run = Run(settings, self._kind, sensors, around, parent_run_id=parent, awaits_state=self._awaits_state, job=self._job)
        run.describe(self._described)
        run.start()
        atexit.register(_close_at_exit, weakref.ref(self))
        return run

    # ---- with the other ranks of a job

    def _joined(self, around: Surroundings) -> Job | None:
        """The ranks that train with this one; None where it is alone."""
        peers = self._peers or torch_peers(sys.modules, _member(around))
        return Job(peers) if peers is not None else None

    def _sensors(self, settings: Settings, around: Surroundings) -> Sensors:
        """What this process reads: of the ranks of a job, each sensor by one."""
        job = self._job

        def find() -> Sensors:
            given = self._counters
            return Sensors(tuple(given)) if given is not None else probe(settings.parts, around, settings.attribute)

        if job is None:
            return find() if self._counters is not None else owned_alone(find(), around.environment())
        return job.share_out(find, limited=around.machine.cpu_limit is not None)

    @property
    def _team(self) -> Job | None:
        """The job, as long as this process takes part in it; a forked child does not."""
        return self._job if not self._parted and self._pid == os.getpid() else None

    def _exchange(self, where: int, schedule: Schedule | None = None, *, fresh: bool = True) -> None:
        """Tell the other ranks what this one has used, and hear it of them: one that fails goes on taking part."""
        if (job := self._team) is not None:
            batches = None if schedule is None else schedule.batches or NEVER
            job.exchange(self._safely(lambda run: run.tell(fresh=fresh), None), where, batches=batches)
            self._safely(lambda run: run.hear(), None)

    def _agree(self, next_look: int, where: int) -> int:
        """Stop with the other ranks, and look when they do."""
        if (job := self._team) is None:
            return next_look
        next_look = job.agree(self._safely(lambda run: run.watch.decision, None), next_look, where)
        self._safely(lambda run: run.watch.adopt(job.decision), None)
        return next_look

    def _part(self, *, abandoned: bool, together: bool) -> None:
        """Tell the last that this rank has used, and wait for nobody unless the others end as well."""
        if (job := self._team) is None:
            return
        self._parted = True
        row = self._safely(lambda run: run.tell(cut=not abandoned), None)
        if together:
            job.conclude(row)
        else:
            job.leave()
            job.exchange(row, 0)
        self._safely(lambda run: run.hear(), None)
        job.leave()

    def _safely(self, action: Callable[[Run], T], otherwise: T) -> T:
        """Do something with the live run; whatever fails is logged once and measures no more."""
        run = self._run
        if run is None or self._broken or not run.alive:
            return otherwise
        try:
            result = action(run)
        except Exception:
            self._give_up("failed")
            return otherwise
        run.watch.deliver()
        return result

    def _look_inside(self) -> None:
        """A batch of a plain loop is done: the budgets are asked where it is time.

        Ranks that train together meet between epochs alone: whether all of them count all batches is not known.
        """
        batches = self._batches
        if self._job is not None:
            return
        if batches.count():
            self._safely(lambda run: run.plan(batches.plan), None)
        if batches.due:
            batches.look_at, _ = self.look(batches.done)
        if self.decision is not None:
            batches.stop()

    def _end_counted(self, end: Callable[..., None]) -> None:
        """End an epoch of a plain loop; how long it was is the plan of the next."""
        if self._job is None:
            self._safely(lambda run: self._batches.remind(run.watch.budgets), None)
        complete = self._batches.end()
        self._safely(lambda run: run.plan(self._batches.plan), None)
        end(complete=complete)

    def _remind_to_start(self) -> None:
        if not self._started and not self._reminded:
            self._reminded = True
            show_on_console()
            logger().warning("this Tracker was never started and measures nothing: write `with Tracker(...) as tracker:`")

    def _remind_of_the_end(self) -> None:
        """A tracker measures one run; what is trained under it after the end is in no record but as a note."""
        if self._final is not None and AGAIN not in self._final.notes:
            self._final = replace(self._final, notes=(AGAIN, *self._final.notes))
            logger().warning("this Tracker's run has ended and it measures nothing more: make another one for another run")

    def _give_up(self, what: str) -> None:
        if self._broken:
            return
        logger().warning("the measurement %s; training goes on without it, and budgets are no longer watched", what, exc_info=True)
        self._broken = True
        if self._run is not None:
            self._run.fail()

    def _so_far(self) -> Footprint | None:
        """What was measured before the measurement failed; None where it has not failed, or nothing can be said."""
        try:
            return self._run.footprint() if self._run is not None and self._broken else None
        except Exception:  # what has failed may fail again
            return None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry the options, not the run."""
        return {**self.__dict__, "_run": None, "_job": None, "_peers": None}


# Which trackers the code of each thread is inside of. Only `with` counts: a framework's run that
# was left by an exception its callbacks never heard of would otherwise adopt every later one.
_threads = threading.local()


def _entered() -> list[Tracker]:
    """The trackers whose `with` block this thread is in, the innermost last."""
    if not hasattr(_threads, "entered"):
        _threads.entered = []
    entered: list[Tracker] = _threads.entered
    return entered


def _parent_run_id(environ: Mapping[str, str]) -> str | None:
    """The run inside which a new one starts: of this thread, else of the process that started this one."""
    inside = [tracker.footprint.run_id for tracker in _entered() if tracker.measuring and tracker.alive]
    return inside[-1] if inside else environ.get("FITPRINT_PARENT_RUN") or None


def status_of(error: BaseException | None) -> str | None:
    """The status of a run that ended with an exception: by a signal, or by a failure; None for a plain end."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return None
    by_signal = isinstance(error, KeyboardInterrupt) or type(error).__name__ == "SIGTERMException"
    if isinstance(error, SystemExit):  # a handler's, by the convention of shells
        by_signal = error.code in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    return "interrupted" if by_signal else "failed"


def _close_at_exit(tracker: weakref.ref[Tracker]) -> None:
    """The interpreter ends and nobody closed the run: the last exception says how it ended."""
    alive = tracker()
    if alive is not None:
        # A `with` block that is still open then was in a thread that ended with the process.
        cut_off = "interrupted" if alive._inside else None
        status = status_of(getattr(sys, "last_value", None)) or alive._broke_off or cut_off
        alive._end(status, together=False)


def _member(around: Surroundings) -> Member:
    host, namespace = machine(around.proc_root)
    return Member(host, os.getpid(), namespace)


def _look(run: Run, batches_done: int) -> tuple[int, dict[str, float]]:
    blocks = len(run.blocks)
    next_look = run.look(batches_done)
    return next_look, block_scalars(run.blocks[-1]) if len(run.blocks) > blocks else {}
