"""Advice of a run from its event data: what its record says, else what its epochs and metrics show."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fitprint.advice import NOTHING, OVERLAP, Advice, advise
from fitprint.errors import FitprintError
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.metrics import telling
from fitprint.units import format_co2e, format_share, joules
from fitprint_tensorboard.events import Events, Source
from fitprint_tensorboard.told import told_at_the_end
from fitprint_tensorboard.windows import axis_of, column_of, read

# Runs of one project among which a smaller model is looked for; the newest ones.
MOST_RUNS = 100
THINNED = "TensorBoard has not kept all epochs of this run (--samples_per_plugin=scalars=0 keeps them): what they show is left out."
EPOCH = ("epoch_co2e_g", "epoch_energy_wh")

Metric = tuple[str, tuple[str, str]]


def pieces_of(run: str, events: Events) -> dict[str, Any] | None:
    """What would have made a run smaller, with the texts to show; None where it has written no record."""
    sources = events.sources()
    record = events.records([run]).get(run) if run in sources else None
    if record is None:
        return None
    source, others = sources.pop(run), sources
    metric = _telling(source)
    told = told_at_the_end(record)
    epochs, whole = _epochs(source, metric, events) if told is None else (_values(metric, source, events), True)
    found = _advise(replace(_up_to_now(record, source, events), epochs=epochs), _others(record, others, metric, events))
    if told is not None:  # of other runs the run itself knew nothing
        smaller = (advice for advice in found if advice.kind == "smaller_model")
        found = tuple(sorted((*told, *smaller), key=lambda advice: -advice.saved_g))
    return {"run": run, "pieces": [_piece(advice) for advice in found], "notes": list(_notes(len(found), whole=whole))}


def _notes(found: int, *, whole: bool) -> Iterable[str]:
    if found != 1:
        said = OVERLAP if found else NOTHING
        yield f"{said[0].upper()}{said[1:]}."
    if not whole:
        yield THINNED


def _piece(advice: Advice) -> dict[str, str]:
    return {
        "kind": advice.kind,
        "saved": format_co2e(advice.saved_g),
        "share": format_share(advice.saved_share),
        "text": advice.text,
    }


def _advise(record: Footprint, others: Sequence[Footprint]) -> tuple[Advice, ...]:
    """A log folder may hold anything: of a record whose rows are none of ours there is nothing to say."""
    try:
        return advise(record, runs=others)
    except (FitprintError, ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return ()


def _up_to_now(record: Footprint, source: Source, events: Events) -> Footprint:
    """While the run lasts its scalars are newer than its record."""
    if record.status != "running":
        return record
    last = events.last([source]).get(source.run, {})
    grams, energy_wh = last.get("total_co2e_g", record.co2e_g), last.get("total_energy_wh")
    return replace(record, co2e_g=grams, energy_j=record.energy_j if energy_wh is None else joules(energy_wh))


def _telling(source: Source) -> Metric | None:
    """The metric that tells how good the model is, and where it is."""
    metrics = source.metrics()
    name = telling(metrics)
    return None if name is None else (name, metrics[name])


def _epochs(source: Source, metric: Metric | None, events: Events) -> tuple[tuple[EpochFootprint, ...], bool]:
    """Epochs as far as they were logged, and whether TensorBoard has kept all of them; none where it has not."""
    phases = {f"phase/{name}_wh": name for name in source.names("phase")}
    series = read(source, (*EPOCH, *phases), events)
    steps, labels, axis = axis_of(series)
    if axis == "step" or not steps:
        return (), True
    if any(after - before > 1 for before, after in itertools.pairwise(labels)):
        return (), False
    grams, energy, *of_phases = (column_of(series.get(name, []), steps) for name in (*EPOCH, *phases))
    scores = _scores(metric, steps, events)
    spent = [{name: used[i] for name, used in zip(phases.values(), of_phases, strict=True)} for i in range(len(steps))]
    return tuple(_epoch(*row) for row in zip(labels, energy, grams, spent, scores, strict=True)), True


def _epoch(
    label: float,
    energy_wh: float | None,
    grams: float | None,
    spent: Mapping[str, float | None],
    scores: Mapping[str, float | None],
) -> EpochFootprint:
    phases = {name: joules(used) for name, used in spent.items() if used is not None}
    energy_j = None if energy_wh is None else joules(energy_wh)
    return EpochFootprint(
        index=int(label), started_at="", duration_s=0.0, energy_j=energy_j, co2e_g=grams, phases=phases, metrics=scores
    )


def _scores(metric: Metric | None, steps: Sequence[int], events: Events) -> list[dict[str, float | None]]:
    """The last value of each epoch."""
    if metric is None:
        return [{} for _ in steps]
    name, (run, tag) = metric
    values = column_of(events.series(run, [tag]).get(tag, []), steps, within=True)
    return [{} if value is None else {name: value} for value in values]


def _others(own: Footprint, sources: Mapping[str, Source], metric: Metric | None, events: Events) -> list[Footprint]:
    """The newest other runs of its project that have its metric, with what it was in each of their epochs."""
    if metric is None or not own.project:
        return []
    having = [name for name, source in sources.items() if metric[0] in source.metrics()]
    records = {name: record for name, record in events.records(having).items() if record.project == own.project}
    newest = sorted(records, key=lambda name: records[name].started_at, reverse=True)[:MOST_RUNS]
    return [replace(records[name], epochs=_values(metric, sources[name], events)) for name in newest]


def _values(metric: Metric | None, source: Source, events: Events) -> tuple[EpochFootprint, ...]:
    """What a run's metric was, however many of its epochs TensorBoard has kept."""
    if metric is None or metric[0] not in source.metrics():
        return ()
    name = metric[0]
    run, tag = source.metrics()[name]
    points = events.series(run, [tag]).get(tag, [])
    return tuple(EpochFootprint(index=i, started_at="", duration_s=0.0, metrics={name: p.value}) for i, p in enumerate(points))
