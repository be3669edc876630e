"""What the training's own code tells its run: a wrong argument is said once and left out, and measuring goes on."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Mapping
from typing import Any

from fitprint.notices import logger


class Told:
    """Reads the arguments of one tracker's calls."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def metrics(self, metrics: object) -> dict[str, float]:
        """What can be read as one number, ours (``carbon/...``) left out; empty where it is no mapping."""
        if not isinstance(metrics, Mapping):
            self._refuse("metrics", "a mapping of names to numbers, as in tracker.annotate({'val_acc': 0.91})", metrics)
            return {}
        pairs = ((str(name), _number(value)) for name, value in metrics.items() if not str(name).startswith("carbon/"))
        return {name: number for name, number in pairs if number is not None}

    def samples(self, samples: object) -> int | None:
        """A number of samples; None where that is unknown or is none."""
        if samples is None:
            return None
        try:
            count = -1 if isinstance(samples, bool) else operator.index(samples)  # type: ignore[arg-type]
        except Exception:  # a text, a fraction, a whole batch
            count = -1
        if count < 0:
            self._refuse("samples", "the number of samples of the batch, as in tracker.batch(len(x))", samples)
            return None
        return count

    def hparams(self, hparams: object) -> object:
        """Hyperparameters: a mapping or an object whose attributes they are; None where it is neither."""
        if hparams is None or isinstance(hparams, Mapping) or hasattr(hparams, "__dict__"):
            return hparams
        self._refuse("hparams", "a mapping or a namespace, as in tracker.describe(hparams={'lr': 0.1})", hparams)
        return None

    def _refuse(self, what: str, expected: str, came: object) -> None:
        if what not in self._said:
            self._said.add(what)
            logger().warning(
                "wrong %s are ignored; measuring and budgets go on. Expected %s. Received: %s.", what, expected, _shown(came)
            )


def _shown(came: object) -> str:
    """Its type and its beginning; a batch of images would fill the screen."""
    return f"{type(came).__name__} {reprlib.repr(came)}"


def _number(value: Any) -> float | None:
    if isinstance(value, str | bytes):
        return None
    try:
        return float(value)
    except Exception:  # a vector, None, or an object of a library of its own
        return None
