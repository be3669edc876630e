"""Lightning on two real processes: one record on both, whoever started them."""

from __future__ import annotations

import importlib.util

import pytest
from same_record import check_one_record, check_one_stop, check_one_writer

from fitprint import Ledger

pytestmark = pytest.mark.timeout(170)


def test_both_ranks_of_torchrun_have_what_an_observer_counted_and_stop_together(torchrun, machine, observer, monkeypatch):
    store = f"sqlite:///{machine}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    launched = torchrun("lightning_ddp.py", "400 J", timeout=160)
    assert launched.returncode == 0, launched.errors[-3000:]
    first = check_one_record(launched, observer, "fit", epochs=3)
    assert set(first["phases"]) >= {"train", "validate", "sanity_check"}
    assert first["logged"] == launched.ranks["1"]["fit"]["logged"] > 0
    row = next(row for row in Ledger(machine / "fitprint.db").runs() if row["run_id"] == first["run_id"])
    assert (row["energy_j"], row["epochs"], row["status"]) == (first["energy_j"], 3, "completed")
    check_one_stop(launched, observer, limit_j=400.0)
    check_one_writer(launched, "logged")
    check_mlflow(store, launched.ranks["0"]["logged"])
    assert "the sink" not in launched.errors


def check_mlflow(store, record):
    """Its one run has what the job used, as the sink of the first rank wrote it."""
    if importlib.util.find_spec("mlflow") is None:
        return
    from mlflow import MlflowClient

    client = MlflowClient(store)
    (run,) = client.search_runs(["0"])
    assert run.data.tags["fitprint.run_id"] == record["run_id"]
    assert run.data.metrics["carbon/total_energy_wh"] == pytest.approx(record["energy_j"] / 3600)
    points = client.get_metric_history(run.info.run_id, "carbon/epoch_energy_wh")
    assert [point.value for point in points] == [pytest.approx(epoch[0] / 3600) for epoch in record["epochs"]]


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork"])
def test_the_process_that_starts_the_ranks_has_their_record(alone, machine, strategy):
    launched = alone("lightning_ddp.py", strategy, timeout=160)
    assert launched.returncode == 0, launched.errors[-3000:]
    record = launched.ranks["parent"]
    assert record["status"] == "completed"
    assert record["runs"] == 1
    assert len(record["epochs"]) == 2
    assert 120 * 10 * 0.03 < record["energy_j"] < record["most_j"]
    assert [row["energy_j"] for row in Ledger(machine / "fitprint.db").runs()] == [record["energy_j"]]


@pytest.mark.gpu
def test_sharded_training_is_measured_as_any_other(alone):
    launched = alone("lightning_ddp.py", "fsdp", timeout=160)
    assert launched.returncode == 0, launched.errors[-3000:]
    record = launched.ranks["parent"]
    if "refused" in record:
        pytest.skip(record["refused"])
    assert record["status"] == "completed"
    assert [epoch[2] for epoch in record["epochs"]] == [True, True]
    assert record["energy_j"] > 120 * 16 * 0.03
