"""A run's values epoch by epoch, or block by block where it has no epochs to speak of."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from fitprint.units import J_PER_WH
from fitprint_tensorboard.events import Events, Point, Source

# Points of one run that a chart gets; longer runs are shown in groups of epochs.
MOST_WINDOWS = 200
# In the Trainer's fraction of epochs, 2.9999999 is the third epoch's end.
ROUNDING = 1e-6
# A run of so few epochs is shown in blocks, if it has any.
FEW_EPOCHS = 2
# Blocks so many times further from each other than the nearest two have lost one between them.
GAP = 1.5
# Of a group of epochs: the mean of what each used, the last of what has been used by then.
EACH = ("epoch_co2e_g", "epoch_co2e_low_g", "epoch_co2e_high_g", "epoch_energy_wh", "power_w")
SO_FAR = ("total_co2e_g", "total_energy_wh", "forecast_co2e_g")
LIMITS = {"budget_limit_g": "g", "budget_limit_wh": "Wh"}

Column = list[float | None]


def windows_of(source: Source, events: Events) -> dict[str, Any]:
    """Columns for the charts, and the names of the user's metrics.

    Returns:
        Energies in Wh, grams in g, powers in W; ``x`` has the last epoch (or step) of each window, ``first`` its first
        one, ``axis`` says which of the two. ``None`` where nothing was logged; parts and phases that used nothing
        are left out, for frameworks log the same keys in every epoch.
    """
    parts = {f"part/{name}_wh": name for name in source.names("part")}
    phases = {f"phase/{name}_wh": name for name in source.names("phase")}
    names = (*EACH, *SO_FAR, *LIMITS, *parts, *phases, "block_co2e_g", "block_energy_wh")
    series = read(source, names, events)
    steps, labels, axis = axis_of(series)
    columns = {name: column_of(series.get(name, []), steps) for name in names}
    if axis == "step":
        columns = _of_blocks(series, columns, steps)
    groups = _groups(len(steps))
    each = {name: _grouped(columns[name], groups, fmean) for name in EACH}
    so_far = {name: _grouped(columns[name], groups, _last) for name in SO_FAR}
    return {
        "run": source.run,
        "axis": axis,
        "x": [labels[group[-1]] for group in groups],
        "first": [labels[group[0]] for group in groups],
        "windows": len(steps),
        **each,
        **so_far,
        "parts": {name: _grouped(columns[tag], groups, fmean) for tag, name in parts.items() if any(columns[tag])},
        "phases": {name: _grouped(columns[tag], groups, fmean) for tag, name in phases.items() if any(columns[tag])},
        "budget": _budget(series),
        "metrics": list(source.metrics()),
    }


def metric_of(source: Source, name: str, events: Events) -> dict[str, Any] | None:
    """One of the user's metrics over the CO2e of the run by then, in g; None if there is no such metric."""
    where = source.metrics().get(name)
    if where is None:
        return None
    series = read(source, ("epoch_co2e_g", "total_co2e_g", "block_co2e_g"), events)
    steps, labels, axis = axis_of(series)
    run, tag = where
    values = column_of(events.series(run, [tag]).get(tag, []), steps, within=True)
    grams = column_of(series.get("total_co2e_g", []), steps)
    if axis == "step":
        grams = _summed(column_of(series.get("block_co2e_g", []), steps), _follows(steps))
    known = [(g, v, x) for g, v, x in zip(grams, values, labels, strict=True) if g is not None and v is not None]
    thin = [known[group[-1]] for group in _groups(len(known))]
    columns = ("co2e_g", "value", "x")
    return {"run": source.run, "axis": axis, **{key: [row[i] for row in thin] for i, key in enumerate(columns)}}


def read(source: Source, names: Sequence[str], events: Events) -> dict[str, list[Point]]:
    """Series by our names; ``epoch`` is the framework's own count at the same steps."""
    tags = {source.tag(name): name for name in names} | {f"{source.prefix}epoch": "epoch"}
    wanted = [tag for tag in tags if tag in source.tags]
    series = {tags[tag]: points for tag, points in events.series(source.run, wanted).items()}
    if source.prefix:  # the Trainer counts epochs that are over, in fractions
        series["epoch"] = [p._replace(value=max(0, math.ceil(p.value - ROUNDING) - 1)) for p in series.get("epoch", [])]
    return series


def axis_of(series: dict[str, list[Point]]) -> tuple[list[int], list[float], str]:
    """Steps at which windows end, what is written below them, and what that is."""
    epochs, blocks = series.get("epoch_co2e_g", []), series.get("block_co2e_g", [])
    if blocks and len(epochs) < FEW_EPOCHS:
        steps = [point.step for point in blocks]
        return steps, list(map(float, steps)), "step"
    steps = [point.step for point in epochs]
    counted = {point.step: point.value for point in series.get("epoch", [])}
    labels = {counted.get(step, float(step)): step for step in steps}  # of an epoch that was done twice the latest
    ordered = sorted(labels)
    return [labels[label] for label in ordered], ordered, "epoch"


def column_of(points: Sequence[Point], steps: Sequence[int], *, within: bool = False) -> Column:
    """Values at the ends of windows; ``within``: the last one that each window holds."""
    if not within:
        at = {point.step: point.value for point in points}
        return [at.get(step) for step in steps]
    column: Column = [None] * len(steps)
    for point in points:
        window = bisect.bisect_left(steps, point.step)
        if window < len(steps):
            column[window] = point.value
    return column


def _of_blocks(series: dict[str, list[Point]], columns: dict[str, Column], steps: Sequence[int]) -> dict[str, Column]:
    """Blocks have grams and energy; sums and powers only where TensorBoard has kept the block before, too."""
    grams, energy = column_of(series.get("block_co2e_g", []), steps), column_of(series.get("block_energy_wh", []), steps)
    times = [point.wall_time for point in series.get("block_co2e_g", [])]
    follows = _follows(steps)
    power = [_power(energy[i], times[i] - times[i - 1]) if follows[i] else None for i in range(len(steps))]
    totals = {"total_co2e_g": _summed(grams, follows), "total_energy_wh": _summed(energy, follows)}
    return columns | totals | {"epoch_co2e_g": grams, "epoch_energy_wh": energy, "power_w": power}


def _follows(steps: Sequence[int]) -> list[bool]:
    """Whether each block comes right after the one before it: blocks are all of one length."""
    lengths = [after - before for before, after in itertools.pairwise(steps)]
    longest = min(lengths, default=0) * GAP
    return [False, *(length < longest for length in lengths)][: len(steps)]


def _power(energy_wh: float | None, seconds: float) -> float | None:
    return None if energy_wh is None or seconds <= 0 else energy_wh * J_PER_WH / seconds


def _summed(column: Column, follows: Sequence[bool]) -> Column:
    """Sums so far, unknown from the first gap on."""
    sums: Column = []
    total: float | None = 0.0
    for i, value in enumerate(column):
        total = None if total is None or value is None or (i and not follows[i]) else total + value
        sums.append(total)
    return sums


def _groups(count: int) -> list[range]:
    """Neighbouring windows to show as one, so many that a chart can hold them."""
    size = max(1, math.ceil(count / MOST_WINDOWS))
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def _grouped(column: Column, groups: Sequence[range], one_of: Callable[[list[float]], float]) -> Column:
    known = [[v for i in group if (v := column[i]) is not None] for group in groups]
    return [one_of(values) if values else None for values in known]


def _last(values: list[float]) -> float:
    return values[-1]


def _budget(series: dict[str, list[Point]]) -> dict[str, Any] | None:
    """The limit that was logged last."""
    for name, unit in LIMITS.items():
        if series.get(name):
            return {"limit": series[name][-1].value, "unit": unit}
    return None
