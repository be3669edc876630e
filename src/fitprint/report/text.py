"""A run in a few plain lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fitprint.carbon.beside import NO_CURRENCY
from fitprint.carbon.equivalences import equivalent
from fitprint.footprint import warmed_up
from fitprint.gains import last_stretch
from fitprint.units import (
    format_co2e,
    format_duration,
    format_energy,
    format_flops,
    format_quantity,
    format_share,
    format_used,
    significant,
)

if TYPE_CHECKING:
    from fitprint.footprint import Footprint


# Notes that begin so belong into the first line: hardware that is not counted, or only modelled.
FIRST_LINE = ("NOT COUNTED", "MODELLED")


# A node factor this near to 1 is none.
SMALLEST_DIFFERENCE = 0.005


def headline(footprint: Footprint) -> str:
    """One line: grams with interval, energy, time, epochs, status; what is not counted comes first."""
    missing = [note for note in footprint.notes if note.startswith(FIRST_LINE)]
    parts = [
        *missing,
        f"{format_co2e(footprint.co2e_g)} CO2e ({interval(footprint)}{_without_node_factor(footprint)})",
        f"{format_energy(footprint.energy_j)} in {format_duration(footprint.duration_s)}",
        f"{len(footprint.epochs)} epoch{'s' if len(footprint.epochs) != 1 else ''}",
        footprint.status,
    ]
    return ", ".join(parts)


def summary(footprint: Footprint) -> str:
    """The headline and the lines that say how it came about."""
    rows = details(footprint) + [("segment", _segment(row)) for row in several_segments(footprint)]
    return "\n".join([headline(footprint), *(f"  {label:<10} {text}" for label, text in rows)])


def details(footprint: Footprint) -> list[tuple[str, str]]:
    """Label and text of each further line."""
    rows = [
        ("energy", parts_line(footprint)),
        ("phases", ", ".join(f"{phase} {format_energy(j)}" for phase, j in footprint.phases.items())),
        ("a step", _step(footprint)),
        ("a sample", _sample(footprint)),
        ("model", _model(footprint)),
        ("beside it", _beside(footprint)),
        ("place", _place(footprint.assumptions)),
        ("factors", _factors(footprint)),
        *(("budget", _budget(row, footprint.project)) for row in footprint.budget),
        ("last part", str(last_stretch(footprint) or "")),
        ("stopped", str((footprint.stop_reason or {}).get("sentence", ""))),
        ("forked", _forked(footprint)),
        ("that is", equivalent(footprint.co2e_g, footprint.energy_j or 0.0) if footprint.co2e_g else ""),
    ]
    rows += [("note", note) for note in footprint.notes if not note.startswith(FIRST_LINE)]
    return [(label, text) for label, text in rows if text]


def interval(footprint: Footprint) -> str:
    """``"8.1 g to 17 g"``."""
    return f"{format_co2e(footprint.co2e_low_g)} to {format_co2e(footprint.co2e_high_g)}"


def parts_line(footprint: Footprint) -> str:
    """Energy of each part and how it was obtained."""
    methods: dict[str, list[str]] = {}
    for sensor in footprint.sensors:
        if sensor.get("role", "counted") in ("gross", "node"):
            continue
        methods.setdefault(sensor["part"], []).append(sensor["method"])
    parts = [
        f"{part} {format_energy(j)} ({'/'.join(dict.fromkeys(methods.get(part, [])))})" for part, j in footprint.by_part.items()
    ]
    if not parts:
        return ""
    shares = f"{format_share(footprint.measured_fraction)} measured, {format_share(footprint.coverage)} of the time covered"
    return f"{', '.join(parts)}; {shares}"


def several_segments(footprint: Footprint) -> tuple[Mapping[str, Any], ...]:
    """The stretches of a run that was resumed; empty where there is only one."""
    return footprint.segments if len(footprint.segments) > 1 else ()


def segment_cells(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is said of a segment: heading and text."""
    factors = ("intensity", "pue", "node_factor")
    intensity, pue, node_factor = ("" if row.get(name) is None else significant(row[name]) for name in factors)
    return [
        ("host", str(row["host"])),
        ("region", str(row["region"])),
        ("started (UTC)", str(row["started_at"])[:19]),
        ("time", format_duration(row["duration_s"])),
        ("energy", format_energy(row["energy_j"])),
        ("CO2e", format_co2e(row["co2e_g"])),
        ("g CO2e/kWh", intensity),
        ("PUE", pue),
        ("node factor", node_factor),
        ("budget", ", ".join(row.get("budget", ())) or "none"),
    ]


def _segment(row: Mapping[str, Any]) -> str:
    cells = dict(segment_cells(row))
    factors = f"{cells['g CO2e/kWh']} g CO2e/kWh, PUE {cells['PUE']}, node factor {cells['node factor']}, budget {cells['budget']}"
    spent = f"{cells['energy']} in {cells['time']}, {cells['CO2e']} CO2e"
    return f"{cells['host']} in {cells['region']} from {cells['started (UTC)']}: {spent}; {factors}"


def _forked(footprint: Footprint) -> str:
    """What the run began with; it is the other run's."""
    spent = footprint.inherited
    if footprint.forked_from is None or spent is None:
        return ""
    inherited = f"{format_energy(spent['energy_j'])} and {format_co2e(spent['co2e_g'])} CO2e in {spent['epochs']} epochs"
    return f"from run {footprint.forked_from}, which had spent {inherited}: not counted here, but in the budget"


def _without_node_factor(footprint: Footprint) -> str:
    """What tools would say that stop at the sensors, where that is something else."""
    factor = footprint.node_factor
    if factor is None or footprint.co2e_g is None or abs(factor - 1) < SMALLEST_DIFFERENCE:
        return ""
    return f"; {format_co2e(footprint.co2e_g / factor)} without the node factor {significant(factor)}"


def _step(footprint: Footprint) -> str:
    step = footprint.step_energy
    if step is None:
        return ""
    return f"{format_energy(step.energy_j)}, from windows of {step.window_steps:.0f} steps ({format_duration(step.window_s)})"


def _sample(footprint: Footprint) -> str:
    each_j, grams = footprint.energy_per_sample_j, footprint.co2e_per_1000_samples_g
    if each_j is None:
        return ""
    after = " after the first epoch" if any(epoch.samples for epoch in warmed_up(footprint.epochs, footprint.segments)) else ""
    phase = f"in training alone{after}, " if footprint.kind == "fit" else ""
    thousand = "" if grams is None else f", {format_co2e(grams)} CO2e for 1,000"
    return f"{format_energy(each_j)}{thousand}; {phase}{footprint.samples or 0:,} samples{' in all' * bool(after)}"


def _model(footprint: Footprint) -> str:
    """The rest of what Schwartz et al. 2020 ask for beside emissions, electricity and time."""
    parts = [f"{footprint.parameters:,} parameters"] if footprint.parameters else []
    parts += [f"{format_flops(footprint.flops)} of training"] if footprint.flops else []
    parts += [f"batches of {footprint.batch_size:,}"] if footprint.batch_size else []
    return ", ".join(parts)


def _beside(footprint: Footprint) -> str:
    """What was measured and is in no sum."""
    rows = [
        (footprint.above_idle_j, "above idle"),
        (footprint.gross_energy_j, "with all of the devices that others use too"),
        (footprint.node_energy_j, "drawn by the whole machine"),
    ]
    parts = [f"{format_energy(joules)} {what}" for joules, what in rows if joules is not None]
    grams = [(footprint.embodied_g, "CO2e embodied"), (footprint.market_based_g, "CO2e market-based")]
    parts += [f"{format_co2e(g)} {what}" for g, what in grams if g is not None]
    parts += [f"{significant(footprint.water_l)} L of water"] if footprint.water_l is not None else []
    parts += [f"{footprint.cost:,.2f} {footprint.currency or NO_CURRENCY}"] if footprint.cost is not None else []
    return ", ".join(parts)


def _place(assumptions: Iterable[Mapping[str, Any]]) -> str:
    rows = {row["name"]: row for row in reversed(list(assumptions))}  # of a resumed run, where it is now
    region, intensity = rows.get("region"), rows.get("intensity")
    if region is None or intensity is None:
        return ""
    year = f"{intensity['year']}, " if intensity["year"] else ""
    figure = f"{significant(float(intensity['value']))} g CO2e/kWh ({year}{intensity['basis']}; {intensity['source']})"
    return f"{region['source']} ({region['value']}), {region['basis']}; {figure}"


def _factors(footprint: Footprint) -> str:
    """Each factor once; of a resumed run whose segments differ, the mean by energy and the sources of all."""
    labels = {"pue": "PUE", "node_factor": "node factor"}
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in footprint.assumptions:
        if row["name"] in labels:
            found.setdefault(row["name"], []).append(row)
    return ", ".join(_factor(labels[name], rows, getattr(footprint, name)) for name, rows in found.items())


def _factor(label: str, rows: Sequence[Mapping[str, Any]], mean: float | None) -> str:
    value = float(rows[0]["value"]) if mean is None or len({row["value"] for row in rows}) == 1 else mean
    return f"{label} {significant(value)} ({', '.join(dict.fromkeys(str(row['source']) for row in rows))})"


def _budget(row: Mapping[str, Any], project: str | None) -> str:
    used = row.get("used")
    share = "unknown" if used is None else format_used(used)
    limit = format_quantity(float(row["limit"]), str(row["unit"]))
    if row.get("scope") == "project":
        return f"{share} of the project's pot of {limit} used or reserved, by all runs of {project!r}"
    return f"{share} of {limit} used"
