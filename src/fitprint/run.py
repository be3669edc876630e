"""One run while it lasts: what happens at its start, at boundaries and at its end, in which order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from fitprint.assembly import assemble
from fitprint.beginning import say_start
from fitprint.blocks import NEVER
from fitprint.budget import Decision, Spent
from fitprint.clock import iso_utc
from fitprint.delegate import Delegate
from fitprint.ending import say_end
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.notices import logger
from fitprint.opening import Opening
from fitprint.pace import Schedule
from fitprint.provenance import Provenance
from fitprint.sensors.probe import Sensors, Surroundings
from fitprint.sentences import price_of_an_epoch
from fitprint.settings import Settings
from fitprint.view import View

if TYPE_CHECKING:
    from fitprint.job import Job

# A run that is over sooner than the first answer could come waits for it, but no longer than this.
WAITS_FOR_FIGURES_S = 0.8


class Run:
    """The state of a run between its start and its close.

    Args:
        settings: The resolved options.
        kind: ``fit``, ``validate``, ``test`` or ``predict``.
        sensors: What is read.
        around: The machine: clock, roots, environment.
        parent_run_id: The run inside which this one is started, or None.
        awaits_state: ``resume`` may still be called; nothing is written before ``begin_training``.
        job: The ranks with which this one trains, or None where it is alone.

    Attributes:
        opening: Who it is, and the beginning of its record.
        delegate: What it tells the other ranks, and hears from them.
        view: What can be said of it.
        watch: Its budgets.
        work: What it trains on.
        effort: What measuring costs.
    """

    def __init__(
        self,
        settings: Settings,
        kind: str,
        sensors: Sensors,
        around: Surroundings,
        *,
        parent_run_id: str | None = None,
        awaits_state: bool = False,
        job: Job | None = None,
    ) -> None:
        parts = assemble(
            settings,
            kind,
            sensors,
            around,
            parent_run_id=parent_run_id,
            awaits_state=awaits_state,
            job=job,
            on_tick=self._tick,
        )
        self.opening = Opening(parts, awaits_state=awaits_state)
        self.delegate = Delegate(parts, self.opening, tuple(budget.limit for budget in settings.budgets))
        self.view = View(parts)
        self.watch, self.work, self.effort = parts.watch, parts.work, parts.effort
        self._settings = settings
        self._lock, self._clock, self._leads = parts.lock, parts.clock, parts.leads
        self._books, self._team, self._grid = parts.books, parts.books.team, parts.grid
        self._periods, self._outlook = parts.periods, parts.outlook
        self._chronicle, self._recorder = parts.chronicle, parts.recorder
        self._pending_metrics: dict[str, float] = {}

    # ---- start and end

    def start(self) -> None:
        """Take the first reading; every joule from here on is in the run."""
        self._books.start()
        if self._settings.calibrate_idle_s:
            idle = self._books.idle(self._settings.calibrate_idle_s)
            self._chronicle.amend(idle=idle, started_at=iso_utc(self._clock.time()))
        self._books.open()
        self.opening.settle()
        if self._grid is not None and self._grid.errand is not None:
            self.opening.open()
        if self._chronicle.records.kind == "fit" and self._leads:
            say_start(self._chronicle.records, self._books.meter.sensors)

    @property
    def alive(self) -> bool:
        """False once closed, and in a forked child."""
        return self._books.meter.alive

    @property
    def in_epoch(self) -> bool:
        """Whether an epoch has begun and not ended."""
        return self._periods.open is not None

    def close(self, status: str | None = None, *, abandoned: bool = False) -> Footprint:
        """Take the last reading, write what is left, and return the record.

        Args:
            status: How it ended; by default as the budget decided.
            abandoned: It ended some time ago, at its last event: nothing is booked any more.
        """
        if not abandoned:
            self._recorder.wait_for_errand(WAITS_FOR_FIGURES_S)
        try:
            with self._lock:
                if self._chronicle.status != "running":
                    return self.view.footprint()
                self._conclude(status, abandoned=abandoned)
        finally:  # whatever fails, no thread stays behind
            self._books.meter.close()
        self._recorder.close()
        footprint = self.view.footprint()
        for note in self._grid.doubts() if self._grid and self._leads else ():
            logger().warning(note)
        if self._leads:
            say_end(footprint)
        return footprint

    def _conclude(self, status: str | None, *, abandoned: bool) -> None:
        """Book, decide and write what is left."""
        self._books.frozen |= abandoned
        self.end_epoch(complete=False)
        self.work.first_step.leave()
        if self._team is None:
            self._books.cut()
        self._chronicle.weigh_again()
        spent = self._chronicle.spent()
        self._warn_unasked(spent)
        self.watch.conclude(spent)
        self._chronicle.status = status or ("stopped" if self.watch.should_stop else "completed")
        self._books.frozen = True
        self.opening.awaits_state = False
        self.opening.open()
        self.effort.conclude()
        self._chronicle.end(spent)

    def fail(self) -> None:
        """Measuring has failed: its last reading was the last, and the record says so."""
        self._books.frozen = True
        note = f"the measurement failed at {iso_utc(self._clock.time())}; what follows is not measured"
        self._chronicle.amend(failures=(note,))

    def hear(self) -> None:
        """Book what the other ranks have told; an epoch that this one has left is over now."""
        with self._lock:
            self.delegate.hear()
            if self._team is not None and self._team.left is not None:
                self.end_epoch(complete=self._team.left)
                self._team.left = None

    # ---- epochs, blocks and phases

    def begin_training(self) -> None:
        """From here on no state can come any more. Nothing may be left in the budgets of a resumed run."""
        self.opening.awaits_state = False
        with self._lock:
            self.opening.settle()
            self.opening.open()
        self.ask()

    def begin_epoch(self, index: int, schedule: Schedule) -> int:
        """Open an epoch; returns the number of batches after which to look inside it."""
        with self._lock:
            self.opening.awaits_state = False
            self.opening.open()
            self.end_epoch(complete=False)
            self._books.boundary()
            self._outlook.begin_epoch(schedule)
            self._periods.begin_epoch(index)
            self.work.begin_epoch()
            self._periods.begin_block(0, schedule)
            self._books.account.enter("train")
            return self._outlook.first_look()

    def look(self, batches_done: int) -> int:
        """Look inside the epoch: end a full block, ask the budgets; returns when to look next."""
        with self._lock:
            if self._periods.open is None:
                return NEVER
            self._books.boundary(fresh=False)
            self._outlook.batches_done = batches_done
            unseen_j = self._books.unseen_j
            spent = self._chronicle.spent(unseen_j)
            if batches_done >= self._periods.blocks.end:
                self._end_block(batches_done, spent)
            return self._outlook.look(spent, unseen_j)

    def _end_block(self, batches_done: int, spent: Spent) -> None:
        blocks, number = self._periods.blocks, self._periods.blocks.opened.index
        self._chronicle.block(self._periods.end_block(self._chronicle.records, blocks.steps_after(batches_done), complete=True))
        blocks.learn(self._books.energy_j - blocks.opened.energy_j)
        self._periods.begin_block(batches_done, self._outlook.schedule)
        if blocks.another_after(batches_done):
            self._outlook.ask_for_block(spent, number + 1)

    def end_epoch(self, *, steps: int | None = None, complete: bool = True) -> None:
        """Close the open epoch, record it, and decide whether another may begin."""
        with self._lock:
            window = self._periods.open
            if window is None:
                return
            self._books.boundary()
            metrics, self._pending_metrics = self._pending_metrics, {}
            samples = self.work.end_epoch()
            record = self._periods.end_epoch(
                self._chronicle.records, steps=steps, complete=complete, samples=samples, metrics=metrics
            )
            self._chronicle.block(self._periods.end_last_block(self._chronicle.records, complete=complete))
            self._chronicle.epoch(record)
            if complete:
                self._outlook.learn_epoch(record, window)
                self._after_epoch(record)
            self._outlook.end_epoch()

    def _after_epoch(self, record: EpochFootprint) -> None:
        if not self._outlook.is_last(record.index):
            self.ask()
        first = self._leads and len(self._periods.epochs) == 1 and self._chronicle.records.kind == "fit" and not self.watch.budgets
        if first and record.co2e_g is not None:
            ahead, warm_up = self._outlook.so_far(self._chronicle.spent()), self._outlook.warm_up_j / (record.energy_j or math.inf)
            logger().info(price_of_an_epoch(record.co2e_g, self._outlook.schedule.last_epoch, ahead, warm_up))

    def cut_short(self) -> None:
        """The last epoch turned out to have been left by an exception."""
        with self._lock:
            if self._team is not None and self._team.left:
                self._team.left = False
            elif self._periods.epochs:
                self._chronicle.epoch(self._periods.amend(complete=False))

    def enter(self, phase: str) -> None:
        """Book to a phase from now on."""
        with self._lock:
            self._books.enter(phase)

    def leave(self, phase: str) -> None:
        """Book to the phase before again."""
        with self._lock:
            joules = self._books.leave(phase)
            if phase != "validate" or self._periods.open is None:
                return
            if self._team is not None:
                self._team.validated()
            else:
                self._outlook.pace.validation(joules)

    # ---- budgets

    def ask(self) -> None:
        """Ask the budgets whether an epoch may begin; a resumed run may have nothing left."""
        if not self.watch.budgets:
            return
        with self._lock:
            self._books.boundary(fresh=False)
            self._outlook.ask(self._chronicle.spent())

    def check(self, ahead_s: float) -> None:
        """Ask the budgets, outside of epochs, whether so many further seconds at the present power fit."""
        with self._lock:
            self.opening.open()
            self._books.boundary(fresh=False)
            self.watch.during(self._chronicle.spent(self._books.unseen_j), ahead_s * self._books.power_w)

    def stop(self, decision: Decision) -> None:
        """Stop for a reason that is no budget's; after the last planned epoch there is nothing to stop."""
        with self._lock:
            if not self._outlook.is_last(self._periods.opened.index):
                self.watch.accept(decision)

    def plan(self, schedule: Schedule) -> None:
        """More has become known of how long the open epoch is."""
        with self._lock:
            self._outlook.schedule = schedule

    # ---- what was trained, on what, with which result

    def annotate(self, metrics: Mapping[str, float]) -> None:
        """Add metrics to the open epoch, else to the last; a framework's may come after its end."""
        with self._lock:
            if self._periods.open is not None:
                self._pending_metrics.update(metrics)
                return
            if not self._periods.epochs or metrics.items() <= self._periods.epochs[-1].metrics.items():
                return
            record = self._periods.amend(metrics={**self._periods.epochs[-1].metrics, **metrics})
            self._chronicle.metrics(record)

    def describe(self, told: Provenance) -> None:
        """Add to what the run was made from."""
        with self._lock:
            provenance = self._chronicle.records.provenance.described(told.hparams, told.seed, told.git_commit)
            if provenance != self._chronicle.records.provenance:
                self._chronicle.amend(provenance=provenance)
                self._chronicle.described()

    def batch(self, model: Any) -> AbstractContextManager[None]:
        """A context around a batch; a first one that trains ``model`` is watched."""
        return self.work.batch(model if self._working else None)

    def count(self, samples: int | None) -> bool:
        """A batch has been trained on, or predicted; False where it was one of a validation, which is not counted."""
        if self._working:
            self.work.count(samples)
        return self._working

    @property
    def _working(self) -> bool:
        """Not validating beside what this run is for."""
        return self._chronicle.records.kind != "fit" or self._books.account.phase in ("train", "other")

    # ---- what is written down

    def _tick(self) -> None:
        """Called by the keeper: what was used by now must survive a kill.

        Nothing is booked: if the program has abandoned the run, its last event was its end.
        """
        with self._lock:
            if self._chronicle.status != "running" or self.opening.awaits_state:
                return
            unbooked = self._books.unbooked()
            if unbooked is not None:
                self.opening.open()
                self._chronicle.progress(unbooked)
                self._warn_unasked(self._chronicle.spent(unbooked.joules))

    def _warn_unasked(self, spent: Spent) -> None:
        """A loop may forget to ask its budgets; validations and the like need not."""
        if self._chronicle.records.kind == "fit" and self._team is None:
            self.watch.unasked(spent)
