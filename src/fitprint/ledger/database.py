"""The few words of a database that the ledger needs; the same statements run on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from fitprint.errors import LedgerError
from fitprint.location import Location

# "fprt": tells our files from those of other programs.
APPLICATION_ID = 0x66707274
BUSY_TIMEOUT_S = 2.0
MEMORY = ":memory:"


class Database(Protocol):
    """An open database.

    Attributes:
        locking: What a SELECT ends with so that its rows are ours until the transaction's end.
    """

    locking: str

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing; where it cannot lock rows it locks the whole database."""

    def execute(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Run one statement with ``:named`` values; returns its rows."""

    def claim(self) -> None:
        """Make an empty database ours."""

    def version(self) -> int:
        """Version of our tables; 0 where there are none.

        Raises:
            LedgerError: If the database is another program's.
        """

    def set_version(self, version: int) -> None: ...

    def heard_at(self, at: float) -> float:
        """When a process was heard of that wrote an event at a time of its own clock."""

    def close(self) -> None: ...


class SqliteDatabase:
    """An SQLite file, or one in memory.

    Args:
        path: The file, or ``":memory:"``.
        create: Make the file where it is missing.
        timeout_s: How long to wait for other writers.

    Raises:
        sqlite3.Error: If it cannot be opened.
    """

    locking = ""

    def __init__(self, path: Path | str, *, create: bool = True, timeout_s: float = BUSY_TIMEOUT_S) -> None:
        plain = create or path == MEMORY
        name = str(path) if plain else f"{Path(path).absolute().as_uri()}?mode=rw"
        self._path = path
        self.connection = sqlite3.connect(
            name, timeout=timeout_s, isolation_level=None, check_same_thread=False, uri=not plain, cached_statements=256
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def execute(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, values).fetchall()

    def claim(self) -> None:
        """Nothing to do: the file becomes ours with its version."""

    def version(self) -> int:
        if self.execute("SELECT count(*) FROM sqlite_master")[0][0] == 0:
            return 0
        if self.execute("PRAGMA application_id")[0][0] != APPLICATION_ID:
            raise LedgerError(f"{self._path} is a database of another program. Choose another file as ledger.")
        return int(self.execute("PRAGMA user_version")[0][0])

    def set_version(self, version: int) -> None:
        self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self.execute(f"PRAGMA user_version = {version}")

    def heard_at(self, at: float) -> float:
        return at

    def close(self) -> None:
        self.connection.close()


def open_database(where: Location | Path | str, *, create: bool = True, timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """Open a ledger's database.

    Args:
        where: Its place, or ``":memory:"``.
        create: Make it where it is missing.
        timeout_s: How long to wait for other writers of a file.

    Raises:
        sqlite3.Error: If a file cannot be opened.
        LedgerError: If a server cannot be reached.
    """
    if where == MEMORY:
        return SqliteDatabase(MEMORY)
    place = Location.of(where)
    if place.path is not None:
        return SqliteDatabase(place.path, create=create, timeout_s=timeout_s)
    from fitprint.ledger.postgres import PostgresDatabase

    return PostgresDatabase(place)
