"""What a run has trained on or predicted so far: batches, samples, and operations by those of its first step."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from fitprint.assumption import Assumption
from fitprint.flops import FirstStep
from fitprint.footprint import Footprint

BASIS = (
    "additions and multiplications of matrix products, convolutions, recurrent layers and attention, forward and backward; "
    "the run's are these times its samples over a batch's, or times its batches where samples are not known"
)


class Feed(NamedTuple):
    """What a source of batches says about their sizes.

    Attributes:
        batch_size: Samples of a full batch, or None.
        samples: Samples of one pass over the data, or None.
        all_full: No batch is smaller, however many there are.
        at_once: Batches that the framework's hook stands for: it counts these, not batches.
    """

    batch_size: int | None = None
    samples: int | None = None
    all_full: bool = False
    at_once: int = 1

    @classmethod
    def of_loader(cls, loader: Any, *, at_once: int = 1) -> Feed:
        """A DataLoader of PyTorch. Batch samplers of other kinds make batches of any size, and nothing is known."""
        sampler: Any = getattr(loader, "batch_sampler", None)
        sampler = getattr(sampler, "_batch_sampler", sampler)  # Lightning wraps it for predictions
        if type(sampler).__name__ != "BatchSampler":
            return cls(at_once=at_once)
        try:
            samples = len(sampler.sampler)
        except TypeError:  # a stream
            samples = None
        return cls(sampler.batch_size, samples, bool(sampler.drop_last), at_once)

    @classmethod
    def with_last(cls, batch_size: int, batches: int, last: int | None) -> Feed:
        """So many batches, of which the last may be smaller."""
        return cls(batch_size, batch_size * batches - (batch_size - last if last else 0))

    @property
    def size(self) -> int | None:
        """Samples of the first batch; None if unknown."""
        known = [number for number in (self.batch_size, self.samples) if number is not None]
        return min(known) if self.batch_size is not None else None

    def first(self, batches: int) -> int | None:
        """Samples of so many first batches; None where the smaller ones are not known."""
        if self.batch_size is None or (self.samples is None and not self.all_full):
            return None
        return min(batches * self.at_once * self.batch_size, sys.maxsize if self.samples is None else self.samples)

    def between(self, first: int, last: int) -> int | None:
        """Samples of the batches from number ``first`` to before ``last``."""
        upto, before = self.first(last), self.first(first)
        return None if upto is None or before is None else upto - before


@dataclass(frozen=True, slots=True)
class Done:
    """Batches and their samples; None is unknown."""

    batches: int | None = 0
    samples: int | None = 0

    def __add__(self, other: Done) -> Done:
        return Done(_sum(self.batches, other.batches), _sum(self.samples, other.samples))


UNKNOWN = Done(None, None)


class Facts(NamedTuple):
    """What the run's record says of its work; None is unknown.

    Attributes:
        parameters: Of the model.
        batch_size: Samples of its first batch.
        samples: Trained on or predicted, before a resumption too.
        flops: Operations of all training.
        flops_per_batch: Operations of the first batch.
        why_not: Why these are not known, or empty.
    """

    parameters: int | None = None
    batch_size: int | None = None
    samples: int | None = None
    flops: float | None = None
    flops_per_batch: float | None = None
    why_not: str = ""

    def fields(self) -> dict[str, Any]:
        """Fields of the footprint."""
        return {name: getattr(self, name) for name in ("parameters", "batch_size", "samples", "flops")}

    @property
    def assumptions(self) -> tuple[Assumption, ...]:
        """What ``flops`` rests on."""
        batch = self.flops_per_batch
        if batch is None:
            return ()
        return (Assumption("flops_per_batch", batch, batch, batch, "FLOP", "operators of the first training step", None, BASIS),)

    @property
    def notes(self) -> tuple[str, ...]:
        """Why ``flops`` is not known, where it was to be."""
        return (f"FLOPs are not known: {self.why_not}",) if self.why_not else ()


class Work:
    """Counts what a run does.

    Args:
        count_flops: Watch the first training step.

    Attributes:
        first_step: Counts the operations of a batch.
        parameters: Of the model, or None.
        batch_size: Samples of the first batch, or None.
    """

    def __init__(self, *, count_flops: bool = False) -> None:
        self.first_step = FirstStep()
        self.parameters: int | None = None
        self.batch_size: int | None = None
        self._count_flops = count_flops
        self._before_samples: int | None = 0
        self._before_flops: float | None = 0.0
        self._done = Done()
        self._counted: Done | None = None
        self._open: Callable[[], Done] | None = None

    # ---- what is done

    def begin_epoch(self) -> None:
        """An epoch of which nothing is known unless batches are counted one by one, or followed."""
        self._counted = None
        self._open = lambda: self._counted or UNKNOWN

    def follow(self, done: Callable[[], Done]) -> None:
        """Ask ``done`` for what the open epoch has trained on."""
        if self._open is not None:
            self._open = done

    def end_epoch(self) -> int | None:
        """The open epoch has ended; returns its samples."""
        done, self._open = self.open, None
        self._done += done
        return done.samples

    @property
    def open(self) -> Done:
        """What the open epoch has done."""
        return Done() if self._open is None else self._open()

    def count(self, samples: int | None, batches: int = 1) -> None:
        """Batches have been trained on or predicted."""
        done = Done(batches, samples)
        if self.batch_size is None and batches == 1:
            self.batch_size = samples
        if self._open is None:
            self._done += done
        else:
            self._counted = (self._counted or Done()) + done

    def count_pass(self, feed: Feed, batches: int | None) -> None:
        """So many batches of a source have been predicted."""
        self.batch_size = self.batch_size or feed.size
        self.count(None if batches is None else feed.first(batches), batches or 0)

    def go_on(self, before: Footprint) -> None:
        """Go on with a run that was resumed: what it had trained on and computed is in the sums."""
        self._before_samples = before.samples if before.epochs else 0
        self._before_flops = before.flops if before.epochs else 0.0
        self.parameters = self.parameters or before.parameters

    # ---- operations

    def watch(self, model: Any, owner: Any, name: str, *, batches: int = 1) -> None:
        """Count the operations of the first batches that ``owner.name`` trains on, anew where that was so before; see FirstStep."""
        if self._count_flops:
            self.first_step.leave()
            self.first_step = FirstStep()
            self.first_step.watch(model, owner, name, sys.modules, batches=batches)

    def batch(self, model: Any) -> AbstractContextManager[None]:
        """A context around a training batch, the first of which is watched."""
        if model is None or not self._count_flops:
            return nullcontext()
        self.parameters = self.parameters or parameters_of(model)
        return self.first_step.inside(model, sys.modules)

    # ---- what the record says

    def facts(self) -> Facts:
        """What is known now."""
        done, first = self._done + self.open, self.first_step
        return Facts(
            parameters=self.parameters,
            batch_size=self.batch_size,
            samples=_sum(self._before_samples, done.samples) or None,
            flops=_sum(self._before_flops, self._flops(done)) or None,
            flops_per_batch=first.per_batch,
            why_not=first.why_not,
        )

    def _flops(self, done: Done) -> float | None:
        if done.batches == 0 and done.samples == 0:
            return 0.0
        as_first = done.samples / self.batch_size if done.samples is not None and self.batch_size else done.batches
        per_batch = self.first_step.per_batch
        return None if per_batch is None or as_first is None else per_batch * as_first


def parameters_of(model: Any) -> int | None:
    """Numbers that a PyTorch module or a Keras model learns or keeps fixed as weights; None where they are not settled yet."""
    try:
        if hasattr(model, "weights") and callable(getattr(model, "count_params", None)):
            return int(model.count_params())
        return int(sum(math.prod(getattr(p, "ds_shape", p.shape)) for p in model.parameters()))
    except Exception:  # not built, lazy, or no model at all
        return None


def _sum(a: Any, b: Any) -> Any:
    return None if a is None or b is None else a + b
