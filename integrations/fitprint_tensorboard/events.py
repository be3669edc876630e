"""What TensorBoard's data provider holds of our runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tensorboard.data.provider import RunTagFilter

from fitprint.footprint import Footprint

CARBON = "carbon/"
# The Hugging Face Trainer puts all that it logs under ``train/``.
PREFIXES = ("", "train/")
TEXT_TAGS = ("fitprint/run/text_summary", "fitprint/run", "train/fitprint/run/text_summary")
# Of a record, those that we show.
NUMBERS = ("co2e_g", "co2e_low_g", "co2e_high_g", "energy_j", "facility_energy_kwh", "duration_s")
# More than any run has: beyond it, sums and products of such numbers are none.
LARGEST = 1e30
LAST_TAGS = ("total_co2e_g", "total_energy_wh", "measured_fraction", "budget_used")
# TensorBoard itself keeps 1,000 of a series if it is not told otherwise (``--samples_per_plugin``).
MOST_POINTS = 10_000


class Point(NamedTuple):
    """One value of a series."""

    step: int
    wall_time: float
    value: float


@dataclass(frozen=True, slots=True)
class Source:
    """A run of TensorBoard in which we find our values.

    Attributes:
        run: TensorBoard's name of the run.
        prefix: What stands before our tags there.
        tags: All tags of its scalars.
        beside: The run beside it that has the metrics of its validation, for Keras; and its tags.
    """

    run: str
    prefix: str
    tags: frozenset[str]
    beside: tuple[str, frozenset[str]] | None = None

    def tag(self, name: str) -> str:
        """The whole tag of one of our values."""
        return f"{self.prefix}{CARBON}{name}"

    def names(self, group: str) -> list[str]:
        """For ``part`` the parts, for ``phase`` the phases that were logged."""
        start = self.tag(f"{group}/")
        return sorted(tag.removeprefix(start).removesuffix("_wh") for tag in self.tags if tag.startswith(start))

    def metrics(self) -> dict[str, tuple[str, str]]:
        """What the user logged: a name to show, and the run and tag where it is."""
        ours = (f"{self.prefix}{CARBON}", f"{self.prefix}epoch")
        own = {tag: (self.run, tag) for tag in sorted(self.tags) if not tag.startswith(ours[0]) and tag != ours[1]}
        if self.beside is None:
            return own
        run, tags = self.beside
        return own | {f"validation/{tag}": (run, tag) for tag in sorted(tags)}


class Events:
    """Event data of one experiment, read through the data provider.

    Args:
        provider: TensorBoard's data provider.
        ctx: Context of the request.
        experiment: Identity of the experiment, empty for a local log folder.
    """

    def __init__(self, provider: Any, ctx: Any, experiment: str) -> None:
        self._provider = provider
        self._where = {"ctx": ctx, "experiment_id": experiment}

    def sources(self) -> dict[str, Source]:
        """Runs that have logged our values, by name."""
        listed = self._provider.list_scalars(**self._where, plugin_name="scalars")
        tags = {run: frozenset(found) for run, found in listed.items()}
        found = {run: _source(run, tags) for run in sorted(tags)}
        return {run: source for run, source in found.items() if source is not None}

    def last(self, sources: Iterable[Source]) -> dict[str, dict[str, float]]:
        """The latest of our totals of each run, by their names without prefix."""
        by_run = {source.run: source for source in sources}
        tags = {source.tag(name) for source in by_run.values() for name in LAST_TAGS}
        chosen = RunTagFilter(runs=list(by_run), tags=sorted(tags))
        return {run: _named(by_run[run], found) for run, found in self._last(chosen).items()}

    def _last(self, chosen: RunTagFilter) -> Mapping[str, Mapping[str, Any]]:
        """TensorBoard before 2.17 has no words for it: thinned out to one point, a series keeps its last."""
        if hasattr(self._provider, "read_last_scalars"):
            return self._read(self._provider.read_last_scalars, chosen, plugin_name="scalars")
        read = self._read(self._provider.read_scalars, chosen, plugin_name="scalars", downsample=1)
        return {run: {tag: data[-1] for tag, data in found.items() if data} for run, found in read.items()}

    def series(self, run: str, tags: Collection[str]) -> dict[str, list[Point]]:
        """Finite values of some series of a run, in the order of their steps."""
        chosen = RunTagFilter(runs=[run], tags=list(tags))
        read = self._read(self._provider.read_scalars, chosen, plugin_name="scalars", downsample=MOST_POINTS)
        return {tag: _points(data) for tag, data in read.get(run, {}).items()}

    def records(self, runs: list[str]) -> dict[str, Footprint]:
        """The latest record of each run that has written one."""
        chosen = RunTagFilter(runs=runs, tags=TEXT_TAGS)
        read = self._read(self._provider.read_tensors, chosen, plugin_name="text", downsample=1)
        found = {run: _record(tags) for run, tags in read.items()}
        return {run: record for run, record in found.items() if record is not None}

    def _read(self, read: Callable[..., Mapping[str, Any]], chosen: RunTagFilter, **asked: Any) -> Mapping[str, Any]:
        """What the provider has; a run of which it cannot make sense is left out, and no other for its sake."""
        try:
            return read(**self._where, **asked, run_tag_filter=chosen)
        except Exception:  # any: it is TensorBoard's, and depends on what the files hold
            if len(chosen.runs) < 2:
                return {}
            alone = [RunTagFilter(runs=[run], tags=chosen.tags) for run in sorted(chosen.runs)]
            return {run: data for one in alone for run, data in self._read(read, one, **asked).items()}


def _source(run: str, tags: Mapping[str, frozenset[str]]) -> Source | None:
    for prefix in PREFIXES:
        if any(tag.startswith(f"{prefix}{CARBON}") for tag in tags[run]):
            return Source(run, prefix, tags[run], _beside(run, tags))
    return None


def _beside(run: str, tags: Mapping[str, frozenset[str]]) -> tuple[str, frozenset[str]] | None:
    """Keras' own callback writes training and validation into two folders."""
    folder, _, last = run.rpartition("/")
    other = f"{folder}/validation".lstrip("/")
    return (other, tags[other]) if last == "train" and other in tags else None


def _named(source: Source, found: Mapping[str, Any]) -> dict[str, float]:
    values = {name: float(found[source.tag(name)].value) for name in LAST_TAGS if source.tag(name) in found}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _points(data: Iterable[Any]) -> list[Point]:
    """The latest value of each step: a run that was resumed may have written one twice."""
    by_step = {datum.step: Point(datum.step, datum.wall_time, float(datum.value)) for datum in data}
    return [point for _, point in sorted(by_step.items()) if math.isfinite(point.value)]


def _record(tags: Mapping[str, Any]) -> Footprint | None:
    """What a log folder holds may be anything: what is no record of ours is left out."""
    for data in tags.values():
        try:
            record = Footprint.from_json(data[-1].numpy.reshape(-1)[0].decode())
        except Exception:
            continue
        if _sound(record):
            return record
    return None


def _sound(record: Footprint) -> bool:
    """Whether the fields that we show are of their types: JSON itself promises nothing."""
    numbers = [getattr(record, name) for name in NUMBERS]
    texts = [record.run_id, record.status, record.started_at, record.name or ""]
    mappings = [record.stop_reason or {}, *record.assumptions]
    return (
        all(value is None or (isinstance(value, int | float) and abs(value) < LARGEST) for value in numbers)
        and record.duration_s is not None
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(mapping, Mapping) for mapping in mappings)
    )
