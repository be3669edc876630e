"""The processes that train together: who they are, and words that all of them exchange.

Every rank is asked before anything is exchanged: all take part, or none. Waiting for ranks that never come, and for
the last word of those that have failed, is bounded; in between every exchange is one collective, of integers, on the
CPU, over something of our own that nobody else uses. A rank that goes frees the others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple, Protocol

from fitprint.notices import logger

# How long rank 0 waits for all to begin, and the others for its verdict.
VOTE_WITHIN_S, VERDICT_WITHIN_S = 10.0, 20.0
# How long the ranks that end wait for those that have not ended yet.
LAST_WORD_WITHIN_S = 30.0
# An exchange inside a run may have to wait for a rank that saves a model, as the framework's own may.
EXCHANGE_WITHIN_S = 1800.0
# Which process of its machine this is, as launchers tell; SLURM's last, for its variables exist without its launcher.
LOCAL_RANKS = (
    "LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "PMIX_LOCAL_RANK",
    "PALS_LOCAL_RANKID", "JSM_NAMESPACE_LOCAL_RANK", "SLURM_LOCALID",
)  # fmt: skip
# What ranks meet for. All of them must be at the same place; but that one is at its epoch's end already while others look
# inside it is met with, too: it takes part in their look, after which nobody looks before the end.
BOOK, AGREE, LOOK, END = 1, 2, 3, 4
# In place of a rank's row: it has left.
GONE = "gone"
WORD_BYTES = 7  # of a signed 64-bit integer, so that its sign stays out of it


class Peers(Protocol):
    """The ranks of a job, this one among them.

    Attributes:
        rank: This one's number, from 0.
        size: How many there are.
        members: All of them, in order.
    """

    rank: int
    size: int
    members: Sequence[Member]

    def gather(self, row: Sequence[int]) -> list[list[int]]:
        """Everybody's integers, by rank; all ranks call it at the same place, with as many of them.

        Raises:
            Exception: Whatever a broken connection raises; nothing can be exchanged after that.
        """

    def last_words(self, text: str) -> list[str | None]:
        """Everybody's last word, by rank, as far as it comes within LAST_WORD_WITHIN_S; never a collective."""

    def leave(self) -> None:
        """Close the connections: whoever waits for this rank waits no more."""


class Store(Protocol):
    """Texts under names that all ranks of a job can see. No name is set twice."""

    def set(self, name: str, text: str) -> None:
        """Put a text there."""

    def get(self, name: str, within_s: float) -> str:
        """The text, as soon as it is there.

        Raises:
            Exception: If it does not come in time, or the store is gone.
        """

    def delete(self, name: str) -> None:
        """Nobody will ask for it any more."""


class Member(NamedTuple):
    """A process of a job.

    Attributes:
        host: Its machine's boot id; containers on one machine have the same.
        pid: Its process id.
        namespace: In which that number means it.
    """

    host: str
    pid: int
    namespace: str = ""


def gather_texts(peers: Peers, text: str) -> list[str]:
    """Everybody's text, by rank; a collective like ``gather``, twice."""
    data = text.encode()
    words = [int.from_bytes(data[i : i + WORD_BYTES], "big") for i in range(0, len(data), WORD_BYTES)]
    most = max(max(row) for row in peers.gather([len(words)]))
    rows = peers.gather([len(data), *words, *(0,) * (most - len(words))])
    return [_text(row) for row in rows]


def _text(row: Sequence[int]) -> str:
    size, words = row[0], row[1:]
    sizes = [min(WORD_BYTES, size - i * WORD_BYTES) for i in range(-(-size // WORD_BYTES))]
    return b"".join(word.to_bytes(length, "big") for word, length in zip(words, sizes, strict=False)).decode()


def local_rank(environ: Mapping[str, str]) -> int | None:
    """Which process of its machine this is, by the launcher's word; None without one."""
    return next((int(environ[name]) for name in LOCAL_RANKS if environ.get(name, "").isdecimal()), None)


def vote(store: Store, rank: int, size: int, member: Member, within_s: float = VOTE_WITHIN_S) -> list[Member] | None:
    """Whether every rank takes part; None if not. Nobody waits for long for one that never begins.

    Args:
        store: Empty, and the same for all ranks.
        rank: This one's number.
        size: How many there are.
        member: This process.
        within_s: How long rank 0 waits for the others.
    """
    store.set(f"here/{rank}", json.dumps(member._asdict()))
    if rank == 0:
        store.set("verdict", "all" if _all_there(store, "here", size, time.monotonic() + within_s) else "not all")
    try:
        if store.get("verdict", VERDICT_WITHIN_S) == "all":
            return [Member(**json.loads(store.get(f"here/{r}", VERDICT_WITHIN_S))) for r in range(size)]
    except Exception:  # rank 0 does not take part, or is gone
        logger().debug("no verdict", exc_info=True)
    logger().warning(
        "not all %d processes of this job measure: each that does counts for itself, as it finds the machine, and a budget "
        "that stops one of them does not stop the others. Start fitprint at the same place on every rank.",
        size,
    )
    return None


def _all_there(store: Store, what: str, size: int, until: float) -> bool:
    return all(_told(store, f"{what}/{rank}", until) is not None for rank in range(size))


def _told(store: Store, name: str, until: float) -> str | None:
    try:
        return store.get(name, max(0.01, until - time.monotonic()))
    except Exception:  # it has not come, or the store is gone; which one depends on the kind of store
        return None


class StorePeers:
    """Ranks that exchange through a store: rank 0 collects what each has put there, and puts it there for all.

    Args:
        store: Of this beginning of theirs; nobody else uses it.
        rank: This one's number.
        members: All of them.
    """

    def __init__(self, store: Store, rank: int, members: Sequence[Member]) -> None:
        self.rank, self.size, self.members = rank, len(members), members
        self._store = store
        self._met = 0

    def gather(self, row: Sequence[int]) -> list[list[int]]:
        self._met += 1
        self._store.set(self._place(self.rank), json.dumps(list(row)))
        text = self._collected() if self.rank == 0 else self._store.get(self._place("all"), EXCHANGE_WITHIN_S)
        if text == GONE:
            raise ConnectionError("a process has left")
        self._clear()
        rows: list[list[int]] = json.loads(text)
        return rows

    def _collected(self) -> str:
        texts = (self._store.get(self._place(rank), EXCHANGE_WITHIN_S) for rank in range(self.size))
        rows = list(takewhile(lambda text: text != GONE, texts))
        text = f"[{','.join(rows)}]" if len(rows) == self.size else GONE
        self._store.set(self._place("all"), text)
        return text

    def _clear(self) -> None:
        """What all have read by now; of the rows of all, that is known of the time before."""
        self._store.delete(self._place(self.rank))
        if self.rank == 0 and self._met > 1:
            self._store.delete(f"met/{self._met - 1}/all")

    def _place(self, whose: object) -> str:
        return f"met/{self._met}/{whose}"

    def last_words(self, text: str) -> list[str | None]:
        self._store.set(f"last/{self.rank}", text)
        until = time.monotonic() + LAST_WORD_WITHIN_S
        words = [_told(self._store, f"last/{rank}", until) for rank in range(self.size)]
        self._store.set(f"read/{self.rank}", "")
        # Rank 0 may be the one that keeps the words: it goes last.
        if self.rank == 0:
            _all_there(self._store, "read", self.size, until)
        return words

    def leave(self) -> None:
        """Whoever waits for this rank's next row gets word at once."""
        self._met += 1
        try:
            self._store.set(self._place("all" if self.rank == 0 else self.rank), GONE)
        except Exception:  # the store has gone before
            logger().debug("no word of leaving", exc_info=True)
