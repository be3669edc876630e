"""Figures in a real run of Weights & Biases, offline."""

from __future__ import annotations

import pytest
import small_fits

from fitprint import Config

wandb = pytest.importorskip("wandb")


@pytest.fixture
def history(tmp_path, monkeypatch):
    """A run offline, and what is logged in it: W&B's own files are not meant to be read."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    rows = []
    with wandb.init(mode="offline", dir=str(tmp_path), project="digits") as run:
        log = run.log
        monkeypatch.setattr(run, "log", lambda values, **kw: (rows.append(values), log(values, **kw)))
        yield run, rows


def test_a_plain_loop_logs_into_the_run_with_an_axis_of_its_own(train, history):
    run, rows = history
    footprint = train("wandb")
    assert [row["carbon/epoch"] for row in rows] == [0, 1, 1]
    assert [row["carbon/epoch_energy_wh"] for row in rows[:2]] == [pytest.approx(1.1)] * 2
    assert run.summary["carbon/total_co2e_g"] == pytest.approx(footprint.co2e_g)
    assert run.config["fitprint_run_id"] == footprint.run_id


def test_without_a_run_none_is_begun_and_it_is_said(train, caplog):
    footprint = train("wandb")
    assert footprint.status == "completed"
    assert wandb.run is None
    assert "Expected wandb.init() before the first epoch" in caplog.text


def test_figures_that_lightnings_logger_writes_into_the_same_run_are_written_once(history, on_one_gpu, clock, tmp_path, caplog):
    loggers = pytest.importorskip("lightning.pytorch.loggers")
    from fitprint_lightning import CarbonCallback

    run, rows = history
    carbon = on_one_gpu(CarbonCallback(config=Config(sinks=["wandb"], intensity=100.0, ledger="off")))
    small_fits.lightning(carbon, clock, tmp_path, logger=loggers.WandbLogger(experiment=run))
    assert [row["carbon/epoch_energy_wh"] for row in rows if "carbon/epoch_energy_wh" in row] == [pytest.approx(0.5)] * 2
    assert run.config["fitprint_run_id"] == carbon.footprint.run_id
    assert "the same run as the sink wandb" in caplog.text
