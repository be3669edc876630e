"""Which runs are repeats of one configuration, and how good each run became."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fitprint.errors import refusal
from fitprint.footprint import Footprint
from fitprint.metrics import Mode, mode_of, telling

# What a run is repeated with: two runs that differ in these alone are one configuration.
SEEDS = ("seed", "random_seed", "random_state")
# A name that a study gave by counting says nothing of the configuration.
COUNTED_NAME = re.compile(r"trial-\d+")


def telling_metric(footprints: Iterable[Footprint]) -> str | None:
    """The metric that tells most how good a model is, of those that most of the runs have; None if no name says so."""
    had = Counter(name for run in footprints for name in {n for epoch in run.epochs for n in epoch.metrics})
    most = max((count for name, count in had.items() if mode_of(name)), default=0)
    return telling(name for name, count in had.items() if count == most)


def metric_names(runs: Iterable[Footprint]) -> list[str]:
    """The metrics that any of them has, in the order of the alphabet."""
    return sorted({name for run in runs for epoch in run.epochs for name in epoch.metrics})


def known_metric(metric: str, runs: Sequence[Footprint]) -> str:
    """The metric, if a run has it.

    Raises:
        ConfigError: If none has.
    """
    there = metric_names(runs)
    if metric not in there:
        raise refusal("metric", expected=f"one of {', '.join(there)}" if there else "none: no run has any", came=metric, near=there)
    return metric


def scored(footprints: Iterable[Footprint], metric: str, mode: Mode) -> tuple[list[tuple[Footprint, float]], dict[str, str]]:
    """Runs with their score, and why others cannot be compared."""
    found, left_out = [], {}
    for run in footprints:
        score = best_score(run, metric, mode)
        if run.kind != "fit":
            left_out[run.run_id] = f"is no training but {run.kind}"
        elif run.status in ("running", "failed", "lost"):
            left_out[run.run_id] = f"its status is {run.status}"
        elif score is None:
            left_out[run.run_id] = f"has no {metric}"
        elif run.co2e_g is None:
            left_out[run.run_id] = "its CO2e is unknown"
        else:
            found.append((run, score))
    return found, left_out


def best_score(footprint: Footprint, metric: str, mode: Mode) -> float | None:
    """The best value that a run reached in any epoch: the checkpoint that is kept; None where it never had one."""
    values = [epoch.metrics.get(metric) for epoch in footprint.epochs]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return (max if mode == "max" else min)(finite, default=None)


def flat(hparams: Mapping[str, Any] | None, before: str = "") -> dict[str, Any]:
    """Hyperparameters without nesting (``optimizer.lr``), those that only tell repeats apart left out."""
    rows: dict[str, Any] = {}
    for key, value in (hparams or {}).items():
        if isinstance(value, Mapping):
            rows.update(flat(value, f"{before}{key}."))
        elif key not in SEEDS:
            plain = value is None or isinstance(value, str | int | float | bool)
            rows[f"{before}{key}"] = value if plain else json.dumps(value, default=str)
    return rows


def grouped(runs: Sequence[tuple[Footprint, float]]) -> dict[str, list[tuple[Footprint, float]]]:
    """Repeats together, under a label that tells the groups apart."""
    groups: dict[str, list[tuple[Footprint, float]]] = {}
    for run, score in runs:
        groups.setdefault(_key(run), []).append((run, score))
    several = _varying([group[0][0] for group in groups.values()])
    labels = [_label(group[0][0], several) for group in groups.values()]
    counts = Counter(labels)
    pairs = zip(labels, groups.values(), strict=True)
    return {label if counts[label] == 1 else f"{label} ({group[0][0].run_id})": group for label, group in pairs}


def _key(run: Footprint) -> str:
    """What repeats have in common; a run of which nothing is known is a configuration of its own."""
    described = {"name": _own_name(run), "tags": sorted(run.tags), "batch": run.batch_size, "hparams": flat(run.hparams)}
    return json.dumps(described if any(described.values()) else run.run_id, sort_keys=True)


def _own_name(run: Footprint) -> str | None:
    """The name that a person gave; None for one that was counted."""
    return None if run.name is None or COUNTED_NAME.fullmatch(run.name) else run.name


def _varying(runs: Sequence[Footprint]) -> list[str]:
    """Hyperparameters that are not the same in all."""
    rows = [flat(run.hparams) for run in runs]
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if len({repr(row.get(name)) for row in rows}) > 1]


def _label(run: Footprint, varying: Iterable[str]) -> str:
    values = flat(run.hparams)
    told = [f"{name}={values[name]}" for name in varying if name in values]
    name = _own_name(run)
    return " ".join([*([name] if name else []), *told]) or " ".join(run.tags) or run.name or run.run_id
