"""The page on sinks: its programs run, and its tables name what is written."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from page import PAGE, PROGRAMS

from fitprint.footprint import Footprint
from fitprint.scalars import EPOCH_TAGS, RUN_TAGS
from fitprint.sinks.names import SINKS
from fitprint.sinks.prometheus import families


def ran(needs, caplog, change=lambda program: program):
    """Runs a program of the page here: nothing went wrong with its sinks."""
    pytest.importorskip(needs)
    with caplog.at_level(logging.WARNING, "fitprint"):
        exec(compile(change(PROGRAMS[needs]), f"{needs} on the page", "exec"), {"__name__": "__main__"})
    assert "the sink" not in caplog.text


def test_the_program_for_mlflow_leaves_a_run_with_three_epochs(store, caplog, tmp_path):
    ran("mlflow", caplog)
    (run,) = store.search_runs([store.get_experiment_by_name(tmp_path.name).experiment_id])
    assert [point.step for point in store.get_metric_history(run.info.run_id, "carbon/epoch_co2e_g")] == [0, 1, 2]


def test_the_program_for_wandb_runs(caplog, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    ran("wandb", caplog)


def test_the_program_for_prometheus_leaves_a_file_of_a_run_that_has_ended(caplog, free_port, tmp_path):
    ran("prometheus_client", caplog, lambda program: program.replace("9400", str(free_port)))
    assert 'status="completed"' in (tmp_path / "fitprint.prom").read_text()


def test_the_program_with_a_sink_of_ones_own_prints_each_epoch_and_the_end(caplog, capsys):
    ran("fitprint", caplog)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["0", "1", "2", "2", "completed"]


def test_the_program_for_opentelemetry_runs():
    """In a process of its own, for which it sets the meter provider."""
    pytest.importorskip("opentelemetry.sdk")
    command = [sys.executable, "-c", PROGRAMS["opentelemetry.sdk"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "the sink" not in done.stderr


def test_every_sink_by_name_is_on_the_page():
    assert [name for name in SINKS if f'`"{name}' not in PAGE] == []


def test_every_name_that_is_logged_is_on_the_page():
    known = Footprint(run_id="r", status="running", co2e_g=1.0)
    counters = {"counter": "_total", "gauge": ""}
    written = [name + counters[kind] for kind, name, *_ in families(known, {})]
    assert [name for name in (*EPOCH_TAGS, *RUN_TAGS, *written) if f"`{name}`" not in PAGE] == []
