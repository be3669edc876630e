"""What a report says, before any markup: one content for Markdown, LaTeX and HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fitprint.report.boundary import basis, not_counted
from fitprint.report.facts import Fact, citable, facts, unknown
from fitprint.report.text import FIRST_LINE
from fitprint.units import format_co2e, format_duration, format_energy, format_share, significant

if TYPE_CHECKING:
    from fitprint.footprint import Footprint

# A table of more runs is read by nobody, and a pull request takes no text of that length; those of the most energy are shown.
MOST_RUNS = 50
DOING = {
    "fit": "Training",
    "validate": "Validation of",
    "test": "The test of",
    "predict": "Prediction with",
    "command": "Running",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text.

    Attributes:
        title: Its heading.
        head: Titles of the columns.
        rows: Cells, as many in each row as columns.
        numbers: Whether the cells are figures.
        words: Columns from the left that are none.
        note: A sentence under it.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: bool = False
    words: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Sums over what is reported, each joule once; None where unknown."""

    energy_j: float | None
    energy_low_j: float | None
    energy_high_j: float | None
    facility_energy_kwh: float | None
    co2e_g: float | None
    co2e_low_g: float | None
    co2e_high_g: float | None

    @classmethod
    def of(cls, record: Any) -> Amounts:
        """From a record that has these fields: a Footprint or a Union."""
        return cls(**{name: getattr(record, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Document:
    """One report.

    Attributes:
        title: Plain text, as all of the following.
        runs: The runs that it is about.
        amounts: Their sums.
        lead: Sentences of a paragraph that can stand alone.
        facts: Label and text of each figure, with the sources to cite.
        tables: Further tables.
        basis: How grams are accounted for, in one sentence.
        not_counted: What they leave out.
        advice: What would have made them fewer, sentences with figures of the runs.
    """

    title: str
    runs: tuple[Footprint, ...]
    amounts: Amounts
    lead: tuple[Fact, ...]
    facts: tuple[Fact, ...]
    tables: tuple[Table, ...]
    basis: str
    not_counted: tuple[str, ...]
    advice: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of all figures, each once."""
        return tuple(dict.fromkeys(source for fact in (*self.lead, *self.facts) for source in fact.sources))


def of_runs(
    runs: Sequence[Footprint],
    amounts: Amounts | None = None,
    *,
    title: str | None = None,
    tables: Iterable[Table] = (),
    advice: Iterable[str] = (),
    every_run: bool = False,
) -> Document:
    """Put together what there is to say about runs.

    Args:
        runs: At least one.
        amounts: Their sums; not needed for a single run.
        title: The heading; by default the name of the single run.
        tables: More tables, such as a project's total.
        advice: Sentences about what would have made them smaller.
        every_run: List all runs, however many there are.
    """
    sums = amounts or Amounts.of(runs[0])
    several = (_table_of_runs(runs, len(runs) if every_run else MOST_RUNS),) if len(runs) > 1 else ()
    return Document(
        title=title or f"Footprint of {_called(runs)}",
        runs=tuple(runs),
        amounts=sums,
        lead=tuple(_lead(runs, sums)),
        facts=facts(runs, sums),
        tables=(*several, *tables),
        basis=basis(runs),
        not_counted=not_counted(runs),
        advice=tuple(advice),
    )


def _called(runs: Sequence[Footprint]) -> str:
    if len(runs) == 1:
        return runs[0].name or runs[0].run_id
    projects = {run.project for run in runs}
    of = f" of {runs[0].project}" if len(projects) == 1 and runs[0].project else ""
    return f"{len(runs)} runs{of}"


def _lead(runs: Sequence[Footprint], sums: Amounts) -> Iterable[Fact]:
    """A paragraph for a paper: what comes first is what is missing."""
    for note in dict.fromkeys(note for run in runs for note in run.notes if note.startswith(FIRST_LINE)):
        yield Fact("", f"{note}.")
    if sums.energy_j is None:
        yield Fact("", f"The energy of {_called(runs)} is unknown: nothing was measured or modelled.")
        return
    time = format_duration(math.fsum(run.duration_s for run in runs))
    energy = f"{format_energy(sums.energy_j)} of electricity at the hardware"
    ends = f"95 % interval {format_energy(sums.energy_low_j)} to {format_energy(sums.energy_high_j)}"
    grams = f"{format_co2e(sums.co2e_g)} CO2e ({format_co2e(sums.co2e_low_g)} to {format_co2e(sums.co2e_high_g)})"
    yield Fact("", f"{_what(runs)} used {energy} ({ends}) in {time} and emitted {grams}.")
    yield Fact("", f"{_share(runs)} of the energy was measured{_modelled(runs)}.")
    yield _factors(runs)


def _what(runs: Sequence[Footprint]) -> str:
    if len(runs) > 1:
        return f"The {_called(runs)}"
    return f"{DOING.get(runs[0].kind, 'The run')} {_called(runs)}"


def measured_share(runs: Iterable[Footprint]) -> float | None:
    """Share of the joules that counters and gauges saw; None where none is known."""
    pairs = [(run.measured_fraction, run.energy_j) for run in runs if run.measured_fraction is not None and run.energy_j]
    total = math.fsum(joules for _, joules in pairs)
    return math.fsum(share * joules for share, joules in pairs) / total if total else None


def _share(runs: Sequence[Footprint]) -> str:
    share = measured_share(runs)
    return "An unknown share" if share is None else format_share(share)


def _modelled(runs: Sequence[Footprint]) -> str:
    share = measured_share(runs)
    return ", the rest modelled" if share is not None and share < 1 else ""


def _factors(runs: Sequence[Footprint]) -> Fact:
    """The three factors with their sources, where all runs have the same."""
    rows = [row for run in runs for row in run.assumptions if row["name"] in ("intensity", "pue", "node_factor")]
    sources = tuple(dict.fromkeys(source for row in rows for source in citable(row)))
    texts = (_factor(runs, "intensity", " g CO2e/kWh"), _factor(runs, "pue", ""), _factor(runs, "node_factor", ""))
    text = f"Carbon intensity of electricity: {texts[0]}; PUE: {texts[1]}; node factor (the machine over its sensors): {texts[2]}."
    return Fact("", text, sources)


def _factor(runs: Sequence[Footprint], name: str, unit: str) -> str:
    values = sorted({value for run in runs if (value := getattr(run, name)) is not None})
    if not values:
        return unknown(None)
    ends = significant(values[0]) if values[0] == values[-1] else f"{significant(values[0])} to {significant(values[-1])}"
    return f"{ends}{unit}"


def _table_of_runs(runs: Sequence[Footprint], most: int) -> Table:
    head = ("run", "name", "status", "started (UTC)", "time", "energy", "CO2e", "95 % interval", "measured")
    more, note = len(runs) - most, ""
    if more > 0:
        runs = sorted(runs, key=lambda run: run.energy_j or 0.0, reverse=True)[:most]
        note = f"These {most:,} used the most energy; {more:,} more are in the sums. The option --all lists all of them."
    return Table("Runs", head, tuple(_run_cells(run) for run in runs), numbers=True, words=4, note=note)


def _run_cells(run: Footprint) -> tuple[str, ...]:
    interval = f"{format_co2e(run.co2e_low_g)} to {format_co2e(run.co2e_high_g)}"
    amounts = (format_duration(run.duration_s), format_energy(run.energy_j), format_co2e(run.co2e_g), interval)
    started = run.started_at[:16].replace("T", " ")
    return (run.run_id, run.name or "", run.status, started, *amounts, format_share(run.measured_fraction))


def pairs_table(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    """A table of labels and texts."""
    return Table(title, ("", ""), tuple(rows))
