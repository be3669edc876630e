"""What a record shows beside its operational grams: embodied and market-based grams, water, money."""

from __future__ import annotations

from typing import Any, NamedTuple

from fitprint.assumption import Assumption
from fitprint.carbon.beside import beside_rows, cost, market_based_g, water_l
from fitprint.carbon.embodied import Embodied, embodied, host_share, reserved
from fitprint.carbon.factors import Factors
from fitprint.carbon.sci import parse_functional_unit, sci_g
from fitprint.clock import NS_PER_S
from fitprint.energy import Energy
from fitprint.footprint import Footprint
from fitprint.sensors.machine import Machine
from fitprint.settings import Settings
from fitprint.units import format_co2e

S_PER_HOUR = 3600.0
SCORE = "Software Carbon Intensity, ISO/IEC 21031"


class Beside(NamedTuple):
    """The options that ask for it.

    Attributes:
        settings: The resolved options of the run.
        factors: Joules to grams.
        share: The share of the machine that the job has reserved; None where embodied grams are not asked for.
        leads: This process stands for its machine; of a job's ranks there, one does.
    """

    settings: Settings
    factors: Factors
    share: Assumption | None = None
    leads: bool = True

    @classmethod
    def of(cls, settings: Settings, factors: Factors, machine: Machine, *, leads: bool = True) -> Beside:
        """Settle what depends on the machine."""
        if not settings.config.embodied:
            return cls(settings, factors, leads=leads)
        share = host_share(machine.owned_threads, machine.threads, virtual=machine.virtual)
        return cls(settings, factors, share, leads)

    def fields(self, energy: Energy) -> dict[str, Any]:
        """The record's fields; what was not asked for is None."""
        config, facility_kwh = self.settings.config, self.factors.facility_kwh(energy)
        made = self._embodied(energy)
        hours = energy.duration_ns / NS_PER_S / S_PER_HOUR
        pue = float(self.factors.pue.value or 1)
        bought = config.market_intensity
        return {
            "embodied_g": made.g if made else None,
            "water_l": water_l(self.factors.wall_j(energy), pue, _pair(config.water)) if config.water else None,
            "market_based_g": market_based_g(facility_kwh, bought) if bought is not None else None,
            "cost": cost(facility_kwh, hours * max(int(self.leads), len(reserved(energy))), config.price, config.price_per_hour),
            "currency": config.currency,
        }

    def assumptions(self, energy: Energy) -> tuple[Assumption, ...]:
        """What the fields rest on."""
        config, made = self.settings.config, self._embodied(energy)
        rows = beside_rows(
            self.settings.given_by,
            water=_pair(config.water) if config.water else None,
            market_intensity=config.market_intensity,
            price=config.price,
            price_per_hour=config.price_per_hour,
            currency=config.currency,
        )
        return rows + (made.assumptions if made else ())

    def score(self, footprint: Footprint) -> str:
        """The Software Carbon Intensity as a sentence; empty where it is not asked for or a count is not known."""
        text = self.settings.config.functional_unit
        if not text:
            return ""
        unit = parse_functional_unit(text)
        grams = sci_g(footprint.co2e_g, footprint.embodied_g, unit, _counts(footprint))
        if grams is None:
            return f"no score per {unit}: embodied grams (embodied=True) and the number of {unit.of}s have to be known ({SCORE})"
        return f"{format_co2e(grams)} CO2e per {unit}, operational and embodied ({SCORE})"

    def _embodied(self, energy: Energy) -> Embodied | None:
        if self.share is None:
            return None
        options = self.settings.config.embodied
        return embodied(
            energy.duration_ns / NS_PER_S,
            accelerators=reserved(energy),
            host=self.factors.chassis.kind if self.leads else None,
            share=self.share,
            options=options if isinstance(options, dict) else None,
        )


def _counts(footprint: Footprint) -> dict[str, float | None]:
    """What a run counts of its own; None where an epoch does not know it."""
    steps: list[Any] = [epoch.steps for epoch in footprint.epochs]
    return {
        "run": 1,
        "epoch": len(footprint.epochs),
        "step": None if None in steps else sum(steps),
        "sample": footprint.samples,
        "hour": footprint.duration_s / S_PER_HOUR,
    }


def _pair(water: Any) -> tuple[float, float]:
    wue, ewif = water
    return float(wue), float(ewif)
