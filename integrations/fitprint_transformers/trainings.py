"""A Trainer's open training: the Trainer calls no hook where an exception leaves it, and knows of it nothing afterwards."""

from __future__ import annotations

import functools
import inspect
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from fitprint import leaving
from fitprint.leaving import Loop

if TYPE_CHECKING:
    from transformers import Trainer

# The method that trains, and what is put beside its frame's own variables: it lives as long as the frame.
TRAIN, MARK = "train", "<fitprint>"
# Where a training spends its time. What they raise leaves it, unless the Trainer is one of the user's own that goes on.
METHODS = ("training_step", "get_batch_samples", "evaluate")

Note = Callable[[BaseException], None]


class Mark:
    """Stands for a training."""


class Noting:
    """Notes each exception as it comes out of a Trainer's methods. Neither it nor they hold the Trainer, with its model, in memory.

    Args:
        trainer: It gets methods of its own in place of its class's.
        note: Called with the exception.
    """

    def __init__(self, trainer: Trainer, note: Note) -> None:
        self._trainer = weakref.ref(trainer)
        self._methods = {name: _noted(trainer, name, note) for name in METHODS if _own(trainer, name)}
        for name, method in self._methods.items():
            setattr(trainer, name, method)

    def remove(self) -> None:
        """The class's methods are back, unless somebody else has put something there since."""
        trainer = self._trainer()
        if trainer is not None:
            for name, method in self._methods.items():
                if vars(trainer).get(name) is method:
                    delattr(trainer, name)


def training_of(callback: Any) -> FrameType | None:
    """The frame of the training that called a hook of the callback; None where the hook is called by hand."""
    return next((frame for frame in trainings_from(sys._getframe()) if callback in _callbacks(frame)), None)


def begun(frame: FrameType, left: Any) -> Loop:
    """The training of a frame, from now on open.

    Args:
        frame: Of ``train``.
        left: See ``Loop``.
    """
    mark = Mark()
    frame.f_locals[MARK] = mark
    return leaving.begun(Loop(mark, MARK, trainings_from, left))


def trainings_from(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of ``train`` methods that a frame was called from, the innermost first."""
    return (each for each in leaving.callers(frame) if each.f_code.co_name == TRAIN)


def _callbacks(frame: FrameType) -> list[Any]:
    handler = getattr(frame.f_locals.get("self"), "callback_handler", None)
    callbacks: list[Any] = getattr(handler, "callbacks", [])
    return callbacks


def _own(trainer: Trainer, name: str) -> bool:
    """Whether it is its class's: what somebody has put in its place stays."""
    return inspect.isfunction(getattr(type(trainer), name, None)) and name not in vars(trainer)


def _noted(trainer: Trainer, name: str, note: Note) -> Callable[..., Any]:
    method, owner = getattr(type(trainer), name), weakref.ref(trainer)

    @functools.wraps(method)
    def noted(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(owner(), *args, **kwargs)
        except BaseException as error:
            note(error)
            raise

    return noted
