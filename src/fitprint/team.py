"""A run's side of a job: its own readings go out, everybody's come in and are booked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

from fitprint.account import Account
from fitprint.earlier import find
from fitprint.energy import Energy
from fitprint.footprint import SCHEMA, EpochFootprint, Footprint
from fitprint.job import Job
from fitprint.ledger.claim import Claim
from fitprint.records import Records
from fitprint.resume import STARTED, Identity
from fitprint.run_ids import job_run_id, new_run_id
from fitprint.sensors.counter import Sensor
from fitprint.sensors.probe import Surroundings
from fitprint.settings import Settings
from fitprint.telling import MICRO, Facts
from fitprint.timeline import Timeline
from fitprint.together import Together, together, told_of

if TYPE_CHECKING:
    from fitprint.carbon.over_time import Mean


class Team:
    """Books at exchanges, for all ranks alike, what all of them have used since the last one.

    Args:
        job: The ranks.
        account: The run's books.

    Attributes:
        epoch: What this rank's own sensors have counted in the open epoch.
        block: And in the open block.
        figures: What the ranks have come to together.
        timeline: The energy of all of them over time.
        left: This rank has left the open epoch, which is closed once others have told of it; whether it was complete.
        heard: The others have been heard, and what they know of the run.
    """

    def __init__(self, job: Job, account: Account) -> None:
        self.job = job
        self.epoch, self.block = Energy(), Energy()
        self.figures = Together()
        self.timeline = Timeline()
        self.left: bool | None = None
        self.heard = False
        self._account = account
        self._known: tuple[object, ...] = ()
        self._validations = 0
        self._validated_j = 0.0

    @property
    def has_met(self) -> bool:
        """Whether the others have been heard, or never will be: then it is known which run this is."""
        return self.job.apart or self.heard

    @property
    def power_w(self) -> float:
        """Power of all ranks at the last exchange."""
        return self.job.tally.told.power_uw / MICRO

    @property
    def unseen_j(self) -> float:
        """What all of them had probably drawn by then since their counters were read."""
        return self.job.tally.told.unseen_uj / MICRO

    def book(self, energy: Energy) -> None:
        """Note what this rank's sensors have counted."""
        inside = self._account.epoch is not None and self.left is None
        self.job.tally.book(energy, self._account.phase, inside=inside)
        if inside:
            self.epoch, self.block = self.epoch + energy, self.block + energy

    def announce(self, identity: Identity | Follower, records: Records, sensors: tuple[Sensor, ...]) -> None:
        """Say what is said once, and again where it is new."""
        what = (identity.run_id, sensors, identity.known)
        known, self._known = self._known, what
        if known and all(a is b for a, b in zip(what, known, strict=True)):
            return
        first, before, factors = self.job.leads_host, identity.known, records.factors
        facts = Facts(
            run_id=identity.run_id,
            sensors=sensors,
            region=factors.place.code,
            cpu=records.cpu,
            started_at=records.started_at,
            pue=float(factors.pue.value or 1),
            assumptions=tuple(row.to_dict() for row in factors.assumptions()) if first else (),
            notes=records.notes if first else (),
            before=before.to_dict() if before is not None else None,
            forked_from=identity.forked_from,
            inherited=identity.inherited,
        )
        self.job.announce(facts)

    def spent_before(self) -> Footprint | None:
        """What the run had spent before it was resumed, by all that the ledgers of its machines know."""
        from fitprint.ledger.united import united

        job = self.job
        told = [
            facts.before for facts in job.tally.facts if facts.before is not None and facts.before["run_id"] == job.tally.run_id
        ]
        return reduce(united, [Footprint.from_dict(before) for before in told]) if told else None

    def row(
        self, records: Records, intensities: Sequence[Mean | None], *, power_w: float, unseen_j: float, cpu_s: float
    ) -> list[int]:
        """What this rank tells of its own sensors.

        Args:
            records: Its factors.
            intensities: Over the run, the open epoch and the open block, where they change.
            power_w: Power now.
            unseen_j: What has probably been drawn since the counters were read.
            cpu_s: CPU seconds that measuring has cost.
        """
        factors = [records.factors_at(intensity) for intensity in intensities]
        energies = [self.job.tally.own, self.epoch, self.block]
        return self.job.row(told_of(records.beside, factors, energies, power_w=power_w, unseen_j=unseen_j, cpu_s=cpu_s))

    def settle(self, wall_s: float, earlier: Sequence[Mapping[str, Any]], budgets: Sequence[str]) -> list[float]:
        """Book what has come; returns the joules of the validations that have ended since the last time, evenly.

        Args:
            wall_s: Now, in seconds since 1970.
            earlier: Rows of the machines on which the run was before it was resumed.
            budgets: The budgets' limits.
        """
        for inside, phase, energy in self.job.tally.settle():
            self._account.book_at(energy, phase, inside=inside)
        whole = self._account.run
        self.figures = together(self.job, whole.energy, earlier, budgets)
        self.timeline.mark(wall_s, self.figures.energy_j)
        ended, self._validations = self._validations, 0
        if not ended:
            return []
        before_j, self._validated_j = self._validated_j, whole.joules_in("validate")
        return [(self._validated_j - before_j) / ended] * ended

    def validated(self) -> None:
        """A validation has ended; what it has used is known at the next exchange."""
        self._validations += 1


class Follower:
    """Who a run is on the ranks that do not lead: the one that the leading rank says. Takes ``resume.Identity``'s place.

    The first on each machine looks into the ledger there: another one than the leading rank's may know more of a run that goes on.

    Args:
        settings: The resolved options.
        around: The machine: clock, environment.
        looks: Whether it is the first on its machine.
    """

    def __init__(self, settings: Settings, around: Surroundings, *, looks: bool) -> None:
        self._settings, self._environ, self._looks = settings, around.environment(), looks
        self._count = next(STARTED)
        self._settled = False
        self.run_id = settings.config.run_id or new_run_id(around.clock)
        self.known: Footprint | None = None
        self.before: Footprint | None = None
        self.inherited: Mapping[str, Any] | None = None
        self.forked_from: str | None = None
        self.past_epochs: tuple[EpochFootprint, ...] = ()
        self.claim: Claim | None = None
        self.opened = False

    def settle(self) -> bool:
        """The leading rank decides; this one looks for what it may decide on, where no checkpoint says it."""
        if not self._settled:
            self._settled = True
            asked = self._settings.config.run_id or job_run_id({**self._environ, "RANK": "0"}, self._count)
            self._look_up(asked, completed=self._settings.config.run_id is not None)
        return False

    def restore(self, state: Mapping[str, Any], *, own: bool = False) -> bool:
        """Every rank gets the same state; the leading one tells what comes of it."""
        if not self.opened:
            self._settled = True
            self._look_up(str(state["footprint"]["run_id"]), completed=True)
        return False

    def _look_up(self, run_id: str | None, *, completed: bool) -> None:
        if not self._looks or run_id is None:
            return
        recorded = find(run_id, self._settings, self._environ).recorded
        if recorded is not None and (completed or recorded.status != "completed"):
            self.known = recorded

    def state(self, footprint: Footprint) -> dict[str, Any]:
        """Plain types; frameworks keep the first rank's."""
        return {"schema": SCHEMA, "footprint": footprint.to_dict()}

    def follow(self, facts: Facts, before: Footprint | None) -> bool:
        """Be the run that another rank is; returns whether it has spent something before that is new here.

        Args:
            facts: The leading rank's.
            before: What all machines know the run to have spent.
        """
        self.run_id = facts.run_id or self.run_id
        self.forked_from, self.inherited = facts.forked_from, facts.inherited
        if before is None or self.before is not None:
            return False
        self.before, self.past_epochs = before, before.epochs
        return True
