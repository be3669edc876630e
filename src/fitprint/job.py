"""A job of many ranks: who owns which sensor, what they tell each other, and what all of them decide."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from fitprint.budget import Decision
from fitprint.notices import logger
from fitprint.ranks import AGREE, BOOK, END, LOOK, Peers, gather_texts
from fitprint.sensors.counter import HOST_PARTS, Counter
from fitprint.sensors.probe import Sensors
from fitprint.sensors.share import Shared
from fitprint.tally import Tally
from fitprint.telling import Facts, Told

NEVER = 2**62


class Job:
    """This rank's part in a job.

    Every exchange begins with the same few integers, so that ranks that are not at the same place notice it together.

    Args:
        peers: All ranks.

    Attributes:
        tally: What all have told and used.
        decision: Why all stop, or None.
        apart: Nothing is exchanged any more.
    """

    def __init__(self, peers: Peers) -> None:
        self.peers, self.rank, self.size = peers, peers.rank, peers.size
        self.decision: Decision | None = None
        self.apart = False
        hosts = _hosts(peers)
        self.tally = Tally(peers, hosts)
        self._on_my_host = next(ranks for ranks in hosts if peers.rank in ranks)
        self._most = NEVER
        self._news: Facts | None = None

    # ---- who owns what

    @property
    def leads(self) -> bool:
        """Whether this rank speaks for the job: prints, and writes the run's record."""
        return self.rank == 0

    @property
    def leads_host(self) -> bool:
        """Whether it is the first on its machine."""
        return self._on_my_host[0] == self.rank

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
        lower = {key for rank in self._on_my_host if rank < self.rank for key in seen[rank]}
        return found.keeping([key not in lower for key in keys])

    # ---- exchanges

    def announce(self, facts: Facts) -> None:
        """Tell everybody at the next exchange what is new about this rank."""
        self._news = facts if facts != self._known else None

    @property
    def _known(self) -> Facts:
        """What the others know about this rank."""
        return self.tally.facts[self.rank]

    def row(self, told: Told) -> list[int]:
        """What this rank tells at the next exchange."""
        return self.tally.row(told, (self._news or self._known).sensors)

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
                own = self._news or self._known
                self._hear([Facts.from_json(text) for text in gather_texts(self.peers, own.to_json())])
            width = max(head[2] for head in heads)
            told = self.peers.gather([*row, *(0,) * (width - len(row))]) if width else self.tally.rows
            self.tally.hear([row[: head[2]] for row, head in zip(told, heads, strict=True)])
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
            self.tally.hear([None if word is None else json.loads(word) for word in words])
        except Exception as error:
            self._part(error)
            return
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
            self.tally.rows[self.rank] = row
        if self.apart and self._news is not None:
            self._hear([self._news if rank == self.rank else facts for rank, facts in enumerate(self.tally.facts)])
        return self.tally.rows[self.rank]

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
        self._news = None
        self.tally.learn(facts)


def _hosts(peers: Peers) -> list[list[int]]:
    ranks: dict[str, list[int]] = {}
    for rank, member in enumerate(peers.members):
        ranks.setdefault(member.host, []).append(rank)
    return list(ranks.values())


def _key(counter: Counter | Shared, container: str, *, limited: bool) -> str:
    """What is the same thing for two processes of a machine; a share of it is each container's own."""
    sensor = counter.counter.sensor if isinstance(counter, Shared) else counter.sensor
    own = isinstance(counter, Shared) or (limited and sensor.method == "modelled" and sensor.part in HOST_PARTS)
    return f"{sensor.id} {container}" if own else sensor.id
