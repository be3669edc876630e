"""Figures as files, for paper and screen."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from fitprint.errors import FitprintError, MissingExtraError, refusal

FORMATS = (".svg", ".png", ".pdf")
# Okabe and Ito's, which the colour-blind tell apart; with hatches for print in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "----", "++++")


def save_figure(file: Path, size: tuple[float, float], paint: Callable[[Any], None]) -> None:
    """Paint one pair of axes and write them to a file.

    Args:
        file: Its ending says in which format.
        size: Width and height in inches.
        paint: Gets the axes.

    Raises:
        ConfigError: If the ending is none of those that we write.
        MissingExtraError: If matplotlib is not installed.
        FitprintError: If the file cannot be written.
    """
    if file.suffix.casefold() not in FORMATS:
        raise refusal("figure", expected=f"a file that ends in {', '.join(FORMATS)}", came=str(file))
    figure = _painted(size, paint)
    try:
        figure.savefig(file, dpi=200)
    except OSError as error:
        raise FitprintError(f"cannot write {str(file)!r}: {error.strerror or error}. Name another file.") from error


def svg(size: tuple[float, float], paint: Callable[[Any], None]) -> str:
    """Paint one pair of axes as SVG, letters as shapes, so that it looks the same everywhere.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    text = io.StringIO()
    with warnings.catch_warnings(), _settings():
        warnings.simplefilter("ignore")  # a letter of a name that the font lacks is drawn as a box
        _painted(size, paint).savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _settings() -> AbstractContextManager[None]:
    """The same picture each time, whatever the user has set for figures of their own."""
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise MissingExtraError("A figure", "report") from error
    found: AbstractContextManager[None] = rc_context({"svg.hashsalt": "fitprint", "svg.fonttype": "path", "text.usetex": False})
    return found


def literal(text: str) -> str:
    """A text of the user's on one line, that matplotlib does not take for a formula."""
    return " ".join(text.split()).replace("$", r"\$")


def _painted(size: tuple[float, float], paint: Callable[[Any], None]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("A figure", "report") from error
    figure = Figure(figsize=size, layout="constrained")
    paint(figure.add_subplot())
    return figure
