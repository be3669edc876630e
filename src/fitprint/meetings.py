"""Where a tracker meets those of the other ranks of its job: all of them come, and one that fails goes on taking part."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fitprint.blocks import NEVER
from fitprint.coordination import peers_of
from fitprint.guard import Guard
from fitprint.ownership import Ownership, owned_alone
from fitprint.process import machine
from fitprint.ranks import BOOK, END, LOOK, Member, Peers
from fitprint.sensors.probe import Sensors, Surroundings

if TYPE_CHECKING:
    from fitprint.job import Job


class Meetings:
    """This process among those that train with it. Nothing happens where it is alone.

    Args:
        guard: Holds the run.
        peers: The ranks; by default those that PyTorch, JAX or TensorFlow has set up.

    Attributes:
        job: The ranks, once this process has joined them; None where it is alone.
    """

    def __init__(self, guard: Guard, peers: Peers | None = None) -> None:
        self.job: Job | None = None
        self._guard = guard
        self._peers = peers
        self._ownership: Ownership | None = None
        self._pid = 0
        self._parted = False

    def join(self, around: Surroundings) -> Surroundings:
        """Find the ranks that train with this one; returns the machine with their processes in it."""
        peers = self._peers or peers_of(sys.modules, _member(around))
        self._pid = os.getpid()
        if peers is None:
            self.job = None
            return around
        from fitprint.job import Job

        self.job = Job(peers)
        return replace(around, pids=self.job.pids())

    def share_out(self, find: Callable[[], Sensors], around: Surroundings, *, given: bool) -> Sensors:
        """What this process reads: of the ranks of a job, each sensor by one.

        Args:
            find: Looks for sensors.
            around: The machine.
            given: The program itself has said what this process reads.
        """
        if self.job is not None:
            return self.job.share_out(find, limited=around.machine.cpu_limit is not None)
        return find() if given else self._owned(find(), around)

    def _owned(self, found: Sensors, around: Surroundings) -> Sensors:
        """Of processes that were started together and do not talk to each other, each sensor is one's."""
        self._ownership = Ownership.of(around)
        return self._ownership.keep(found) if self._ownership is not None else owned_alone(found, around.environment())

    def release(self) -> None:
        """Sensors of this process alone are free for others that were started with it."""
        if self._ownership is not None:
            self._ownership.release()

    @property
    def team(self) -> Job | None:
        """The job, as long as this process takes part in it; a forked child does not."""
        return self.job if not self._parted and self._pid == os.getpid() else None

    def exchange(self, where: int, batches: int | None = None) -> None:
        """Tell the other ranks what this one has used, and hear it of them.

        Args:
            where: Number of the epoch that begins; 0 elsewhere.
            batches: After how many of its batches it may be looked into; None where none begins.
        """
        self._exchange(BOOK, where, batches)

    def look(self, where: int) -> None:
        """The same inside an epoch, after so many of its batches, without reading the sensors anew."""
        self._exchange(LOOK, where, fresh=False)

    def end(self) -> None:
        """The same at an epoch's end. Ranks that still look inside it are joined in that first; then they look no more."""
        while (where := self._exchange(END, 0)) > 0:
            self.agree(NEVER, where)

    def _exchange(self, what: int, where: int, batches: int | None = None, *, fresh: bool = True) -> int:
        """Returns where they have met, see ``Job.exchange``."""
        if (job := self.team) is None:
            return 0
        where = job.exchange(
            self._guard.safely(lambda run: run.delegate.tell(fresh=fresh), None), where, batches=batches, what=what
        )
        self._guard.safely(lambda run: run.hear(), None)
        return where

    def agree(self, next_look: int, where: int) -> int:
        """Stop with the other ranks, and look when they do.

        Args:
            next_look: Batches of the epoch after which this rank wants to look.
            where: Number of the batch or epoch.

        Returns:
            Batches after which all look.
        """
        if (job := self.team) is None:
            return next_look
        next_look = job.agree(self._guard.safely(lambda run: run.watch.decision, None), next_look, where)
        self._guard.safely(lambda run: run.watch.adopt(job.decision), None)
        return next_look

    def part(self, *, abandoned: bool, together: bool) -> None:
        """Tell the last that this rank has used, and wait for nobody unless the others end as well.

        Args:
            abandoned: What was used since the last event is not the run's.
            together: The others end their runs, too.
        """
        if (job := self.team) is None:
            return
        self._parted = True
        row = self._guard.safely(lambda run: run.delegate.tell(cut=not abandoned), None)
        if together:
            job.conclude(row)
        else:
            job.leave()
            job.exchange(row, 0)
        self._guard.safely(lambda run: run.hear(), None)
        job.leave()


def _member(around: Surroundings) -> Member:
    host, namespace = machine(around.proc_root)
    return Member(host, os.getpid(), namespace)
