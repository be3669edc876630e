"""A project's total in a few plain lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fitprint.report.text import FIRST_LINE
from fitprint.units import format_co2e, format_duration, format_energy, format_share, significant

if TYPE_CHECKING:
    from fitprint.project import ProjectTotal


def total_headline(total: ProjectTotal) -> str:
    """One line: grams with interval, runs, days; what is not counted comes first."""
    interval = f"{format_co2e(total.co2e_low_g)} to {format_co2e(total.co2e_high_g)}"
    when = f"{total.started_at[:10]} to {total.ended_at[:10]}"
    runs = f"{total.runs:,} run{'s' if total.runs != 1 else ''}"
    missing = "".join(f"{note}, " for note in total.notes if note.startswith(FIRST_LINE))
    return f"{missing}{total.project}: {format_co2e(total.co2e_g)} CO2e ({interval}), {runs}, {when}"


def total_details(total: ProjectTotal) -> Iterable[tuple[str, str]]:
    """Label and text of each further line."""
    yield "runs", ", ".join(_status(status, row["runs"], row["co2e_g"]) for status, row in total.by_status.items())
    if total.nested:
        yield "nested", f"{total.nested:,} more inside them, in their grams"
    gpus = "" if total.gpu_hours is None else f", {significant(total.gpu_hours)} GPU-hours"
    yield "energy", f"{format_energy(total.energy_j)}, {format_share(total.measured_fraction)} of it measured"
    yield "time", f"{format_duration(total.duration_s)}{gpus}"
    if total.embodied_g is not None:
        yield "beside it", f"{format_co2e(total.embodied_g)} CO2e embodied"
    if total.final_share is not None:
        yield "final run", f"{total.final_run_id}: {format_co2e(total.final_co2e_g)}, {_percent(total.final_share)} of all"


def _status(status: str, runs: float | None, grams: float | None) -> str:
    return f"{runs:,} {status} ({format_co2e(grams)})"


def _percent(share: float) -> str:
    return format_share(share) if share >= 0.1 else f"{significant(100 * share, 2)} %"
