"""Where a platform puts a program: in a zip archive, under another encoding, in folders that are closed or gone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

import fitprint
from fitprint import Budget, Config, Ledger, Tracker
from fitprint.cli import main
from fitprint.ledger.pot import Pot

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


def test_letters_that_a_terminal_does_not_have_are_written_as_their_numbers():
    with Tracker(name="Grüße"):
        pass
    done = python("-m", "fitprint", "runs", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, r"Gr\xfc\xdfe" in done.stdout) == (0, True), done.stderr


def test_a_command_is_run_where_the_working_folder_is_gone(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    ours = f"import os; os.rmdir({str(gone)!r}); from fitprint.cli import main; raise SystemExit(main(['run', '--', 'echo', 'hi']))"
    done = python("-c", ours, cwd=gone, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert (done.returncode, done.stdout) == (0, "hi\n"), done.stderr
    assert "cannot be written" in done.stderr


def test_a_damaged_ledger_is_told_in_one_line(capsys):
    with Tracker(project="p", budget=Budget("1 g", scope="project"), ledger=Path("fitprint.db").absolute()):
        pass
    whole = Path("fitprint.db").read_bytes()
    Path("fitprint.db").write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    for words in (["runs"], ["report"], ["runs", "pot", "--project", "p"], ["runs", "import", "fitprint.db"]):
        assert main(words) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n"), "fitprint.db cannot be" in err) == ("", 1, True)


def test_what_may_not_be_written_is_told_in_one_line(capsys, monkeypatch):
    with Tracker(project="p", budget=Budget("1 g", scope="project"), ledger=Path("fitprint.db").absolute()) as tracker:
        list(tracker.epochs(range(1)))

    def refused(*_):
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(Pot, "settle", refused)  # tests may run as root, who may write everything
    assert main(["runs", "pot", "--project", "p", "--settle", tracker.footprint.run_id]) == 1
    assert "cannot be written: attempt to write a readonly database.\n" in capsys.readouterr().err
