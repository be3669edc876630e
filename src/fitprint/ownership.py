"""Who counts what, of processes that were started together and cannot talk to each other.

Each sensor is a file in the machine's shared memory, and the process that holds its lock counts it. The kernel gives a
lock to one process, and lets go of it when that ends, however it ends: nothing has to be cleared, and no clock is asked.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fitprint.launch import launch
from fitprint.notices import logger
from fitprint.process import machine, this_process
from fitprint.ranks import local_rank
from fitprint.sensors.counter import Counter
from fitprint.sensors.probe import Sensors, Surroundings
from fitprint.sensors.share import Shared
from fitprint.sensors.siblings import digest

# Who holds it stands for the machine itself, for what is counted once for each.
HOST = "host"
MOST_BYTES = 256


class Ownership:
    """What one run of this process owns.

    Args:
        folder: Where the locks of this launch lie, on this machine.
        name: The launch, as it stands in records.
        proc_root: Normally ``/proc``.
    """

    def __init__(self, folder: Path, name: str, proc_root: Path) -> None:
        self.name = name
        self._folder = folder
        self._me = str(this_process(proc_root)).encode()
        self._pid = os.getpid()
        self._held: list[tuple[Path, int]] = []

    @classmethod
    def of(cls, around: Surroundings) -> Ownership | None:
        """That of the launch to which this process belongs; None where it was started alone, or files have no locks."""
        named = launch(around.environment(), around.proc_root)
        if named is None or _locks() is None:
            return None
        memory = around.dev_root / "shm"
        here = f"{machine(around.proc_root)[0]} {around.sys_root} {named}"
        place = memory if memory.is_dir() else Path("/tmp")
        return cls(place / f"fitprint-owned-{_uid()}-{digest(here)}", digest(named), around.proc_root)

    def keep(self, found: Sensors) -> Sensors:
        """What this process counts of what it sees; what others count is given back."""
        kept = found.keeping([self._own(_key(found, counter)) for counter in found.counters])
        own = {counter.sensor.id for counter in kept.whole}
        others = tuple(counter.sensor.id for counter in found.whole if counter.sensor.id not in own)
        return kept._replace(
            notes=found.notes + ((f"counted by another process of this job: {', '.join(others)}",) if others else ()),
            elsewhere=others,
            launch=self.name,
            of_host=self._own(HOST),
        )

    def release(self) -> None:
        """Let go of everything; a forked child has nothing of its own."""
        held, self._held = self._held, []
        if os.getpid() != self._pid:
            return
        for path, file in held:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(file)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _own(self, key: str) -> bool:
        """Where nothing can be locked everybody counts: what is counted twice is seen in a total, what is missing is not."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            return self._lock(self._folder / digest(key))
        except OSError:
            logger().debug("no place for who counts what", exc_info=True)
            return True

    def _lock(self, path: Path) -> bool:
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            _locks().flock(file, _locks().LOCK_EX | _locks().LOCK_NB)
        except BlockingIOError:  # another run of this very process counts it as well: one is inside the other, or beside it
            held_by = os.pread(file, MOST_BYTES, 0)
            os.close(file)
            return held_by == self._me
        if not _is(path, file):  # whoever held it has just taken it away
            os.close(file)
            return self._lock(path)
        os.ftruncate(file, 0)
        os.pwrite(file, self._me, 0)
        self._held.append((path, file))
        return True


def owned_alone(found: Sensors, environ: Mapping[str, str]) -> Sensors:
    """What a process keeps that knows of the other ranks by its environment alone.

    The first process of a machine counts what all of them see. A later one counts a board if that is all it sees: then
    its launcher has given each its own.

    Args:
        found: Its sensors.
        environ: Its environment.
    """
    if not local_rank(environ):
        return found
    parts = [counter.sensor.part for counter in found.whole]
    boards = parts.count("gpu")
    return found.keeping([part == "gpu" and boards == 1 for part in parts])


def _key(found: Sensors, counter: Counter | Shared) -> str:
    """What is one thing for all processes of the launch: as runs that overlap divide it, else the sensor."""
    sensor = counter.counter.sensor if isinstance(counter, Shared) else counter.sensor
    device = found.devices.get(sensor.id)
    return device.key if device is not None else sensor.id


def _is(path: Path, file: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file).st_ino
    except FileNotFoundError:
        return False


def _uid() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _locks() -> Any:
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    return fcntl
