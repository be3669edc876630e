"""What a whole project emitted: every run, those that failed or were repeated included."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fitprint.clock import iso_utc
from fitprint.configurations import known_metric, telling_metric
from fitprint.errors import LedgerError
from fitprint.footprint import Footprint
from fitprint.ledger.selection import Ledgers, recorded
from fitprint.metrics import chosen_mode
from fitprint.report.text import FIRST_LINE
from fitprint.sensitivity import Sensitivity, sensitivities
from fitprint.union import shared_out, twice_j
from fitprint.units import format_energy

# Less than this is what runs settle late, and the rounding of their readings.
LEAST_TWICE_J = 1.0


@dataclass(frozen=True)
class ProjectTotal:
    """The sum of a project's runs. A nested run is counted inside its parent, a forked one beside the first, and what
    several runs saw of one device at one time is counted once.

    The ends of the intervals are added up: runs share their factors (place, PUE, node factor), so that their
    errors do not average out. Unknown is None, never 0.

    Attributes:
        project: Its name.
        runs: Number of runs, those inside others left out.
        nested: Number of runs inside others.
        by_status: Runs and grams of each status.
        energy_j: Joules at the sensors, with ``energy_low_j`` and ``energy_high_j``.
        co2e_g: Grams, with ``co2e_low_g`` and ``co2e_high_g``.
        measured_fraction: Joules of counters and integrated gauges over all.
        embodied_g: Embodied grams beside them, where they are known.
        duration_s: The runs' times added up.
        gpu_hours: Hours of all counted GPUs; None where no run counted one.
        started_at: Start of the first run.
        ended_at: End of the last one.
        final_run_id: The run that came of it, or None.
        final_co2e_g: Its grams.
        final_share: Its share of all grams.
        metric: The metric of ``sensitivity``, or None.
        sensitivity: The hyperparameters that were varied, those that mattered most first.
        notes: What a reader has to know.
    """

    project: str
    runs: int
    nested: int
    by_status: Mapping[str, Mapping[str, float | int | None]]
    energy_j: float | None
    energy_low_j: float | None
    energy_high_j: float | None
    co2e_g: float | None
    co2e_low_g: float | None
    co2e_high_g: float | None
    measured_fraction: float | None
    embodied_g: float | None
    duration_s: float
    gpu_hours: float | None
    started_at: str
    ended_at: str
    final_run_id: str | None
    final_co2e_g: float | None
    final_share: float | None
    metric: str | None
    sensitivity: tuple[Sensitivity, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return dataclasses.asdict(self)


def project_total(
    project: str, *, ledger: Ledgers = None, final: str | None = None, metric: str | None = None, mode: str = "auto"
) -> ProjectTotal:
    """Add up all recorded runs of a project.

    Args:
        project: Its name.
        ledger: The ledger's file, or several; by default the one that a run started here would use.
        final: Id of the run that came of it; by default the last one that was started and ended well.
        metric: The metric by which hyperparameters are judged; by default a held-out score or loss.
        mode: ``max`` where a larger metric is better, ``min`` where a smaller one is, ``auto`` by its name.

    Raises:
        FitprintError: If there is no such project or final run.
        ConfigError: If an option makes no sense.
    """
    return _total(project, recorded(ledger, project=project), final, metric, mode)


def launch_total(run_id: str, *, ledger: Ledgers = None) -> ProjectTotal:
    """Add up the runs of all processes that a launcher has started together and that did not exchange what they used.

    Args:
        run_id: One of these runs.
        ledger: The ledger's file, or several, where each process had its own.

    Raises:
        FitprintError: If there is no such run.
    """
    return _total(run_id, recorded(ledger, launched_with=run_id), None, None, "auto")


def runs_total(run_ids: Iterable[str], *, ledger: Ledgers = None) -> ProjectTotal:
    """Add up some recorded runs, of any project.

    Args:
        run_ids: At least one.
        ledger: The ledger's file, or several; by default the one that a run started here would use.

    Raises:
        FitprintError: If there is no such run.
    """
    return _total("", recorded(ledger, run_ids=run_ids), None, None, "auto")


def _total(project: str, everything: Sequence[Footprint], final: str | None, metric: str | None, mode: str) -> ProjectTotal:
    inside = _nested(everything)
    charged = [run for run in everything if run.run_id not in inside]
    runs = shared_out(charged)
    counted = {run.run_id: run for run in runs}
    last = _final([counted.get(run.run_id, run) for run in everything], final)
    total_g = _sum(run.co2e_g for run in runs)
    name = telling_metric(everything) if metric is None else known_metric(metric, everything)
    return ProjectTotal(
        project=project,
        runs=len(runs),
        nested=len(inside),
        by_status=_by_status(runs),
        **{field: _sum(getattr(run, field) for run in runs) for field in _SUMMED},
        co2e_g=total_g,
        measured_fraction=_measured(runs),
        duration_s=math.fsum(run.duration_s for run in runs),
        gpu_hours=_sum(_gpu_hours(run) for run in runs),
        started_at=min((run.started_at for run in runs if run.started_at), default=""),
        ended_at=max(_ended_at(run) for run in runs),
        final_run_id=last.run_id if last else None,
        final_co2e_g=last.co2e_g if last else None,
        final_share=last.co2e_g / total_g if last and last.co2e_g is not None and total_g else None,
        metric=name,
        sensitivity=sensitivities(everything, name, chosen_mode(mode, name)) if name else (),
        notes=_notes(runs, twice_j(charged, runs)),
    )


_SUMMED = ("energy_j", "energy_low_j", "energy_high_j", "co2e_low_g", "co2e_high_g", "embodied_g")


def _nested(runs: Sequence[Footprint]) -> set[str]:
    """Runs that one of the others has inside."""
    ids = {run.run_id for run in runs}
    return {run.run_id for run in runs if run.parent_run_id in ids}


def _final(runs: Sequence[Footprint], wanted: str | None) -> Footprint | None:
    """The run that was asked for, else the last training that ended well."""
    if wanted is None:
        return next((run for run in reversed(runs) if run.kind == "fit" and _came_to_something(run)), None)
    for run in runs:
        if run.run_id == wanted:
            return run
    raise LedgerError(f"the project has no run {wanted!r}. `fitprint runs` lists those it has.")


def _came_to_something(run: Footprint) -> bool:
    """A run that a spent budget let train nothing has left no model."""
    return run.status == "completed" or (run.status == "stopped" and bool(run.epochs))


def _by_status(runs: Sequence[Footprint]) -> dict[str, dict[str, float | int | None]]:
    statuses = sorted({run.status for run in runs})
    groups = {status: [run for run in runs if run.status == status] for status in statuses}
    return {status: {"runs": len(group), "co2e_g": _sum(run.co2e_g for run in group)} for status, group in groups.items()}


def _gpu_hours(run: Footprint) -> float | None:
    boards = [row for row in run.sensors if row.get("part") == "gpu" and row.get("role", "counted") == "counted"]
    return len(boards) * run.duration_s / 3600 if boards else None


def _measured(runs: Sequence[Footprint]) -> float | None:
    pairs = [(run.measured_fraction, run.energy_j) for run in runs if run.measured_fraction is not None and run.energy_j]
    return math.fsum(share * joules for share, joules in pairs) / math.fsum(j for _, j in pairs) if pairs else None


def _ended_at(run: Footprint) -> str:
    return iso_utc(datetime.fromisoformat(run.started_at).timestamp() + run.duration_s) if run.started_at else ""


def _notes(runs: Sequence[Footprint], twice: float) -> tuple[str, ...]:
    """What is not counted, or only modelled, comes first."""
    dark = sum(run.energy_j is None for run in runs)
    notes = [f"NOT COUNTED: {dark} of the {len(runs)} runs, of which nothing was measured or modelled"] if dark else []
    missing = Counter(note for run in runs for note in run.notes if note.startswith(FIRST_LINE))
    notes += [f"{note} (in {count} of the {len(runs)} runs)" for note, count in missing.items()]
    open_ones = sum(run.status == "running" for run in runs)
    if open_ones:
        notes.append(f"{open_ones} still running: counted as far as they are recorded")
    if twice >= LEAST_TWICE_J:
        notes.append(f"{format_energy(twice)} that runs which overlapped on one machine had both been charged are counted once")
    notes.append("the ends of the interval are added up, for the runs share their factors: errors do not average out")
    return tuple(notes)


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None
