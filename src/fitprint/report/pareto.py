"""What runs reached over what they emitted, as a plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fitprint.report.figure import literal

# The axis of grams is logarithmic where they differ by more than this.
WIDE = 10.0
# Blue and vermilion of Okabe and Ito, told apart by the colour-blind; their markers differ too, for print in grey.
FRONT_COLOUR, OTHER_COLOUR = "#0072B2", "#D55E00"
# More labels than these would hide each other: then only the front has any.
MOST_LABELS = 15
# Where there is no room for a whole label there may be for so many letters of it.
LETTERS = (60, 32, 16)
# Right and left of its point, above and below, in points of print.
BESIDE = ((5, 5, "left", "bottom"), (-5, 5, "right", "bottom"), (5, -5, "left", "top"), (-5, -5, "right", "top"))
MARKER_PT = 4.0


def draw_front(axes: Any, rows: Sequence[Any], metric: str) -> None:
    """Draw configurations into matplotlib's axes: score over grams, with the Pareto front.

    Args:
        axes: Of matplotlib.
        rows: ``Configuration`` objects.
        metric: The score's name.
    """
    front = [row for row in rows if row.on_front]
    others = [row for row in rows if not row.on_front]
    _points(axes, others, "others", marker="s", color=OTHER_COLOUR, mfc="white")
    _points(axes, front, "Pareto front", marker="o", color=FRONT_COLOUR)
    axes.step([row.co2e_g for row in front], [row.score for row in front], where="post", color=FRONT_COLOUR, lw=1, ls=":")
    grams = [row.co2e_g for row in rows if row.co2e_g > 0]
    if grams and max(grams) > WIDE * min(grams) and len(grams) == len(rows):
        axes.set_xscale("log")
    axes.set_xlabel("g CO2e a run (operational, location-based; bars: 95 % interval)")
    axes.set_ylabel(f"{literal(metric)} (bars: SD of repeats)")
    axes.margins(x=0.12, y=0.12)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    _name(axes, front + others if len(rows) <= MOST_LABELS else front)


def _name(axes: Any, rows: Sequence[Any]) -> None:
    """Each point beside it: inside the axes, over no other label, marker or legend; what finds no room has no label."""
    axes.figure.canvas.figure.draw_without_rendering()  # only then is it known where everything is
    taken = [axes.get_legend().get_window_extent(), *(_marker(axes, row) for row in rows)]
    for row in rows:
        label = next((label for label in _labels(axes, row) if _fits(axes, label, taken)), None)
        if label is not None:
            taken.append(label.get_window_extent())


def _marker(axes: Any, row: Any) -> Any:
    from matplotlib.transforms import Bbox

    half = MARKER_PT * axes.figure.dpi / 72
    x, y = axes.transData.transform((row.co2e_g, row.score))
    return Bbox.from_extents(x - half, y - half, x + half, y + half)


def _labels(axes: Any, row: Any) -> Iterator[Any]:
    """One after the other, as they may be tried; the layout is not to make room for them."""
    for letters in LETTERS:
        text = row.label if len(row.label) <= letters else f"{row.label[: letters - 1]}…"
        for right, up, across, along in BESIDE:
            at = {"xytext": (right, up), "textcoords": "offset points", "ha": across, "va": along}
            yield axes.annotate(literal(text), (row.co2e_g, row.score), fontsize=8, in_layout=False, **at)


def _fits(axes: Any, label: Any, taken: Sequence[Any]) -> bool:
    """Whether a label may stay; otherwise it is taken away."""
    box, inside = label.get_window_extent(), axes.get_window_extent()
    within = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
    fits: bool = within and not box.count_overlaps(taken)
    if not fits:
        label.remove()
    return fits


def _points(axes: Any, rows: Sequence[Any], label: str, **style: Any) -> None:
    if not rows:
        return
    ends = [[r.co2e_g - r.co2e_low_g for r in rows], [r.co2e_high_g - r.co2e_g for r in rows]]
    spread = [r.score_sd or 0.0 for r in rows]
    grams, scores = [r.co2e_g for r in rows], [r.score for r in rows]
    axes.errorbar(grams, scores, xerr=ends, yerr=spread, ls="none", label=label, elinewidth=0.8, capsize=2, **style)
