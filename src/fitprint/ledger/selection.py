"""Recorded runs of one or several ledgers, each once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from fitprint.errors import FitprintError, LedgerError, did_you_mean
from fitprint.footprint import Footprint
from fitprint.ledger.ledger import Ledger

Ledgers = str | Path | Sequence[str | Path] | None


def recorded(
    ledgers: Ledgers = None, *, project: str | None = None, run_ids: Iterable[str] = (), launched_with: str | None = None
) -> list[Footprint]:
    """Read runs, oldest first. A run that several ledgers know counts once, as the one that knows most of it has it.

    Args:
        ledgers: Files or URLs; by default the one that a run started here would use.
        project: Only runs of this project.
        run_ids: Only these runs; all of them have to be there.
        launched_with: Only this run and those of the processes that were started with its own.

    Raises:
        FitprintError: If there is no such run or project; the message names one that is near.
        LedgerError: If a file is no ledger.
    """
    opened = [Ledger(ledgers)] if ledgers is None or isinstance(ledgers, str | Path) else [Ledger(path) for path in ledgers]
    asked = dict.fromkeys(run_ids if launched_with is None else [*run_ids, launched_with])
    alone = asked.keys() if asked and project is None and launched_with is None else None  # no others need be read
    found: dict[str, Footprint] = {}
    for footprint in (footprint for ledger in opened for footprint in ledger.footprints(alone)):
        known = found.get(footprint.run_id)
        if known is None or (footprint.energy_j or 0.0) > (known.energy_j or 0.0):
            found[footprint.run_id] = footprint
    where = ", ".join(str(ledger.place) for ledger in opened)
    runs = _of_project(list(found.values()), project, where)
    missing = [run_id for run_id in asked if run_id not in found]
    if missing:
        raise LedgerError(f"{where} has no run {missing[0]!r}. `fitprint runs` lists those it has.")
    wanted = asked.keys() | (_together(found[launched_with], found.values()) if launched_with is not None else set())
    chosen = [run for run in runs if not wanted or run.run_id in wanted]
    if not chosen:
        raise FitprintError(f"no runs in {where}. Name another file with --ledger.")
    return sorted(chosen, key=lambda run: (run.started_at, run.run_id))


def _together(run: Footprint, runs: Iterable[Footprint]) -> set[str]:
    """The run, and those of the same launch; one that was started alone is all of its own."""
    return {run.run_id} | {other.run_id for other in runs if other.launch is not None and other.launch == run.launch}


def _of_project(runs: list[Footprint], project: str | None, where: str) -> list[Footprint]:
    if project is None:
        return runs
    mine = [run for run in runs if run.project == project]
    if runs and not mine:
        near = did_you_mean(project, {run.project for run in runs if run.project})
        hint = f" Did you mean {near!r}?" if near else " `fitprint runs` shows the project of each run."
        raise FitprintError(f"{where} has no run of a project {project!r}.{hint}")
    return mine
