"""Metrics in a real MLflow with its SQLite store, by a sink and by the frameworks' own loggers."""

from __future__ import annotations

import logging
import socket
import threading
import time

import pytest
import small_fits
from known_loop import history

from fitprint.publisher import CLOSE_WITHIN_S
from fitprint.scalars import EPOCH_TAGS, RUN_TAGS

mlflow = pytest.importorskip("mlflow")


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


@pytest.mark.timeout(60)
def test_a_server_that_never_answers_costs_less_than_a_second_and_it_is_said_what_it_has_not_got(train, store, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # for what is left of it after the test
    with socket.create_server(("127.0.0.1", 0)) as server:
        mlflow.set_tracking_uri(f"http://127.0.0.1:{server.getsockname()[1]}")
        began = time.monotonic()
        footprint = train("mlflow:0123456789abcdef", epochs=range(20))
        took_s = time.monotonic() - began
    assert footprint.status == "completed"
    assert took_s < CLOSE_WITHIN_S + 1.0
    assert "the sink mlflow has not taken 42 of 42 records in time; the run's Footprint has them all" in caplog.text
    for thread in threading.enumerate():
        if thread.name == "fitprint-sink-mlflow":
            thread.join(20.0)


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


def test_hugging_faces_own_reporter_gets_the_same_metrics(store, reporting, on_one_gpu, clock, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    from fitprint_transformers import CarbonCallback

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tmp_path.name)
    carbon = on_one_gpu(CarbonCallback(intensity=100.0, ledger="off"))
    small_fits.hugging_face(carbon, clock, tmp_path / "out", report_to=["mlflow"])
    run_id = mlflow.active_run().info.run_id if mlflow.active_run() else mlflow.last_active_run().info.run_id
    kept = store.get_run(run_id).data.metrics
    assert {*EPOCH_TAGS, *RUN_TAGS} <= set(kept)
    assert [value for _, value in history(store, run_id, "carbon/epoch_energy_wh")] == [pytest.approx(0.5)] * 2
