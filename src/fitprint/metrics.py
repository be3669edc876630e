"""The user's own metrics: which way is better, which one tells how good a model is, and how to say it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from fitprint.errors import ConfigError, did_you_mean, refusal
from fitprint.units import significant

Mode = Literal["max", "min"]
MODES = ("auto", "max", "min")

# Words in a metric's name that say which way is better; "loss" wins where both kinds are in a name.
LOWER_IS_BETTER = "loss error err mse rmse mae mape nll entropy crossentropy perplexity ppl wer cer fid bce eer"
HIGHER_IS_BETTER = "accuracy acc auc auroc f1 precision recall iou miou map bleu rouge r2 dice score mrr ndcg em"
SHARES = "accuracy acc auc auroc f1 precision recall iou miou map dice"
HELD_OUT = "val valid validation eval dev test"


def mode_of(name: str) -> Mode | None:
    """Whether the larger or the smaller value of a metric is the better one, by its name; None where that says nothing."""
    words = _words(name)
    if words & set(LOWER_IS_BETTER.split()):
        return "min"
    return "max" if words & set(HIGHER_IS_BETTER.split()) else None


def chosen_mode(mode: str, name: str) -> Mode:
    """``max`` or ``min`` as it was asked for, ``auto`` by the metric's name.

    Raises:
        ConfigError: If it is none of the three, or the name does not say.
    """
    if mode not in MODES:
        raise refusal("mode", expected=f"one of {', '.join(MODES)}", came=mode, near=MODES)
    if mode != "auto":
        return "max" if mode == "max" else "min"
    found = mode_of(name)
    if found is None:
        guess = _spelled(name)
        or_else = f" Or did you mean {guess!r}?" if guess else ""
        raise ConfigError(
            f"the name of the metric {name!r} does not say whether more of it is better. Give mode='max' or mode='min'.{or_else}"
        )
    return found


def _spelled(name: str) -> str | None:
    """The name with a word that is nearly one of those known spelled like it."""
    pairs = ((word, did_you_mean(word, f"{LOWER_IS_BETTER} {HIGHER_IS_BETTER}".split())) for word in sorted(_words(name)))
    return next((name.casefold().replace(word, guess) for word, guess in pairs if guess), None)


def telling(names: Iterable[str]) -> str | None:
    """The metric that tells best how good a model is: of held-out data before others, a score before a loss."""
    known = [name for name in names if mode_of(name) is not None]
    return min(known, key=_rank, default=None)


def held_out(name: str) -> bool:
    """Whether a metric was taken on data that the model was not trained on, by its name."""
    return not _words(name).isdisjoint(HELD_OUT.split())


def change(name: str, by: float) -> str:
    """An amount of a metric: ``"0.1 points"`` for a share such as an accuracy, else the plain number."""
    return changes(name, by)[0]


def changes(name: str, *amounts: float) -> list[str]:
    """Amounts of a metric that are read beside each other: all in points, or all as plain numbers."""
    if _words(name) & set(SHARES.split()) and max(amounts) <= 1:
        texts = [significant(100 * by, 2) for by in amounts]
        return [f"{text} point{'' if text == '1' else 's'}" for text in texts]
    return [significant(by, 2) for by in amounts]


def _rank(name: str) -> tuple[bool, bool, bool, str]:
    words = _words(name)
    return not held_out(name), mode_of(name) == "min", not words & {"acc", "accuracy"}, name


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.casefold()))
