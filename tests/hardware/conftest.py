"""Hardware whose truth is known: a fake NVIDIA driver in C, loaded in the place of the real one."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("fake_nvml.c")


class FakeDriver:
    """The stand-in library, loaded into this process under the real one's name.

    The dynamic linker hands out a library that is already loaded under the same soname, so that
    nvidia-ml-py's own look-up of ``libnvidia-ml.so.1`` finds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lib = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        self._lib.fake_nvml_true_mj.restype = ctypes.c_double
        self._lib.fake_nvml_set_boards.argtypes = [ctypes.c_uint, ctypes.c_double]
        self._lib.fake_nvml_set_watts.argtypes = [ctypes.c_uint, ctypes.c_double]

    def set_boards(self, count: int, watts: float = 0.0) -> None:
        """Put in so many boards; none makes the driver answer that it is not loaded."""
        self._lib.fake_nvml_set_boards(count, watts)

    def set_watts(self, watts: float, board: int = 0) -> None:
        self._lib.fake_nvml_set_watts(board, watts)

    def lose(self, board: int = 0, lost: bool = True) -> None:
        self._lib.fake_nvml_lose(board, int(lost))

    def joules(self, board: int = 0) -> float:
        """The exact truth now."""
        return self._lib.fake_nvml_true_mj(board) / 1000


@pytest.fixture(scope="session")
def fake_nvml_library(tmp_path_factory) -> Path:
    """The compiled library."""
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("the fake NVIDIA driver needs a C compiler")
    path = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-pthread", "-Wl,-soname,libnvidia-ml.so.1", "-o", path, SOURCE], check=True)
    return path


@pytest.fixture(scope="session")
def _loaded_driver(fake_nvml_library) -> FakeDriver:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("a real NVIDIA driver is loaded here")
    return FakeDriver(fake_nvml_library)


@pytest.fixture
def gpu(_loaded_driver, monkeypatch) -> FakeDriver:
    """One board at 100 W, gone again after the test."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    _loaded_driver.set_boards(1, 100.0)
    yield _loaded_driver
    _loaded_driver.set_boards(0)
