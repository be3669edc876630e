"""Who else measures on this machine now: each live run has a small file in memory, which counts while its process lives."""

from __future__ import annotations

import json
import os
import time
import zlib
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from fitprint.clock import NS_PER_S
from fitprint.notices import logger
from fitprint.process import boot_id, start_of

MOST_BYTES = 4096
# Looks are a second apart; the one that is settled lies up to two back.
MOST_SAMPLES = 6
# It may be written at just that moment.
LOOKS_AT_A_SEAT = 5
YOUNG_NS = NS_PER_S // 10
_NO_FOLLOWING = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class Seat(NamedTuple):
    """A run as those beside it see it.

    Attributes:
        run: Digest of its run id.
        parent: Digest of the run inside which it was started; empty without one.
        unit: Runs of one unit do the same work (one thread, or the ranks of one job) and are not divided.
        pid: Its process.
        started: When that started, so that a reused pid is noticed.
        above: The processes from which that descends, the nearest first.
        devices: What it reads, by key.
        since_ns: When it began, on the machine's monotonic clock.
        until_ns: When it ended; None while it lasts.
        cpu: Moments with the busy CPU microseconds of its process and all below it, the oldest first.
    """

    run: str
    parent: str
    unit: str
    pid: int
    started: str
    above: tuple[int, ...]
    devices: frozenset[str]
    since_ns: int
    until_ns: int | None = None
    cpu: tuple[tuple[int, int], ...] = ()

    def lasts(self, begin_ns: int, end_ns: int) -> bool:
        """Whether it was there all of the time."""
        return self.since_ns <= begin_ns and (self.until_ns is None or end_ns <= self.until_ns)

    def busy_us(self, begin_ns: int, end_ns: int) -> float | None:
        """CPU microseconds of its process between two moments of its life; None where its count began later."""
        begin_ns = max(begin_ns, self.since_ns)
        end_ns = min(end_ns, self.until_ns or end_ns)
        if not self.cpu or self.cpu[0][0] > begin_ns:
            return None
        return max(0.0, self._at(end_ns) - self._at(begin_ns))

    def _at(self, time_ns: int) -> float:
        """Straight between two counts; what is not told yet is not there yet."""
        after = bisect_right(self.cpu, time_ns, key=lambda sample: sample[0])
        if after == len(self.cpu):
            return float(self.cpu[-1][1])
        (t0, us0), (t1, us1) = self.cpu[after - 1 : after + 1]
        return us0 + (us1 - us0) * (time_ns - t0) / (t1 - t0)


def digest(text: str) -> str:
    """A short name that says nothing of what it stands for."""
    return f"{zlib.crc32(text.encode()):08x}"


class Registry:
    """The seats of all runs of this machine, boot and process namespace, of all users.

    Args:
        folder: Where they lie; made when the first takes its place.
        proc_root: Normally ``/proc``: tells who lives.
    """

    def __init__(self, folder: Path, proc_root: Path) -> None:
        self._folder = folder
        self._proc_root = proc_root
        self._seen: int | None = None
        self._last: dict[str, Seat] = {}

    @classmethod
    def of(cls, dev_root: Path, sys_root: Path, proc_root: Path) -> Self | None:
        """That of a machine, in its shared memory, else among its temporary files; None where processes
        cannot be told apart.
        """
        boot = boot_id(proc_root)
        if not boot or not start_of(proc_root, os.getpid()):
            return None
        memory = dev_root / "shm"
        place = memory if memory.is_dir() else Path("/tmp")
        return cls(place / f"fitprint-{digest(f'{boot} {sys_root} {proc_root}')}", proc_root)

    def pids(self) -> set[int]:
        """The processes of all runs that last."""
        return {seat.pid for seat in self.others("").values() if seat.until_ns is None}

    def write(self, name: str, seat: Seat) -> None:
        """Take a place, or say something new on it; a machine without a place for it has no overlaps to tell."""
        text = json.dumps({**seat._asdict(), "devices": sorted(seat.devices)}, separators=(",", ":"))
        # Always as long, in one write: who reads meanwhile finds the old, the new, or a mixture that its digest gives away.
        data = f"{digest(text)} {text}".ljust(MOST_BYTES).encode()
        for _ in range(2):
            try:
                self._open_folder()
                file = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | _NO_FOLLOWING, 0o644)
                try:
                    os.fchmod(file, 0o644)  # other users read it, whatever the umask
                    os.write(file, data)
                finally:
                    os.close(file)
                return
            except FileNotFoundError:  # the last of others has just taken the folder away
                continue
            except OSError:
                logger().debug("no place among the runs of this machine", exc_info=True)
                return

    def _open_folder(self) -> None:
        """Anybody may take a place, and nobody another's (the sticky bit)."""
        try:
            self._folder.mkdir()
            self._folder.chmod(0o1777)
        except FileExistsError:
            return

    def changed(self) -> bool:
        """Whether anybody has come or gone since the last time; one look at the folder."""
        try:
            now_ns = os.stat(self._folder).st_mtime_ns  # noqa: PTH116 - half as long as Path's
        except OSError:
            now_ns = 0
        changed = now_ns != self._seen
        # Two changes within a tick of the kernel's clock have one date: a young one is looked at again.
        self._seen = now_ns if time.time_ns() - now_ns > YOUNG_NS else None
        return changed

    def others(self, name: str) -> dict[str, Seat]:
        """The seats of all other runs, those that have ended lately included; one whose process is gone is told as ended."""
        try:
            names = [entry for entry in os.listdir(self._folder) if entry != name]  # noqa: PTH208 - names, not paths
        except OSError:
            names = []
        seats = {other: seat for other in names if (seat := self._read(other)) is not None}
        self._last = {other: self._buried(other, seat) for other, seat in seats.items()}
        return self._last

    def _read(self, name: str) -> Seat | None:
        """A seat that cannot be read just now is as it was."""
        path = self._folder / name
        try:
            file = os.open(path, os.O_RDONLY | _NO_FOLLOWING)
        except OSError:
            return None
        try:
            texts = (os.pread(file, MOST_BYTES, 0).decode(errors="replace") for _ in range(LOOKS_AT_A_SEAT))
            whole = next(text[9:].rstrip() for text in texts if text[:8] == digest(text[9:].rstrip()))
            return _seat(json.loads(whole))
        except (OSError, ValueError, TypeError, KeyError, StopIteration, OverflowError, RecursionError):
            return self._last.get(name)
        finally:
            os.close(file)

    def _buried(self, name: str, seat: Seat) -> Seat:
        """A process that was killed took no leave: it ended when it was heard of last."""
        if seat.until_ns is not None or start_of(self._proc_root, seat.pid) == seat.started:
            return seat
        self.remove(name)
        return seat._replace(until_ns=max(seat.since_ns, *(time_ns for time_ns, _ in seat.cpu)) if seat.cpu else seat.since_ns)

    def remove(self, name: str) -> None:
        """Clear a place; the last who leaves takes the folder away. Another user's stays until its owner clears it."""
        try:
            (self._folder / name).unlink(missing_ok=True)
            self._folder.rmdir()
        except OSError:
            return


def _seat(row: Mapping[str, Any]) -> Seat:
    """Checked, for anybody may have written it.

    Raises:
        ValueError: If it is none.
        TypeError: If it is none.
        KeyError: If it is none.
    """
    until_ns = row["until_ns"]
    return Seat(
        run=str(row["run"]),
        parent=str(row["parent"]),
        unit=str(row["unit"]),
        pid=int(row["pid"]),
        started=str(row["started"]),
        above=tuple(int(pid) for pid in row["above"]),
        devices=frozenset(str(key) for key in row["devices"]),
        since_ns=int(row["since_ns"]),
        until_ns=None if until_ns is None else int(until_ns),
        cpu=tuple(sorted((int(time_ns), int(us)) for time_ns, us in row["cpu"])),
    )
