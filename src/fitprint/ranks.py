"""The processes that train together: who they are, and words that all of them exchange.

Every rank is asked before anything is exchanged: all take part, or none. Waiting for ranks that never come, and for
the last word of those that have failed, is bounded; in between every exchange is one collective, of integers, in a
group of our own on the CPU that nobody else uses. A rank that goes closes its connections, which frees the others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Protocol

from fitprint.notices import logger

# How long rank 0 waits for all to begin, and the others for its verdict.
VOTE_WITHIN_S, VERDICT_WITHIN_S = 10.0, 20.0
# How long the ranks that end wait for those that have not ended yet.
LAST_WORD_WITHIN_S = 30.0
# An exchange inside a run may have to wait for a rank that saves a model, as the framework's own may.
EXCHANGE_WITHIN = timedelta(minutes=30)
CONNECT_WITHIN = timedelta(seconds=60)
# Which process of its machine this is, as launchers tell; SLURM's last, for its variables exist without its launcher.
LOCAL_RANKS = (
    "LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "PMIX_LOCAL_RANK",
    "PALS_LOCAL_RANKID", "JSM_NAMESPACE_LOCAL_RANK", "SLURM_LOCALID",
)  # fmt: skip
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


@dataclass(frozen=True, slots=True)
class Member:
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


def process_group(modules: Mapping[str, Any]) -> Any:
    """PyTorch's module for processes, where a group of several has been made; None otherwise.

    Args:
        modules: ``sys.modules``; nothing is imported.
    """
    dist = getattr(modules.get("torch"), "distributed", None)
    several = dist is not None and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return dist if several else None


def torch_peers(modules: Mapping[str, Any], member: Member, *, within_s: float = VOTE_WITHIN_S) -> Peers | None:
    """The ranks of the process group that PyTorch has here; None where this process is alone, or others do not take part.

    Args:
        modules: ``sys.modules``; nothing is imported.
        member: This process.
        within_s: How long rank 0 waits for the others.
    """
    dist = process_group(modules)
    try:
        return None if dist is None else _joined(modules["torch"], dist, member, within_s)
    except Exception as error:  # a back end without a store, or machines that cannot reach each other
        logger().warning("the other processes of this job cannot be reached (%s): each counts for itself", error)
        return None


def _joined(torch: Any, dist: Any, member: Member, within_s: float) -> Peers | None:
    store, rank, size = _store(dist), dist.get_rank(), dist.get_world_size()
    # So many times has this rank begun: the names of one beginning, the same on every rank.
    prefix = f"fitprint/{store.add(f'fitprint/starts/{rank}', 1)}"
    box = dist.PrefixStore(prefix, store)
    members = _vote(box, rank, size, member, within_s)
    if members is None:
        return None
    group = dist.ProcessGroupGloo(dist.PrefixStore("gloo", box), rank, size, CONNECT_WITHIN)
    return TorchPeers(torch, group, box, rank, members)


def _store(dist: Any) -> Any:
    """The store of the default group, over a connection of our own where that can be had."""
    store = dist.distributed_c10d._get_default_store()
    try:
        return store.clone()
    except Exception:  # not every store can, nor every version
        return store


def _vote(store: Any, rank: int, size: int, member: Member, within_s: float) -> list[Member] | None:
    """Whether every rank takes part; None if not. Nobody waits for long for one that never begins."""
    store.set(f"here/{rank}", json.dumps(asdict(member)))
    if rank == 0:
        store.set("verdict", "all" if _all_there(store, size, within_s) else "not all")
    try:
        store.wait(["verdict"], timedelta(seconds=VERDICT_WITHIN_S))
        if store.get("verdict") == b"all":
            return [Member(**json.loads(store.get(f"here/{r}"))) for r in range(size)]
    except Exception:  # rank 0 does not take part, or is gone
        logger().debug("no verdict", exc_info=True)
    logger().warning(
        "not all %d processes of this job measure: each that does counts for itself, as it finds the machine, and a budget "
        "that stops one of them does not stop the others. Start fitprint at the same place on every rank.",
        size,
    )
    return None


def _all_there(store: Any, size: int, within_s: float) -> bool:
    try:
        store.wait([f"here/{rank}" for rank in range(size)], timedelta(seconds=within_s))
    except Exception:  # which one depends on the kind of store
        return False
    return True


class TorchPeers:
    """The ranks of PyTorch's process group, over a Gloo group and a part of the store that only we use.

    Args:
        torch: The module.
        group: A ``ProcessGroupGloo``.
        store: For what must not be a collective.
        rank: This one's number.
        members: All of them.
    """

    def __init__(self, torch: Any, group: Any, store: Any, rank: int, members: Sequence[Member]) -> None:
        self.rank, self.size, self.members = rank, len(members), members
        self._torch, self._group, self._store = torch, group, store

    def gather(self, row: Sequence[int]) -> list[list[int]]:
        torch = self._torch
        mine = torch.tensor(row, dtype=torch.int64, device="cpu")
        everybody = [torch.empty_like(mine) for _ in range(self.size)]
        self._group.allgather([everybody], [mine]).wait(EXCHANGE_WITHIN)
        rows: list[list[int]] = torch.stack(everybody).tolist()
        return rows

    def last_words(self, text: str) -> list[str | None]:
        self._store.set(f"last/{self.rank}", text)
        until = time.monotonic() + LAST_WORD_WITHIN_S
        words = [self._last_word(rank, until) for rank in range(self.size)]
        # Rank 0 may be the one that keeps the words: it goes last.
        if self._store.add("read", 1) == self.size:
            self._store.set("all read", "")
        if self.rank == 0:
            self._await("all read", until)
        return words

    def _last_word(self, rank: int, until: float) -> str | None:
        name = f"last/{rank}"
        return self._store.get(name).decode() if self._await(name, until) else None

    def _await(self, name: str, until: float) -> bool:
        try:
            self._store.wait([name], timedelta(seconds=max(0.01, until - time.monotonic())))
        except Exception:  # it has not come, or the store is gone
            return False
        return True

    def leave(self) -> None:
        self._group = None
