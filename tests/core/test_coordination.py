"""Ranks over a framework's coordination service: the service is simulated, the ranks are threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from fitprint.coordination import peers_of
from fitprint.ranks import Member

pytestmark = pytest.mark.timeout(60)


class Service:
    """Keeps texts under names, as the service that JAX and TensorFlow share: none is set twice, who asks waits."""

    def __init__(self):
        self.texts, self.news = {}, threading.Condition()

    def key_value_set(self, name, text):
        with self.news:
            if name in self.texts:
                raise RuntimeError(f"ALREADY_EXISTS: key {name} already exists.")
            self.texts[name] = text
            self.news.notify_all()

    def blocking_key_value_get(self, name, timeout_ms):
        with self.news:
            if not self.news.wait_for(lambda: name in self.texts, timeout_ms / 1000):
                raise RuntimeError(f"DEADLINE_EXCEEDED: {name}")
            return self.texts[name]

    def key_value_delete(self, name):
        with self.news:
            self.texts.pop(name, None)


class TensorFlowContext:
    """What TensorFlow shows of it."""

    def __init__(self, service, job, index, jobs):
        tasks = [SimpleNamespace(name=name, tasks=dict.fromkeys(range(size))) for name, size in jobs.items()]
        cluster = SimpleNamespace(job=tasks)
        self._collective_ops_server_def = SimpleNamespace(job_name=job, task_index=index, cluster=cluster)
        self.coordination_service = object()
        self.set_config_key_value, self.delete_config_key_value = service.key_value_set, service.key_value_delete
        self.get_config_key_value = service.blocking_key_value_get


def jax(service, rank, size=2):
    state = SimpleNamespace(client=service, process_id=rank, num_processes=size)
    return {"jax._src.distributed": SimpleNamespace(global_state=state)}


def tensorflow(service, job, index, jobs):
    context = TensorFlowContext(service, job, index, jobs)
    return {"tensorflow.python.eager.context": SimpleNamespace(context=lambda: context)}


def together(*works):
    """Do all of it at once, each in a thread of its own."""
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(work) for work in works]
    return [future.result() for future in futures]


def met(modules):
    """The ranks as each of them finds the others."""
    return together(
        *(lambda own=own, rank=rank: peers_of(own, Member("host", rank), within_s=5.0) for rank, own in enumerate(modules))
    )


def test_processes_of_jax_meet_and_hear_each_others_integers_and_last_words():
    service = Service()
    peers = met([jax(service, rank, 3) for rank in range(3)])
    assert [(one.rank, one.size, [member.pid for member in one.members]) for one in peers] == [(r, 3, [0, 1, 2]) for r in range(3)]
    for _ in range(3):
        rows = together(*(lambda one=one: one.gather([one.rank, 2**62, -(2**62)]) for one in peers))
        assert rows == [[[rank, 2**62, -(2**62)] for rank in range(3)]] * 3
    words = together(*(lambda one=one: one.last_words(f"I was {one.rank}") for one in peers))
    assert words == [["I was 0", "I was 1", "I was 2"]] * 3
    # What was exchanged lies there no more, but for the last of it.
    assert [name for name in service.texts if "/met/" in name] == ["fitprint/1/met/3/all"]


def test_the_chief_of_a_tensorflow_cluster_leads_its_workers_and_nobody_else_takes_part():
    service, jobs = Service(), {"worker": 2, "chief": 1, "ps": 4}
    peers = met(
        [tensorflow(service, "worker", 1, jobs), tensorflow(service, "chief", 0, jobs), tensorflow(service, "worker", 0, jobs)]
    )
    assert [one.rank for one in peers] == [2, 0, 1]
    assert peers_of(tensorflow(service, "evaluator", 0, jobs), Member("host", 9)) is None


def test_every_run_of_the_same_processes_has_names_of_its_own():
    service = Service()
    for _ in range(3):
        peers = met([jax(service, rank) for rank in range(2)])
        assert together(*(lambda one=one: one.gather([one.rank]) for one in peers)) == [[[0], [1]]] * 2
        together(*(one.leave for one in peers))


@pytest.mark.parametrize("leaving", [0, 1])
def test_a_rank_that_leaves_frees_the_others_at_once(leaving):
    service = Service()
    peers = met([jax(service, rank, 3) for rank in range(3)])
    together(*(lambda one=one: one.gather([1]) for one in peers))
    began_s, failures = time.monotonic(), []

    def wait(one):
        with pytest.raises(ConnectionError, match="a process has left"):
            one.gather([2])
        failures.append(one.rank)

    together(peers[leaving].leave, *(lambda one=one: wait(one) for one in peers if one.rank != leaving))
    assert sorted(failures) == [rank for rank in range(3) if rank != leaving]
    assert time.monotonic() - began_s < 5


def test_a_rank_that_never_begins_leaves_each_to_itself(caplog):
    assert peers_of(jax(Service(), 0), Member("host", 0), within_s=0.1) is None
    assert "not all 2 processes of this job measure" in caplog.text


def test_the_last_word_of_a_rank_that_is_gone_is_missing(monkeypatch):
    monkeypatch.setattr("fitprint.ranks.LAST_WORD_WITHIN_S", 0.2)
    peers = met([jax(service, rank) for service in [Service()] for rank in range(2)])
    assert peers[0].last_words("here") == ["here", None]


def test_a_service_that_is_gone_or_of_another_version_costs_a_line(caplog):
    class Gone(Service):
        def key_value_set(self, name, text):
            raise RuntimeError("UNAVAILABLE: the coordinator is gone")

    assert peers_of(jax(Gone(), 0), Member("host", 0)) is None
    assert "UNAVAILABLE: the coordinator is gone" in caplog.text
    assert peers_of({"jax._src.distributed": SimpleNamespace()}, Member("host", 0)) is None


def test_one_process_and_frameworks_that_are_not_set_up_have_no_ranks():
    alone = TensorFlowContext(Service(), "worker", 0, {"worker": 1})
    unset = SimpleNamespace(_collective_ops_server_def=None, coordination_service=None)
    assert peers_of(jax(Service(), 0, 1), Member("host", 0)) is None
    assert peers_of(jax(None, 0), Member("host", 0)) is None
    for context in (alone, unset):
        modules = {"tensorflow.python.eager.context": SimpleNamespace(context=lambda context=context: context)}
        assert peers_of(modules, Member("host", 0)) is None
