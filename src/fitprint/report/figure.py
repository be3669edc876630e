"""Figures as files, for paper and screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fitprint.errors import FitprintError, MissingExtraError, refusal

FORMATS = (".svg", ".png", ".pdf")


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
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("A figure", "report") from error
    figure = Figure(figsize=size, layout="constrained")
    paint(figure.add_subplot())
    try:
        figure.savefig(file, dpi=200)
    except OSError as error:
        raise FitprintError(f"cannot write {str(file)!r}: {error.strerror or error}. Name another file.") from error
