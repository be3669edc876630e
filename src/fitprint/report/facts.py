"""Each figure of a report with its source, and what is not known said so."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fitprint.readings import device_of
from fitprint.report.text import details, parts_line
from fitprint.units import J_PER_KWH, format_co2e, format_duration, format_energy, format_flops, format_share, significant

if TYPE_CHECKING:
    from fitprint.footprint import Footprint
    from fitprint.report.document import Amounts

LABELS = {"region": "place", "intensity": "carbon intensity", "pue": "PUE", "node_factor": "node factor"}
# Lines of the summary that are among the facts in more detail.
COVERED = ("energy", "model", "place", "factors")
UNITS = {"g/kWh": " g CO2e/kWh", "1": ""}


@dataclass(frozen=True, slots=True)
class Fact:
    """A labelled figure.

    Attributes:
        label: What it is.
        text: The figure with its unit, and where it comes from.
        sources: Sources to cite, as the assumptions name them.
        brief: The text without what the figure counts, where there is little room.
    """

    label: str
    text: str
    sources: tuple[str, ...] = ()
    brief: str = ""

    @property
    def short(self) -> str:
        """The brief text where there is one."""
        return self.brief or self.text


def unknown(text: str | None) -> str:
    """The text; ``unknown`` where there is none."""
    return text or "unknown"


def facts(runs: Sequence[Footprint], sums: Amounts) -> tuple[Fact, ...]:
    """All that a reader needs in order to check the grams."""
    return (*_amounts(sums), *_methods(runs), *_assumed(runs), *_work(runs), *_about(runs))


def _amounts(sums: Amounts) -> Iterable[Fact]:
    grams = f"{format_co2e(sums.co2e_low_g)} to {format_co2e(sums.co2e_high_g)}"
    joules = f"{format_energy(sums.energy_low_j)} to {format_energy(sums.energy_high_j)}"
    facility = sums.facility_energy_kwh
    yield Fact("CO2e", f"{format_co2e(sums.co2e_g)} (95 % interval {grams})")
    yield Fact("energy at the hardware", f"{format_energy(sums.energy_j)} (95 % interval {joules})")
    yield Fact("with machine and building", unknown(None if facility is None else format_energy(facility * J_PER_KWH)))


def _methods(runs: Sequence[Footprint]) -> Iterable[Fact]:
    if len(runs) == 1:
        yield Fact("energy by part", unknown(parts_line(runs[0])))
    else:
        yield Fact("parts", unknown(_listed(_part(row) for run in runs for row in _counted(run))))
    shares = sorted({run.measured_fraction for run in runs if run.measured_fraction is not None})
    yield Fact("measured", _range([format_share(share) for share in shares]) + " of the energy")
    seen = sorted({run.coverage for run in runs if run.coverage is not None})
    yield Fact("coverage", _range([format_share(share) for share in seen]) + " of the time")
    yield Fact("sensors", unknown(_listed(str(row["source"]) for run in runs for row in _counted(run))))
    yield Fact("hardware", _hardware(runs))


def _range(texts: Sequence[str]) -> str:
    if not texts:
        return "unknown"
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def _part(row: Mapping[str, Any]) -> str:
    return f"{row['part']} ({row['method']})"


def _counted(run: Footprint) -> list[Mapping[str, Any]]:
    return [row for row in run.sensors if row.get("role", "counted") not in ("gross", "node")]


def _listed(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _hardware(runs: Sequence[Footprint]) -> str:
    """How many of what, as the sensors name it; machines have no names."""
    kinds = {_boards(run) for run in runs}
    hosts = max((len({segment.get("host") for segment in run.segments}) for run in runs), default=0)
    machines = f" in {hosts} machine{'s' if hosts != 1 else ''}" if hosts else ""
    return "; ".join(sorted(kinds - {""})) + machines if kinds - {""} else "unknown"


def _boards(run: Footprint) -> str:
    devices = {device_of(str(row["id"])): _device(row) for row in _counted(run) if row["part"] != "dram"}
    models = sorted({str(segment["cpu"]) for segment in run.segments if segment.get("cpu")})
    cpu = f"CPU ({' or '.join(models)})" if models else "CPU"
    names = Counter(cpu if name == "CPU" else name for name in devices.values())
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in names.items())


def _device(row: Mapping[str, Any]) -> str:
    """The board's name stands behind the name of its source, as in ``NVML total energy counter, NVIDIA H100``."""
    source = str(row["source"])
    if row["part"] != "gpu" or "," not in source:
        return str(row["part"]).upper()
    return source.split(",")[1].partition(":")[0].strip() or "GPU"


def _assumed(runs: Sequence[Footprint]) -> Iterable[Fact]:
    """Every figure that was not measured, once."""
    seen: set[tuple[str, str, str]] = set()
    rows = [row for run in runs for row in run.assumptions]
    for name in LABELS:
        if not any(row["name"] == name for row in rows):
            yield Fact(LABELS[name], "unknown")
    for row in sorted(rows, key=lambda row: list(LABELS).index(row["name"]) if row["name"] in LABELS else len(LABELS)):
        key = (str(row["name"]), str(row["value"]), str(row["source"]))
        if key not in seen:
            seen.add(key)
            label = LABELS.get(str(row["name"]), str(row["name"]).replace("_", " "))
            yield Fact(label, figure(row), citable(row), figure(row, brief=True))


def figure(row: Mapping[str, Any], *, brief: bool = False) -> str:
    """``"41.4 g CO2e/kWh (29 to 55.9), 2025, lifecycle; Ember (2026)"``; what it counts is left out where it is to be brief."""
    if row["name"] == "region":
        return f"{row['source']} ({row['value']}), {row['basis']}"
    year = "" if row["year"] is None else f", {row['year']}"
    counts = "" if brief else f", {row['basis']}"
    return f"{_value(row)}{_ends(row)}{year}{counts}; {row['source']}"


def citable(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The source of a figure, where it was published: then its year is known."""
    return () if row["year"] is None else (str(row["source"]),)


def _value(row: Mapping[str, Any]) -> str:
    value = row["value"]
    number = significant(value) if isinstance(value, int | float) else unknown(value)
    return number + UNITS.get(str(row["unit"]), f" {row['unit']}")


def _ends(row: Mapping[str, Any]) -> str:
    low, high = row["low"], row["high"]
    return "" if low is None or high is None or low == high else f" ({significant(low)} to {significant(high)})"


def _work(runs: Sequence[Footprint]) -> Iterable[Fact]:
    yield Fact("time", format_duration(math.fsum(run.duration_s for run in runs)))
    yield Fact("epochs", f"{sum(len(run.epochs) for run in runs):,}")
    yield Fact("parameters", _values(f"{run.parameters:,}" for run in runs if run.parameters))
    operations = [run.flops for run in runs if run.flops]
    flops = "unknown" if len(operations) < len(runs) else f"{format_flops(math.fsum(operations))} of training"
    yield Fact("FLOPs", flops)


def _values(texts: Iterable[str]) -> str:
    return unknown(", ".join(dict.fromkeys(texts)))


def _about(runs: Sequence[Footprint]) -> Iterable[Fact]:
    yield Fact("started", unknown(_range(sorted(run.started_at[:19].replace("T", " ") for run in runs))) + " (UTC)")
    yield Fact("status", _values(run.status for run in runs))
    if len(runs) > 1:
        return
    run = runs[0]
    yield Fact("run", run.run_id)
    told = [("project", run.project), ("commit", run.git_commit), ("batch size", run.batch_size and f"{run.batch_size:,}")]
    yield from (Fact(label, str(text)) for label, text in told if text)
    yield from (Fact(label, text) for label, text in details(run) if label not in COVERED)
