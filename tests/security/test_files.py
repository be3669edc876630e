"""Files are replaced whole, and get the mode that the user's umask leaves."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fitprint.files import replace_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="there are no modes and links here")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_gets_what_the_umask_leaves(umask, mode):
    before = os.umask(umask)
    try:
        replace_file(Path("report.html"), b"x")
    finally:
        os.umask(before)
    assert Path("report.html").stat().st_mode & 0o777 == mode


def test_an_old_file_keeps_its_mode_and_a_link_stays_one():
    Path("real.md").write_text("old")
    Path("real.md").chmod(0o640)
    Path("link.md").symlink_to("real.md")
    replace_file(Path("link.md"), b"new")
    assert Path("link.md").is_symlink()
    assert (Path("real.md").read_text(), Path("real.md").stat().st_mode & 0o777) == ("new", 0o640)


def test_a_reader_never_sees_half_a_file():
    file, whole = Path("report.html"), {b"a" * 200_000, b"b" * 300_000}
    replace_file(file, b"a" * 200_000)
    over = threading.Event()
    seen = set()

    def read():
        while not over.is_set():
            seen.add(file.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(10):
        for content in whole:
            replace_file(file, content)
    over.set()
    reader.join()
    assert seen <= whole


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(monkeypatch):
    Path("report.html").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(Path("report.html"), b"new")
    assert [path.read_text() for path in Path().glob("*report*")] == ["old"]


def test_a_pipe_is_written_to_as_it_is():
    os.mkfifo("pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append(Path("pipe").read_bytes()))
    reader.start()
    replace_file(Path("pipe"), b"page")
    reader.join(5)
    assert got == [b"page"]
