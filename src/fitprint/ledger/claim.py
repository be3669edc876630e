"""Who goes on with a run: one small numbered file per process that does, so that two never write for one run.

``3.claim`` is held by the process that it names, for as long as that lives; ``3.ended`` was let go of.
The numbers are the run's generations: each process that goes on with it takes the next one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fitprint.process import Process, host_key, is_alive

# A run on another machine that has not been heard of for so long counts as lost (it writes every 30 s).
SILENCE_S = 120.0
# What counts the restarts of a job whose earlier processes are gone by then, and what names the job.
RESTARTS = {"SLURM_RESTART_COUNT": "SLURM_JOB_ID", "TORCHELASTIC_RESTART_COUNT": "TORCHELASTIC_RUN_ID"}


class Job(NamedTuple):
    """A scheduler's job and how often it has been started again.

    Attributes:
        name: Its id; empty where there is none.
        restarts: How often.
    """

    name: str = ""
    restarts: int = 0

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Job:
        """The job that this process belongs to."""
        for count, name in RESTARTS.items():
            if environ.get(count, "").isdecimal() and environ.get(name):
                return cls(f"{name}={environ[name]}", int(environ[count]))
        return cls()


class Claim:
    """The right to write for one run.

    Args:
        folder: The run's folder of journals.
        process: The process that asks.
        proc_root: Normally ``/proc``.
        job: The scheduler's job that it belongs to.

    Attributes:
        taken: The number that was taken; 0 before.
    """

    def __init__(self, folder: Path, process: Process, proc_root: Path, job: Job | None = None) -> None:
        self._folder = folder
        self._process = process
        self._proc_root = proc_root
        self._job = job or Job()
        self._held: Path | None = None
        self.taken = 0

    @property
    def held(self) -> bool:
        """Whether this one holds the run."""
        return self._held is not None

    @property
    def generation(self) -> int:
        """The highest number that was taken; 0 where nobody has written for the run yet."""
        return max((int(path.stem) for path in self._files()), default=0)

    def held_elsewhere(self) -> bool | None:
        """Whether a live process holds the run; None where it cannot be asked and was heard of a moment ago."""
        last = max(self._files(), key=lambda path: int(path.stem), default=None)
        if last is None or last.suffix == ".ended" or last == self._held:
            return False
        holder = _read(last)
        alive = self._is_alive(holder)
        if alive is not None:
            return alive
        if self._job.name and holder.get("job") == self._job.name and self._job.restarts > int(holder.get("restarts", 0)):
            return False
        return None if time.time() - self._heard_at() < SILENCE_S else False

    def take(self) -> bool:
        """Take the next number; False if another process was faster.

        Raises:
            OSError: If the folder cannot be written.
        """
        if self._held is not None:
            return True
        self._folder.mkdir(parents=True, exist_ok=True)
        number = self.generation + 1
        path = self._folder / f"{number}.claim"
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        try:
            os.write(file, json.dumps(self._holder()).encode())
        finally:
            os.close(file)
        self._held, self.taken = path, number
        return True

    def release(self) -> None:
        """Let go of the run; whoever asks next may have it."""
        held, self._held = self._held, None
        if held is None:
            return
        try:
            held.replace(held.with_suffix(".ended"))
        except OSError:  # the folder is gone, and with it everybody who could ask
            return

    def _is_alive(self, holder: Mapping[str, Any]) -> bool | None:
        process = _process(holder)
        if not process.boot_id and os.name == "posix" and holder.get("host") == self._host:  # macOS has no /proc
            return _answers(process.pid)
        return is_alive(process, self._proc_root)

    @property
    def _host(self) -> str:
        return host_key(self._proc_root, self._folder.name)

    def _holder(self) -> dict[str, Any]:
        process = self._process
        who = {"boot_id": process.boot_id, "pid": process.pid, "started": process.started}
        return {**who, "host": self._host, "job": self._job.name, "restarts": self._job.restarts}

    def _files(self) -> list[Path]:
        found = [*self._folder.glob("*.claim"), *self._folder.glob("*.ended")]
        return [path for path in found if path.stem.isdecimal()]

    def _heard_at(self) -> float:
        """When the run was last written for: its newest file."""
        return max((path.stat().st_mtime for path in self._folder.iterdir()), default=0.0)


def _read(path: Path) -> dict[str, Any]:
    """What a claim says; one that is being written, or torn, names nobody."""
    try:
        holder = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _process(holder: Mapping[str, Any]) -> Process:
    pid = holder.get("pid", 0)
    return Process(str(holder.get("boot_id", "")), pid if isinstance(pid, int) else 0, str(holder.get("started", "")))
