"""A ledger in a file and in a real PostgreSQL, one server for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres_server import Server, programs, running


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed here (no initdb)")
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("psycopg")
    with running(found) as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path) -> str:
    """Where a ledger can be: a file, or a database on a server."""
    if request.param == "sqlite":
        return str(tmp_path / "shared" / "fitprint.db")
    return request.getfixturevalue("server").create()
