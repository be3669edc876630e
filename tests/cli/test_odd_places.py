"""Where a platform puts a program: in a zip archive, under another encoding, in folders that are closed or gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

import fitprint
from fitprint import Config, Ledger

MEASURED = """
from fitprint import Tracker, __path__
from fitprint.cli import main
with Tracker(region="FR") as tracker:
    for epoch in tracker.epochs(range(2)):
        sum(range(100_000))
print(__path__[0].removesuffix("/fitprint"), tracker.footprint.status, len(tracker.footprint.epochs))
main(["report", "--format", "md", "--output", "report.md"])
"""

NESTED = """
from fitprint import Tracker
with Tracker() as tracker:
    for epoch in tracker.epochs(range(1)):
        pass
"""


def python(*words, **options):
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=60, **options)


def test_a_program_in_a_zip_archive_is_measured_and_reported(tmp_path):
    tree = tmp_path / "program"
    shutil.copytree(Path(fitprint.__file__).parent, tree / "fitprint", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "__main__.py").write_text(MEASURED)
    zipapp.create_archive(tree, archive := tmp_path / "program.pyz")
    done = python(archive)
    assert (done.returncode, done.stdout) == (0, f"{archive} completed 2\n"), done.stderr
    assert "FR" in Path("report.md").read_text()


@pytest.mark.parametrize(("given", "kept"), [(b"Gr\xfc\xdfe", r"Gr\xfc\xdfe"), ("Grüße".encode(), "Grüße")])
def test_a_project_named_in_another_encoding_is_recorded(given, kept):
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environ = {**os.environ, **ascii_only} | {"FITPRINT_PROJECT": os.fsdecode(given), "FITPRINT_NAME": os.fsdecode(given)}
    python("-m", "fitprint", "run", "--", sys.executable, "-c", NESTED, env=environ)
    rows = Ledger().runs()
    assert [(row["project"], row["name"], row["status"]) for row in rows] == 2 * [(kept, kept, "completed")]


@pytest.mark.parametrize(("given", "kept"), [("a\0b", r"a\x00b"), ("\ud800", r"\ud800")])
def test_a_name_that_no_database_holds_is_kept_as_it_would_be_written(given, kept):
    assert Config(name=given).name == kept
