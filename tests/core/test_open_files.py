"""What stays open leaves the program's last files alone."""

from __future__ import annotations

import errno
import os

import pytest

from fitprint.open_files import LEFT, leave_room

resource = pytest.importorskip("resource", reason="this system has no limit of open files")


@pytest.fixture
def limit():
    """Sets how many files may be opened more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def set_free(count):
        free = []
        for number in range(hard):
            try:
                os.fstat(number)
            except OSError:
                free.append(number)
            if len(free) > count:
                break
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[count], hard))

    yield set_free
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_last_files_are_the_programs(limit):
    limit(LEFT)
    leave_room()
    limit(LEFT - 1)
    with pytest.raises(OSError, match="open files") as refused:
        leave_room()
    assert refused.value.errno == errno.EMFILE
