"""Where a ledger lies: a file, or a database by URL whose password is never shown."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from fitprint.errors import MissingExtraError, refusal
from fitprint.files import home_path

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
EXPECTED = "a path such as 'fitprint.db', 'postgresql://user@host/database', or 'off'"


@dataclass(frozen=True)
class Location:
    """A ledger's place.

    Attributes:
        path: The SQLite file, or None where the ledger is a database by URL.
        url: The URL with its password, or empty; ``str()`` shows it without.
        given: The path as it was written, so that a relative one can be told.
    """

    path: Path | None = None
    url: str = field(default="", repr=False)
    given: str = field(default="", compare=False, repr=False)

    @classmethod
    def of(cls, where: Location | Path | str) -> Self | Location:
        """The place that a path or a URL names.

        Raises:
            ConfigError: If it is in the home of a user whom this machine does not know.

        Example:
            >>> str(Location.of("postgresql://ada:secret@db.example/carbon"))
            'postgresql://ada@db.example/carbon'
        """
        if isinstance(where, Location):
            return where
        text = str(where)
        if "://" in text:
            return cls(url=text)
        return cls(_absolute(home_path("ledger", text, expected=EXPECTED)), given=text)

    @property
    def everywhere_the_same(self) -> bool:
        """Whether a process that works in another folder means the same place."""
        return bool(self.url) or Path(self.given or str(self.path)).expanduser().is_absolute()

    @property
    def journals(self) -> Path:
        """``fitprint.d`` beside ``fitprint.db``; with a URL a folder of its own in the user's state folder."""
        if self.path is not None:
            return self.path.with_suffix(".d")
        from platformdirs import user_state_path

        return user_state_path("fitprint", appauthor=False) / f"{hashlib.sha256(str(self).encode()).hexdigest()[:12]}.d"

    @property
    def may_exist(self) -> bool:
        """False where certainly nothing has been recorded."""
        return self.path is None or self.path.is_file() or self.journals.is_dir()

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else without_password(self.url)


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except FileNotFoundError:  # the working folder is gone: nothing can be written there, and measuring goes on
        return path


def without_password(url: str) -> str:
    """A URL that can be shown: user, host and database stay, the password and all parameters go."""
    try:
        parts = urlsplit(url)
        user, at, host = parts.netloc.rpartition("@")
        return parts._replace(netloc=user.partition(":")[0] + at + host, query="", fragment="").geturl()
    except ValueError:
        return f"{url.partition('://')[0]}://..."


def _has_a_port(url: str) -> bool:
    """Whether its port is one, or left out."""
    try:
        return (urlsplit(url).port or 0) >= 0
    except ValueError:
        return False


def check_url(url: str) -> str:
    """Return a URL that can be a ledger.

    Raises:
        ConfigError: If it names no PostgreSQL database; its password is not in the message.
        MissingExtraError: If the database's client is not installed.
    """
    from importlib.util import find_spec

    scheme, shown = url.partition("://")[0].casefold(), without_password(url)
    if scheme == "sqlite":
        raise refusal("ledger", expected=EXPECTED, came=shown, hint="Write an SQLite file's path without 'sqlite://'.")
    if scheme not in SCHEMES or shown.endswith("..."):
        raise refusal("ledger", expected=EXPECTED, came=shown)
    if not _has_a_port(url):
        raise refusal("ledger", expected=EXPECTED, came=shown, hint="Its port is no number from 0 to 65535.")
    if not all(find_spec(name) for name in ("sqlalchemy", "psycopg")):
        raise MissingExtraError("A ledger by URL", "postgres")
    return url
