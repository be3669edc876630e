"""The ranks of JAX and TensorFlow, over the coordination service by which those find each other.

Both keep texts under names for all processes, outside of any graph and any device. Nothing is imported here: a
framework that the program has not loaded, or has not set up for several processes, has no ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, NamedTuple

from fitprint.notices import logger
from fitprint.process_group import torch_peers
from fitprint.ranks import VOTE_WITHIN_S, Member, Peers, Store, StorePeers, vote

# TensorFlow's jobs whose tasks train together, in the order of their ranks.
TOGETHER = ("chief", "worker")


class Found(NamedTuple):
    """A job that a framework has set up.

    Attributes:
        store: The framework's.
        rank: This process's number in it.
        size: How many there are.
    """

    store: Store
    rank: int
    size: int


def peers_of(modules: Mapping[str, Any], member: Member, *, within_s: float = VOTE_WITHIN_S) -> Peers | None:
    """The ranks with which this process trains, by whatever framework; None where it is alone, or others do not take part.

    Args:
        modules: ``sys.modules``; nothing is imported.
        member: This process.
        within_s: How long rank 0 waits for the others.
    """
    found = torch_peers(modules, member, within_s=within_s)
    if found is not None:
        return found
    for find in (_jax, _tensorflow):
        peers = _peers(find, modules, member, within_s)
        if peers is not None:
            return peers
    return None


def _peers(find: Callable[..., Found | None], modules: Mapping[str, Any], member: Member, within_s: float) -> Peers | None:
    try:
        found = find(modules)
        return None if found is None or found.size < 2 else _joined(found, member, within_s)
    except Exception as error:  # another version keeps it elsewhere, or the service is gone
        logger().warning("the other processes of this job cannot be reached (%s): each counts for itself", error)
        return None


def _joined(found: Found, member: Member, within_s: float) -> Peers | None:
    store = Prefixed(found.store, f"fitprint/{_beginning(found)}")
    members = vote(store, found.rank, found.size, member, within_s)
    return None if members is None else StorePeers(store, found.rank, members)


def _beginning(found: Found) -> int:
    """So many times has this rank begun: what is there already cannot be set again."""
    for number in count(1):
        try:
            found.store.set(f"fitprint/starts/{found.rank}/{number}", "")
        except Exception as error:
            if "already exists" not in str(error).lower():
                raise
        else:
            break
    return number


def _jax(modules: Mapping[str, Any]) -> Found | None:
    """After ``jax.distributed.initialize``, which Keras' ``keras.distribution.initialize`` calls."""
    state: Any = getattr(modules.get("jax._src.distributed"), "global_state", None)
    client = getattr(state, "client", None)
    return None if client is None else Found(JaxStore(client), int(state.process_id), int(state.num_processes))


def _tensorflow(modules: Mapping[str, Any]) -> Found | None:
    """After ``tf.distribute.MultiWorkerMirroredStrategy()``, which starts the service among its workers."""
    eager = modules.get("tensorflow.python.eager.context")
    context: Any = eager.context() if eager is not None else None
    server = getattr(context, "_collective_ops_server_def", None)
    if server is None or context.coordination_service is None:
        return None
    tasks = list(_tasks(server.cluster))
    own = (server.job_name, server.task_index)
    return Found(TensorFlowStore(context), tasks.index(own), len(tasks)) if own in tasks else None


def _tasks(cluster: Any) -> Iterator[tuple[str, int]]:
    jobs = {job.name: sorted(job.tasks) for job in cluster.job}
    return ((name, task) for name in TOGETHER for task in jobs.get(name, ()))


class Prefixed:
    """The part of a store whose names begin alike.

    Args:
        store: The whole.
        prefix: What they begin with.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def set(self, name: str, text: str) -> None:
        self._store.set(f"{self._prefix}/{name}", text)

    def get(self, name: str, within_s: float) -> str:
        return self._store.get(f"{self._prefix}/{name}", within_s)

    def delete(self, name: str) -> None:
        self._store.delete(f"{self._prefix}/{name}")


class JaxStore:
    """What JAX's coordination service keeps.

    Args:
        client: Its ``DistributedRuntimeClient``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def set(self, name: str, text: str) -> None:
        self._client.key_value_set(name, text)

    def get(self, name: str, within_s: float) -> str:
        text: str = self._client.blocking_key_value_get(name, max(1, round(1000 * within_s)))
        return text

    def delete(self, name: str) -> None:
        self._client.key_value_delete(name)


class TensorFlowStore:
    """What TensorFlow's coordination service keeps.

    Args:
        context: The eager context.
    """

    def __init__(self, context: Any) -> None:
        self._context = context

    def set(self, name: str, text: str) -> None:
        self._context.set_config_key_value(name, text)

    def get(self, name: str, within_s: float) -> str:
        text: str = self._context.get_config_key_value(name, max(1, round(1000 * within_s)))
        return text

    def delete(self, name: str) -> None:
        self._context.delete_config_key_value(name)
