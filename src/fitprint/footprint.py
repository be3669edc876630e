"""The records: what an epoch and a run used and emitted."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from fitprint.errors import ConfigError
from fitprint.nothing import NOTHING
from fitprint.timeline import Timeline
from fitprint.units import kwh

SCHEMA = 1
STEP_OVER_TICKS = 100
# Kinds of runs that stand for a piece of work; a validation, test or prediction after one is a run of its own beside it.
TRAINING_KINDS = ("fit", "command")
# Properties that are written down with the fields.
DERIVED = ("energy_kwh", "energy_per_sample_j", "co2e_per_1000_samples_g")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochFootprint:
    """One epoch (or, in ``Footprint.blocks``, one block of steps).

    Attributes:
        index: Number of the epoch as the framework counts it, from 0.
        started_at: Wall-clock start, ISO 8601 in UTC.
        duration_s: Length in seconds.
        steps: Optimizer steps, or None if unknown.
        samples: Training samples, or None if unknown.
        energy_j: Joules at the sensors; None where nothing is measured or modelled.
        co2e_g: Operational grams of CO2e, location-based.
        co2e_low_g: Lower end of the 95 % interval.
        co2e_high_g: Upper end of the 95 % interval.
        by_part: Joules per part; an absent part has no key.
        phases: Joules per phase.
        metrics: The framework's own metrics of the epoch.
        complete: False if the epoch was cut short.
        extra: Keys of a later version, written back as they came.
    """

    index: int
    started_at: str
    duration_s: float
    steps: int | None = None
    samples: int | None = None
    energy_j: float | None = None
    co2e_g: float | None = None
    co2e_low_g: float | None = None
    co2e_high_g: float | None = None
    by_part: Mapping[str, float] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=lambda: NOTHING)
    complete: bool = True
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only; a metric that is not finite becomes None."""
        return _fields(self) | dict(self.extra)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        known = {f.name for f in dataclasses.fields(cls)} - {"extra"}
        values = {key: value for key, value in data.items() if key in known}
        return cls(**values, extra={key: value for key, value in data.items() if key not in known} or NOTHING)


class StepEnergy(NamedTuple):
    """What an optimizer step used, training alone.

    Attributes:
        energy_j: Joules a step, the mean over long windows.
        window_steps: Mean steps of these windows.
        window_s: Their mean length in seconds.
    """

    energy_j: float
    window_steps: float
    window_s: float


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """One run: frozen, complete, and traceable to its sensors and assumptions.

    Unknown is None, never 0. Units stand in the names; times are ISO 8601 in UTC. ``status`` is
    running, completed, stopped, failed, interrupted or lost. A run that began from another's checkpoint
    names it in ``forked_from``; ``inherited`` is what that run had spent by then (``energy_j``, ``co2e_g``,
    ``co2e_low_g``, ``co2e_high_g``, ``epochs``), which is in none of this run's figures. ``launch`` is the same for all processes
    that a launcher started together and that did not exchange what they used: each has a row of its own. ``overhead_cpu_s`` is the
    CPU time that measuring itself has cost, in hooks and in threads of its own. Keys that this version does not know are kept in
    ``extra`` and written back.
    """

    run_id: str
    schema: int = SCHEMA
    parent_run_id: str | None = None
    launch: str | None = None
    forked_from: str | None = None
    inherited: Mapping[str, Any] | None = None
    kind: str = "fit"
    project: str | None = None
    name: str | None = None
    status: str = "running"
    stop_reason: Mapping[str, Any] | None = None
    started_at: str = ""
    duration_s: float = 0.0
    energy_j: float | None = None
    energy_low_j: float | None = None
    energy_high_j: float | None = None
    outside_epochs_j: float | None = None
    gross_energy_j: float | None = None
    above_idle_j: float | None = None
    node_energy_j: float | None = None
    facility_energy_kwh: float | None = None
    co2e_g: float | None = None
    co2e_low_g: float | None = None
    co2e_high_g: float | None = None
    embodied_g: float | None = None
    water_l: float | None = None
    market_based_g: float | None = None
    cost: float | None = None
    currency: str | None = None
    measured_fraction: float | None = None
    coverage: float | None = None
    overhead_cpu_s: float | None = None
    intensity: float | None = None
    pue: float | None = None
    node_factor: float | None = None
    by_part: Mapping[str, float] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    sensors: tuple[Mapping[str, Any], ...] = ()
    epochs: tuple[EpochFootprint, ...] = ()
    blocks: tuple[EpochFootprint, ...] = ()
    segments: tuple[Mapping[str, Any], ...] = ()
    assumptions: tuple[Mapping[str, Any], ...] = ()
    budget: tuple[Mapping[str, Any], ...] = ()
    energy_series: Mapping[str, Any] | None = None
    readings: tuple[Mapping[str, Any], ...] = ()
    parameters: int | None = None
    samples: int | None = None
    flops: float | None = None
    hparams: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    seed: int | None = None
    git_commit: str | None = None
    batch_size: int | None = None
    notes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def energy_kwh(self) -> float | None:
        """``energy_j`` in kilowatt-hours."""
        return None if self.energy_j is None else kwh(self.energy_j)

    @property
    def step_energy(self) -> StepEnergy | None:
        """Energy of an optimizer step, from blocks (else epochs) that are long enough for the counters; else None.

        A process's first block or epoch is left out: its first step compiles, tunes kernels and fills caches, and may cost as
        much as a thousand others. Where there is no other, none is told. Both ends of a window fall anywhere into a counter's tick:
        a window of 100 ticks is within 0.4 % (standard deviation, 0.41 x tick / length), a single step's would be noise.
        """
        shortest_s = STEP_OVER_TICKS * max((float(row.get("tick_s") or 0.0) for row in self.sensors), default=0.0)
        warm = warmed_up(self.blocks or self.epochs, self.segments)
        windows = [w for w in warm if w.complete and w.steps and w.duration_s >= shortest_s]
        if not windows or self.energy_j is None:
            return None
        steps = sum(w.steps or 0 for w in windows)
        train_j = math.fsum(w.phases.get("train", 0.0) for w in windows)
        return StepEnergy(train_j / steps, steps / len(windows), math.fsum(w.duration_s for w in windows) / len(windows))

    @property
    def energy_per_sample_j(self) -> float | None:
        """Joules a sample: of training alone in a ``fit``, of the whole stage in a test or prediction; None if unknown.

        As in ``step_energy`` a process's first epoch, which warms up, is left out; it is in the figure where there is no other.
        """
        phase = "train" if self.kind == "fit" else self.kind
        warm = [epoch for epoch in warmed_up(self.epochs, self.segments) if epoch.samples]
        windows = warm or [epoch for epoch in self.epochs if epoch.samples]
        samples = sum(epoch.samples or 0 for epoch in windows) if windows else self.samples
        joules = math.fsum(window.phases.get(phase, 0.0) for window in windows or (self,))
        return joules / samples if samples and joules and self.energy_j is not None else None

    @property
    def co2e_per_1000_samples_g(self) -> float | None:
        """Operational grams of CO2e for a thousand samples, at the run's grams per joule; None if unknown."""
        each_j = self.energy_per_sample_j
        return None if each_j is None or self.co2e_g is None or not self.energy_j else 1000 * each_j * self.co2e_g / self.energy_j

    def to_dict(self, *, epochs: bool = True) -> dict[str, Any]:
        """Plain types only; ``epochs=False`` leaves the per-epoch records and what is kept over time out."""
        data = _fields(self, () if epochs else ("epochs", "blocks", "energy_series", "readings"))
        return {**data, **{name: getattr(self, name) for name in DERIVED}, **self.extra}

    def to_json(self, *, epochs: bool = True) -> str:
        """JSON without NaN or infinity."""
        return json.dumps(self.to_dict(epochs=epochs), allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        known = {f.name for f in dataclasses.fields(cls)} - {"extra"}
        values = {key: value for key, value in data.items() if key in known}
        for key in ("epochs", "blocks"):
            values[key] = tuple(EpochFootprint.from_dict(row) for row in values.get(key) or ())
        for key in ("sensors", "segments", "assumptions", "budget", "tags", "notes", "readings"):
            values[key] = tuple(values.get(key) or ())
        extra = {key: value for key, value in data.items() if key not in known and key not in DERIVED}
        return cls(**values, extra=extra)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote, of this or a later version.

        Raises:
            ConfigError: If the text is no such record.
        """
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(f"this is no record of a run: {type(error).__name__}. Expected what to_json() wrote.") from error

    def to_html(self) -> str:
        """One self-contained HTML page; with its figures and boundary where the extra ``report`` is installed."""
        from fitprint.report.html import report_page

        return report_page(self)

    def to_markdown(self) -> str:
        """A report in Markdown, as for a pull request; needs the extra ``report`` (MissingExtraError)."""
        from fitprint.report.document import of_runs
        from fitprint.report.markdown import markdown

        return markdown(of_runs([self]))

    def to_latex(self) -> str:
        r"""A paragraph and a table for ``\input``, then BibTeX entries; needs the extra ``report`` (MissingExtraError)."""
        from fitprint.report.document import of_runs
        from fitprint.report.latex import latex

        return latex(of_runs([self]))

    def to_model_card(self) -> str:
        """Hugging Face's ``co2_eq_emissions``, as YAML; FitprintError where the grams are unknown."""
        from fitprint.report.card import card
        from fitprint.report.document import of_runs

        return card(of_runs([self]))

    def to_pandas(self) -> Any:
        """A DataFrame, a row an epoch and one for the rest of the run; needs pandas (MissingExtraError)."""
        from fitprint.report.rows import frame

        return frame([self])

    def __str__(self) -> str:
        from fitprint.report.text import summary

        return summary(self)

    def _repr_html_(self) -> str:
        from fitprint.report.html import fragment

        return fragment(self)


def continued(before: Footprint, now: Footprint) -> Footprint:
    """Join the record of a resumed run with what it had already spent: sums, unions, both segments.

    Args:
        before: The run up to the point from which it was resumed.
        now: The run since then, under the same run id.
    """
    kept: dict[str, Any] = {name: getattr(before, name) for name in _KEPT if getattr(now, name) is None}
    summed: dict[str, Any] = {name: _sum([getattr(before, name), getattr(now, name)]) for name in _SUMMED}
    weighted: dict[str, Any] = {name: _mean(name, before, now) for name in ("intensity", "pue", "node_factor", "measured_fraction")}
    return dataclasses.replace(
        now,
        **summed,
        **weighted,
        **kept,
        started_at=before.started_at,
        coverage=_least([before.coverage, now.coverage]),
        by_part=_merged(before.by_part, now.by_part),
        phases=_merged(before.phases, now.phases),
        sensors=_united(before.sensors, now.sensors),
        epochs=before.epochs + now.epochs,
        blocks=before.blocks + now.blocks,
        segments=before.segments + now.segments,
        hparams={**(before.hparams or {}), **(now.hparams or {})} or None,
        seed=before.seed if now.seed is None else now.seed,
        git_commit=now.git_commit or before.git_commit,
        energy_series=_joined(before.energy_series, now.energy_series),
        readings=before.readings + now.readings,
        assumptions=now.assumptions + tuple(row for row in before.assumptions if row not in now.assumptions),
        tags=tuple(dict.fromkeys(before.tags + now.tags)),
        notes=tuple(dict.fromkeys(before.notes + now.notes)),
        extra={**before.extra, **now.extra},
    )


def warmed_up(windows: Sequence[EpochFootprint], segments: Iterable[Mapping[str, Any]]) -> list[EpochFootprint]:
    """Those that hold no warm-up: neither the first of a process nor one that comes after a window that was cut short.

    Args:
        windows: Epochs or blocks, in order.
        segments: The run's.
    """
    begins = ["", *(str(row.get("started_at") or "") for row in segments)]
    first = {next((i for i, window in enumerate(windows) if window.started_at >= begin), 0) for begin in begins}
    return [window for i, window in enumerate(windows) if i not in first and windows[i - 1].complete]


# What a later process may not know or may not be told again.
_KEPT = ("project", "name", "currency", "parameters", "batch_size", "launch", "forked_from", "inherited")
_SUMMED = (
    "duration_s",
    "energy_j",
    "energy_low_j",
    "energy_high_j",
    "outside_epochs_j",
    "facility_energy_kwh",
    "co2e_g",
    "co2e_low_g",
    "co2e_high_g",
    "overhead_cpu_s",
    "gross_energy_j",
    "above_idle_j",
    "node_energy_j",
    "embodied_g",
    "water_l",
    "market_based_g",
    "cost",
)


def _joined(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if before is None or now is None:
        return now or before
    return Timeline.from_dict(before).joined(Timeline.from_dict(now)).to_dict()


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _merged(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    return {key: math.fsum([a.get(key, 0.0), b.get(key, 0.0)]) for key in [*a, *(key for key in b if key not in a)]}


def _united(a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Each sensor once, with the joules of both."""
    rows: dict[str, Mapping[str, Any]] = {}
    for row in (*a, *b):
        energy_j = _sum([rows.get(row["id"], {}).get("energy_j"), row.get("energy_j")])
        rows[row["id"]] = {**row, "energy_j": energy_j}
    return tuple(rows.values())


def _mean(name: str, a: Footprint, b: Footprint) -> float | None:
    """Mean over the joules of both."""
    pairs = [(getattr(f, name), f.energy_j) for f in (a, b) if getattr(f, name) is not None and f.energy_j]
    total = math.fsum(joules for _, joules in pairs)
    return math.fsum(value * joules for value, joules in pairs) / total if total else getattr(b, name)


def _fields(record: Footprint | EpochFootprint, skipped: Iterable[str] = ()) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(record) if f.name not in ("extra", *skipped)]
    return {name: _plain(getattr(record, name)) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, EpochFootprint):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
