"""The ledger in PostgreSQL, through SQLAlchemy and psycopg: for runs on many machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fitprint.errors import LedgerError, MissingExtraError
from fitprint.location import Location

# Our tables stand in a schema of their own: a shared database may have a table `runs` already.
SCHEMA = "fitprint"
# For the clerk's thread alone: a boundary waits less. Many runs that begin at once keep a server busy.
CONNECT_WITHIN_S = 10
STATEMENT_WITHIN_S = 10.0
# "fprt": only we take this lock, while tables are made.
LOCK = 0x66707274


class PostgresDatabase:
    """One connection to a server, made anew after the server was away.

    Args:
        place: The URL.

    Raises:
        LedgerError: If the URL makes no sense; what goes wrong later is one, too.
    """

    locking = " FOR UPDATE"

    def __init__(self, place: Location) -> None:
        try:
            import sqlalchemy
            from sqlalchemy.exc import SQLAlchemyError
        except ImportError as error:
            raise MissingExtraError("A ledger by URL", "postgres") from error
        self._text, self._error = sqlalchemy.text, SQLAlchemyError
        self._place = place
        self._connection: Any = None
        with self._in_plain_words():
            url = sqlalchemy.make_url(place.url).set(drivername="postgresql+psycopg")
            self._password = url.password or ""
            self._engine = sqlalchemy.create_engine(
                url,
                pool_size=1,
                max_overflow=0,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args={"connect_timeout": CONNECT_WITHIN_S, "tcp_user_timeout": 1000 * CONNECT_WITHIN_S},
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._in_plain_words(), self._engine.begin() as connection:
            self._connection = connection
            try:
                # Not as a session's setting: connection poolers give each transaction another session.
                self.execute(
                    "SELECT set_config('search_path', :schema, true), set_config('statement_timeout', :ms, true)",
                    schema=SCHEMA,
                    ms=str(round(1000 * STATEMENT_WITHIN_S)),
                )
                yield
            finally:
                self._connection = None

    def execute(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        if self._connection is None:
            with self.transaction():
                return self.execute(statement, **values)
        result = self._connection.execute(self._text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []

    def claim(self) -> None:
        """Two processes may begin at once: the second waits."""
        self.execute("SELECT pg_advisory_xact_lock(:number)", number=LOCK)
        self.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        self.execute("CREATE TABLE IF NOT EXISTS ledger (version INTEGER NOT NULL)")

    def version(self) -> int:
        if self.execute("SELECT to_regclass(:name)", name=f"{SCHEMA}.ledger")[0][0] is None:
            return 0
        return int(self.execute("SELECT COALESCE(MAX(version), 0) FROM ledger")[0][0])

    def set_version(self, version: int) -> None:
        self.execute("DELETE FROM ledger")
        self.execute("INSERT INTO ledger VALUES (:version)", version=version)

    def heard_at(self, at: float) -> float:
        """By the server's clock: those of the machines may differ."""
        return float(self.execute("SELECT EXTRACT(EPOCH FROM clock_timestamp())")[0][0])

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _in_plain_words(self) -> Iterator[None]:
        """The client's errors as ours, in one line and without the password."""
        try:
            yield
        except self._error as error:
            what = " ".join(str(getattr(error, "orig", None) or error).split("\n")[0].split())
            if getattr(self, "_password", ""):
                what = what.replace(self._password, "***")
            raise LedgerError(f"{self._place}: {what}") from None
