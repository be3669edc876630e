"""The runs of one callback object, fit, then test, then fit again, and what all adapters do alike."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fitprint.blocks import NEVER
from fitprint.budget import Decision
from fitprint.clock import SystemClock
from fitprint.config import Config
from fitprint.errors import ConfigError, MissingExtraError
from fitprint.footprint import Footprint
from fitprint.leaving import end_left
from fitprint.ledger.ledger import Ledger
from fitprint.ledger.project import check_project
from fitprint.notices import logger
from fitprint.pace import Schedule
from fitprint.provenance import Provenance
from fitprint.run_ids import new_run_id
from fitprint.settings import check_network, resolve
from fitprint.tracker import Tracker
from fitprint.work import Done, Feed

T = TypeVar("T")


class Series:
    """Makes a tracker for each run and keeps the records.

    Args:
        config: Options of all runs, or None.
        make: Makes the trackers; tests put their own hardware in here.
        **options: Options of ``Config`` that win over ``config``.

    Raises:
        ConfigError: If an option makes no sense.
    """

    def __init__(self, config: Config | None = None, make: Callable[..., Tracker] = Tracker, **options: Any) -> None:
        self.config = Config.of(config).overridden(**options)
        check_network(self.config)
        check_project(self.config)
        self.footprints: list[Footprint] = []
        self.open: Tracker | None = None
        self._make = make
        self._kind = ""
        self._count = 0
        self._last_state: dict[str, Any] = {}
        self._failed: set[str] = set()
        self._described = Provenance()
        self._look_at = NEVER
        self._batches: int | None = None
        self._seen_batches = self._first_batch = 0
        self._feed = Feed()
        self._sent: list[str] = []
        self._own_id: str | None = None
        # Forked processes have this in their memory, too: by it the runs are found that they make with this object.
        self._home: tuple[int, str] | None = (os.getpid(), new_run_id(SystemClock()))

    # ---- runs

    @property
    def tracker(self) -> Tracker:
        """The open run's tracker; one that does nothing where a hook comes without a run."""
        return self.open or Tracker()

    @property
    def footprint(self) -> Footprint | None:
        """The last ``fit``'s record: live while it lasts; None before the first."""
        if self.open is not None and self._kind == "fit":
            return self.open.footprint
        self.fetch()
        return next((footprint for footprint in reversed(self.footprints) if footprint.kind == "fit"), None)

    def fetch(self) -> None:
        """Take from the ledger the records of runs that copies of this object have made in processes started from here."""
        forked = self._home is not None and self._home[0] == os.getpid() and not self._count
        place = resolve(self.config, quiet=True).ledger if self._sent or forked else None
        if place is None or not place.may_exist:
            return
        nothing: list[Footprint | None] = []
        found = self.shielded("reading the ledger", lambda: self._found(Ledger(place), forked=forked), nothing)
        ended = [footprint for footprint in found if footprint is not None and footprint.status != "running"]
        self.footprints += ended
        self._sent = [] if ended else self._sent

    def _found(self, ledger: Ledger, *, forked: bool) -> list[Footprint | None]:
        """Records of runs in processes that were started from here and are not kept yet."""
        mark = f"{self._home[1]}-" if forked and self._home is not None else ""
        known = {footprint.run_id for footprint in self.footprints}
        theirs = [str(row["run_id"]) for row in ledger.runs()] if mark else []
        return [ledger.find(run_id) for run_id in (*self._sent, *(i for i in theirs if i.startswith(mark) and i not in known))]

    @property
    def decision(self) -> Decision | None:
        """Why the budget ends the open run, or None."""
        return self.open.decision if self.open is not None else None

    def begin(self, kind: str, *, awaits_state: bool = False, rehearsal: str | None = None) -> Tracker:
        """Start a run. One that was left open ended without telling us: it failed.

        Args:
            kind: ``fit``, ``validate``, ``test`` or ``predict``.
            awaits_state: The framework may still restore a state before training begins.
            rehearsal: What has the framework only try out a few batches: budgets warn and do not stop.
        """
        self.end("failed", abandoned=True)
        self._count += 1
        self._kind = kind
        tracker = self._made(rehearsal, kind=kind, awaits_state=awaits_state)
        self.open = tracker.describe(hparams=self._described.hparams, seed=self._described.seed).start()
        return self.open

    def _made(self, rehearsal: str | None, **options: Any) -> Tracker:
        """The options were good at construction; by now an intensity's file or its service's credentials may be gone."""
        try:
            return self._make(config=_only_warning(self._numbered(), rehearsal) if rehearsal else self._numbered(), **options)
        except (ConfigError, MissingExtraError) as error:
            if self.config.intensity is None:
                raise
            logger().warning("%s The place's yearly average is used.", error)
            self.config = replace(self.config, intensity=None)
            return self._made(rehearsal, **options)

    def end(self, status: str | None = None, *, abandoned: bool = False) -> Tracker | None:
        """End the open run, if there is one, keep its record, and return its tracker."""
        tracker, self.open = self.open, None
        if tracker is not None:
            tracker.close(status, abandoned=abandoned)
            self.footprints.append(tracker.footprint)
            if self._kind == "fit":
                self._last_state = tracker.state()
        return tracker

    def describe(self, hparams: object, seed: int | None) -> None:
        """Keep with all runs, the open one and later ones, what they were made from."""
        self._described = self._described.described(hparams, seed)
        if self.open is not None:
            self.open.describe(hparams=hparams, seed=seed)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the open fit's state, or after its end the last one's."""
        if self.open is None:
            return self._last_state
        return self.open.state() if self._kind == "fit" else {}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on with the run that a checkpoint holds, if this is a fit."""
        if self.open is not None and self._kind == "fit" and state:
            earlier = {footprint.run_id for footprint in self.footprints}
            self.open.resume(state, own=state.get("footprint", {}).get("run_id") in earlier)

    def save_path(self, suffix: str, folder: Path | None = None) -> Path | None:
        """Where the model is to be saved since a budget ends the run; None where it is not or nobody asked for it.

        Args:
            suffix: What the framework's files end with.
            folder: Where to; beside the ledger by default, or in the working folder without one.
        """
        if self.open is None or self.decision is None or self._kind != "fit":
            return None
        settings = resolve(self.config, quiet=True)
        file = settings.ledger.path if settings.ledger is not None else None
        beside = file.parent if file is not None else Path.cwd()
        path = (folder or beside) / f"fitprint-{self.open.footprint.run_id}{suffix}"
        return path if settings.save_on_stop else None

    # ---- epochs and batches

    def begin_epoch(self, index: int, schedule: Schedule, *, batches_done: int = 0, feed: Feed | None = None) -> None:
        """Open an epoch.

        Args:
            index: Its number, from 0.
            schedule: The framework's plan.
            batches_done: Batches of it that an earlier run has done already.
            feed: What is known of its batches' sizes.
        """
        self._batches = schedule.batches
        if schedule.batches is not None:
            schedule = replace(schedule, batches=schedule.batches - batches_done)
        self._seen_batches = self._first_batch = batches_done
        self._look_at = self.tracker.begin_epoch(index, schedule) + batches_done
        self._feed = feed or Feed()
        self.tracker.work.batch_size = self._feed.size
        self.tracker.work.follow(self._done)

    def batch(self, batches_done: int) -> bool:
        """Note a batch; True where the epoch has to be looked into. Two comparisons, for it runs at every batch."""
        self._seen_batches = batches_done
        return batches_done >= self._look_at

    def look(self, batches_done: int) -> dict[str, float]:
        """Look inside the epoch; returns the scalars of a block that ended."""
        next_look, block = self.tracker.look(batches_done - self._first_batch)
        self._look_at = next_look + self._first_batch
        return block

    def end_epoch(self, *, steps: int | None, stopping: bool, batches_at_once: int = 0) -> None:
        """Close the epoch.

        Args:
            steps: Optimizer steps that it made, or None.
            stopping: Whether the framework has been told to stop.
            batches_at_once: Batches that have been done since the last hook, which came before them.
        """
        planned = NEVER if self._batches is None else self._batches
        self._seen_batches = min(self._seen_batches + batches_at_once, planned)
        all_seen = self._seen_batches == planned
        self.tracker.end_epoch(steps=steps, complete=all_seen or not stopping)

    # ---- never in the way

    def shielded(self, what: str, action: Callable[[], T], otherwise: T) -> T:
        """Do something with the framework's own objects; a failure costs one log line, not the training.

        Args:
            what: What is done, for the log.
            action: Does it.
            otherwise: The answer where it fails.
        """
        try:
            return action()
        except Exception:
            if what not in self._failed:
                logger().warning("%s failed; training goes on without it", what, exc_info=True)
            self._failed.add(what)
            return otherwise

    def _done(self) -> Done:
        """What the open epoch has trained on."""
        first, last = self._first_batch, self._seen_batches
        return Done((last - first) * self._feed.at_once, self._feed.between(first, last))

    def _numbered(self) -> Config:
        """A run id that was given is the first run's; later ones get a number behind it."""
        own_id = self._own_id or self._forked_id()
        run_id = resolve(self.config, quiet=True).config.run_id or own_id
        if self._count == 1:
            return self.config.overridden(run_id=own_id) if own_id and run_id == own_id else self.config
        return self.config.overridden(run_id=run_id and f"{run_id}-{self._count}")

    def _forked_id(self) -> str | None:
        """In a process that was forked with this object: an id by which the one that forked it finds its run."""
        here = os.getpid()
        return f"{self._home[1]}-{here}" if self._home is not None and self._home[0] != here else None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry options and records, not the open run; for a process that is started, an id to find it by."""
        own_id = new_run_id(SystemClock()) if _starting_a_process() else None
        self._sent += [own_id] if own_id else []
        return {**self.__dict__, "open": None, "_sent": [], "_own_id": own_id, "_home": None}


def _starting_a_process() -> bool:
    """Whether this is pickled for a process that is being started; who starts one has the module."""
    context = sys.modules.get("multiprocessing.context")
    return context is not None and context.get_spawning_popen() is not None


def _only_warning(config: Config, why: str) -> Config:
    """The same options with budgets that stop nothing, whatever layer they came from."""
    budgets = [replace(budget, on_exceed="warn") for budget in resolve(config, quiet=True).budgets]
    if budgets:
        logger().warning("%s: budgets only warn and stop nothing", why)
    return config.overridden(budget=budgets or None)


class Measured:
    """What a callback that keeps a Series shows of it."""

    series: Series

    @property
    def footprint(self) -> Footprint | None:
        """The last ``fit``'s record, live while it lasts; None before the first."""
        end_left()
        return self.series.footprint

    @property
    def footprints(self) -> list[Footprint]:
        """The records of all runs that have ended, in order."""
        end_left()
        self.series.fetch()
        return self.series.footprints

    def describe(self, *, hparams: object = None, seed: int | None = None) -> None:
        """Keep with this and later runs what the framework cannot tell, as ``Tracker.describe`` does."""
        self.series.describe(hparams, seed)

    @property
    def decision(self) -> Decision | None:
        """Why the budget ends the run that lasts now, or None."""
        return self.series.decision
