"""The writer of event files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fitprint_tensorboard import CarbonWriter


def test_what_is_written_is_read_back_by_tensorboard():
    writer = CarbonWriter("logs")
    for step in range(3):
        writer.scalars({"carbon/epoch_co2e_g": step + 0.5, "carbon/power_w": 100.0}, step)
    writer.text("fitprint/run", "<b>a & b</b>", 2)
    writer.close()
    events = EventAccumulator("logs")
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("carbon/epoch_co2e_g")] == [(0, 0.5), (1, 1.5), (2, 2.5)]
    assert events.Tensors("fitprint/run/text_summary")[0].tensor_proto.string_val[0] == b"<b>a & b</b>"


def test_nothing_is_created_before_the_first_write():
    CarbonWriter("logs").close()
    assert not Path("logs").exists()


def test_each_write_is_visible_at_once():
    writer = CarbonWriter("logs")
    writer.scalars({"carbon/x": 1.0}, 0)
    events = EventAccumulator("logs")
    events.Reload()
    assert len(events.Scalars("carbon/x")) == 1
    writer.close()


def test_the_files_name_holds_no_host_name():
    writer = CarbonWriter("logs")
    writer.scalars({"carbon/x": 1.0}, 0)
    writer.close()
    parts = next(Path("logs").iterdir()).name.split(".")
    assert parts[:3] == ["events", "out", "tfevents"]
    assert parts[4:6] == ["fitprint", str(os.getpid())]


def test_a_folder_that_cannot_be_written_is_one_warning(caplog):
    Path("logs").write_text("a file")
    writer = CarbonWriter("logs")
    for step in range(3):
        writer.scalars({"carbon/x": 1.0}, step)
    writer.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_without_tensorboard_the_install_command_is_named(tmp_path):
    code = (
        "import sys, importlib.abc\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'tensorboard': raise ModuleNotFoundError(name)\n"
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name == 'tensorboard' else find(name, package)\n"
        "from fitprint_tensorboard import CarbonWriter\nCarbonWriter('logs')"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'fitprint[tensorboard]'" in out.stderr
