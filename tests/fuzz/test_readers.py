"""Each reader of outside input takes what is sound, and refuses what has once broken one."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("httpx")
pytest.importorskip("tensorboard")

from readers import GRAMS, JOURNAL, READERS, event

HARNESS = Path(__file__).with_name("harness.py")
SEEDS = [(name, seed) for name, reader in READERS.items() for seed in reader.seeds]
# What harness.py has found.
FOUND = [
    pytest.param("journal", json.dumps({**json.loads(JOURNAL.splitlines()[1]), "run_id": "r" * 300}).encode(), id="a long run id"),
    pytest.param("event_file", event(GRAMS, ("fitprint/run", "{}"), dtype=0), id="a tensor of no type"),
]


@pytest.mark.parametrize(("name", "data"), SEEDS, ids=[f"{name}-{number}" for number, (name, _) in enumerate(SEEDS)])
def test_what_is_sound_is_read(name, data, tmp_path):
    assert READERS[name].read(data, tmp_path) is not None


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_has_broken_a_reader_breaks_none(name, data, tmp_path):
    READERS[name].read(data, tmp_path)


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: pip install atheris")
def test_the_harness_runs_for_a_moment(tmp_path):
    command = [sys.executable, str(HARNESS), "journal", "-runs=20", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
