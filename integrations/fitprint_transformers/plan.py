"""What a Trainer is set to do in an epoch, as far as it says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fitprint.pace import Schedule
from fitprint.work import Feed

if TYPE_CHECKING:
    from transformers import TrainerState, TrainingArguments

# The Trainer says sys.maxsize epochs where a dataset has no length and max_steps ends the run.
ENDLESS = 10**9


def plan(args: TrainingArguments, state: TrainerState, dataloader: Any) -> Schedule:
    """What the Trainer intends, as far as it says. Batches are optimizer steps: one hook stands for each."""
    epochs = state.num_train_epochs
    return Schedule(
        epochs=epochs if 0 < epochs < ENDLESS else None,
        batches=_steps_of_epoch(args, dataloader),
        validation_batches=0 if word_of(args.eval_strategy) == "no" else None,
        steps=state.max_steps if state.max_steps > 0 else None,
    )


def feed_of(args: TrainingArguments, dataloader: Any) -> Feed:
    """The sizes of the batches, of which an optimizer step takes several."""
    return Feed.of_loader(dataloader, at_once=int(args.gradient_accumulation_steps))


def word_of(strategy: Any) -> str:
    """A strategy as text: ``no``, ``steps`` or ``epoch``."""
    return str(getattr(strategy, "value", strategy))


def _steps_of_epoch(args: TrainingArguments, dataloader: Any) -> int | None:
    try:
        return max(1, math.ceil(len(dataloader) / int(args.gradient_accumulation_steps)))
    except TypeError:  # an endless or streamed dataset
        return None
