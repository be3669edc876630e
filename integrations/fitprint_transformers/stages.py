"""What a Trainer does outside of training: an evaluation or a prediction is a run of its kind.

The Trainer calls no hook before the first batch of one, so that its methods are bracketed where a callback is attached.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from fitprint.leaving import end_left
from fitprint.status import status_of
from fitprint.work import Feed, Work, parameters_of

if TYPE_CHECKING:
    from fitprint_transformers.callback import CarbonCallback
    from transformers import Trainer

STAGES = {"evaluate": "validate", "predict": "predict"}


def bracket(trainer: Trainer, carbon: CarbonCallback) -> None:
    """Let the Trainer's own methods begin and end runs.

    Args:
        trainer: It gets methods of its own in place of its class's.
        carbon: The callback that measures.
    """
    for name, kind in STAGES.items():
        setattr(trainer, name, _stage(getattr(trainer, name), kind, carbon))
    trainer.train = _training(trainer.train, carbon)


def count(work: Work, model: Any, loader: Any) -> None:
    """A pass over a loader has ended outside of training."""
    work.parameters = parameters_of(model)
    work.count_pass(Feed.of_loader(loader), _length(loader))


def _stage(method: Any, kind: str, carbon: CarbonCallback) -> Any:
    """The method, as a run unless it is called inside of one: by the training, or for one of several datasets."""

    @functools.wraps(method)
    def bracketed(*args: Any, **kwargs: Any) -> Any:
        end_left()
        if carbon.series.open is not None:
            return method(*args, **kwargs)
        carbon.series.begin(kind)
        return _ended_with(carbon, method, args, kwargs, also_well=True)

    return bracketed


def _training(method: Any, carbon: CarbonCallback) -> Any:
    """The method; the hook at its end does not come where it raises."""

    @functools.wraps(method)
    def bracketed(*args: Any, **kwargs: Any) -> Any:
        return _ended_with(carbon, method, args, kwargs, also_well=False)

    return bracketed


def _ended_with(carbon: CarbonCallback, method: Any, args: Any, kwargs: Any, *, also_well: bool) -> Any:
    try:
        result = method(*args, **kwargs)
    except BaseException as error:
        carbon.left(status_of(error) or "interrupted", abandoned=False)
        raise
    if also_well:
        carbon.series.end()
    return result


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:  # a stream
        return None
