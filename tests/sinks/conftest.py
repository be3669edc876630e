"""What sinks are tested with."""

from __future__ import annotations

import functools
import gc
import socket

import known_loop
import pytest


@pytest.fixture
def train(clock):
    """Trains the loop whose joules are known with such sinks, and returns the record."""
    return functools.partial(known_loop.train, clock)


@pytest.fixture
def free_port():
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    """MLflow's, made once: it takes seconds to lay out its tables."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def store(database, tmp_path, monkeypatch):
    """A client of it; programs find it as they do, by MLflow's own setting."""
    mlflow = pytest.importorskip("mlflow")
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


@pytest.fixture
def reporting(store):
    """Reporters of Hugging Face are gone after the test: one that goes ends whatever run of MLflow is active then."""
    yield
    gc.collect()
