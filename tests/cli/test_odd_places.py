"""Where a platform puts a program: in a zip archive, under another encoding, in folders that are closed or gone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import fitprint

MEASURED = """
from fitprint import Tracker, __path__
from fitprint.cli import main
with Tracker(region="FR") as tracker:
    for epoch in tracker.epochs(range(2)):
        sum(range(100_000))
print(__path__[0].removesuffix("/fitprint"), tracker.footprint.status, len(tracker.footprint.epochs))
main(["report", "--format", "md", "--output", "report.md"])
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
