"""The ranks of PyTorch's process group.

Its store serves for the vote and for the last word; every exchange in between is one collective in a Gloo group of our
own, whatever the program's group runs on: NCCL cannot add up what lies on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from fitprint.notices import logger
from fitprint.ranks import EXCHANGE_WITHIN_S, VOTE_WITHIN_S, Member, Peers, Store, StorePeers, vote

CONNECT_WITHIN = timedelta(seconds=60)


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
    box = dist.PrefixStore(f"fitprint/{store.add(f'fitprint/starts/{rank}', 1)}", store)
    members = vote(TorchStore(box), rank, size, member, within_s)
    if members is None:
        return None
    group = dist.ProcessGroupGloo(dist.PrefixStore("gloo", box), rank, size, CONNECT_WITHIN)
    return TorchPeers(torch, group, TorchStore(box), rank, members)


def _store(dist: Any) -> Any:
    """The store of the default group, over a connection of our own where that can be had."""
    store = dist.distributed_c10d._get_default_store()
    try:
        return store.clone()
    except Exception:  # not every store can, nor every version
        return store


class TorchStore:
    """A store of PyTorch's.

    Args:
        store: It.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def set(self, name: str, text: str) -> None:
        self._store.set(name, text)

    def get(self, name: str, within_s: float) -> str:
        self._store.wait([name], timedelta(seconds=within_s))
        text: str = self._store.get(name).decode()
        return text

    def delete(self, name: str) -> None:
        self._store.delete_key(name)


class TorchPeers(StorePeers):
    """The ranks of PyTorch's process group: what is a collective goes over a Gloo group that only we use.

    Args:
        torch: The module.
        group: A ``ProcessGroupGloo``.
        store: For what must not be a collective.
        rank: This one's number.
        members: All of them.
    """

    def __init__(self, torch: Any, group: Any, store: Store, rank: int, members: Sequence[Member]) -> None:
        super().__init__(store, rank, members)
        self._torch, self._group = torch, group

    def gather(self, row: Sequence[int]) -> list[list[int]]:
        torch = self._torch
        mine = torch.tensor(row, dtype=torch.int64, device="cpu")
        everybody = [torch.empty_like(mine) for _ in range(self.size)]
        self._group.allgather([everybody], [mine]).wait(timedelta(seconds=EXCHANGE_WITHIN_S))
        rows: list[list[int]] = torch.stack(everybody).tolist()
        return rows

    def leave(self) -> None:
        self._group = None
