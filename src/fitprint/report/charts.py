"""Figures of a report, as SVG: told apart in grey print and by the colour-blind."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from fitprint.metrics import telling
from fitprint.report.figure import COLOURS, HATCHES, literal, svg
from fitprint.units import GRAMS, format_co2e

if TYPE_CHECKING:
    from fitprint.footprint import EpochFootprint, Footprint

SIZE = (7.0, 3.2)
# More bars than these are drawn as areas; more runs than these are left to the table.
MOST_BARS, MOST_RUNS = 60, 40
LONGEST_NAME = 32


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure in a page.

    Attributes:
        caption: What it shows.
        alt: The same in words for those who do not see it.
        svg: The picture.
    """

    caption: str
    alt: str
    svg: str

    @property
    def address(self) -> str:
        """The picture in the page itself."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg.encode()).decode()}"


def charts(runs: Sequence[Footprint]) -> tuple[Chart, ...]:
    """The figures that these runs have data for.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    if len(runs) > 1:
        return tuple(_of_runs(runs))
    return (*_per_epoch(runs[0]), *_gained(runs[0]))


def _weighed(run: Footprint) -> list[EpochFootprint]:
    return [epoch for epoch in run.epochs if epoch.co2e_g is not None and epoch.energy_j]


def _unit(records: Sequence[EpochFootprint | Footprint]) -> tuple[str, float]:
    """The unit in which the largest value and its interval have few digits, and its grams."""
    most = max((record.co2e_high_g or record.co2e_g or 0.0 for record in records), default=0.0)
    fitting = [(name, grams) for name, grams in GRAMS.items() if most >= grams]
    return max(fitting, key=lambda pair: pair[1], default=("mg", GRAMS["mg"]))


def _in_unit(records: Sequence[EpochFootprint | Footprint]) -> list[float]:
    _, unit_g = _unit(records)
    return [(record.co2e_g or 0.0) / unit_g for record in records]


def _per_epoch(run: Footprint) -> Iterable[Chart]:
    epochs = _weighed(run)
    if len(epochs) < 2:
        return
    paint = _bars if len(epochs) <= MOST_BARS else _areas
    caption = "CO2e of each epoch by phase (lines: 95 % interval of the epoch)"
    alt = f"{caption}. {_extremes(epochs)} The table of epochs has the figures."
    yield Chart(caption, alt, svg(SIZE, lambda axes: paint(axes, epochs)))


def _extremes(epochs: Sequence[EpochFootprint]) -> str:
    grams = [epoch.co2e_g or 0.0 for epoch in epochs]
    return f"From {format_co2e(min(grams))} to {format_co2e(max(grams))}."


def _phases(epochs: Sequence[EpochFootprint]) -> dict[str, list[float]]:
    """CO2e of each phase, epoch by epoch, in the unit of the epochs; of all together where phases are not known."""
    if not all(epoch.phases for epoch in epochs):
        return {"all phases": _in_unit(epochs)}
    names = dict.fromkeys(name for epoch in epochs for name in epoch.phases)
    per_j = [g / (epoch.energy_j or 1.0) for g, epoch in zip(_in_unit(epochs), epochs, strict=True)]
    return {name: [e.phases.get(name, 0.0) * g for e, g in zip(epochs, per_j, strict=True)] for name in names}


def _bars(axes: Any, epochs: Sequence[EpochFootprint]) -> None:
    places = [epoch.index for epoch in epochs]
    below = [0.0] * len(epochs)
    for i, (name, grams) in enumerate(_phases(epochs).items()):
        style = {"color": COLOURS[i % len(COLOURS)], "hatch": HATCHES[i % len(HATCHES)], "edgecolor": "white", "lw": 0.5}
        axes.bar(places, grams, bottom=below, label=literal(name), **style)
        below = [a + b for a, b in zip(below, grams, strict=True)]
    total = _in_unit(epochs)
    axes.errorbar(places, total, yerr=_ends(epochs), ls="none", color="0.15", elinewidth=1, capsize=2)
    _finish(axes, "epoch", f"{_unit(epochs)[0]} CO2e an epoch")


def _areas(axes: Any, epochs: Sequence[EpochFootprint]) -> None:
    places, parts = [epoch.index for epoch in epochs], _phases(epochs)
    axes.stackplot(places, *parts.values(), labels=[literal(name) for name in parts], colors=COLOURS)
    total, (down, up) = _in_unit(epochs), _ends(epochs)
    for ends in ([g - d for g, d in zip(total, down, strict=True)], [g + u for g, u in zip(total, up, strict=True)]):
        axes.plot(places, ends, color="0.15", lw=0.8, ls="--")
    _finish(axes, "epoch", f"{_unit(epochs)[0]} CO2e an epoch")


def _ends(records: Sequence[EpochFootprint | Footprint]) -> tuple[list[float], list[float]]:
    """How far the ends of the intervals are away, in the unit of the records; 0 where one is unknown."""
    centres = [record.co2e_g or 0.0 for record in records]
    lows = [g if r.co2e_low_g is None else r.co2e_low_g for g, r in zip(centres, records, strict=True)]
    highs = [g if r.co2e_high_g is None else r.co2e_high_g for g, r in zip(centres, records, strict=True)]
    _, unit_g = _unit(records)
    down = [max(0.0, g - low) / unit_g for g, low in zip(centres, lows, strict=True)]
    return down, [max(0.0, high - g) / unit_g for g, high in zip(centres, highs, strict=True)]


def _gained(run: Footprint) -> Iterable[Chart]:
    """What each gram bought."""
    epochs = _weighed(run)
    metric = telling(dict.fromkeys(name for epoch in epochs for name in epoch.metrics))
    spent = accumulate(epoch.co2e_g or 0.0 for epoch in epochs)
    points = [(g, e.metrics.get(metric)) for g, e in zip(spent, epochs, strict=True)] if metric else []
    known = [(g, value) for g, value in points if value is not None]
    if metric is None or len(known) < 2:
        return
    caption = f"What the CO2e bought: {metric} over the CO2e of the epochs so far"
    alt = f"{caption}. From {known[0][1]:.4g} to {known[-1][1]:.4g}."
    unit, unit_g = _unit([run])
    yield Chart(caption, alt, svg(SIZE, lambda axes: _line(axes, [(g / unit_g, value) for g, value in known], unit, metric)))


def _line(axes: Any, points: Sequence[tuple[float, float]], unit: str, metric: str) -> None:
    axes.plot([grams for grams, _ in points], [value for _, value in points], color=COLOURS[0], marker="o", ms=4)
    _finish(axes, f"{unit} CO2e so far", literal(metric[:LONGEST_NAME]), legend=False)


def _of_runs(runs: Sequence[Footprint]) -> Iterable[Chart]:
    known = sorted((run for run in runs if run.co2e_g is not None), key=lambda run: run.co2e_g or 0.0, reverse=True)
    if len(known) < 2:
        return
    shown = known[:MOST_RUNS]
    caption = "CO2e of each run (lines: 95 % interval)" + (f"; the largest {MOST_RUNS}" if len(known) > MOST_RUNS else "")
    size = (SIZE[0], 1.0 + 0.24 * len(shown))
    alt = f"{caption}. From {format_co2e(shown[-1].co2e_g)} to {format_co2e(shown[0].co2e_g)}."
    yield Chart(caption, alt, svg(size, lambda axes: _runs(axes, shown)))


def _runs(axes: Any, runs: Sequence[Footprint]) -> None:
    axes.barh(range(len(runs)), _in_unit(runs), xerr=_ends(runs), color=COLOURS[0], ecolor="0.15", capsize=2)
    names = [literal(f"{run.name or ''} {run.run_id}".strip()[:LONGEST_NAME]) for run in runs]
    axes.set_yticks(range(len(runs)), names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    _finish(axes, f"{_unit(runs)[0]} CO2e (operational, location-based)", "", legend=False)


def _finish(axes: Any, along: str, up: str, *, legend: bool = True) -> None:
    axes.set_xlabel(along)
    axes.set_ylabel(up)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        axes.xaxis.get_major_locator().set_params(integer=True)
