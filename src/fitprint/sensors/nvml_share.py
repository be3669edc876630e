"""Whose share of an NVIDIA board is ours: by MIG slices, or by how busy processes keep it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitprint.clock import NS_PER_S, Clock
from fitprint.errors import SensorError
from fitprint.sensors.nvml_board import Board

# Asking for a board's processes takes milliseconds (4.5 ms were seen) and locks that training needs.
SHARE_NS = 60 * NS_PER_S
# The driver's utilisation of processes that have ended may be rubbish far above this (nvtop issue 110).
MOST_PERCENT = 100

Share = Callable[[], float]


def part_share(board: Board, parts: Sequence[str]) -> tuple[Share | None, str] | None:
    """The compute slices of the MIG devices that this process may use, over the board's; None if the board is not cut.

    What others do in the same MIG device is not seen.
    """
    name = board.identity.name
    try:
        cut = board.ask("nvmlDeviceGetMigMode")[0] == 1
    except SensorError:
        cut = bool(parts)
    if not cut:
        return None
    try:
        most = board.ask("nvmlDeviceGetMaxMigDeviceCount")
        devices = [_mig_device(board, part, most) for part in parts or ("",)]
        ours = sum(board.driver.ask("nvmlDeviceGetAttributes", device).computeInstanceSliceCount for device in devices)
        share = min(1.0, ours / most)
    except (SensorError, ValueError, ZeroDivisionError) as error:
        return None, f"{name} is shared (MIG): its slices cannot be read ({error}), so the whole board is counted"
    ours_of_all = PartOfBoard(share, tuple(parts))
    return ours_of_all, f"{name} is shared (MIG): {ours} of its {most} slices are ours, and that share of it is counted"


@dataclass(frozen=True)
class PartOfBoard:
    """The share of MIG devices.

    Attributes:
        share: It does not change.
        parts: Which they are, as CUDA_VISIBLE_DEVICES names them.
    """

    share: float
    parts: tuple[str, ...]

    def __call__(self) -> float:
        return self.share


def _mig_device(board: Board, part: str, most: int) -> Any:
    """The MIG device that an entry of CUDA_VISIBLE_DEVICES names; without one CUDA takes the first."""
    if part and not part.startswith("MIG-GPU-"):
        return board.driver.ask("nvmlDeviceGetHandleByUUID", part)
    wanted = [int(number) for number in part.split("/")[1:]]
    for device in _mig_devices(board, most):
        if wanted in ([], _instance(board, device)):
            return device
    raise SensorError("there is no such MIG device")


def _mig_devices(board: Board, most: int) -> Iterable[Any]:
    for index in range(most):
        try:
            yield board.ask("nvmlDeviceGetMigDeviceHandleByIndex", index)
        except SensorError:  # not every number is in use
            continue


def _instance(board: Board, device: Any) -> list[int]:
    return [board.driver.ask(f"nvmlDeviceGet{kind}InstanceId", device) for kind in ("Gpu", "Compute")]


def process_share(board: Board, clock: Clock, proc_root: Path, runs: Callable[[], set[int]] = set) -> tuple[Share, str] | None:
    """A share by use, where processes of others compute on the board already; None where none does.

    ``runs`` tells the processes of other runs: with those the board is divided evenly. One of others that starts
    later is not noticed, nor one of another container that the driver hides from this one.
    """
    share = ProcessShare(board, clock, proc_root, os.getpid(), runs)
    try:
        ours, others = share.processes()
    except SensorError:
        return None
    if not others:
        return None
    seen = "divided by their use of it" if ours else "counted in full until this process is seen on it"
    return share, f"{board.identity.name} is shared with {len(others)} other process{'es'[: 2 * (len(others) > 1)]}: it is {seen}"


class ProcessShare:
    """What part of a board's computing is done by a process and its descendants, asked at most once a minute.

    A process that computes is charged by the driver's utilisation; where all idle, each bears the
    same. A process that is not among those of the board, because it has not opened it yet or lives
    in another PID namespace, cannot tell its share, and all is counted.

    Args:
        board: The board.
        clock: When it was asked last.
        proc_root: Normally ``/proc``, where parents are looked up.
        pid: The process.
        runs: Processes of other runs, which divide what is theirs and ours with us.
    """

    def __init__(self, board: Board, clock: Clock, proc_root: Path, pid: int, runs: Callable[[], set[int]] = set) -> None:
        self._board = board
        self._clock = clock
        self._proc_root = proc_root
        self._pid = pid
        self._runs = runs
        self._share = 1.0
        self._asked_ns: int | None = None
        self._seen_us = 0

    def __call__(self) -> float:
        now_ns = self._clock.monotonic_ns()
        if self._asked_ns is None or now_ns - self._asked_ns >= SHARE_NS:
            self._asked_ns = now_ns
            self._share = self._asked()
        return self._share

    def processes(self) -> tuple[set[int], set[int]]:
        """The processes that compute on the board now: ours, and the others."""
        pids = {process.pid for process in self._board.ask("nvmlDeviceGetComputeRunningProcesses")}
        roots = {self._pid, *self._runs()}
        ours = {pid for pid in pids if self._descends(pid, roots)}
        return ours, pids - ours

    def _asked(self) -> float:
        try:
            ours, others = self.processes()
            percent = self._percent()
        except SensorError:  # a board that is lost for a while keeps its share
            return self._share
        if not ours:
            return 1.0
        total = sum(percent.values())
        return sum(percent.get(pid, 0) for pid in ours) / total if total else len(ours) / len(ours | others)

    def _percent(self) -> dict[int, int]:
        """How busy each process has kept the board since the last time; those that have not are left out."""
        try:
            samples = self._board.ask("nvmlDeviceGetProcessUtilization", self._seen_us)
        except SensorError:  # nobody was busy, or it is not supported here
            self._seen_us = 0
            return {}
        self._seen_us = max((sample.timeStamp for sample in samples), default=0)
        return {sample.pid: sample.smUtil for sample in samples if sample.smUtil <= MOST_PERCENT}

    def _descends(self, pid: int, roots: set[int]) -> bool:
        seen: set[int] = set()
        while pid > 0 and pid not in roots and pid not in seen:
            seen.add(pid)
            pid = self._parent(pid)
        return pid in roots

    def _parent(self, pid: int) -> int:
        """The second field after the name, which is in brackets and may hold anything; 0 if it is gone or hidden."""
        try:
            return int((self._proc_root / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return 0
