"""Which run a process goes on with, what that has spent already, and where it is a run of its own instead."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fitprint.earlier import Found, claim_of, find
from fitprint.footprint import SCHEMA, EpochFootprint, Footprint
from fitprint.ledger.claim import Claim
from fitprint.notices import logger
from fitprint.options import check_run_id
from fitprint.run_ids import job_run_id, new_run_id
from fitprint.sensors.probe import Surroundings
from fitprint.settings import Settings
from fitprint.units import format_co2e, format_energy

if TYPE_CHECKING:
    from fitprint.telling import Facts

INHERITED = ("energy_j", "co2e_g", "co2e_low_g", "co2e_high_g")
# How many runs this process has started, which tells those of one command apart; counted for the whole process.
STARTED = itertools.count(1)


class Identity:
    """Who a run is. Settled once, before the first line is written.

    The same run goes on under the id of the checkpoint, of ``run_id=`` or ``FITPRINT_RUN_ID``, else of the
    scheduler's job with the command line and the count of runs in this process. Nobody else may write
    for it meanwhile: a second process that asks for a run that is held, or for a checkpoint from which the
    run has gone on and ended already, becomes a run of its own.

    Args:
        settings: The resolved options.
        kind: What the run does; only one of the same kind is gone on with.
        around: The machine: clock, environment.
        parent_run_id: The run inside which this one is started, or None.
        awaits_state: A checkpoint may still say which run this is.
    """

    def __init__(
        self,
        settings: Settings,
        kind: str,
        around: Surroundings,
        *,
        parent_run_id: str | None = None,
        awaits_state: bool = False,
    ) -> None:
        self._settings = settings
        self._kind = kind
        self._clock = around.clock
        self._environ = around.environment()
        self._parent_run_id = parent_run_id
        self._awaits_state = awaits_state
        self._count = next(STARTED)
        self._settled = False
        self.opened = False
        self.run_id = settings.config.run_id or new_run_id(around.clock)
        self.before: Footprint | None = None
        self.inherited: Mapping[str, Any] | None = None
        self.forked_from: str | None = None
        self.past_epochs: tuple[EpochFootprint, ...] = ()
        self.claim: Claim | None = None
        # Written into states, so that one that this very run has produced is not counted twice.
        self._token = os.urandom(8).hex()

    def settle(self) -> bool:
        """Decide, where no checkpoint did; returns False where that is done already."""
        if self._settled:
            return False
        self._settled = True
        asked = self._settings.config.run_id
        if asked is not None:
            self._go_on_as_asked(asked)
        else:
            self._go_on_by_job()
        self.claim = self._own(self.claim)
        return True

    @property
    def known(self) -> Footprint | None:
        """What the ledger here, or a checkpoint, says that the run had spent."""
        return self.before

    def follow(self, _: Facts, before: Footprint | None) -> bool:
        """Other machines of the job have ledgers of their own, which may know more of the run that goes on.

        Args:
            before: What all of them know it to have spent.

        Returns:
            Whether that is more than was known here.
        """
        if before is None or before.run_id != self.run_id or _joules(before) <= _joules(self.before):
            return False
        self.before, self.past_epochs = before, before.epochs
        return True

    def state(self, footprint: Footprint) -> dict[str, Any]:
        """Plain types from which a later process can go on with the run.

        Args:
            footprint: Its record as of now.
        """
        # The first number of a new run is taken by the thread that writes, maybe later than this.
        generation = (self.claim.taken if self.claim is not None else 0) or 1
        return {"schema": SCHEMA, "token": self._token, "generation": generation, "footprint": footprint.to_dict()}

    def restore(self, state: Mapping[str, Any], *, own: bool = False) -> bool:
        """Go on with the run that ``state`` came from, or begin one that is forked from it.

        A state of this very run, as a learning-rate finder restores it in mid-run, changes nothing: what
        was used since then has been used.

        Args:
            state: From a checkpoint.
            own: It is of an earlier run of the same callback, whose ``run_id`` was given for all of them.

        Returns:
            Whether anything has changed.
        """
        if state.get("token") == self._token:
            return False
        if self.opened:
            logger().warning("a state came after the run's first epoch had begun; it is not taken, and the run goes on as it is")
            return False
        kept = Footprint.from_dict(state["footprint"])
        check_run_id(kept.run_id)
        asked = self._settings.config.run_id
        if asked not in (None, kept.run_id) and not own:
            self.settle()
            if self.before is None and self.inherited is None:
                self._inherit(kept, f"run_id={asked!r} asks for a run of its own")
            return True
        if self.claim is not None and self.claim.held and self.run_id == kept.run_id:  # settled under the same id already
            self.before = kept if _joules(kept) > _joules(self.before) else self.before
            return False
        self._settled = True
        self._go_on_from(kept, int(state.get("generation", 0)))
        self.claim = self._own(self.claim)
        return True

    # ---- from where

    def _go_on_from(self, kept: Footprint, generation: int) -> None:
        """From a checkpoint, with what the ledger knows to have been used after it."""
        if self._settings.ledger is None:
            logger().info("the ledger is off: what was used after the checkpoint, if anything was, is not known")
        found = find(kept.run_id, self._settings, self._environ)
        why = found.why_fork(kept, generation) or ("" if self._take(found) else "another process has just gone on with it")
        if why:
            self.run_id = new_run_id(self._clock)
            self._inherit(kept, why)
            return
        more_j = _joules(found.recorded) - _joules(kept)
        if found.recorded is not None and more_j > 0:
            logger().info("%s was used after the checkpoint; it counts as spent", format_energy(more_j))
            kept = found.recorded
        self._take_over(kept)

    def _go_on_as_asked(self, run_id: str) -> None:
        """Under an id that was given: what was spent under it is spent, whatever became of it."""
        if run_id == self._parent_run_id:  # FITPRINT_RUN_ID is the outer run's
            self.run_id = new_run_id(self._clock)
            return
        if self._settings.ledger is None:
            only = "only a checkpoint or backup resumes it" if self._awaits_state else "resuming is off"
            logger().info("run_id=%r, but the ledger is off: %s, and what was spent under it before is not known", run_id, only)
            return
        found = find(run_id, self._settings, self._environ)
        why = found.why_another(self._kind) or ("" if self._take(found) else "another process has just begun it")
        if why:
            self.run_id = new_run_id(self._clock)
            logger().warning("run_id=%r: %s; this is a run of its own, %s", run_id, why, self.run_id)
            if found.held is None and found.recorded is not None:  # it may have died: its spending is not given back
                self._inherit(found.recorded, "its process may have died")
        elif found.recorded is not None:
            self._take_over(found.recorded)
            if found.recorded.status == "completed":
                logger().warning("run_id=%r was completed before; this goes on with it as a further segment", run_id)

    def _go_on_by_job(self) -> None:
        """Under the id that a requeued job has again, if there is a job; nothing is said where that run is over."""
        job = job_run_id(self._environ, self._count)
        if job is None or self._settings.ledger is None:
            return
        found = find(job, self._settings, self._environ)
        over = found.recorded is not None and found.recorded.status == "completed"
        if over or found.why_another(self._kind) or not self._take(found):
            return
        self.run_id = job
        if found.recorded is not None:
            self._take_over(found.recorded)

    # ---- what follows

    def _take_over(self, before: Footprint) -> None:
        self.run_id, self.before = before.run_id, before
        self.forked_from, self.inherited = before.forked_from, before.inherited
        self.past_epochs = before.epochs
        used = f"{len(before.epochs)} epochs, {format_energy(before.energy_j)}, {format_co2e(before.co2e_g)} CO2e"
        logger().info("goes on with run %s; spent so far: %s", before.run_id, used)

    def _inherit(self, origin: Footprint, why: str) -> None:
        """What the origin had spent is no part of this run, but counts against budgets of the run."""
        spent = {name: _plus(getattr(origin, name), (origin.inherited or {}).get(name)) for name in INHERITED}
        self.forked_from = origin.run_id
        self.inherited = {**spent, "epochs": len(origin.epochs) + int((origin.inherited or {}).get("epochs", 0))}
        self.past_epochs = origin.epochs
        logger().warning(
            "run %s is forked from %s (%s); the %s spent by then stay that run's and count against this one's budget",
            self.run_id,
            origin.run_id,
            why,
            format_energy(spent["energy_j"]),
        )

    def _take(self, found: Found) -> bool:
        """Claim the run; False if somebody was faster. A folder that cannot be written costs the claim alone."""
        if found.claim is None:
            return True
        try:
            if not found.claim.take():
                return False
        except OSError:  # the clerk will say so
            return True
        if self.claim is not None:
            self.claim.release()
        self.claim = found.claim
        return True

    def _own(self, claim: Claim | None) -> Claim | None:
        """The claim of the run that this has become; of a new run it is taken by the thread that writes."""
        return claim if claim is not None and claim.held else claim_of(self.run_id, self._settings, self._environ)


def _joules(record: Footprint | None) -> float:
    return (record.energy_j or 0.0) if record is not None else 0.0


def _plus(a: float | None, b: float | None) -> float:
    return (a or 0.0) + (b or 0.0)
