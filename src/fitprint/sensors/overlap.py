"""Runs that overlap on one machine: what part of a device is whose, so that their parts are the device.

Every run looks around once a second and tells how much CPU time its processes have used. A stretch of time is
cut where a run begins or ends; in each piece CPU and memory go by the CPU time of the runs that were there,
a board goes to those that see it evenly. Everyone works with the same figures, so the parts add up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from fitprint.clock import NS_PER_S, Clock
from fitprint.sensors.siblings import MOST_SAMPLES, Registry, Seat

LOOK_S = 1.0
# A boundary looks around itself only where the keeper is late.
LATE_NS = 2 * NS_PER_S
# What a run that has ended used is settled by then by all others.
REMEMBERED_NS = 5 * NS_PER_S

Slot = tuple[int, int]


def part_of(own: Seat, others: Iterable[Seat], device: str, slot: Slot, *, evenly: bool) -> float:
    """A run's part (0 to 1) of a device, of the time in which it was there.

    Args:
        own: The run.
        others: Those beside it.
        device: Key of the device.
        slot: From when to when, in monotonic nanoseconds.
        evenly: By heads, not by CPU time.
    """
    begin_ns, end_ns = max(slot[0], own.since_ns), min(slot[1], own.until_ns or slot[1])
    seats = [own, *(seat for seat in others if device in seat.devices)]
    if len(seats) == 1 or end_ns <= begin_ns:
        return 1.0
    rates = {} if evenly else _rates(seats, begin_ns, end_ns)
    ends = {end for seat in seats for end in (seat.since_ns, seat.until_ns) if end is not None and begin_ns < end < end_ns}
    pieces = pairwise(sorted({begin_ns, end_ns, *ends}))
    return sum((b - a) * _part(own, [s for s in seats if s.lasts(a, b)], rates) for a, b in pieces) / (end_ns - begin_ns)


def _rates(seats: Sequence[Seat], begin_ns: int, end_ns: int) -> dict[int, float]:
    """CPU time by process over the time in which it was there; empty where one cannot be told."""
    rates: dict[int, float] = {}
    for seat in seats:
        there_ns = min(end_ns, seat.until_ns or end_ns) - max(begin_ns, seat.since_ns)
        if there_ns <= 0:
            continue
        busy_us = seat.busy_us(begin_ns, end_ns)
        if busy_us is None and seat.pid not in rates:
            return {}
        rates[seat.pid] = max(rates.get(seat.pid, 0.0), (busy_us or 0.0) / there_ns)
    return rates


def _part(own: Seat, seats: Sequence[Seat], rates: Mapping[int, float]) -> float:
    """A run inside another divides what that is charged; the outermost divide the device."""
    by_run = {seat.run: seat for seat in seats if seat is not own}
    outer = by_run.get(own.parent)
    if outer is None or own.parent == own.run:
        return _part_at_one_level(own, [seat for seat in seats if seat.parent not in by_run and seat.parent != own.run], rates)
    inner = _part_at_one_level(own, [seat for seat in seats if seat.parent == own.parent], rates)
    return inner * _part(outer, [seat for seat in seats if seat is not own], rates)


def _part_at_one_level(own: Seat, peers: Sequence[Seat], rates: Mapping[int, float]) -> float:
    units = {seat.unit for seat in peers}
    if len(units) <= 1:
        return 1.0
    weights = _weights(peers, rates) if rates else {}
    total = sum(weights.values())
    return weights[own.unit] / total if total > 0 else 1 / len(units)


def _weights(peers: Sequence[Seat], rates: Mapping[int, float]) -> dict[str, float]:
    """CPU time by unit: of its processes without those of others below them, the same for all units of one process."""
    above = {seat.pid: next((pid for pid in seat.above if any(pid == peer.pid for peer in peers)), None) for seat in peers}
    weights = {seat.unit: 0.0 for seat in peers}
    for pid in above:
        below = sum(rates.get(other, 0.0) for other, outer in above.items() if outer == pid and other != pid)
        units = {seat.unit for seat in peers if seat.pid == pid}
        for unit in units:
            weights[unit] += max(0.0, rates.get(pid, 0.0) - below) / len(units)
    return weights


class Overlap:
    """One run's view of the runs beside it.

    Args:
        registry: The seats of this machine.
        seat: This run's, without times.
        run: Tells the digest of its run id, which a checkpoint may change.
        clock: Time; runs of several processes must have one clock.
        cpu: Opens the reader of this process's busy CPU microseconds, and of all below it.
    """

    def __init__(
        self, registry: Registry, seat: Seat, run: Callable[[], str], clock: Clock, cpu: Callable[[], Callable[[], int]]
    ) -> None:
        self.due_ns = 0
        self.begins = False
        self._registry = registry
        self._own = seat
        self._run = run
        self._clock = clock
        self._open_cpu = cpu
        self._cpu: Callable[[], int] | None = None
        self._name = ""
        self._others: dict[str, Seat] = {}
        self._marks: list[int] = []
        self._heard = self._left = False

    def join(self) -> None:
        """Take a place among the runs of this machine, before the first reading."""
        self._name = f"{os.getpid()}-{os.urandom(4).hex()}"
        now_ns = self._clock.monotonic_ns()
        self._own = self._own._replace(since_ns=now_ns)
        self._others = self._met(now_ns)
        if self._others:
            self._count(now_ns)
        self._tell()

    def leave(self) -> None:
        """Say that the run has ended; whoever is still there clears its place."""
        now_ns = self._clock.monotonic_ns()
        self._others = self._met(now_ns) if self._others else {}
        if any(seat.until_ns is None for seat in self._others.values()):
            self._count(now_ns)
            self._own = self._own._replace(until_ns=now_ns)
            self._tell()
        else:
            for name in (*self._others, self._name):
                self._registry.remove(name)
        self._left = True

    def news(self) -> bool:
        """Whether a look is worth it: somebody is there, or has come."""
        if not self._heard and not self._others and self._registry.changed():
            self._heard = bool(self._registry.others(self._name))
        self._heard = self._heard or bool(self._others)
        return self._heard

    def look(self, now_ns: int, last_ns: int) -> bool:
        """Look around; True if devices have to be divided anew, ``begins`` if that begins now.

        Args:
            now_ns: The reading that is about to be taken.
            last_ns: The reading before it.
        """
        self.due_ns = now_ns + LATE_NS
        if self._left or not self.news():
            return False
        self._heard = False
        self._marks = self._marks if self._others else []
        met = self._met(now_ns)
        if not met and not self._others:
            return False
        self.begins = not self._marks
        self._others = met
        self._count(now_ns)
        self._tell()
        self._marks = [last_ns, now_ns] if self.begins else [*self._marks[-2:], now_ns]
        return True

    def part(self, device: str, *, evenly: bool) -> float:
        """This run's part over the stretch that can be settled now: the one that everyone has told about."""
        return part_of(self._own, self._others.values(), device, self._slot, evenly=evenly)

    def part_now(self, device: str, *, evenly: bool) -> float:
        """Its part from now on, as far as that can be told: those who are there, as busy as they were."""
        seats = [self._own, *(s for s in self._others.values() if s.until_ns is None and device in s.devices)]
        rates = {} if evenly else _rates(seats, *self._slot)
        return _part(self._own, seats, rates if all(seat.pid in rates for seat in seats) else {})

    @property
    def _slot(self) -> Slot:
        begin_ns, end_ns = self._marks[:2]
        return begin_ns, end_ns

    def _met(self, now_ns: int) -> dict[str, Seat]:
        """Who is there, and who was there a moment ago; places of others that have ended are cleared."""
        found = self._registry.others(self._name)
        gone = {name: _ended(seat, now_ns) for name, seat in self._others.items() if name not in found}
        met = {name: seat for name, seat in (found | gone).items() if self._matters(seat, now_ns)}
        for name in found.keys() - met.keys():
            self._registry.remove(name)
        return met

    def _matters(self, seat: Seat, now_ns: int) -> bool:
        """One that has ended is to be settled with, by us and by all others."""
        unsettled_ns = self._marks[-2] if len(self._marks) > 1 else now_ns
        return seat.until_ns is None or seat.until_ns > min(unsettled_ns, now_ns - REMEMBERED_NS)

    def _count(self, now_ns: int) -> None:
        """Note the CPU time; nobody asks for that of a run that is alone."""
        self._cpu = self._cpu or self._open_cpu()
        self._own = self._own._replace(run=self._run(), cpu=(*self._own.cpu, (now_ns, self._cpu()))[-MOST_SAMPLES:])

    def _tell(self) -> None:
        self._registry.write(self._name, self._own)


def _ended(seat: Seat, now_ns: int) -> Seat:
    """A place that is empty: its run has ended, when it was heard of last at the latest."""
    if seat.until_ns is not None:
        return seat
    return seat._replace(until_ns=seat.cpu[-1][0] if seat.cpu else now_ns)
