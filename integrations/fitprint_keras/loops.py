"""Keras' own loops that are open. Keras calls no hook where an exception leaves one: it is no longer on the stack then."""

from __future__ import annotations

import atexit
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import Any

from keras.callbacks import CallbackList

from fitprint.status import status_of, stay_interrupted

# What `fit`, `evaluate` and `predict` call theirs, in all backends.
ITERATOR, CALLBACKS = "epoch_iterator", "callbacks"
# A loop that is gone so shortly before the program's end was left by what ended it, such as sys.exit.
SHORTLY_S = 1.0


class Loop:
    """One ``fit``, ``evaluate`` or ``predict`` that measures, known by its list of callbacks, which lives as long as its frame.

    Args:
        callbacks: Its list of callbacks.
        left: Method that is called with the run's status, once an exception is known to have left the loop, and with whether
            that was some time ago.
    """

    def __init__(self, callbacks: Any, left: Any) -> None:
        myself = weakref.ref(self)  # the loop belongs to its callback alone
        self._callbacks = weakref.ref(callbacks, lambda _: _gone(myself))
        self._left: weakref.WeakMethod[Any] = weakref.WeakMethod(left)
        self._thread = threading.get_ident()
        self._gone_s: float | None = None

    def runs(self, stacks: Mapping[int, FrameType] | None = None) -> bool:
        """Whether it is on the stack of its thread.

        Args:
            stacks: Innermost frame of each thread, where they are known.
        """
        stack = (stacks or sys._current_frames()).get(self._thread)
        return self._is_of(loops_from(stack))

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
        left, error = self._left(), getattr(sys, "last_value", None)
        if left is not None:
            left((status_of(error) if self._left_by(error) else None) or "failed", abandoned=abandoned)

    @property
    def ends_the_program(self) -> bool:
        """Whether what left it ends the program now: the tracker's run has lasted until then."""
        if self._gone_s is not None:
            return time.monotonic() - self._gone_s < SHORTLY_S
        interactive = hasattr(sys, "ps1")  # there the last exception ended a cell, and the program goes on
        return not interactive and self._left_by(getattr(sys, "last_value", None))

    def _left_by(self, error: BaseException | None) -> bool:
        return error is not None and self._is_of(loops_from(_origin(error)))

    def _is_of(self, frames: Iterable[FrameType]) -> bool:
        callbacks = self._callbacks()
        return callbacks is not None and any(frame.f_locals.get(CALLBACKS) is callbacks for frame in frames)


# Open loops of all threads; being in here holds none of them.
_open: weakref.WeakSet[Loop] = weakref.WeakSet()


def begun(frame: FrameType | None, left: Any) -> Loop | None:
    """The loop of a frame, from now on open; None for hooks that are called by hand.

    Args:
        frame: Of Keras' loop.
        left: See ``Loop``.
    """
    callbacks = frame.f_locals.get(CALLBACKS) if frame is not None else None
    if not isinstance(callbacks, CallbackList):
        return None
    loop = Loop(callbacks, left)
    _open.add(loop)
    atexit.unregister(_end_at_exit)
    atexit.register(_end_at_exit)  # comes before the trackers' own, which were registered earlier
    return loop


def end_left() -> None:
    """End the runs of all loops that an exception has left, each at its last event."""
    stacks = sys._current_frames()
    for loop in [loop for loop in list(_open) if not loop.runs(stacks)]:
        loop.abandon()


def loops_from(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of Keras' loops that a frame was called from, the innermost first."""
    while frame is not None:
        if ITERATOR in frame.f_code.co_varnames:
            yield frame
        frame = frame.f_back


def listed_in(frame: FrameType) -> list[Any]:
    """The callbacks that Keras' loop calls, as it goes through them."""
    callbacks: list[Any] = getattr(frame.f_locals.get(CALLBACKS), "callbacks", [])
    return callbacks


def _origin(error: BaseException) -> FrameType | None:
    """The frame that raised it, or that Keras has left of those: by it the frames around it are still known."""
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
    stacks = sys._current_frames()
    for loop in list(_open):
        if not loop.runs(stacks):
            loop.end_at_exit()
    _open.clear()
    stay_interrupted()
