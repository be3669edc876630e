"""What runs reached over what they emitted, as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# The axis of grams is logarithmic where they differ by more than this.
WIDE = 10.0
# Blue and vermilion of Okabe and Ito, told apart by the colour-blind; their markers differ too, for print in grey.
FRONT_COLOUR, OTHER_COLOUR = "#0072B2", "#D55E00"
# More labels than these would hide each other: then only the front has any.
MOST_LABELS = 15


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
    for row in rows if len(rows) <= MOST_LABELS else front:
        axes.annotate(row.label, (row.co2e_g, row.score), xytext=(5, 5), textcoords="offset points", fontsize=8)
    grams = [row.co2e_g for row in rows if row.co2e_g > 0]
    if grams and max(grams) > WIDE * min(grams) and len(grams) == len(rows):
        axes.set_xscale("log")
    axes.set_xlabel("g CO2e a run (operational, location-based; bars: 95 % interval)")
    axes.set_ylabel(f"{metric} (bars: SD of repeats)")
    axes.margins(x=0.12, y=0.12)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False)


def _points(axes: Any, rows: Sequence[Any], label: str, **style: Any) -> None:
    if not rows:
        return
    ends = [[r.co2e_g - r.co2e_low_g for r in rows], [r.co2e_high_g - r.co2e_g for r in rows]]
    spread = [r.score_sd or 0.0 for r in rows]
    grams, scores = [r.co2e_g for r in rows], [r.score for r in rows]
    axes.errorbar(grams, scores, xerr=ends, yerr=spread, ls="none", label=label, elinewidth=0.8, capsize=2, **style)
