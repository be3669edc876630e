"""One run while it lasts: what happens at its start, at boundaries and at its end, in which order."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from fitprint.beside import Beside
from fitprint.blocks import NEVER
from fitprint.books import Books
from fitprint.budget import Decision, Spent
from fitprint.carbon.hourly import HourlySeries
from fitprint.chronicle import Chronicle
from fitprint.clock import iso_utc
from fitprint.drift import Range
from fitprint.effort import Effort
from fitprint.ending import say_end
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.grid import Grid
from fitprint.job import Job
from fitprint.ledger.project import Project
from fitprint.ledger.recorder import Recorder
from fitprint.ledger.reservation import Reservations
from fitprint.notices import logger
from fitprint.other_trackers import measured_twice
from fitprint.outlook import Outlook
from fitprint.pace import Schedule
from fitprint.periods import Periods
from fitprint.provenance import Provenance, git_commit
from fitprint.records import Records
from fitprint.report.text import FIRST_LINE
from fitprint.resume import Identity
from fitprint.scalars import budget_scalars, epoch_scalars, run_scalars
from fitprint.sensors.company import overlap_of
from fitprint.sensors.modelled import bare_cpu_name
from fitprint.sensors.probe import Sensors, Surroundings
from fitprint.sentences import defaults, price_of_an_epoch
from fitprint.settings import Settings
from fitprint.standing import Standing
from fitprint.team import Follower
from fitprint.watch import Watch
from fitprint.work import Work

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
        self._leads = job is None or job.leads
        self._identity = (
            Identity(settings, kind, around, parent_run_id=parent_run_id, awaits_state=awaits_state)
            if self._leads
            else Follower(settings, around, looks=job is not None and job.leads_host)
        )
        self.work = Work(count_flops=settings.flops and kind == "fit")
        self._settings = settings
        self._clock = around.clock
        factors = settings.factors(around, hidden_boards=sensors.hidden_boards, covered=sensors.covered)
        beside = Beside.of(settings, factors, around.machine, leads=sensors.of_host if job is None else job.leads_host)
        cpu = bare_cpu_name(around.machine.cpu_name)
        started_at, made_from = iso_utc(self._clock.time()), Provenance(git_commit=git_commit())
        records = Records(settings, kind, sensors, factors, started_at, beside, parent_run_id, provenance=made_from, cpu=cpu)
        overlap = overlap_of(lambda: self.run_id, parent_run_id, sensors.devices, around)
        self._books = Books(sensors, around, kind, job, overlap=overlap, on_tick=self._tick, sync=settings.sync)
        self._team = self._books.team
        self._grid = Grid.of(factors, self._books.timeline)
        self._periods = Periods(self._books, self._identity, settings.block, self._grid)
        self._outlook = Outlook(self._books, self._periods)
        errand = self._grid.errand if self._grid else None
        self._recorder = Recorder(settings.ledger, settings.proc_root, self._clock, errand, job.rank if job is not None else 0)
        project = Project.of(settings) if self._leads else None
        pots = Reservations(project, self._recorder) if project is not None else None
        say = logger().warning if self._leads else logger().debug
        self.watch = self._outlook.watch = Watch(settings.budgets, say, self._outlook.forecast, pots)
        self.effort = Effort(lambda: self._books.meter.cpu_s, lambda: self._recorder.cpu_s)
        self._chronicle = Chronicle(
            records,
            self._books,
            self._periods,
            self._identity,
            self.work,
            self._grid,
            self.watch,
            self._recorder,
            pots,
            self.effort,
            around.clock,
        )
        self._lock = threading.RLock()
        self._pending_metrics: dict[str, float] = {}
        self._awaits_state = awaits_state

    # ---- start and end

    def start(self) -> None:
        """Take the first reading; every joule from here on is in the run."""
        self._books.start()
        if self._settings.calibrate_idle_s:
            idle = self._books.idle(self._settings.calibrate_idle_s)
            self._chronicle.amend(idle=idle, started_at=iso_utc(self._clock.time()))
        self._books.open()
        self._settle()
        if self._grid is not None and self._grid.errand is not None:
            self._open_record()
        if self._chronicle.records.kind == "fit" and self._leads:
            self._introduce()

    def _introduce(self) -> None:
        """Say what was assumed, and what is not as it should be."""
        sensors, notes = self._books.meter.sensors, self._chronicle.records.notes
        logger().info(defaults(self._chronicle.records.factors, sensors))
        doubled = measured_twice(sys.modules)
        if doubled:
            logger().warning(doubled)
        for note in notes:
            if note.startswith(FIRST_LINE):
                logger().warning(note)
        if not sensors and self._chronicle.records.sensors.elsewhere:
            logger().info("this process counts nothing: %s", "; ".join(notes))
        elif not sensors:
            reasons = "; ".join(notes) or "no part is asked for"
            logger().warning("nothing can be measured or modelled here: %s. `fitprint detect` says more.", reasons)

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
                    return self.footprint()
                self._conclude(status, abandoned=abandoned)
        finally:  # whatever fails, no thread stays behind
            self._books.meter.close()
        self._recorder.close()
        footprint = self.footprint()
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
        self.watch.conclude(spent)
        self._chronicle.status = status or ("stopped" if self.watch.should_stop else "completed")
        self._books.frozen = True
        self._awaits_state = False
        self._open_record()
        self.effort.conclude()
        self._chronicle.end(spent)

    def fail(self) -> None:
        """Measuring has failed: its last reading was the last, and the record says so."""
        self._books.frozen = True
        note = f"the measurement failed at {iso_utc(self._clock.time())}; what follows is not measured"
        self._chronicle.amend(failures=(note,))

    # ---- with the other ranks of a job

    def tell(self, *, fresh: bool = True, cut: bool = True) -> list[int] | None:
        """What this rank tells the others, with a reading; None where it is alone.

        Args:
            fresh: As for a reading.
            cut: False takes no reading: the run was over at its last event.
        """
        if self._team is None:
            return None
        with self._lock:
            meter = self._books.meter
            if fresh:
                self._books.fence()
            if cut:
                self._books.cut(fresh=fresh)
            self._settle()
            self._team.announce(self._identity, self._chronicle.records, meter.sensors)
            told = self._periods.intensities()
            cpu_s = self.effort.cpu_s
            return self._team.row(self._chronicle.records, told, power_w=meter.power_w, unseen_j=meter.unseen_j(), cpu_s=cpu_s)

    def hear(self) -> None:
        """Book what the others have told."""
        if self._team is None:
            return
        with self._lock:
            job = self._team.job
            if not self._identity.opened:
                known = self._identity.before
                if self._identity.follow(job.leader, self._team.spent_before()):
                    self._remember()
                if (before := self._identity.before) is not None and (before is not known or self._leads):
                    job.recall(before.segments)
                self._team.heard = not self._awaits_state
            before = self._identity.before
            budgets = [budget.limit for budget in self._settings.budgets]
            for joules in self._team.settle(self._books.time_s(), before.segments if before else (), budgets):
                self._outlook.pace.validation(joules)
            self._chronicle.amend(of_many=bool(job.sensors))
            if self._team.left is not None:
                self.end_epoch(complete=self._team.left)
                self._team.left = None

    def leave_epoch(self, *, complete: bool) -> None:
        """The epoch is over on this rank; it is closed at the next exchange, when it is known what all have used in it."""
        with self._lock:
            if self._team is not None and self._periods.open is not None:
                self._books.cut()
                self._team.left = complete

    # ---- epochs, blocks and phases

    def await_no_state(self) -> None:
        """From here on no state can come any more."""
        self._awaits_state = False

    def begin_training(self) -> None:
        """From here on no state can come any more. Nothing may be left in the budgets of a resumed run."""
        self._awaits_state = False
        with self._lock:
            self._settle()
            self._open_record()
        self.ask()

    def begin_epoch(self, index: int, schedule: Schedule) -> int:
        """Open an epoch; returns the number of batches after which to look inside it."""
        with self._lock:
            self._awaits_state = False
            self._open_record()
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
                self._outlook.learn_epoch(record, window.joules_in("validate"))
                self._after_epoch(record)
            self._outlook.end_epoch()

    def _after_epoch(self, record: EpochFootprint) -> None:
        if not self._outlook.is_last(record.index):
            self.ask()
        first = self._leads and len(self.epochs) == 1 and self._chronicle.records.kind == "fit" and not self.watch.budgets
        if first and record.co2e_g is not None:
            ahead = self._outlook.so_far(self._chronicle.spent())
            logger().info(price_of_an_epoch(record.co2e_g, self._outlook.schedule.last_epoch, ahead))

    def cut_short(self) -> None:
        """The last epoch turned out to have been left by an exception."""
        with self._lock:
            if self._team is not None and self._team.left:
                self._team.left = False
            elif self.epochs:
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
        with self._lock:
            self._books.boundary(fresh=False)
            self._outlook.ask(self._chronicle.spent())

    def check(self, ahead_s: float) -> None:
        """Ask the budgets, outside of epochs, whether so many further seconds at the present power fit."""
        with self._lock:
            self._open_record()
            self._books.boundary(fresh=False)
            self.watch.during(self._chronicle.spent(self._books.unseen_j), ahead_s * self._books.power_w)

    def spent(self) -> Spent | None:
        """What the run has used so far; None where nothing can be read."""
        with self._lock:
            self._books.cut(fresh=False)
            read = self._books.meter.sensors or self._chronicle.records.of_many
            return self._chronicle.spent(self._books.unseen_j) if read else None

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
            if not self.epochs or metrics.items() <= self.epochs[-1].metrics.items():
                return
            record = self._periods.amend(metrics={**self.epochs[-1].metrics, **metrics})
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

    # ---- resuming

    def state(self) -> dict[str, Any]:
        """Plain types from which a later process can go on with this run."""
        return self._identity.state(self.footprint())

    def resume(self, state: Mapping[str, Any], *, own: bool = False) -> None:
        """Go on with the run that ``state`` came from; see ``Identity.restore``."""
        with self._lock:
            if self._identity.restore(state, own=own):
                self._remember()

    def _settle(self) -> None:
        """Who this run is, where no state can say so any more."""
        if not self._awaits_state and self._identity.settle():
            self._remember()

    def _remember(self) -> None:
        for epoch in self._identity.past_epochs:
            self._outlook.pace.remember(epoch)
        if self._identity.before is not None:
            self.work.go_on(self._identity.before)

    # ---- what is known now

    @property
    def run_id(self) -> str:
        """Final once a state can no longer come."""
        return self._identity.run_id

    @property
    def epochs(self) -> list[EpochFootprint]:
        """The epochs that have ended."""
        return self._periods.epochs

    @property
    def blocks(self) -> list[EpochFootprint]:
        """The blocks that have ended."""
        return self._periods.blocks.records

    def footprint(self) -> Footprint:
        """The record as of now, an open epoch as an incomplete one."""
        with self._lock:
            self._books.cut(fresh=False)
            return self._chronicle.footprint()

    @property
    def before(self) -> Footprint | None:
        """What earlier processes of this run had used; None where there were none."""
        return self._identity.before

    @property
    def intensities(self) -> HourlySeries | None:
        """What is known of the intensity over time, also before and after the run; None where it is a constant."""
        return self._grid.series if self._grid is not None else None

    def snapshot(self) -> Callable[[], Footprint]:
        """The run without its epochs as of its last reading; whoever calls it makes the record, in a thread of its own."""
        with self._lock:
            return self._chronicle.snapshot()

    def scalars(self) -> dict[str, float]:
        """The last epoch and the run so far, under the public tags."""
        with self._lock:
            spent = self._chronicle.spent()
            values = {
                **epoch_scalars(self.epochs[-1] if self.epochs else None),
                **run_scalars(spent, self._books.account.run.energy.measured_fraction),
                **budget_scalars(self.watch.nearest(spent)),
            }
            if self._outlook.schedule.bounded:
                values["carbon/forecast_co2e_g"] = self._outlook.so_far(spent).mean
            return values

    def forecast_g(self) -> Range | None:
        """What the whole run will have emitted at its end; None where its length is unknown or nothing is known yet."""
        with self._lock:
            return self._outlook.at_the_end(self._chronicle.spent())

    def standing(self) -> Standing | None:
        """Where the run stands, for a display in a thread of its own: nothing is read or booked; None where it is busy."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            unbooked, books, schedule = self._books.unbooked(), self._books, self._outlook.schedule
            spent = self._chronicle.spent((unbooked.joules if unbooked else 0.0) + books.unseen_j)
            opened, ahead = self._periods.open is not None, self._outlook.at_the_end(self._chronicle.spent())
            epoch = self._periods.opened.index if opened else self._periods.next_index
            now_ns, nearest = self._clock.monotonic_ns(), self.watch.nearest(spent)
            return Standing(now_ns, epoch, schedule.last_epoch, spent.energy_j, spent.co2e_g, books.power_w, nearest, ahead)
        finally:
            self._lock.release()

    def text(self, *, at_once: bool) -> str | None:
        """The record without epochs as JSON, at the start and then at most once a minute."""
        with self._lock:
            text = self._chronicle.text(at_once=at_once)
            if text is None:
                return None
            self._books.cut(fresh=False)
            return text()

    # ---- what is written down

    def _tick(self) -> None:
        """Called by the keeper: what was used by now must survive a kill.

        Nothing is booked: if the program has abandoned the run, its last event was its end.
        """
        with self._lock:
            if self._chronicle.status != "running" or self._awaits_state:
                return
            unbooked = self._books.unbooked()
            if unbooked is not None:
                self._open_record()
                self._chronicle.progress(unbooked)

    def _open_record(self) -> None:
        """Begin the record on disk; not before a state can no longer come, so that a resumed run has its own id by then."""
        if not self._awaits_state and (self._team is None or self._team.has_met):
            self._settle()
            self._chronicle.open()
