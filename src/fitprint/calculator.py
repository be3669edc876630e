"""The calculator: energy, CO2e and cost of work that has not been measured, from watts and hours."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fitprint.assumption import Assumption
from fitprint.carbon.beside import NO_CURRENCY, beside_rows, check_currency, check_price, cost
from fitprint.carbon.chassis import Chassis
from fitprint.carbon.clouds import find_cloud
from fitprint.carbon.embodied import S_PER_HOUR, check_embodied
from fitprint.carbon.embodied import Embodied as Making
from fitprint.carbon.embodied import embodied as share_of_making
from fitprint.carbon.equivalences import equivalent
from fitprint.carbon.facility import check_node_factor, check_pue, node_factor_row, pue_row
from fitprint.carbon.factors import Factors
from fitprint.carbon.figure import Figure, figure, number
from fitprint.carbon.grid import WORLD, find_region
from fitprint.carbon.intensity import Intensity, check_intensity, given_intensity, yearly_intensity
from fitprint.carbon.place import Place
from fitprint.energy import Energy
from fitprint.errors import ConfigError, refusal
from fitprint.footprint import Footprint
from fitprint.hardware import Hardware, find_hardware
from fitprint.lifetime import Lifetime, lifetime, modelled, queries_of
from fitprint.units import J_PER_KWH, J_PER_WH, format_co2e, format_energy, significant

ARGUMENT = "argument"
# Of watts, hours and devices: more is a wrong unit.
LARGEST = 1e12
# Whose factors hold where none are given: watts may be taken anywhere, named hardware is for servers.
ANYWHERE = Chassis("unknown", "given watts say nothing of it")
A_SERVER = Chassis("server", "assumed around hardware that is given by name")
# Devices in one server: clouds let eight accelerators together (AWS p4d.24xlarge, Azure ND96asr, GCP a2-highgpu-8g),
# nodes of four and of sixteen (AWS p2.16xlarge) exist; servers have one or two CPUs, seldom four.
A_HOST = {"accelerator": (8, 16, 4), "cpu": (2, 4, 1)}
HOST_SOURCE = "accelerator hosts that AWS, Azure and Google let whole; servers of two sockets"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What work would use and emit.

    Attributes:
        energy_kwh: At the hardware.
        facility_energy_kwh: With the rest of the machine (node factor) and of the building (PUE).
        co2e_g: Operational grams of CO2e, location-based.
        co2e_low_g: Lower end of their 95 % interval.
        co2e_high_g: Upper end of it.
        embodied_g: This work's share of making the hardware, beside ``co2e_g``; None for mere watts.
        cost: Of electricity (price x facility energy) and of hired devices (price per hour); None without a price.
        currency: As given.
        lifetime: This work as a training, with the queries after it; None without queries.
        assumptions: Every figure that went in: ``name value low high unit source year basis``.
    """

    cost: float | None
    currency: str | None
    energy_kwh: float
    facility_energy_kwh: float
    co2e_g: float
    co2e_low_g: float
    co2e_high_g: float
    embodied_g: float | None
    lifetime: Lifetime | None = None
    assumptions: tuple[Mapping[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain types only; ``lifetime`` where queries were given."""
        data = {**dataclasses.asdict(self), "assumptions": [dict(row) for row in self.assumptions]}
        return {name: value for name, value in data.items() if name != "lifetime" or value is not None}

    def __str__(self) -> str:
        low, high = format_co2e(self.co2e_low_g), format_co2e(self.co2e_high_g)
        energy_j, facility_j = self.energy_kwh * J_PER_KWH, self.facility_energy_kwh * J_PER_KWH
        rows = [
            ("energy", f"{format_energy(energy_j)} at the hardware, {format_energy(facility_j)} with machine and building"),
            ("embodied", "" if self.embodied_g is None else f"{format_co2e(self.embodied_g)} beside it"),
            ("cost", "" if self.cost is None else f"{self.cost:,.2f} {self.currency or NO_CURRENCY}"),
            ("whole life", "" if self.lifetime is None else str(self.lifetime)),
            ("that is", equivalent(self.co2e_g, energy_j)),
            *((row["name"], _said(row)) for row in self.assumptions),
        ]
        width = max(len(name) for name, _ in rows)
        lines = [
            f"{format_co2e(self.co2e_g)} CO2e ({low} to {high})",
            *(f"  {name:<{width}}  {text}" for name, text in rows if text),
        ]
        return "\n".join(lines)


def estimate(
    *,
    hours: float,
    power_w: float | None = None,
    hardware: str | None = None,
    count: int = 1,
    utilization: float = 1.0,
    region: str | None = None,
    intensity: float | None = None,
    pue: float | None = None,
    node_factor: float | None = None,
    price: float | None = None,
    price_per_hour: float | None = None,
    currency: str | None = None,
    embodied: bool | Mapping[str, float] = True,
    queries: float | None = None,
    energy_per_query_wh: float | Footprint | None = None,
) -> Estimate:
    """Estimate what work uses and emits before it runs. Nothing on this machine is looked at.

    Args:
        hours: How long it runs.
        power_w: Watts that each device draws; or give ``hardware``.
        hardware: Name of an accelerator or a CPU; its TDP is taken, of which boards that train draw 0.43 to 0.92.
        count: Number of devices.
        utilization: Share of the TDP that is drawn, more than 0 and at most 1.
        region: Place, for example ``FR``; the world average by default.
        intensity: Grams of CO2e per kWh, instead of the place's.
        pue: Facility power over IT power; 1 by default with ``power_w``, a server's with ``hardware``.
        node_factor: Power at the machine's wall over that of the devices; default as for ``pue``.
        price: Of a kWh.
        price_per_hour: Of a hired device.
        currency: Of both prices.
        embodied: False leaves out what making the hardware emitted; a mapping sets ``years``, ``utilization``,
            ``gpu_kg`` or ``host_kg``.
        queries: Number of queries that the trained model will answer, for ``lifetime``.
        energy_per_query_wh: Watt-hours of one at the hardware, or the record of a prediction whose samples are queries.

    Returns:
        Energy, CO2e with its interval, cost, and every figure that they rest on.

    Raises:
        ConfigError: If a value makes no sense, or if hardware or region are unknown.

    Example:
        >>> estimate(power_w=300, hours=100, intensity=570).co2e_g
        17100.0
    """
    found, count, hours = _hardware(hardware, power_w), _count(count), _positive("hours", hours)
    power = _power(power_w, found, utilization)
    energy = _energy(power, count * hours)
    factors = _factors(region, intensity, pue, node_factor, ANYWHERE if found is None else A_SERVER)
    facility_kwh, grams = factors.facility_kwh(energy), factors.grams(energy)
    asked = queries_of(queries, energy_per_query_wh)
    making = _making(found, count, hours, check_embodied(embodied))
    currency = None if currency is None else check_currency(currency)
    prices = _prices(price, price_per_hour, currency)
    inputs = [*power, _given("count", count, "1"), _given("hours", hours, "h")]
    inputs += asked or ()
    rows = [*inputs, *_told(factors.assumptions(energy), region, intensity), *prices, *(making.assumptions if making else ())]
    return Estimate(
        cost=cost(facility_kwh, count * hours, price, price_per_hour),
        currency=currency,
        energy_kwh=energy.joules / J_PER_KWH,
        facility_energy_kwh=facility_kwh,
        co2e_g=grams.central,
        co2e_low_g=grams.low,
        co2e_high_g=grams.high,
        embodied_g=making.g if making else None,
        lifetime=lifetime(energy, factors, asked) if asked else None,
        assumptions=tuple(row.to_dict() for row in rows),
    )


def _hardware(name: str | None, power_w: float | None) -> Hardware | None:
    if (power_w is None) == (name is None):
        came = "neither" if name is None else "both"
        raise ConfigError(f"Expected either power_w or hardware. Received: {came}. Give the watts or the device's name.")
    return None if name is None else find_hardware(_text("hardware", name))


def _power(power_w: float | None, found: Hardware | None, utilization: float) -> list[Assumption]:
    """What one device draws: the given watts, or its TDP and how much of it."""
    share = number(utilization)
    if not 0 < share <= 1:
        raise refusal("utilization", expected="a share of the TDP, more than 0 and at most 1", came=utilization)
    if found is not None:
        tdp = Assumption("tdp_w", found.tdp_w, found.low_w, found.high_w, "W", found.source, found.year, found.basis)
        source = "default" if share == 1 else f"given by {ARGUMENT}"
        return [tdp, Assumption("utilization", share, share, share, "1", source, None, "share of the TDP that is drawn")]
    if share != 1:
        hint = "Give as power_w what is really drawn."
        raise refusal("utilization", expected="no share of a TDP beside power_w", came=utilization, hint=hint)
    return [_given("power_w", _positive("power_w", power_w), "W")]


def _energy(power: Sequence[Assumption], device_hours: float) -> Energy:
    """The joules of the work, with the interval of the power."""
    joules = Figure(*(math.prod(ends) * device_hours * J_PER_WH for ends in zip(*map(figure, power), strict=True)))
    return modelled("estimate", joules, power[0].source)


def _factors(
    region: str | None, intensity: float | None, pue: float | None, node_factor: float | None, chassis: Chassis
) -> Factors:
    place = _place(region)
    pue = None if pue is None else check_pue(pue)
    node_factor = None if node_factor is None else check_node_factor(node_factor)
    provider = place.provider if chassis is A_SERVER else None
    rows = pue_row(pue, ARGUMENT, chassis, provider=provider), node_factor_row(node_factor, ARGUMENT, chassis)
    return Factors(place, _intensity(intensity, place), *rows)


def _place(region: str | None) -> Place:
    if region is None:
        return Place(WORLD, "World", "not given: the world average")
    row = find_region(_text("region", region))
    cloud = find_cloud(row.code)
    return Place(row.code, row.name, f"given by {ARGUMENT}", provider=cloud.provider if cloud else None)


def _intensity(g_per_kwh: float | None, place: Place) -> Intensity:
    return yearly_intensity(place) if g_per_kwh is None else given_intensity(check_intensity(g_per_kwh), ARGUMENT)


def _told(rows: Sequence[Assumption], region: str | None, intensity: float | None) -> list[Assumption]:
    """The rows without the world's name where an intensity was given instead of a place."""
    return [row for row in rows if row.name != "region" or region is not None or intensity is None]


def _making(found: Hardware | None, count: int, hours: float, option: bool | Mapping[str, float]) -> Making | None:
    """What making the devices and their servers emitted, by time; None for mere watts."""
    if found is None or option is False:
        return None
    devices = [(found.name, float(count))] if found.kind == "accelerator" else []
    servers, fewest, most = (count / of for of in A_HOST[found.kind])
    basis = (
        f"servers: {count} of {A_HOST[found.kind][0]} {found.kind}s in each ({A_HOST[found.kind][2]} to {A_HOST[found.kind][1]})"
    )
    share = Assumption("host_share", servers, fewest, most, "1", HOST_SOURCE, 2025, basis)
    options = option if isinstance(option, Mapping) else None
    return share_of_making(hours * S_PER_HOUR, accelerators=devices, host="server", share=share, options=options)


def _prices(price: float | None, price_per_hour: float | None, currency: str | None) -> tuple[Assumption, ...]:
    for what, value in (("price", price), ("price_per_hour", price_per_hour)):
        if value is not None:
            check_price(value, what)
    return beside_rows({}, price=price, price_per_hour=price_per_hour, currency=currency)


def _given(name: str, value: float, unit: str) -> Assumption:
    return Assumption(name, value, value, value, unit, f"given by {ARGUMENT}", None, "as given")


def _positive(what: str, value: Any) -> float:
    if not 0 < number(value) <= LARGEST:
        raise refusal(what, expected=f"a number, more than 0 and at most {LARGEST:g}", came=value)
    return number(value)


def _count(value: Any) -> int:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or not 1 <= int(value) <= LARGEST:
        raise refusal("count", expected=f"a whole number of devices from 1 to {LARGEST:g}", came=value)
    return int(value)


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise refusal(what, expected="a text that is not empty", came=value)
    return value


def _said(row: Mapping[str, Any]) -> str:
    """A figure with its interval and source: ``400 W (172 to 400; ...)``."""
    if not isinstance(row["value"], float | int):
        return f"{row['value']} ({row['source']}; {row['basis']})"
    unit = "" if row["unit"] == "1" else f" {row['unit']}".replace(" 1/", " per ")
    ends = "" if row["low"] == row["high"] else f"{significant(row['low'])} to {significant(row['high'])}; "
    year = f", {row['year']}" if row["year"] and str(row["year"]) not in row["source"] else ""
    return f"{significant(row['value'])}{unit} ({ends}{row['source']}{year}; {row['basis']})"
