"""What a training batch costs once the first ones have warmed up, and what the warm-up has cost."""

from __future__ import annotations

from typing import NamedTuple

# An epoch whose first batches have used a smaller share than this beyond the others has no warm-up worth the name.
LEAST_WARM_UP = 0.20
# Of fewer batches the later half says too little: a look may come while the next batch is half done.
LEAST_BATCHES = 16


class _Look(NamedTuple):
    """How far an epoch was at a look."""

    batches: int
    energy_j: float
    duration_s: float


class PerBatch:
    """Joules of a batch by the later ones of an epoch: at least half of those seen, so that any warm-up is left behind.

    The first batches start devices, choose kernels and compile; they may cost a hundred times what the others do.

    Example:
        >>> batches = PerBatch()
        >>> for done, energy_j in ((1, 100.0), (2, 101.0), (3, 102.0), (4, 103.0)):
        ...     batches.see(done, energy_j)
        >>> batches.energy_j
        1.0
    """

    def __init__(self) -> None:
        self._from: _Look | None = None
        self._next: _Look | None = None
        self._now = _Look(0, 0.0, 0.0)

    def see(self, batches: int, energy_j: float, duration_s: float = 0.0) -> None:
        """Note how far the epoch is.

        Args:
            batches: Its batches so far.
            energy_j: What their training has used.
            duration_s: How long they have taken.
        """
        self._now = _Look(batches, energy_j, duration_s)
        if self._next is None or batches >= 2 * self._next.batches:
            self._from, self._next = self._next, self._now

    @property
    def energy_j(self) -> float | None:
        """Joules of a batch; None before there are two looks."""
        later = self._later
        return max(0.0, later.energy_j) / later.batches if later is not None else None

    @property
    def _later(self) -> _Look | None:
        """The batches that have left any warm-up behind; None before there are two looks."""
        if self._from is None or self._now.batches <= self._from.batches:
            return None
        then, now = self._from, self._now
        return _Look(now.batches - then.batches, now.energy_j - then.energy_j, now.duration_s - then.duration_s)

    def usual_j(self, least_s: float) -> float | None:
        """Joules of a batch, where the sensors tell little of the later ones by the time that these take; None before two looks.

        Args:
            least_s: Over a shorter time the sensors tell too little of the later ones.
        """
        later = self._later
        if later is None or later.duration_s >= least_s or self._now.duration_s <= 0:
            return self.energy_j
        share = later.duration_s / self._now.duration_s
        return share * self._now.energy_j / later.batches

    def warm_up_j(self, least_s: float) -> float:
        """What the first batches have used beyond what the later ones do; 0.0 where that is little or cannot be told.

        Args:
            least_s: Over a shorter time the sensors tell too little of the later ones.
        """
        each_j = self.usual_j(least_s)
        if each_j is None or self._now.batches < LEAST_BATCHES:
            return 0.0
        beyond_j = self._now.energy_j - self._now.batches * each_j
        return beyond_j if beyond_j > LEAST_WARM_UP * self._now.energy_j else 0.0
