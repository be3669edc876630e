"""A job of many ranks: who owns which sensor, what all have used together, and what all of them decide."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_, sub
from typing import Any

from fitprint.budget import Decision
from fitprint.energy import Energy
from fitprint.notices import logger
from fitprint.process import host_name, key_of
from fitprint.ranks import Peers, gather_texts, local_rank
from fitprint.sensors.counter import HOST_PARTS, Counter, Sensor
from fitprint.sensors.probe import Sensors
from fitprint.sensors.share import Shared
from fitprint.telling import CELLS, FIELDS, Facts, Told, cell_of, later, row_of

NEVER = 2**62
# What ranks meet for. All of them must be at the same place; but that one is at its epoch's end already while others look
# inside it is met with, too: it takes part in their look, after which nobody looks before the end.
BOOK, AGREE, LOOK, END = 1, 2, 3, 4


class Job:
    """This rank's part in a job.

    Every exchange begins with the same few integers, so that ranks that are not at the same place notice it together.

    Args:
        peers: All ranks.

    Attributes:
        facts: Of all ranks, in order.
        sensors: Of all ranks, in order, each under a name of its own.
        rows: What each rank told last.
        decision: Why all stop, or None.
        apart: Nothing is exchanged any more.
        own: All that this rank's sensors have counted.
        hosts: The ranks of each machine, the first rank's machine first.
        spans: Where each rank's sensors are among all.
    """

    def __init__(self, peers: Peers) -> None:
        self.peers, self.rank, self.size = peers, peers.rank, peers.size
        self.facts: list[Facts] = [Facts()] * peers.size
        self.sensors: tuple[Sensor, ...] = ()
        self.rows: list[Sequence[int]] = [()] * peers.size
        self.decision: Decision | None = None
        self.apart = False
        self.own = Energy()
        self.hosts = _hosts(peers)
        self._host = {rank: number for number, ranks in enumerate(self.hosts, start=1) for rank in ranks}
        self._names = [f"host-{number}" for number in range(1, len(self.hosts) + 1)]
        self._most = NEVER
        self._news: Facts | None = None
        self._own: dict[int, Energy] = {}
        self._told_of = Energy()
        self._told = 0
        self.spans: list[slice] = [slice(0, 0)] * peers.size
        self._settled: dict[int, Energy] = {}

    # ---- who owns what

    @property
    def leads(self) -> bool:
        """Whether this rank speaks for the job: prints, and writes the run's record."""
        return self.rank == 0

    @property
    def leads_host(self) -> bool:
        """Whether it is the first on its machine."""
        return self.hosts[self._host[self.rank] - 1][0] == self.rank

    def pids(self) -> tuple[int, ...]:
        """The job's processes that this one can see: on its machine, in its container."""
        own = self.peers.members[self.rank]
        return tuple(m.pid for m in self.peers.members if (m.host, m.namespace) == (own.host, own.namespace))

    def share_out(self, find: Callable[[], Sensors], *, limited: bool = False) -> Sensors:
        """Find this rank's sensors, and keep those that no lower rank of its machine sees.

        Args:
            find: Looks for them.
            limited: The job owns a part of the machine: what is charged by that part is each container's.

        Raises:
            Exception: What ``find`` raised, once all ranks know that this one has none.
        """
        found, failure = Sensors(), None
        try:
            found = find()
        except Exception as error:
            failure = error
        keys = [_key(counter, self.peers.members[self.rank].namespace, limited=limited) for counter in found.counters]
        try:
            seen = [json.loads(text) for text in gather_texts(self.peers, json.dumps(keys))]
        except Exception as error:
            self._part(error)
            seen = [[]] * self.size
        if failure is not None:
            raise failure
        ranks = self.hosts[self._host[self.rank] - 1]
        lower = {key for rank in ranks if rank < self.rank for key in seen[rank]}
        return _kept(found, [key not in lower for key in keys])

    # ---- exchanges

    def announce(self, facts: Facts) -> None:
        """Tell everybody at the next exchange what is new about this rank."""
        self._news = facts if facts != self.facts[self.rank] else None

    def exchange(self, row: Sequence[int] | None, where: int, *, batches: int | None = None, what: int = BOOK) -> int:
        """Tell what this rank has used, and hear it of all others; every rank comes here at the same place.

        Args:
            row: What ``row`` returned; None where measuring has failed: then this rank's last word stands.
            where: Number of the batch or epoch.
            batches: After how many of the epoch that begins it may be looked into; None where none begins.
            what: ``LOOK`` inside an epoch, ``END`` at its end, ``BOOK`` elsewhere.

        Returns:
            Where they have met: at an epoch's end the number of the batch after which others still look, or 0; 0 too
            where nobody is met any more.
        """
        row = self._remember(row)
        if self.apart:
            return 0
        try:
            most = 0 if what == END else self._most if batches is None else batches
            heads = self._meet(what, where, len(row), int(self._news is not None), most)
            where = max(head[1] for head in heads)
            # The data of ranks may differ in length: none looks where another does not come.
            self._most = min(head[4] for head in heads)
            if any(head[3] for head in heads):
                own = self._news or self.facts[self.rank]
                self._hear([Facts.from_json(text) for text in gather_texts(self.peers, own.to_json())])
            width = max(head[2] for head in heads)
            told = self.peers.gather([*row, *(0,) * (width - len(row))]) if width else self.rows
            self.rows = [later(old, new[: head[2]]) for old, new, head in zip(self.rows, told, heads, strict=True)]
        except Exception as error:
            self._part(error)
            return 0
        return where

    def agree(self, decision: Decision | None, look: int, where: int) -> int:
        """Stop if any rank has to, for the reason of the lowest; look next where the first of them wants to.

        Args:
            decision: Why this rank has to stop, or None.
            look: Batches of the epoch after which it wants to look.
            where: Number of the batch or epoch.

        Returns:
            Batches after which all look.
        """
        if self.apart:
            return NEVER
        new = decision if self.decision is None else None
        try:
            heads = self._meet(AGREE, where, int(new is not None), look if look <= self._most else NEVER, 0)
            if any(head[2] for head in heads):
                reasons = [json.loads(text) for text in gather_texts(self.peers, json.dumps(new.to_dict() if new else None))]
                self.decision = Decision(**next(reason for reason in reasons if reason))
        except Exception as error:
            self._part(error)
            return NEVER
        return min(head[3] for head in heads)

    def conclude(self, row: Sequence[int] | None) -> None:
        """The last exchange, which waits for nobody for long.

        Args:
            row: What ``row`` returned; None where measuring has failed.
        """
        row = self._remember(row)
        if self.apart:
            return
        try:
            words = self.peers.last_words(json.dumps(row))
        except Exception as error:
            self._part(error)
            return
        self.rows = [old if word is None else later(old, json.loads(word)) for old, word in zip(self.rows, words, strict=True)]
        missing = words.count(None)
        if missing:
            logger().warning("%d of %d processes did not tell what they have used since the last exchange", missing, self.size)

    def leave(self) -> None:
        """Exchange nothing more; nobody waits for this rank any more."""
        self.apart = True
        self.peers.leave()

    def _remember(self, row: Sequence[int] | None) -> Sequence[int]:
        """Keep this rank's own word, which counts where no exchange can bring it back."""
        if row is not None:
            self.rows[self.rank] = row
        if self.apart and self._news is not None:
            self._hear([self._news if rank == self.rank else facts for rank, facts in enumerate(self.facts)])
        return self.rows[self.rank]

    def _meet(self, what: int, where: int, *words: int) -> list[list[int]]:
        heads = self.peers.gather([what, where, *words])
        places = {(head[0], head[1]) for head in heads}
        looking = {place for place in places if place[0] == LOOK}
        if len(places) > 1 and (len(looking) != 1 or places - looking != {(END, 0)}):
            raise RuntimeError("they are not at the same place of the training")
        return heads

    def _part(self, error: Exception) -> None:
        logger().warning(
            "the processes of this job exchange no more what they use (%s): each goes on measuring, and a budget that is "
            "used up from here on stops nobody, since a lone stop would hang the others",
            str(error).partition("\n")[0],
        )
        self.leave()
        self._remember(None)

    def _hear(self, facts: Sequence[Facts]) -> None:
        """Some of the ranks have other sensors than before."""
        self.facts, self._news = list(facts), None
        self._name_sensors()
        self._settled = {cell: energy.over(self.sensors) for cell, energy in self._settled.items()}

    def recall(self, earlier: Sequence[Mapping[str, Any]]) -> None:
        """Call the machines as the run did before it was resumed.

        Args:
            earlier: Rows of the machines on which it was.
        """
        found: list[Mapping[str, Any]] = []
        for ranks in self.hosts:
            key = key_of(self.peers.members[ranks[0]].host, self.run_id)
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
            sensors += [_named(sensor, self._names[self._host[rank] - 1], rank, taken) for sensor in own.sensors]
            spans.append(slice(begin, len(sensors)))
        self.sensors, self.spans = tuple(sensors), spans

    # ---- what all have used

    def book(self, energy: Energy, phase: str, *, inside: bool) -> None:
        """Note what this rank's sensors have counted, inside an epoch or outside."""
        cell = CELLS.index((inside, phase))
        self._own[cell] = self._own[cell] + energy if cell in self._own else energy
        self.own = self.own + energy

    @property
    def run_id(self) -> str:
        """Everybody's: the lowest rank's that has one."""
        return self.leader.run_id

    @property
    def leader(self) -> Facts:
        """What the lowest rank says that measures."""
        return next((facts for facts in self.facts if facts.run_id), self.facts[0])

    def row(self, told: Told) -> list[int]:
        """What this rank tells."""
        self._told += 1
        self._told_of = self.own
        own = self._news or self.facts[self.rank]
        return row_of(told._replace(number=self._told), own.sensors, self._own)

    @property
    def untold(self) -> Energy:
        """What this rank's sensors have counted since it told of them."""
        return self.own - self._told_of

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

    def of_all(self, own: Energy) -> Energy:
        """Energy of this rank's sensors under the names that they have in the job."""
        span, sensors = self.spans[self.rank], self.facts[self.rank].sensors
        own = own.over(sensors)
        counts, observed = [0] * len(self.sensors), [own.duration_ns] * len(self.sensors)
        counts[span], observed[span] = own.counts[: len(sensors)], own.observed_ns[: len(sensors)]
        return Energy(self.sensors, tuple(counts), tuple(observed), own.duration_ns)

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


def owned_alone(found: Sensors, environ: Mapping[str, str]) -> Sensors:
    """What a process keeps that knows of the other ranks by its environment alone.

    The first process of a machine counts what all of them see. A later one counts a board if that is all it sees: then
    its launcher has given each its own.

    Args:
        found: Its sensors.
        environ: Its environment.
    """
    if not local_rank(environ):
        return found
    parts = [counter.sensor.part for counter in found.whole]
    boards = parts.count("gpu")
    return _kept(found, [part == "gpu" and boards == 1 for part in parts])


def _hosts(peers: Peers) -> list[list[int]]:
    ranks: dict[str, list[int]] = {}
    for rank, member in enumerate(peers.members):
        ranks.setdefault(member.host, []).append(rank)
    return list(ranks.values())


def _since(before: Energy, now: Energy) -> Energy:
    counts, observed = map(sub, now.counts, before.counts), map(sub, now.observed_ns, before.observed_ns)
    return Energy(now.sensors, tuple(counts), tuple(observed), now.duration_ns - before.duration_ns)


def _key(counter: Counter | Shared, container: str, *, limited: bool) -> str:
    """What is the same thing for two processes of a machine; a share of it is each container's own."""
    sensor = counter.counter.sensor if isinstance(counter, Shared) else counter.sensor
    own = isinstance(counter, Shared) or (limited and sensor.method == "modelled" and sensor.part in HOST_PARTS)
    return f"{sensor.id} {container}" if own else sensor.id


def _kept(found: Sensors, keep: Sequence[bool]) -> Sensors:
    """What was found without counters that another process owns, which are given back."""
    pairs = list(zip(found.counters, keep, strict=True))
    others = replace(found, counters=tuple(counter for counter, own in pairs if not own))
    others.close()
    ids = {counter.sensor.id for counter in others.whole}
    devices = {name: device for name, device in found.devices.items() if name not in ids}
    return replace(found, counters=tuple(counter for counter, own in pairs if own), devices=devices)


def _named(sensor: Sensor, host: str, rank: int, taken: set[str]) -> Sensor:
    """Under a name that no other machine's or container's sensor has."""
    name = sensor.id if host == "host-1" else f"{host}:{sensor.id}"
    return replace(sensor, id=f"rank-{rank}:{name}" if name in taken else name)
