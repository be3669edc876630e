"""What a training batch costs once the first ones have warmed up."""

from __future__ import annotations


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
        self._from: tuple[int, float] | None = None
        self._next: tuple[int, float] | None = None
        self._now = (0, 0.0)

    def see(self, batches: int, energy_j: float) -> None:
        """Note how far the epoch is.

        Args:
            batches: Its batches so far.
            energy_j: What their training has used.
        """
        self._now = (batches, energy_j)
        if self._next is None or batches >= 2 * self._next[0]:
            self._from, self._next = self._next, self._now

    @property
    def energy_j(self) -> float | None:
        """Joules of a batch; None before there are two looks."""
        if self._from is None or self._now[0] <= self._from[0]:
            return None
        return max(0.0, self._now[1] - self._from[1]) / (self._now[0] - self._from[0])
