"""What the ranks of a job have told, and what all of them have used together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_, sub
from typing import Any

from fitprint.energy import Energy
from fitprint.process import host_name, key_of
from fitprint.ranks import Peers
from fitprint.sensors.counter import Sensor
from fitprint.telling import CELLS, FIELDS, Facts, Told, cell_of, later, row_of


class Tally:
    """Adds up what ranks have counted.

    Args:
        peers: All ranks.
        hosts: The ranks of each machine, the first rank's machine first.

    Attributes:
        hosts: As given.
        facts: Of all ranks, in order.
        sensors: Of all ranks, in order, each under a name of its own.
        spans: Where each rank's sensors are among all.
        rows: What each rank told last.
        own: All that this rank's sensors have counted.
    """

    def __init__(self, peers: Peers, hosts: Sequence[Sequence[int]]) -> None:
        self.hosts = hosts
        self.facts: list[Facts] = [Facts()] * peers.size
        self.sensors: tuple[Sensor, ...] = ()
        self.spans: list[slice] = [slice(0, 0)] * peers.size
        self.rows: list[Sequence[int]] = [()] * peers.size
        self.own = Energy()
        self._rank = peers.rank
        self._host_ids = [peers.members[ranks[0]].host for ranks in hosts]
        self._host = {rank: number for number, ranks in enumerate(hosts) for rank in ranks}
        self._names = [f"host-{number}" for number in range(1, len(hosts) + 1)]
        self._own: dict[int, Energy] = {}
        self._told_of = Energy()
        self._told = 0
        self._settled: dict[int, Energy] = {}

    # ---- who they are

    @property
    def leader(self) -> Facts:
        """What the lowest rank says that measures."""
        return next((facts for facts in self.facts if facts.run_id), self.facts[0])

    @property
    def run_id(self) -> str:
        """Everybody's: the lowest rank's that has one."""
        return self.leader.run_id

    def learn(self, facts: Sequence[Facts]) -> None:
        """Some of the ranks have other sensors than before."""
        self.facts = list(facts)
        self._name_sensors()
        self._settled = {cell: energy.over(self.sensors) for cell, energy in self._settled.items()}

    def recall(self, earlier: Sequence[Mapping[str, Any]]) -> None:
        """Call the machines as the run did before it was resumed.

        Args:
            earlier: Rows of the machines on which it was.
        """
        found: list[Mapping[str, Any]] = []
        for host in self._host_ids:
            key = key_of(host, self.run_id)
            found.append({"host": host_name(key, [*earlier, *found]), "host_key": key})
        self._names = [str(row["host"]) for row in found]
        self._name_sensors()
        self._settled = {
            cell: Energy(self.sensors, energy.counts, energy.observed_ns, energy.duration_ns)
            for cell, energy in self._settled.items()
        }

    def _name_sensors(self) -> None:
        sensors: list[Sensor] = []
        spans: list[slice] = []
        for rank, own in enumerate(self.facts):
            begin = len(sensors)
            taken = {sensor.id for sensor in sensors}
            sensors += [_named(sensor, self._names[self._host[rank]], rank, taken) for sensor in own.sensors]
            spans.append(slice(begin, len(sensors)))
        self.sensors, self.spans = tuple(sensors), spans

    # ---- this rank

    def book(self, energy: Energy, phase: str, *, inside: bool) -> None:
        """Note what this rank's sensors have counted, inside an epoch or outside."""
        cell = CELLS.index((inside, phase))
        self._own[cell] = self._own[cell] + energy if cell in self._own else energy
        self.own = self.own + energy

    def row(self, told: Told, sensors: tuple[Sensor, ...]) -> list[int]:
        """What this rank tells.

        Args:
            told: Its figures.
            sensors: Its own.
        """
        self._told += 1
        self._told_of = self.own
        return row_of(told._replace(number=self._told), sensors, self._own)

    @property
    def untold(self) -> Energy:
        """What this rank's sensors have counted since it told of them."""
        return self.own - self._told_of

    def of_all(self, own: Energy) -> Energy:
        """Energy of this rank's sensors under the names that they have in the job."""
        span, sensors = self.spans[self._rank], self.facts[self._rank].sensors
        own = own.over(sensors)
        counts, observed = [0] * len(self.sensors), [own.duration_ns] * len(self.sensors)
        counts[span], observed[span] = own.counts[: len(sensors)], own.observed_ns[: len(sensors)]
        return Energy(self.sensors, tuple(counts), tuple(observed), own.duration_ns)

    # ---- all ranks

    def hear(self, rows: Sequence[Sequence[int] | None]) -> None:
        """Keep what each rank has told; None from whom nothing was heard."""
        self.rows = [old if new is None else later(old, new) for old, new in zip(self.rows, rows, strict=True)]

    @property
    def told(self) -> Told:
        """The figures of all ranks together."""
        rows = [row[:FIELDS] for row in self.rows if row]
        return Told(*map(sum, zip(*rows, strict=True))) if rows else Told()

    def settle(self) -> Iterator[tuple[bool, str, Energy]]:
        """What has come since the last time: whether inside an epoch, in which phase, how much of all ranks together."""
        used = reduce(or_, (row[FIELDS + 1] for row in self.rows if row), 0)
        for cell in (cell for cell in range(len(CELLS)) if used >> cell & 1):
            now, before = self._cell(cell), self._settled.get(cell)
            self._settled[cell] = now
            new = now if before is None else _since(before, now)
            if new.duration_ns or any(new.counts):
                yield *CELLS[cell], new

    def _cell(self, cell: int) -> Energy:
        """All ranks' counts in a cell. Time is the first rank's; what others have missed of theirs, they miss of it."""
        found = [cell_of(row, cell) for row in self.rows]
        first = next((one for row, one in zip(self.rows, found, strict=True) if row), None)
        duration_ns = first[0] if first else 0
        counts: list[int] = []
        observed: list[int] = []
        for one, span in zip(found, self.spans, strict=True):
            size = span.stop - span.start
            own_ns, own_counts, own_observed = one or (0, (), ())
            counts += own_counts
            observed += own_observed if own_ns == duration_ns else [ns + duration_ns - own_ns for ns in own_observed]
            if len(own_counts) < size:  # it was told of before a sensor came
                counts += (0,) * (size - len(own_counts))
                observed += (duration_ns,) * (size - len(own_counts))
        return Energy(self.sensors, tuple(counts), tuple(observed), duration_ns)


def _since(before: Energy, now: Energy) -> Energy:
    counts, observed = map(sub, now.counts, before.counts), map(sub, now.observed_ns, before.observed_ns)
    return Energy(now.sensors, tuple(counts), tuple(observed), now.duration_ns - before.duration_ns)


def _named(sensor: Sensor, host: str, rank: int, taken: set[str]) -> Sensor:
    """Under a name that no other machine's or container's sensor has."""
    name = sensor.id if host == "host-1" else f"{host}:{sensor.id}"
    return replace(sensor, id=f"rank-{rank}:{name}" if name in taken else name)
