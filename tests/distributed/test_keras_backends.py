"""Keras in two real processes on the back ends that have a coordination service: TensorFlow's strategy and JAX."""

from __future__ import annotations

import json

import pytest
from same_record import check_between

from fitprint import Ledger

pytestmark = pytest.mark.timeout(170)


@pytest.fixture(scope="module")
def _once():
    return {}


@pytest.fixture
def workers(beside, machine, free_ports, _once):
    """Two workers of TensorFlow, launched once for all tests: what both have reported of every scene, and their log."""
    if not _once:
        addresses = [f"127.0.0.1:{port}" for port in free_ports]
        tasks = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}} for rank in range(2)]
        launched = beside("keras_workers.py", environs=[{"TF_CONFIG": json.dumps(task)} for task in tasks], timeout=150)
        assert launched.returncode == 0, launched.errors[-3000:]
        rows = Ledger(machine / "fitprint.db").runs()
        _once.update(ranks=launched.ranks, errors=launched.errors, rows={row["run_id"]: row for row in rows})
    return _once


def of(launched, name):
    return [launched["ranks"][rank][name] for rank in ("0", "1")]


def check_one_row(launched, name, least_j):
    """Both ranks have logged the same, and the ledger has it as one row."""
    first = check_between(launched["ranks"], name, least_j)
    assert first["logged"] == launched["ranks"]["1"][name]["logged"]
    assert launched["rows"][first["run_id"]]["energy_j"] == first["energy_j"]
    return first


def check_a_stop(launched):
    stop = check_one_row(launched, "stop", least_j=20)
    assert stop["status"] == "stopped"
    assert stop["stop_reason"]["code"] == "budget"
    # Only the second worker had this budget; the dearest epoch, in which the graph is traced, may be the one that went over it.
    assert stop["energy_j"] < 60 + max(epoch[0] for epoch in stop["epochs"]) + stop["outside_epochs_j"]
    assert 0 < len(stop["epochs"]) < 100


def test_the_workers_of_a_strategy_have_one_record(workers):
    fit = check_one_row(workers, "fit", least_j=120 * 16 * 0.03)
    assert len(fit["epochs"]) == len(fit["logged"]) == 2
    assert fit["coverage"] > 0.99


def test_a_stop_that_one_worker_decides_is_everybodys(workers):
    check_a_stop(workers)


def test_a_worker_that_raises_frees_the_other_at_once(workers):
    first, second = of(workers, "left")
    assert second["error"] == "the loss is NaN"
    assert (first["status"], second["status"]) == ("completed", "failed")
    assert first["took_s"] < 10
    assert "exchange no more what they use (a process has left)" in workers["errors"]


def test_two_processes_of_jax_have_one_record_and_one_stop(beside, machine, free_port):
    pytest.importorskip("jax", reason="JAX is not installed")
    names = ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
    values = [(f"127.0.0.1:{free_port}", "2", str(rank)) for rank in range(2)]
    environs = [{f"KERAS_DISTRIBUTION_{name}": value for name, value in zip(names, row, strict=True)} for row in values]
    ended = beside("keras_jax.py", environs=environs, timeout=150)
    assert ended.returncode == 0, ended.errors[-3000:]
    rows = {row["run_id"]: row for row in Ledger(machine / "fitprint.db").runs()}
    launched = {"ranks": ended.ranks, "rows": rows}
    assert of(launched, "processes") == [2, 2]
    fit = check_one_row(launched, "fit", least_j=120 * 16 * 0.03)
    assert len(fit["epochs"]) == len(fit["logged"]) == 2
    check_a_stop(launched)
    loops = of(launched, "loop")
    assert loops[0] == loops[1]
    assert len(loops[0]["epochs"]) == 2
    assert len(rows) == 3
