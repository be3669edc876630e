"""Tests see no real GPU unless they are marked: the rest of the suite is the same on every machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from real_boards import DRIVER, hide, shown


@pytest.fixture
def driver(tmp_path):
    """As a loaded driver shows itself."""
    path = tmp_path / "version"
    path.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module")
    return path


@pytest.mark.parametrize("around", [{}, {"CUDA_VISIBLE_DEVICES": "1", "PATH": "/bin"}])
def test_where_a_driver_is_loaded_frameworks_see_none_and_marked_tests_what_was_there(driver, around):
    environ = dict(around)
    before = hide(environ, driver)
    assert (environ["CUDA_VISIBLE_DEVICES"], environ["JAX_PLATFORMS"]) == ("", "cpu")
    assert shown(environ, before) == around


def test_without_a_driver_nothing_is_changed(tmp_path):
    environ = {"CUDA_VISIBLE_DEVICES": "0"}
    assert shown(environ, hide(environ, tmp_path / "none")) == environ == {"CUDA_VISIBLE_DEVICES": "0"}


@pytest.mark.gpu
def test_a_marked_test_sees_the_real_gpus():
    code = "import torch; print(torch.version.cuda is not None, torch.cuda.device_count())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
    built, boards = out.split()
    if built == "False" or not DRIVER.exists():
        pytest.skip("no driver is loaded here, or torch is not built for it")
    assert int(boards) > 0
