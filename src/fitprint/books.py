"""A run's readings, and the account in which what lies between two of them is booked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from fitprint.account import PHASES, Account
from fitprint.blocks import Opened
from fitprint.clock import iso_utc
from fitprint.energy import Energy
from fitprint.meter import Meter
from fitprint.process import machine_id
from fitprint.readings import Readings
from fitprint.sensors.fence import wait_for_accelerators
from fitprint.sensors.overlap import Overlap
from fitprint.sensors.probe import Sensors, Surroundings
from fitprint.timeline import SteadyTime, Timeline

if TYPE_CHECKING:
    from fitprint.job import Job
    from fitprint.team import Team


class Books:
    """Reads the meter at boundaries and books each stretch once.

    Args:
        sensors: What is read.
        around: The machine: clock and roots.
        base_phase: The phase of everything that no other phase claims.
        job: The ranks with which this process trains, or None where it is alone.
        overlap: Other runs on the same sensors.
        on_tick: Called by the keeper.
        sync: Wait for accelerators before a reading.

    Attributes:
        account: Where the joules are booked: this process's own, or those of all ranks.
        team: This process's side of the job, or None.
        meter: Reads the sensors.
        timeline: The energy of this process's own sensors over time.
        readings: What they showed, for a union with runs beside this one.
        last: The reading up to which is booked.
        booked_s: Its time, in seconds since 1970.
        frozen: Nothing is booked: not yet, or not any more.
    """

    def __init__(
        self,
        sensors: Sensors,
        around: Surroundings,
        base_phase: str,
        job: Job | None,
        *,
        overlap: Overlap | None,
        on_tick: Callable[[], None],
        sync: bool,
    ) -> None:
        self.account = Account(base_phase if base_phase in PHASES else "other")
        self.team = _team(job, self.account)
        self.meter = Meter(sensors.counters, clock=around.clock, on_tick=on_tick, overlap=overlap, devices=sensors.devices)
        self.timeline = Timeline()
        self.readings = Readings(machine_id(around.proc_root), sensors.devices)
        self.frozen = True
        self._clock = around.clock
        self._sync = sync
        self._cutting = False
        self._own_j = 0.0
        self._phases_began_j: list[float] = []

    # ---- the first reading

    def start(self) -> None:
        """Take the first reading."""
        self.last = self.meter.start()

    def idle(self, seconds: float) -> Energy:
        """Measure what the sensors count while nothing is trained; the run begins after it."""
        self._clock.sleep(seconds)
        before, self.last = self.last, self.meter.snapshot()
        return self.meter.between(before, self.last)

    def open(self) -> None:
        """Every joule from the last reading on is in the run."""
        self._time = SteadyTime(self._clock)
        self.timeline.mark(self._time.at(self.last.boot_ns), 0.0)
        self.booked_s = self.timeline.end_s
        self.readings.mark(self.last.boot_ns, Energy())
        self.frozen = False

    # ---- boundaries

    def fence(self) -> None:
        """Wait for what is still queued on accelerators, so that it is booked where it was started; only if asked."""
        if self._sync and self.meter.alive:
            wait_for_accelerators(sys.modules)

    def boundary(self, *, fresh: bool = True) -> None:
        """A reading at a boundary; the ranks of a job have taken theirs before they met."""
        if self.team is None:
            if fresh:
                self.fence()
            self.cut(fresh=fresh)

    def cut(self, *, fresh: bool = True) -> None:
        """One reading: it ends the stretch that is booked now and begins the next."""
        if self._cutting or self.frozen or not self.meter.alive:
            return  # a signal handler asks in the middle of a cut, or the run is over
        self._cutting = True
        try:
            now = self.meter.snapshot(fresh=fresh)
            (self.account if self.team is None else self.team).book(self.meter.between(self.last, now))
            self.last, own = now, self.own
            self._own_j = own.joules
            self.timeline.mark(self._time.at(now.boot_ns), self._own_j)
            self.booked_s = self.timeline.end_s
            self.readings.mark(now.boot_ns, own)
        finally:
            self._cutting = False

    def enter(self, phase: str) -> None:
        """Book to a phase from now on."""
        self.fence()
        self.cut()
        self._phases_began_j.append(self.energy_j)
        self.account.enter(phase)

    def leave(self, phase: str) -> float:
        """Book to the phase before again; returns the joules that are known to have been booked to this one."""
        self.fence()
        self.cut()
        self.account.leave(phase)
        return self.energy_j - (self._phases_began_j.pop() if self._phases_began_j else self.energy_j)

    def opened(self, index: int, batches_done: int) -> Opened:
        """An epoch or block that begins at the last reading."""
        return Opened(index, batches_done, self.last.time_ns, iso_utc(self._clock.time()), self.energy_j, self.booked_s)

    # ---- what is known now

    @property
    def energy_j(self) -> float:
        """What the run has used up to the last reading, on all ranks."""
        return self._own_j if self.team is None else self.team.figures.energy_j

    @property
    def own(self) -> Energy:
        """What this process's own sensors have counted, told to others or not."""
        return self.account.run.energy if self.team is None else self.team.job.tally.own

    @property
    def power_w(self) -> float:
        """Power now, of all ranks."""
        return self.meter.power_w if self.team is None else self.team.power_w

    @property
    def unseen_j(self) -> float:
        """What has probably been drawn since the counters were read."""
        return self.meter.unseen_j() if self.team is None else self.team.unseen_j

    def time_s(self) -> float:
        """The last reading in seconds since 1970."""
        return self._time.at(self.last.boot_ns)

    def unbooked(self) -> Energy | None:
        """What the keeper has counted since the last reading; None where it has seen nothing later.

        Reading again could hang in a driver while training waits.
        """
        latest = self.meter.latest
        if self.frozen or latest is None or latest.time_ns < self.last.time_ns:
            return None
        unbooked = self.meter.between(self.last, latest)
        self.timeline.mark(self._time.at(latest.boot_ns), self.own.joules + unbooked.joules)
        return unbooked

    def with_booked(self, unbooked: Energy | None) -> Account:
        """The account with a further stretch; the books stay as they are."""
        if unbooked is None:
            return self.account
        job = self.team.job if self.team is not None else None
        return self.account.with_booked(unbooked if job is None else job.tally.of_all(job.tally.untold + unbooked))


def _team(job: Job | None, account: Account) -> Team | None:
    if job is None:
        return None
    from fitprint.team import Team  # with all that ranks tell each other

    return Team(job, account)
