"""A real PostgreSQL server on loopback, as a user without rights."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

NOBODY = "nobody"
_numbers = count(1)


@dataclass
class Server:
    """A cluster that can be stopped and started."""

    folder: Path
    programs: Path
    port: int

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def create(self) -> str:
        """A new, empty database; returns its URL."""
        name = f"carbon_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def make(self) -> None:
        self._run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off -c full_page_writes=off"
        self._run("pg_ctl", "-D", "data", "-w", "-t", "30", "-l", "log", "-o", f"{options} -c max_connections=200", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        as_user = {"user": NOBODY, "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
        command = [str(self.programs / program), *arguments]
        environ = {**os.environ, "HOME": str(self.folder)}
        subprocess.run(command, check=True, cwd=self.folder, env=environ, stdout=subprocess.DEVNULL, timeout=60, **as_user)


def programs() -> Path | None:
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    return next(iter(found + sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@contextmanager
def running(found: Path) -> Iterator[Server]:
    """A new cluster while it lasts."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.getuid() == 0:
        shutil.chown(folder, NOBODY, "nogroup")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cluster = Server(folder, found, port)
    cluster.make()
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
