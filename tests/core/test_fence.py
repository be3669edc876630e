"""Waiting for what is queued on accelerators."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from fitprint import Config, Tracker
from fitprint.sensors.fence import wait_for_accelerators
from fitprint.sensors.probe import Surroundings
from fitprint.testing import ScriptedCounter


class Cuda:
    """CUDA as torch shows it: two boards, of which the process uses one."""

    def __init__(self, *, initialized=True):
        self.initialized = initialized
        self.waited_for = []

    def is_initialized(self):
        return self.initialized

    def device_count(self):
        return 2

    def memory_reserved(self, device):
        return 1024 if device == 1 else 0

    def synchronize(self, device):
        self.waited_for.append(device)


def torch_with(cuda):
    return {"torch": SimpleNamespace(cuda=cuda)}


def test_torch_is_waited_for_on_the_boards_it_uses_and_on_no_other():
    cuda = Cuda()
    wait_for_accelerators(torch_with(cuda))
    assert cuda.waited_for == [1]


def test_a_framework_that_has_not_opened_its_boards_is_left_alone():
    cuda = Cuda(initialized=False)
    wait_for_accelerators(torch_with(cuda))
    assert cuda.waited_for == []


def test_an_error_of_the_device_is_left_to_the_training():
    cuda = Cuda()
    cuda.synchronize = lambda device: 1 / 0
    wait_for_accelerators(torch_with(cuda))


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_waiting_imports_and_initialises_nothing(framework):
    check = {
        "torch": "assert not torch.cuda.is_initialized()",
        "tensorflow": "assert not sys.modules['tensorflow.python.eager.context'].context()._initialized",
    }[framework]
    code = (
        f"import sys, {framework}; before = set(sys.modules)\n"
        "from fitprint.sensors.fence import wait_for_accelerators\n"
        "wait_for_accelerators(sys.modules)\n"
        f"{check}\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert new <= {'fitprint'} | set(sys.stdlib_module_names), new\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(("sync", "waits"), [(None, 0), (False, 0), (True, 6)])
def test_phases_and_epochs_wait_at_their_ends_only_if_asked(clock, monkeypatch, sync, waits):
    calls = []
    monkeypatch.setattr("fitprint.books.wait_for_accelerators", calls.append)
    around = Surroundings(clock=clock, environ={})
    options = {"config": Config(sync=sync), "ledger": "off", "region": "FR"}
    with Tracker(counters=[ScriptedCounter(clock)], around=around, **options) as tracker:
        with tracker.epoch(0), tracker.phase("validate"):
            clock.advance(1.0)
        with tracker.phase("test"):
            clock.advance(1.0)
    assert len(calls) == waits
