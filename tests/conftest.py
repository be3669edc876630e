"""Every test runs in an empty folder, with no setting of fitprint and no time zone around it."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def nothing_around(tmp_path, monkeypatch):
    """A working folder of its own, no FITPRINT_* variable, no user file, UTC."""
    for name in [name for name in os.environ if name.startswith("FITPRINT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TZ", "Etc/UTC")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user-config"))
    monkeypatch.chdir(tmp_path)
