"""Metrics in a real MLflow with its SQLite store, by a sink and by the frameworks' own loggers."""

from __future__ import annotations

import logging

import pytest
import small_fits

from fitprint.scalars import EPOCH_TAGS, RUN_TAGS

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Made once: MLflow takes seconds to lay out its tables."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def store(database, tmp_path, monkeypatch):
    """A client of it; programs find it as they do, by MLflow's own setting."""
    for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):  # MLflow sets them itself, for processes that it starts
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(database)
    if mlflow.get_experiment_by_name(tmp_path.name) is None:
        mlflow.create_experiment(tmp_path.name, artifact_location=str(tmp_path / "artifacts"))
    mlflow.set_experiment(tmp_path.name)
    yield mlflow.MlflowClient()
    mlflow.end_run()
    mlflow.set_tracking_uri(before)


def history(store, run_id, tag):
    points = store.get_metric_history(run_id, tag)
    return [(point.step, point.value) for point in points]


def test_a_plain_loop_logs_into_the_active_run(train, store):
    with mlflow.start_run() as run:
        footprint = train("mlflow", project="digits")
        assert mlflow.active_run().info.run_id == run.info.run_id
    assert history(store, run.info.run_id, "carbon/epoch_energy_wh") == [(0, pytest.approx(1.1)), (1, pytest.approx(1.1))]
    kept = store.get_run(run.info.run_id).data
    assert kept.metrics["carbon/total_co2e_g"] == pytest.approx(footprint.co2e_g)
    assert kept.metrics["carbon/part/dram_wh"] == pytest.approx(0.1)
    assert kept.tags["fitprint.run_id"] == footprint.run_id
    assert kept.tags["fitprint.project"] == "digits"
    assert kept.tags["fitprint.status"] == "completed"


def test_a_run_of_mlflow_can_be_named(train, store):
    experiment = mlflow.get_experiment_by_name(mlflow.get_experiment(mlflow.create_experiment("named")).name)
    run = store.create_run(experiment.experiment_id)
    train(f"mlflow:{run.info.run_id}")
    assert len(history(store, run.info.run_id, "carbon/epoch_co2e_g")) == 2


def test_without_an_active_run_none_is_begun_and_it_is_said(train, store, caplog):
    with caplog.at_level(logging.WARNING, "fitprint"):
        footprint = train("mlflow")
    assert footprint.status == "completed"
    assert mlflow.active_run() is None
    assert "Call mlflow.start_run() before the first epoch" in caplog.text


def test_lightnings_own_logger_gets_the_same_metrics(store, database, on_one_gpu, clock, tmp_path):
    loggers = pytest.importorskip("lightning.pytorch.loggers")
    from fitprint_lightning import CarbonCallback

    logger = loggers.MLFlowLogger(experiment_name=tmp_path.name, tracking_uri=database)
    carbon = on_one_gpu(CarbonCallback(intensity=100.0, ledger="off"))
    small_fits.lightning(carbon, clock, tmp_path, logger=logger)
    kept = store.get_run(logger.run_id).data.metrics
    assert {*EPOCH_TAGS, *RUN_TAGS} <= set(kept)
    assert [value for _, value in history(store, logger.run_id, "carbon/epoch_energy_wh")] == [pytest.approx(0.5)] * 2
    assert kept["carbon/total_energy_wh"] == pytest.approx(1.0)


def test_hugging_faces_own_reporter_gets_the_same_metrics(store, on_one_gpu, clock, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    from fitprint_transformers import CarbonCallback

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tmp_path.name)
    carbon = on_one_gpu(CarbonCallback(intensity=100.0, ledger="off"))
    small_fits.hugging_face(carbon, clock, tmp_path / "out", report_to=["mlflow"])
    run_id = mlflow.active_run().info.run_id if mlflow.active_run() else mlflow.last_active_run().info.run_id
    kept = store.get_run(run_id).data.metrics
    assert {*EPOCH_TAGS, *RUN_TAGS} <= set(kept)
    assert [value for _, value in history(store, run_id, "carbon/epoch_energy_wh")] == [pytest.approx(0.5)] * 2
