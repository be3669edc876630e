"""Names in the environment that are nearly ours: they do nothing, and whoever set them believes that they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fitprint.errors import did_you_mean

PREFIX = "FITPRINT_"
# Read elsewhere than among the options.
OTHERS = ("DISABLE", "PARENT_RUN")


def warn_of_near_misses(environ: Mapping[str, str], options: Iterable[str], say: Callable[..., None]) -> None:
    """Say of each ``FITPRINT_*`` name that is none of the options', but near one, what was meant."""
    known = [*(option.upper() for option in options), *OTHERS]
    ours = sorted(name.removeprefix(PREFIX) for name in environ if name.startswith(PREFIX))
    for name in ours:
        guess = None if name in known else did_you_mean(name, known)
        if guess:
            say("%s%s in the environment is no setting. Did you mean %s%s?", PREFIX, name, PREFIX, guess)
