"""Grams of a finished run, worked out again from intensities over time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fitprint.carbon.figure import Figure, product
from fitprint.carbon.hourly import HourlySeries
from fitprint.carbon.intensity import Intensity
from fitprint.errors import ConfigError
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.timeline import Timeline
from fitprint.units import format_share, kwh

# Joules of a run that its series over time may miss, as where its end was not written, before it is said.
UNMARKED = 0.01


def regrams(footprint: Footprint | Mapping[str, Any], series: HourlySeries) -> Footprint:
    """The record of a run with its grams worked out again from an intensity series.

    Energy, node factor and PUE stay as they are. Grams of epochs, blocks and segments use the intensity of
    their own time, or the run's where the series knows too little of it.

    Args:
        footprint: A record that holds ``energy_series``, or its ``to_dict``.
        series: Intensities of the time of the run.

    Raises:
        ConfigError: If the run kept no energy over time, or the series covers less than half of it.
    """
    record = footprint if isinstance(footprint, Footprint) else Footprint.from_dict(footprint)
    kept = record.energy_series
    if not kept or record.energy_j is None or record.co2e_g is None:
        raise ConfigError(f"run {record.run_id} holds no energy over time: its grams cannot be worked out by the hour.")
    timeline = Timeline.from_dict(kept)
    mean = series.during(timeline)
    if mean is None:
        raise series.says_too_little(timeline)
    hours = _Hours(series, timeline, mean, _per_kwh(record), _others(record))
    grams = hours.grams(record.energy_j, hours.mean)
    rows = [row for row in record.assumptions if row["name"] not in ("intensity", "intensity_stand_in")]
    return dataclasses.replace(
        record,
        co2e_g=grams.value,
        co2e_low_g=grams.low,
        co2e_high_g=grams.high,
        intensity=hours.mean.g_per_kwh,
        epochs=tuple(map(hours.epoch, record.epochs)),
        blocks=tuple(map(hours.epoch, record.blocks)),
        segments=tuple(map(hours.segment, record.segments)),
        assumptions=(*rows, hours.mean.assumption().to_dict()),
        notes=(*record.notes, *series.notes, *series.gaps(timeline), *_doubts(record, timeline)),
    )


@dataclass(frozen=True, slots=True)
class _Hours:
    """Joules to grams by the time at which they were used.

    Attributes:
        series: Intensities.
        timeline: The run's energy over time.
        mean: Intensity of the whole run.
        per_kwh: kWh with the losses of machine and building, over kWh at the sensors.
        others: What else makes the interval, as ratios to 1: energy, node factor, PUE.
    """

    series: HourlySeries
    timeline: Timeline
    mean: Intensity
    per_kwh: float
    others: tuple[Figure, ...]

    def grams(self, energy_j: float, intensity: Intensity) -> Figure:
        grid = Figure(intensity.g_per_kwh, intensity.low_g_per_kwh, intensity.high_g_per_kwh)
        return Figure(*(kwh(energy_j) * self.per_kwh * end for end in product((*self.others, grid))))

    def epoch(self, epoch: EpochFootprint) -> EpochFootprint:
        if epoch.energy_j is None:
            return epoch
        grams = self.grams(epoch.energy_j, self._around(epoch.started_at, epoch.duration_s))
        return dataclasses.replace(epoch, co2e_g=grams.value, co2e_low_g=grams.low, co2e_high_g=grams.high)

    def segment(self, segment: Mapping[str, Any]) -> Mapping[str, Any]:
        intensity = self._around(segment["started_at"], segment["duration_s"])
        grams = None if segment["energy_j"] is None else self.grams(segment["energy_j"], intensity).value
        return {**segment, "intensity": intensity.g_per_kwh, "co2e_g": grams}

    def _around(self, started_at: str, duration_s: float) -> Intensity:
        start_s = datetime.fromisoformat(started_at).timestamp()
        return self.series.during(self.timeline, start_s, start_s + duration_s) or self.mean


def _per_kwh(record: Footprint) -> float:
    if record.facility_energy_kwh and record.energy_kwh:
        return record.facility_energy_kwh / record.energy_kwh
    return (record.node_factor or 1.0) * (record.pue or 1.0)


def _others(record: Footprint) -> tuple[Figure, ...]:
    energy_j = record.energy_j or 1.0
    rows = {row["name"]: row for row in reversed(record.assumptions) if row["name"] in ("node_factor", "pue")}
    figures = [Figure(energy_j, record.energy_low_j or energy_j, record.energy_high_j or energy_j)]
    figures += [Figure(row["value"], row["low"] or row["value"], row["high"] or row["value"]) for row in rows.values()]
    return tuple(Figure(1.0, one.low / one.value, one.high / one.value) for one in figures)


def _doubts(record: Footprint, timeline: Timeline) -> list[str]:
    """What the new grams cannot know."""
    places = sorted({segment["region"] for segment in record.segments})
    doubts = [f"the run was in {', '.join(places)}: one series is used for all of it"] if len(places) > 1 else []
    unmarked = 1 - timeline.total_j / (record.energy_j or 1.0)
    return doubts + (
        [f"{format_share(unmarked)} of the energy has no time: it counts with the mean"] if unmarked > UNMARKED else []
    )
