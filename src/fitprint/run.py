"""One run while it lasts: reads the meter at boundaries, books, records, and asks the budgets."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from fitprint.account import PHASES, Account, Window
from fitprint.beside import Beside
from fitprint.blocks import NEVER, Blocks, Opened
from fitprint.budget import Decision, Spent
from fitprint.clock import NS_PER_S, iso_utc
from fitprint.drift import Range
from fitprint.energy import Energy
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.forecast import Forecast, Position, look_ahead
from fitprint.grid import Grid, Weighed
from fitprint.job import Job
from fitprint.ledger.project import Project
from fitprint.ledger.recorder import Recorder
from fitprint.ledger.reservation import Reservations
from fitprint.meter import Meter
from fitprint.notices import logger
from fitprint.pace import Pace, Schedule
from fitprint.process import machine_id
from fitprint.provenance import Provenance, git_commit
from fitprint.readings import Readings
from fitprint.records import Records, Stretch
from fitprint.report.text import FIRST_LINE, headline
from fitprint.resume import Identity
from fitprint.run_ids import new_run_id
from fitprint.scalars import budget_scalars, epoch_scalars, run_scalars
from fitprint.sensors.company import overlap_of
from fitprint.sensors.fence import wait_for_accelerators
from fitprint.sensors.probe import Sensors, Surroundings
from fitprint.sentences import defaults, price_of_an_epoch
from fitprint.settings import Settings
from fitprint.team import Follower, Team
from fitprint.telling import Facts
from fitprint.timeline import SteadyTime, Timeline
from fitprint.together import told_of
from fitprint.watch import Watch
from fitprint.work import Work

TEXT_EVERY_S = 60
SERIES_EVERY_S = 600
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
            else Follower(settings.config.run_id or new_run_id(around.clock))
        )
        self.epochs: list[EpochFootprint] = []
        self.work = Work(count_flops=settings.flops and kind == "fit")
        self._settings = settings
        self._clock = around.clock
        factors = settings.factors(around, hidden_boards=sensors.hidden_boards, covered=sensors.covered)
        beside = Beside.of(settings, factors, around.machine, leads=job is None or job.leads_host)
        started_at, made_from = iso_utc(self._clock.time()), Provenance(git_commit=git_commit())
        self._records = Records(settings, kind, sensors, factors, started_at, beside, parent_run_id, provenance=made_from)
        self._account = Account(kind if kind in PHASES else "other")
        self._team = Team(job, self._account) if job is not None else None
        self._blocks = Blocks(settings.block, self._account)
        overlap = overlap_of(lambda: self.run_id, parent_run_id, sensors.devices, around)
        self._meter = Meter(sensors.counters, clock=self._clock, on_tick=self._tick, overlap=overlap, devices=sensors.devices)
        self._timeline = Timeline()
        self._grid = Grid.of(factors, self._timeline)
        errand = self._grid.errand if self._grid else None
        self._recorder = Recorder(settings.ledger, settings.proc_root, self._clock, errand, job.rank if job is not None else 0)
        project = Project.of(settings) if self._leads else None
        self._pots = Reservations(project, self._recorder) if project is not None else None
        self.watch = Watch(settings.budgets, logger().warning if self._leads else logger().debug, self.forecast, self._pots)
        self._lock = threading.RLock()
        self._schedule = Schedule()
        self._pace = Pace()
        self._status = "running"
        self._epoch_end_j = 0.0
        self._batches_done = 0
        self._phases_began_j: list[float] = []
        self._pending_metrics: dict[str, float] = {}
        self._awaits_state = awaits_state
        self._cutting = False
        self._text_ns: int | None = None
        self._readings = Readings(machine_id(around.proc_root), sensors.devices, self._clock)
        self._series_written_ns = 0

    # ---- start and end

    def start(self) -> None:
        """Take the first reading; every joule from here on is in the run."""
        self._last = self._meter.start()
        if self._settings.calibrate_idle_s:
            self._calibrate_idle(self._settings.calibrate_idle_s)
        self._time = SteadyTime(self._clock)
        self._timeline.mark(self._time.at(self._last.time_ns), 0.0)
        self._booked_s = self._timeline.end_s
        self._settle()
        if self._grid is not None and self._grid.errand is not None:
            self._open_record()
        self._readings.mark(self._last.time_ns, Energy())
        if self._records.kind == "fit" and self._leads:
            logger().info(defaults(self._records.factors, self._meter.sensors))
            for note in self._records.notes:
                if note.startswith(FIRST_LINE):
                    logger().warning(note)
            if not self._meter.sensors:
                reasons = "; ".join(self._records.notes) or "no part is asked for"
                logger().warning("nothing can be measured or modelled here: %s. `fitprint detect` says more.", reasons)

    def _calibrate_idle(self, seconds: float) -> None:
        """Measure before the run what the sensors count while nothing is trained."""
        self._clock.sleep(seconds)
        begin = self._meter.snapshot()
        idle = self._meter.between(self._last, begin)
        self._last = begin
        self._records = dataclasses.replace(self._records, idle=idle, started_at=iso_utc(self._clock.time()))

    @property
    def alive(self) -> bool:
        """False once closed, and in a forked child."""
        return self._meter.alive

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
                if self._status != "running":
                    return self.footprint()
                self._conclude(status, abandoned=abandoned)
        finally:  # whatever fails, no thread stays behind
            self._meter.close()
        self._recorder.close()
        footprint = self.footprint()
        for note in self._grid.doubts() if self._grid and self._leads else ():
            logger().warning(note)
        if self._leads:
            logger().info(headline(footprint))
        return footprint

    def _conclude(self, status: str | None, *, abandoned: bool) -> None:
        """Book, decide and write what is left."""
        self._cutting = abandoned
        self.end_epoch(complete=False)
        self.work.first_step.leave()
        if self._team is None:
            self._cut()
        self._weigh_again()
        spent = self._records.spent(self._stretch())
        self.watch.conclude(spent)
        self._status = status or ("stopped" if self.watch.should_stop else "completed")
        self._awaits_state = False
        self._open_record()
        self._emit("end", self._progress(series=True))
        if self._pots is not None:
            self._pots.settle({"g": spent.co2e_g, "J": spent.energy_j})

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
            if fresh:
                self._fence()
            if cut:
                self._cut(fresh=fresh)
            self._settle()
            if self._team.is_news(self.run_id, self._meter.sensors, self._before):
                self._team.job.announce(self._facts())
            team, over = self._team, self._grid.over if self._grid else None
            grids = (
                over.so_far(self._booked_s) if over else None,
                over.during(self._epoch.wall_s, self._booked_s) if over and self._account.epoch is not None else None,
                over.during(self._blocks.opened.wall_s, self._booked_s) if over and self._account.block is not None else None,
            )
            return team.job.row(
                told_of(
                    self._records.beside,
                    [self._records.factors_at(grid) for grid in grids],
                    [team.job.own, team.epoch, team.block],
                    power_w=self._meter.power_w,
                    unseen_j=self._meter.unseen_j(),
                )
            )

    def hear(self) -> None:
        """Book what the others have told."""
        if self._team is None:
            return
        with self._lock:
            job = self._team.job
            if isinstance(self._identity, Follower) and not self._identity.opened and self._identity.follow(job.leader):
                self._remember()
            earlier = self._before.segments if self._before is not None else ()
            budgets = [budget.limit for budget in self._settings.budgets]
            for joules in self._team.settle(self._time.at(self._last.time_ns), earlier, budgets):
                self._pace.validation(joules)
            self._records = dataclasses.replace(self._records, of_many=bool(job.sensors))
            if self._team.left is not None:
                self.end_epoch(complete=self._team.left)
                self._team.left = None

    def _facts(self) -> Facts:
        """What is said once, and again where it is new."""
        identity, records, first = self._identity, self._records, self._team is not None and self._team.job.leads_host
        return Facts(
            run_id=identity.run_id,
            sensors=self._meter.sensors,
            region=records.factors.place.code,
            started_at=records.started_at,
            pue=float(records.factors.pue.value or 1),
            assumptions=tuple(row.to_dict() for row in records.factors.assumptions()) if first else (),
            notes=records.notes if first else (),
            before=self._before.to_dict() if self._leads and self._before is not None else None,
            forked_from=identity.forked_from,
            inherited=identity.inherited,
        )

    def _boundary(self, *, fresh: bool = True) -> None:
        """A reading at a boundary; the ranks of a job have taken theirs before they met."""
        if self._team is None:
            if fresh:
                self._fence()
            self._cut(fresh=fresh)

    @property
    def _power_w(self) -> float:
        return self._meter.power_w if self._team is None else self._team.power_w

    @property
    def _unseen_j(self) -> float:
        return self._meter.unseen_j() if self._team is None else self._team.unseen_j

    def fail(self) -> None:
        """Measuring has failed: its last reading was the last, and the record says so."""
        self._cutting = True
        note = f"the measurement failed at {iso_utc(self._clock.time())}; what follows is not measured"
        self._records = dataclasses.replace(self._records, failures=(note,))

    # ---- epochs and phases

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
            self._boundary()
            self.watch.goes_on()
            self._schedule = schedule
            if self.epochs:
                self._pace.gap(self._energy_j - self._epoch_end_j)
            else:
                self._epoch_end_j = self._energy_j
            self._epoch, self._batches_done = self._opened(index, 0), 0
            self._account.epoch = Window()
            if self._team is not None:
                self._team.epoch = Energy()
            self.work.begin_epoch()
            self._begin_block(0)
            self._account.enter("train")
            return 1 if self.watch.budgets else self._next_look(0, 0.0)

    def look(self, batches_done: int) -> int:
        """Look inside the epoch: end a full block, ask the budgets; returns when to look next."""
        with self._lock:
            if self._account.epoch is None:
                return NEVER
            self._boundary(fresh=False)
            self._batches_done = batches_done
            unseen_j = self._unseen_j
            spent = self._records.spent(self._stretch(), unseen_j)
            if batches_done >= self._blocks.end:
                self._end_block(batches_done, spent)
            # Validations inside the epoch belong to what its batches cost.
            epoch_j = self._account.epoch.energy.joules + unseen_j
            per_batch_j = epoch_j / max(1, batches_done)
            next_look = self._next_look(batches_done, per_batch_j, spent)
            if 0 < batches_done < (self._schedule.batches or NEVER):
                ahead_j = per_batch_j * (next_look - batches_done + self._schedule.batches_after_stop)
                training_j = self._account.epoch.joules_in("train") + unseen_j
                power_w, index = self._power_w, self._epoch.index
                closing_j = self._pace.closing(training_j, batches_done, power_w, self._schedule, index)
                self.watch.inside_epoch(spent, ahead_j, closing_j, epochs_done=self._epochs_done, number=index)
            return next_look

    def end_epoch(self, *, steps: int | None = None, complete: bool = True) -> None:
        """Close the open epoch, record it, and decide whether another may begin."""
        with self._lock:
            if self._account.epoch is None:
                return
            self._boundary()
            window, self._account.epoch = self._account.epoch, None
            self._account.leave("train")
            record = self._close_window(window, self._epoch, steps, complete=complete)
            record = dataclasses.replace(record, samples=self.work.end_epoch(), metrics=self._pending_metrics)
            self._pending_metrics = {}
            self.epochs.append(record)
            if self._grid:
                self._grid.epochs.append(self._weighed(window, self._epoch))
            self._end_last_block(complete=complete)
            self._emit("epoch", self._progress(), position=self._epochs_done - 1, epoch=record)
            if complete:
                joules, validation_j = self._energy_j - self._epoch_end_j, window.joules_in("validate")
                self._pace.epoch(joules, validation_j, index=record.index, length=self._schedule.length)
                self._after_epoch(record)
            self._epoch_end_j = self._energy_j

    def leave_epoch(self, *, complete: bool) -> None:
        """The epoch is over on this rank; it is closed at the next exchange, when it is known what all have used in it."""
        with self._lock:
            if self._team is not None and self._account.epoch is not None:
                self._cut()
                self._team.left = complete

    def cut_short(self) -> None:
        """The last epoch turned out to have been left by an exception."""
        with self._lock:
            if self._team is not None and self._team.left:
                self._team.left = False
            elif self.epochs:
                self.epochs[-1] = dataclasses.replace(self.epochs[-1], complete=False)
                self._emit("epoch", self._progress(), position=self._epochs_done - 1, epoch=self.epochs[-1])

    def ask(self) -> None:
        """Ask the budgets whether an epoch may begin; a resumed run may have nothing left."""
        with self._lock:
            self._boundary(fresh=False)
            spent = self._records.spent(self._stretch())
            self.watch.before(
                spent,
                self._pace,
                epochs_done=self._epochs_done,
                power_w=self._power_w,
                number=self._next_index,
                schedule=self._schedule,
            )

    def check(self, ahead_s: float) -> None:
        """Ask the budgets, outside of epochs, whether so many further seconds at the present power fit."""
        with self._lock:
            self._open_record()
            self._boundary(fresh=False)
            spent = self._records.spent(self._stretch(), self._unseen_j)
            self.watch.during(spent, ahead_s * self._power_w)

    def spent(self) -> Spent | None:
        """What the run has used so far; None where nothing can be read."""
        with self._lock:
            self._cut(fresh=False)
            stretch = self._stretch()
            return self._records.spent(stretch, self._unseen_j) if self._meter.sensors or self._records.of_many else None

    def stop(self, decision: Decision) -> None:
        """Stop for a reason that is no budget's; after the last planned epoch there is nothing to stop."""
        with self._lock:
            last = self._schedule.last_epoch
            if last is None or self._epoch.index + 1 < last:
                self.watch.accept(decision)

    def annotate(self, metrics: Mapping[str, float]) -> None:
        """Add metrics to the open epoch, else to the last; a framework's may come after its end."""
        with self._lock:
            if self._account.epoch is not None:
                self._pending_metrics.update(metrics)
                return
            if not self.epochs or metrics.items() <= self.epochs[-1].metrics.items():
                return
            merged = {**self.epochs[-1].metrics, **metrics}
            self.epochs[-1] = dataclasses.replace(self.epochs[-1], metrics=merged)
            self._emit("metrics", position=self._epochs_done - 1, metrics=self.epochs[-1].to_dict()["metrics"])

    def describe(self, told: Provenance) -> None:
        """Add to what the run was made from."""
        with self._lock:
            provenance = self._records.provenance.described(told.hparams, told.seed, told.git_commit)
            if provenance != self._records.provenance:
                self._records = dataclasses.replace(self._records, provenance=provenance)
                self._emit("describe", self._progress())

    def batch(self, model: Any) -> AbstractContextManager[None]:
        """A context around a batch; a first one that trains ``model`` is watched."""
        return self.work.batch(model if self._working else None)

    def count(self, samples: int | None) -> bool:
        """A batch has been trained on, or predicted; False where it was one of a validation, which is not counted."""
        if self._working:
            self.work.count(samples)
        return self._working

    def plan(self, schedule: Schedule) -> None:
        """More has become known of how long the open epoch is."""
        with self._lock:
            self._schedule = schedule

    def enter(self, phase: str) -> None:
        """Book to a phase from now on."""
        with self._lock:
            self._fence()
            self._cut()
            self._phases_began_j.append(self._energy_j)
            self._account.enter(phase)

    def leave(self, phase: str) -> None:
        """Book to the phase before again."""
        with self._lock:
            self._fence()
            self._cut()
            self._account.leave(phase)
            began_j = self._phases_began_j.pop() if self._phases_began_j else self._energy_j
            if phase != "validate" or self._account.epoch is None:
                return
            if self._team is not None:
                self._team.validated()
            else:
                self._pace.validation(self._energy_j - began_j)

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
            self._pace.remember(epoch)
        if self._before is not None:
            self.work.go_on(self._before)

    # ---- what is known now

    def footprint(self) -> Footprint:
        """The record as of now, an open epoch as an incomplete one."""
        with self._lock:
            self._cut(fresh=False)
            epochs, blocks = list(self.epochs), self._blocks.records
            if self._grid and self._team is None:
                epochs = self._grid.again(epochs, self._grid.epochs, self._records.weighed)
                blocks = self._grid.again(blocks, self._grid.blocks, self._records.weighed)
            if self._account.epoch is not None:
                now = self._close_window(self._account.epoch, self._epoch, None, complete=False)
                epochs.append(dataclasses.replace(now, samples=self.work.open.samples))
            return self._records.footprint(self._stretch(series=True), epochs, blocks)

    def scalars(self) -> dict[str, float]:
        """The last epoch and the run so far, under the public tags."""
        with self._lock:
            spent = self._records.spent(self._stretch())
            values = {
                **epoch_scalars(self.epochs[-1] if self.epochs else None),
                **run_scalars(spent, self._account.run.energy.measured_fraction),
                **budget_scalars(self.watch.nearest(spent)),
            }
            if self._schedule.bounded:
                values["carbon/forecast_co2e_g"] = self._forecast_g(spent).mean
            return values

    def forecast(self) -> Forecast | None:
        """A look ahead from the last reading; None before anything is known."""
        with self._lock:
            if self._schedule.batches is None and self._schedule.steps is not None and self._blocks.window is not None:
                return self._blocks.forecast(self._steps_before, self._batches_done, self._energy_j)
            return look_ahead(self._pace, self._schedule, self._position())

    def forecast_g(self) -> Range | None:
        """What the whole run will have emitted at its end; None where its length is unknown or nothing is known yet."""
        with self._lock:
            forecast = self.forecast()
            known = forecast is not None and forecast.end is not None
            return self._forecast_g(self._records.spent(self._stretch())) if known else None

    def text(self, *, at_once: bool) -> str | None:
        """The record without epochs as JSON, at the start and then at most once a minute."""
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            if not at_once and self._text_ns is not None and now_ns - self._text_ns < TEXT_EVERY_S * NS_PER_S:
                return None
            self._text_ns = now_ns
            self._cut(fresh=False)
            return self._records.footprint(self._stretch()).to_json(epochs=False)

    # ---- inside

    @property
    def run_id(self) -> str:
        """Final once a state can no longer come."""
        return self._identity.run_id

    @property
    def _before(self) -> Footprint | None:
        """What the run had spent before this process went on with it."""
        return self._identity.before

    @property
    def _energy_j(self) -> float:
        return self._account.run.energy.joules if self._team is None else self._team.figures.energy_j

    @property
    def _own(self) -> Energy:
        """What this process's own sensors have counted, told to others or not."""
        return self._account.run.energy if self._team is None else self._team.job.own

    @property
    def _working(self) -> bool:
        """Not validating beside what this run is for."""
        return self._records.kind != "fit" or self._account.phase in ("train", "other")

    @property
    def _epochs_done(self) -> int:
        return len(self.epochs) + (len(self._before.epochs) if self._before else 0)

    @property
    def _next_index(self) -> int:
        """The number of the next epoch, as the framework counts."""
        epochs = self.epochs or (self._before.epochs if self._before else ())
        return epochs[-1].index + 1 if epochs else 0

    @property
    def _steps_before(self) -> int:
        """Optimizer steps of the epochs that have ended."""
        earlier = self._before.epochs if self._before else ()
        return sum(epoch.steps or 0 for epoch in (*earlier, *self.epochs))

    def _position(self) -> Position:
        window = self._account.epoch
        if window is None:
            return Position(self._next_index)
        share = min(1.0, self._batches_done / self._schedule.batches) if self._schedule.batches else 0.0
        validation_j = window.joules_in("validate")
        return Position(self._epoch.index, share, window.energy.joules - validation_j, validation_j)

    def _fence(self) -> None:
        """Wait for what is still queued on accelerators, so that it is booked where it was started; only if asked."""
        if self._settings.sync and self.alive:
            wait_for_accelerators(sys.modules)

    def _cut(self, *, fresh: bool = True) -> None:
        """One reading: it ends the stretch that is booked now and begins the next."""
        if self._cutting or not self.alive or self._status != "running":
            return  # a signal handler asks in the middle of a cut, or the run is over
        self._cutting = True
        try:
            now = self._meter.snapshot(fresh=fresh)
            (self._account if self._team is None else self._team).book(self._meter.between(self._last, now))
            self._last = now
            self._timeline.mark(self._time.at(now.time_ns), self._own.joules)
            self._booked_s = self._timeline.end_s
            self._readings.mark(now.time_ns, self._own)
        finally:
            self._cutting = False

    def _tick(self) -> None:
        """Called by the keeper: what was used by now must survive a kill.

        Nothing is booked: if the program has abandoned the run, its last event was its end.
        """
        with self._lock:
            latest = self._meter.latest  # reading again could hang in a driver while training waits for the lock
            if latest is not None and latest.time_ns >= self._last.time_ns and self._status == "running" and not self._awaits_state:
                unbooked = self._meter.between(self._last, latest)
                self._timeline.mark(self._time.at(latest.time_ns), self._own.joules + unbooked.joules)
                self._open_record()
                self._emit("progress", self._progress(unbooked, series=self._series_is_due(latest.time_ns)))

    def _series_is_due(self, now_ns: int) -> bool:
        """The series over time is long: it is written down now and then."""
        due = now_ns - self._series_written_ns >= SERIES_EVERY_S * NS_PER_S
        if due:
            self._series_written_ns = now_ns
        return due

    def _stretch(self, unbooked: Energy | None = None, *, series: bool = False) -> Stretch:
        account, team = self._account, self._team
        if unbooked is not None:
            account = account.with_booked(unbooked if team is None else team.job.of_all(team.job.untold + unbooked))
        return Stretch(
            self.run_id,
            self._status,
            account.run.energy.duration_ns,
            account.run.energy,
            account.in_epochs,
            dict(account.run.phases),
            self.watch.decision,
            self._before,
            (self._timeline if team is None else team.timeline).to_dict() if series else None,
            self.work.facts(),
            self._grid.over.so_far(self._booked_s if unbooked is None else self._timeline.end_s) if self._grid else None,
            self._grid.over.notes() if self._grid and series else (),
            self._identity.forked_from,
            self._identity.inherited,
            self._readings.to_dict() if series else None,
            self._pots.levels() if self._pots is not None else {},
            None if team is None else team.figures,
            None if team is None else team.job.own,
        )

    def _after_epoch(self, record: EpochFootprint) -> None:
        last = self._schedule.last_epoch
        if last is None or record.index + 1 < last:
            self.ask()
        first = self._leads and len(self.epochs) == 1 and self._records.kind == "fit" and not self.watch.budgets
        if first and record.co2e_g is not None:
            logger().info(price_of_an_epoch(record.co2e_g, last, self._forecast_g(self._records.spent(self._stretch()))))

    def _forecast_g(self, spent: Spent) -> Range:
        """The whole run in grams; what is known so far where no more can be said."""
        forecast = self.forecast()
        rest = forecast.rest() if forecast is not None else None
        return (rest or Range(0.0, 0.0, 0.0)).scaled(spent.g_per_j, spent.co2e_g)

    def _opened(self, index: int, batches_done: int) -> Opened:
        return Opened(index, batches_done, self._last.time_ns, iso_utc(self._clock.time()), self._energy_j, self._booked_s)

    def _close_window(self, window: Window, opened: Opened, steps: int | None, *, complete: bool) -> EpochFootprint:
        figures = self._team.figures if self._team is not None else None
        grams = None if figures is None else figures.epoch_grams if window is not self._account.block else figures.block_grams
        return self._records.epoch(
            window,
            index=opened.index,
            started_at=opened.started_at,
            duration_ns=self._last.time_ns - opened.time_ns,
            steps=steps,
            complete=complete,
            grid=self._grid.over.during(opened.wall_s, self._booked_s) if self._grid else None,
            grams=grams,
        )

    def _weighed(self, window: Window, opened: Opened) -> Weighed:
        return Weighed(window.energy, opened.wall_s, self._booked_s)

    def _weigh_again(self) -> None:
        """Intensities may have been told after the epochs to which they belong had ended."""
        if self._grid is None or self._team is not None:
            return
        before = len(self._before.epochs) if self._before else 0
        for event, records, windows, first in (
            ("epoch", self.epochs, self._grid.epochs, before),
            ("block", self.blocks, self._grid.blocks, None),
        ):
            for i, record in enumerate(self._grid.again(records, windows, self._records.weighed)):
                if record != records[i]:
                    records[i] = record
                    self._emit(event, self._progress(), position=record.index if first is None else first + i, epoch=record)

    # ---- blocks of a long epoch

    @property
    def blocks(self) -> list[EpochFootprint]:
        """The blocks that have ended."""
        return self._blocks.records

    def _begin_block(self, batches_done: int) -> None:
        earlier = len(self._before.blocks) if self._before else 0
        self._blocks.begin(self._opened(earlier + len(self.blocks), batches_done), self._schedule)
        if self._team is not None:
            self._team.block = Energy()

    def _end_block(self, batches_done: int, spent: Spent) -> None:
        blocks, number = self._blocks, self._blocks.opened.index
        self._record_block(blocks.steps_after(batches_done), complete=True)
        blocks.learn(self._energy_j - blocks.opened.energy_j)
        self._begin_block(batches_done)
        if blocks.another_after(batches_done):
            epochs, power_w = self._epochs_done, self._power_w
            self.watch.before(spent, blocks.pace, epochs_done=epochs, power_w=power_w, what="block", number=number + 1)

    def _end_last_block(self, *, complete: bool) -> None:
        """What is left of a long epoch is a block whose steps are not known here."""
        if self._blocks.window is not None and self._blocks.window.energy.duration_ns > 0:
            self._record_block(None, complete=complete)
        self._account.block = None

    def _record_block(self, steps: int | None, *, complete: bool) -> None:
        if self._blocks.window is not None:
            record = self._close_window(self._blocks.window, self._blocks.opened, steps, complete=complete)
            self.blocks.append(record)
            if self._grid:
                self._grid.blocks.append(self._weighed(self._blocks.window, self._blocks.opened))
            self._emit("block", self._progress(), position=record.index, epoch=record)

    def _next_look(self, batches_done: int, per_batch_j: float, spent: Spent | None = None) -> int:
        """Batches done at the next look: the block's end or the budgets' interval, whichever is sooner."""
        looks = [self._blocks.end]
        if spent is not None and self.watch.budgets:
            interval = self.watch.batches_to_next_look(spent, per_batch_j)
            end = max(batches_done + 1, self._schedule.batches or NEVER)
            looks.append(min(batches_done + interval, end))
        return min(looks)

    def _progress(self, unbooked: Energy | None = None, *, series: bool = False) -> Callable[[], Footprint]:
        """The run without its epochs, written down later by the clerk: a boundary only keeps the numbers."""
        stretch = self._stretch(unbooked, series=series)
        return lambda: self._records.footprint(stretch)

    def _open_record(self) -> None:
        """Begin the record on disk; not before a state can no longer come, so that a resumed run has its own id by then."""
        if not self._awaits_state and (self._team is None or self._team.has_met):
            self._settle()
            self._identity.opened = True
            self._recorder.open(self.run_id, self._progress(), claim=self._identity.claim, before=self._before)
            if self._pots is not None:
                self._pots.open(self.run_id, self._records.parent_run_id, self._identity.inherited)

    def _emit(self, event: str, run: Callable[[], Footprint] | None = None, **fields: Any) -> None:
        self._recorder.emit(event, run, **fields)
