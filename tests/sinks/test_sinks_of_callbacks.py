"""Sinks that a framework's callback is asked for: a real MLflow store gets what the Footprint says."""

from __future__ import annotations

import importlib
import logging

import pytest
import small_fits
from known_loop import history

from fitprint import Config

mlflow = pytest.importorskip("mlflow")
FRAMEWORKS = ("lightning", "keras", "hugging_face")
ADAPTERS = {"lightning": "fitprint_lightning", "keras": "fitprint_keras", "hugging_face": "fitprint_transformers"}


@pytest.fixture
def fit(on_one_gpu, clock, tmp_path, monkeypatch):
    """Trains with a framework, and returns its callback."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")

    def run(framework, sinks=("mlflow",), log=True, **options):
        pytest.importorskip("transformers" if framework == "hugging_face" else framework)
        adapter = importlib.import_module(ADAPTERS[framework])
        carbon = on_one_gpu(adapter.CarbonCallback(config=Config(sinks=sinks, intensity=100.0, ledger="off"), log=log))
        getattr(small_fits, framework)(carbon, clock, tmp_path / "out", **options)
        return carbon

    return run


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_active_run_gets_what_the_footprint_says(fit, store, framework, caplog):
    with mlflow.start_run() as run:
        footprint = fit(framework).footprint
    assert [epoch.energy_j for epoch in footprint.epochs] == [pytest.approx(1800.0)] * 2
    for field in ("co2e_g", "co2e_low_g", "co2e_high_g"):
        expected = [(epoch.index, pytest.approx(getattr(epoch, field))) for epoch in footprint.epochs]
        assert history(store, run.info.run_id, f"carbon/epoch_{field}") == expected
    assert history(store, run.info.run_id, "carbon/epoch_energy_wh") == [(0, pytest.approx(0.5)), (1, pytest.approx(0.5))]
    kept = store.get_run(run.info.run_id).data
    assert kept.metrics["carbon/total_co2e_g"] == pytest.approx(footprint.co2e_g)
    assert kept.metrics["carbon/total_energy_wh"] == pytest.approx(footprint.energy_kwh * 1000)
    assert kept.metrics["carbon/measured_fraction"] == footprint.measured_fraction == 1.0
    assert (kept.tags["fitprint.run_id"], kept.tags["fitprint.status"]) == (footprint.run_id, "completed")
    assert "sink" not in caplog.text


def test_a_test_after_the_fit_leaves_the_fits_figures_as_they_are(fit, store):
    with mlflow.start_run() as run:
        carbon = fit("lightning", test=True)
    trained, tested = carbon.footprints
    assert (trained.kind, tested.kind) == ("fit", "test")
    kept = store.get_run(run.info.run_id).data
    assert kept.tags["fitprint.run_id"] == trained.run_id
    assert history(store, run.info.run_id, "carbon/total_energy_wh")[-1] == (1, pytest.approx(1.0))
    assert len(history(store, run.info.run_id, "carbon/total_energy_wh")) == 3


def mlflow_logger(run, database):
    loggers = pytest.importorskip("lightning.pytorch.loggers")
    return {"logger": loggers.MLFlowLogger(run_id=run.info.run_id, tracking_uri=database)}


@pytest.mark.parametrize("framework", ["lightning", "hugging_face"])
def test_figures_that_the_frameworks_logger_writes_into_the_same_run_are_written_once(
    fit, store, reporting, database, framework, caplog
):
    with mlflow.start_run() as run, caplog.at_level(logging.WARNING, "fitprint"):
        options = mlflow_logger(run, database) if framework == "lightning" else {"report_to": ["mlflow"]}
        footprint = fit(framework, **options).footprint
    values = history(store, run.info.run_id, "carbon/epoch_energy_wh")
    assert [value for _, value in values] == [pytest.approx(0.5)] * 2
    assert len({step for step, _ in values}) == 2
    assert store.get_run(run.info.run_id).data.tags["fitprint.run_id"] == footprint.run_id
    said = [record.getMessage() for record in caplog.records if "the same run as the sink mlflow" in record.getMessage()]
    assert len(said) == 1
    assert "Leave 'mlflow' out of sinks" in said[0]


def test_a_logger_of_another_run_is_no_reason_to_leave_figures_out(fit, store, database, caplog):
    with mlflow.start_run() as other, mlflow.start_run(nested=True) as run:
        fit("lightning", **mlflow_logger(other, database))
    for started in (other, run):
        assert [value for _, value in history(store, started.info.run_id, "carbon/epoch_energy_wh")] == [pytest.approx(0.5)] * 2
    assert "the same run" not in caplog.text


@pytest.mark.parametrize("framework", ["lightning", "hugging_face"])
def test_a_callback_that_does_not_log_leaves_it_to_the_sink(fit, store, reporting, database, framework, caplog):
    with mlflow.start_run() as run:
        options = mlflow_logger(run, database) if framework == "lightning" else {"report_to": ["mlflow"]}
        fit(framework, log=False, **options)
    assert [step for step, _ in history(store, run.info.run_id, "carbon/epoch_energy_wh")] == [0, 1]
    assert "the same run" not in caplog.text
