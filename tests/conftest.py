"""Every test runs in an empty folder, with no setting of fitprint, no time zone and no real GPU around it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fitprint.contract import measuring
from fitprint.sensors.siblings import Registry
from fitprint.testing import FakeClock, FakeDriver, ScriptedCounter, build_fake_driver
from real_boards import DRIVER, hide, shown
from web_service import WebService

# Read by the type checker, and run by hand.
collect_ignore_glob = ["typing/*", "benchmarks/*"]
# How to show the real GPUs again.
HIDDEN = pytest.StashKey[dict[str, str | None]]()


def pytest_configure(config):
    """Before a test, and with it a framework, is imported."""
    config.stash[HIDDEN] = hide(os.environ)


def pytest_ignore_collect(collection_path):
    """Doctests are in the package: what lies beside the tests are scripts and stand-ins that they start."""
    return True if collection_path.suffix == ".py" and not collection_path.name.startswith("test_") else None


def untracked() -> set[str]:
    """Files in the tree that git does not know; none where there is no git."""
    git = ["git", "-C", str(Path(__file__).parents[1]), "ls-files", "--others", "--exclude-standard"]
    return set(subprocess.run(git, capture_output=True, text=True).stdout.splitlines()) if shutil.which("git") else set()


@pytest.fixture(scope="session", autouse=True)
def nothing_left():
    """No test leaves a file in the tree; looked at in CI, where nobody works in it meanwhile."""
    before = untracked()
    yield
    assert "CI" not in os.environ or untracked() == before


@pytest.fixture(scope="session")
def with_real_boards(pytestconfig) -> dict[str, str]:
    """An environment in which the machine's GPUs are seen, for processes of tests that are marked ``gpu``."""
    return shown(os.environ, pytestconfig.stash[HIDDEN])


@pytest.fixture(autouse=True)
def nothing_around(request, tmp_path, monkeypatch, with_real_boards):
    """A working folder of its own, no FITPRINT_* variable, no user file, UTC; no real GPU unless the test is marked so."""
    for name in request.config.stash[HIDDEN] if request.node.get_closest_marker("gpu") else ():
        monkeypatch.delenv(name)
        if name in with_real_boards:
            monkeypatch.setenv(name, with_real_boards[name])
    for name in [name for name in os.environ if name.startswith("FITPRINT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TZ", "Etc/UTC")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user-config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    monkeypatch.chdir(tmp_path)
    # Runs of other tests, at the same time on this machine, are not beside those of this one.
    beside, real = tmp_path / "beside", Path("/dev")
    find = Registry.of
    monkeypatch.setattr(Registry, "of", lambda dev, sys, proc: find(dev, sys if dev != real else beside, proc))


@pytest.fixture
def service():
    """A web service on this machine, which answers as the test tells it."""
    service = WebService()
    yield service
    service.close()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that moves only when told to."""
    return FakeClock()


@pytest.fixture
def on_one_gpu(clock):
    """Lets any adapter's callback read one scripted GPU of 100 W and nothing else."""
    gpu = ScriptedCounter(clock, watts=100.0)

    def put(callback):
        return measuring(callback, [gpu], clock)

    return put


@pytest.fixture(scope="session")
def fake_nvml_library(tmp_path_factory) -> Path:
    """The fake NVIDIA driver, compiled."""
    path = build_fake_driver(tmp_path_factory.mktemp("nvml"))
    if path is None:
        pytest.skip("the fake NVIDIA driver needs a C compiler")
    return path


@pytest.fixture(scope="session")
def _loaded_driver(fake_nvml_library) -> FakeDriver:
    if DRIVER.exists():
        pytest.skip("a real NVIDIA driver is loaded here")
    return FakeDriver(fake_nvml_library)


@pytest.fixture
def gpu(_loaded_driver, monkeypatch) -> FakeDriver:
    """One board at 100 W, gone again after the test."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    _loaded_driver.set_boards(1, 100.0)
    yield _loaded_driver
    _loaded_driver.set_boards(0)
