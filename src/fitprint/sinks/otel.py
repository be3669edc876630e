"""OpenTelemetry: instruments of the meter provider that the program has set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fitprint.errors import refusal
from fitprint.footprint import Footprint
from fitprint.sinks.sink import Sink, powers

# hw.type of the semantic conventions for hardware; they know no system on a chip.
TYPES = {"gpu": "gpu", "cpu": "cpu", "dram": "memory"}
CO2E = "Operational, location-based CO2e"


class OTelSink(Sink):
    """Records ``hw.energy`` in J and ``hw.power`` in W by part, as the semantic conventions have them, and ``fitprint.co2e`` in g.

    There is no convention for CO2e, so the names are ours: ``fitprint.co2e``, ``fitprint.co2e.low`` and
    ``fitprint.co2e.high``. Counters hold what this process has used: those of a resumed run's earlier processes are
    in their own.

    Args:
        argument: None is taken.
        provider: A meter provider instead of the one that the program has set for all.
    """

    def __init__(self, argument: str = "", provider: Any = None) -> None:
        if argument:
            raise refusal("sinks", expected="'otel' alone, which takes the meter provider that is set", came=f"otel:{argument}")
        self._provider = provider
        self._instruments: dict[str, Any] = {}
        self._counted: dict[str, float] = {}
        self._powers: dict[str, float] = {}

    def begin(self, before: Footprint | None) -> None:
        from opentelemetry.metrics import get_meter_provider

        meter = (self._provider or get_meter_provider()).get_meter("fitprint")
        self._powers = {}
        self._counted = _totals(before) if before is not None else {}
        self._instruments = {
            "hw.energy": meter.create_counter("hw.energy", unit="J", description="Energy consumed by the component"),
            "hw.power": meter.create_gauge("hw.power", unit="W", description="Mean power of the component in the last epoch"),
            "fitprint.co2e": meter.create_counter("fitprint.co2e", unit="g", description=f"{CO2E} of this process"),
            "fitprint.co2e.low": meter.create_gauge("fitprint.co2e.low", unit="g", description=f"{CO2E} of the run, at least"),
            "fitprint.co2e.high": meter.create_gauge("fitprint.co2e.high", unit="g", description=f"{CO2E} of the run, at most"),
        }

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        self._powers = powers(scalars) or self._powers

    def run(self, footprint: Footprint) -> None:
        about = {"fitprint.run_id": footprint.run_id, "fitprint.project": footprint.project or ""}
        now = _totals(footprint)
        for part in footprint.by_part:
            self._count("hw.energy", now, part, {**about, **_hardware(part)})
        self._count("fitprint.co2e", now, "co2e", about)
        for part, watts in self._powers.items():
            self._instruments["hw.power"].set(watts, {**about, **_hardware(part)})
        for name, grams in (("fitprint.co2e.low", footprint.co2e_low_g), ("fitprint.co2e.high", footprint.co2e_high_g)):
            if grams is not None:
                self._instruments[name].set(grams, about)

    def close(self) -> None:
        self._instruments = {}

    def _count(self, name: str, now: Mapping[str, float], what: str, attributes: Mapping[str, str]) -> None:
        """Counters only go up: grams that are told to be less later, by a live intensity, wait until they are more."""
        more = now.get(what, 0.0) - self._counted.get(what, 0.0)
        if more > 0:
            self._instruments[name].add(more, attributes)
            self._counted[what] = now[what]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_provider": None, "_instruments": {}}


def _totals(footprint: Footprint) -> dict[str, float]:
    return {**footprint.by_part, **({} if footprint.co2e_g is None else {"co2e": footprint.co2e_g})}


def _hardware(part: str) -> dict[str, str]:
    return {"hw.id": part, "hw.type": TYPES.get(part, part)}
