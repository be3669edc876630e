"""Frameworks' own loops that are open. None calls a hook where an exception leaves one: it is no longer on the stack then."""

from __future__ import annotations

import atexit
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType
from typing import Any

from fitprint.status import status_of, stay_interrupted

# A loop that is gone so shortly before the program's end was left by what ended it, such as sys.exit.
SHORTLY_S = 1.0

Frames = Callable[[FrameType | None], Iterator[FrameType]]


class Loop:
    """One loop that measures, known by something that only its frame has, and that lives as long as its frame.

    Args:
        mark: What only its frame has; it is held weakly.
        name: The frame's variable that holds it.
        frames: Finds the frames that a frame was called from and that may be the loop's, the innermost first.
        left: Method that is called with the run's status, once an exception is known to have left the loop, and with whether
            that was some time ago.
    """

    def __init__(self, mark: Any, name: str, frames: Frames, left: Any) -> None:
        myself = weakref.ref(self)  # the loop belongs to its callback alone
        self._mark = weakref.ref(mark, lambda _: _gone(myself))
        self._name, self._frames = name, frames
        self._left: weakref.WeakMethod[Any] = weakref.WeakMethod(left)
        self._thread = threading.get_ident()
        self._gone_s: float | None = None

    def runs(self, stacks: Mapping[int, FrameType | None] | None = None) -> bool:
        """Whether it is on the stack of its thread.

        Args:
            stacks: Innermost frame of each thread, where they are known.
        """
        return self.among(self._frames((stacks or _stacks()).get(self._thread)))

    def among(self, frames: Iterable[FrameType]) -> bool:
        """Whether one of these frames is its own."""
        mark = self._mark()
        return mark is not None and any(frame.f_locals.get(self._name) is mark for frame in frames)

    def close(self) -> None:
        """It is over, and that is known."""
        _open.discard(self)

    def gone(self) -> None:
        """Nobody holds its frame any more."""
        self._gone_s = time.monotonic()

    def abandon(self) -> None:
        """End its run at its last event: an exception left it some time ago."""
        self._end(abandoned=True)

    def end_at_exit(self) -> None:
        """End its run as the program ends: now, if what left it ends the program, too."""
        self._end(abandoned=not self.ends_the_program)

    def _end(self, *, abandoned: bool) -> None:
        self.close()
        left = self._left()
        if left is not None:
            left(self._status, abandoned=abandoned)

    @property
    def ends_the_program(self) -> bool:
        """Whether what left it ends the program now: the tracker's run has lasted until then."""
        if self._gone_s is not None:
            return time.monotonic() - self._gone_s < SHORTLY_S
        interactive = hasattr(sys, "ps1")  # there the last exception ended a cell, and the program goes on
        return not interactive and self._left_by(getattr(sys, "last_value", None))

    @property
    def _status(self) -> str:
        """By the exception that is being handled now, or that a notebook keeps as its last, if it left this loop."""
        for error in (sys.exception(), getattr(sys, "last_value", None)):
            if self._left_by(error):
                return status_of(error) or "failed"
        return "failed"

    def _left_by(self, error: BaseException | None) -> bool:
        return error is not None and self.among(self._frames(_origin(error)))


# Open loops of all threads; being in here holds none of them.
_open: weakref.WeakSet[Loop] = weakref.WeakSet()


def begun(loop: Loop) -> Loop:
    """The loop, from now on open; its run's tracker has begun."""
    _open.add(loop)
    atexit.unregister(_end_at_exit)
    atexit.register(_end_at_exit)  # comes before the trackers' own, which were registered earlier
    return loop


def end_left() -> None:
    """End the runs of all loops that an exception has left, each at its last event."""
    if not _open:
        return
    stacks = _stacks()
    for loop in [loop for loop in list(_open) if not loop.runs(stacks)]:
        loop.abandon()


def callers(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and those that it was called from, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _stacks() -> Mapping[int, FrameType | None]:
    """Innermost frame of each thread; of this one its caller's caller: a frame that holds itself keeps all above it in memory."""
    return {**sys._current_frames(), threading.get_ident(): sys._getframe(1).f_back}


def _origin(error: BaseException) -> FrameType | None:
    """The frame that raised it, or that a framework has left of those: by it the frames around it are still known."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame if trace is not None else None


def _gone(reference: weakref.ref[Loop]) -> None:
    loop = reference()
    if loop is not None and loop in _open:
        loop.gone()


def _end_at_exit() -> None:
    """The interpreter ends: what was left earlier ends at its last event, what ends the program now."""
    stacks = _stacks()
    for loop in list(_open):
        if not loop.runs(stacks):
            loop.end_at_exit()
    _open.clear()
    stay_interrupted()
