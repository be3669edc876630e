"""Keras' own loops: its frames of ``fit``, ``evaluate`` and ``predict``, each known by its list of callbacks."""

from __future__ import annotations

from collections.abc import Iterator
from types import FrameType
from typing import Any

from keras.callbacks import CallbackList

from fitprint import leaving
from fitprint.leaving import Loop

# What `fit`, `evaluate` and `predict` call theirs, in all backends.
ITERATOR, CALLBACKS = "epoch_iterator", "callbacks"


def begun(frame: FrameType | None, left: Any) -> Loop | None:
    """The loop of a frame, from now on open; None for hooks that are called by hand.

    Args:
        frame: Of Keras' loop.
        left: See ``Loop``.
    """
    callbacks = frame.f_locals.get(CALLBACKS) if frame is not None else None
    if not isinstance(callbacks, CallbackList):
        return None
    return leaving.begun(Loop(callbacks, CALLBACKS, loops_from, left))


def loops_from(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of Keras' loops that a frame was called from, the innermost first."""
    return (each for each in leaving.callers(frame) if ITERATOR in each.f_code.co_varnames)


def listed_in(frame: FrameType) -> list[Any]:
    """The callbacks that Keras' loop calls, as it goes through them."""
    callbacks: list[Any] = getattr(frame.f_locals.get(CALLBACKS), "callbacks", [])
    return callbacks
