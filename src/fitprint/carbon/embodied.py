"""What making the hardware has emitted, and this run's share of it.

M = TE x TS x RS (Software Carbon Intensity, ISO/IEC 21031): the total that is embodied in a device, the
share of its life for which it was reserved, and the share of the device that was reserved. It stands
beside the operational grams, never in them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from fitprint.assumption import Assumption
from fitprint.carbon.chassis import Kind
from fitprint.carbon.figure import Figure, figure, number, product
from fitprint.data import table
from fitprint.energy import Energy
from fitprint.errors import refusal

HOURS_PER_YEAR, S_PER_HOUR, G_PER_KG = 8760, 3600.0, 1000.0
# 35,040 hours (Boavizta; Cloud Carbon Footprint) to six years (Luccioni et al. 2022, Scaleway, Google's TPUs).
LIFE_YEARS, LONGEST_LIFE_YEARS = 4, 6
LIFE_SOURCE, LIFE_YEAR = "Cloud Carbon Footprint and Boavizta (Dell R740); six years: Luccioni et al. 2022, Scaleway", 2025
# What a user may set instead, with the largest figure that makes sense.
OPTIONS: Mapping[str, float] = {"years": 30.0, "utilization": 1.0, "gpu_kg": 1e5, "host_kg": 1e5}
# Of how many threads a virtual machine's server has: hosts that clouds let whole have 64 (AWS p3.16xlarge),
# 96 (AWS p4d.24xlarge, Azure ND96asr, GCP a2-highgpu-8g) and 208 (GCP a3-highgpu-8g).
HOST_THREADS, FEWEST_HOST_THREADS, MOST_HOST_THREADS = 96, 64, 208


class Embodied(NamedTuple):
    """A run's share of what making its hardware has emitted.

    Attributes:
        g: Grams of CO2e.
        low_g: Lower end of the 95 % interval.
        high_g: Upper end of the 95 % interval.
        assumptions: What it rests on.
    """

    g: float
    low_g: float
    high_g: float
    assumptions: tuple[Assumption, ...]


def check_embodied(value: Any) -> bool | dict[str, float]:
    """Return the option if it switches embodied grams on or off, or says what to reckon with.

    Raises:
        ConfigError: If it does neither.
    """
    if isinstance(value, bool):
        return value
    expected = f"True, False, or some of {', '.join(OPTIONS)} with their figures"
    if not isinstance(value, Mapping) or not value:
        raise refusal("embodied", expected=expected, came=value)
    for name, given in value.items():
        if name not in OPTIONS:
            raise refusal("embodied", expected=expected, came=name, near=OPTIONS)
        if not 0 < number(given) <= OPTIONS[name]:
            raise refusal(f"embodied[{name!r}]", expected=f"a number above 0 and at most {OPTIONS[name]:g}", came=given)
    return {name: number(given) for name, given in value.items()}


def parse_embodied(text: str) -> bool | dict[str, float]:
    """Read ``on``, ``off`` or ``years=6,utilization=0.85``.

    Raises:
        ValueError: If it is none of these.
    """
    word = text.strip().casefold()
    if word in ("on", "yes", "1", "true"):
        return True
    if word in ("off", "none", "no", "0", "false"):
        return False
    pairs = (item.partition("=") for item in text.split(","))
    return {name.strip(): float(amount) for name, _, amount in pairs}


def accelerator_kg(name: str) -> Assumption:
    """What is embodied in an accelerator, by its name or by any text that holds it."""
    rows = [row for row in _rows("accelerator") if row["match"]]
    found = next((row for row in rows if _pattern(row["match"]).search(name)), None)
    return _kg("embodied_accelerator", found or _rows("accelerator")[-1])


def host_kg(kind: Kind) -> Assumption:
    """What is embodied in a machine without its accelerators."""
    return _kg("embodied_host", next(row for row in _rows("host") if row["match"] == kind))


def host_share(owned_threads: float, threads: int, *, virtual: bool) -> Assumption:
    """The share of its machine that a job has reserved: of the threads; of a virtual machine's server, an assumption.

    Args:
        owned_threads: Threads that this job may use.
        threads: Threads of the machine as the job sees it.
        virtual: The machine is a guest; how large its host is, is not known.
    """
    if not virtual:
        share, basis = owned_threads / threads, f"{owned_threads:g} of {threads} threads are this job's"
        return Assumption("host_share", share, share, share, "1", "threads of this machine", None, basis)
    share, low, high = (min(1.0, owned_threads / of) for of in (HOST_THREADS, MOST_HOST_THREADS, FEWEST_HOST_THREADS))
    basis = (
        f"{owned_threads:g} threads of a server that is taken to have {HOST_THREADS} ({FEWEST_HOST_THREADS} to {MOST_HOST_THREADS})"
    )
    return Assumption("host_share", share, low, high, "1", "accelerator hosts that AWS, Azure and Google let whole", 2025, basis)


def reserved(energy: Energy) -> list[tuple[str, float]]:
    """The accelerators of a run by their sensors' words, each with the share of it that the run had."""
    joules = energy.by_sensor
    boards = [sensor for sensor in energy.sensors if sensor.part == "gpu"]
    whole = [(sensor.source, _had(sensor.id, joules)) for sensor in boards if sensor.role == "counted"]
    for sensor in boards:
        gross_j = joules.get(sensor.id.removesuffix(":share"), 0.0)
        if sensor.role == "share" and gross_j > 0:
            whole.append((sensor.source, min(1.0, joules[sensor.id] / gross_j)))
    return whole


def _had(board: str, joules: Mapping[str, float]) -> float:
    """All of a board while no other run overlapped on it, and the part of it that was the run's while others did."""
    alone_j, own_j, gross_j = (joules.get(board + row, 0.0) for row in ("", ":overlap", ":overlap:gross"))
    return min(1.0, (alone_j + own_j) / (alone_j + gross_j)) if gross_j > 0 else 1.0


def embodied(
    duration_s: float,
    *,
    accelerators: Iterable[tuple[str, float]] = (),
    host: Kind | None = None,
    share: Assumption | None = None,
    options: Mapping[str, float] | None = None,
) -> Embodied:
    """A run's share of what is embodied in its hardware. Errors of devices go together, so that their widths add up.

    Args:
        duration_s: For how long the hardware was reserved.
        accelerators: Name and reserved share (0 to 1) of each.
        host: The kind of machine around them; None leaves it out.
        share: The share of that machine; all of it by default.
        options: Figures that the user sets: ``years``, ``utilization``, ``gpu_kg``, ``host_kg``.
    """
    options = options or {}
    boards = [(_chosen(accelerator_kg(name), options.get("gpu_kg")), part) for name, part in accelerators]
    devices = [_scaled(figure(row), part) for row, part in boards]
    rows = [_counted(row, count) for row, count in Counter(row for row, _ in boards).items()]
    if host is not None:
        machine, share = _chosen(host_kg(host), options.get("host_kg")), share or _whole_host()
        devices.append(product((figure(machine), figure(share))))
        rows += [machine, share]
    life = life_row(options)
    total_kg = Figure(*(math.fsum(ends) for ends in zip(*devices, strict=True))) if devices else Figure(0.0, 0.0, 0.0)
    part_of_life = _over(max(0.0, duration_s) / S_PER_HOUR, figure(life))
    grams = _scaled(product((total_kg, part_of_life)), G_PER_KG)
    return Embodied(*grams, (*rows, life))


def life_row(options: Mapping[str, float] | None = None) -> Assumption:
    """Hours of use over which what is embodied is spread."""
    years, used = (options or {}).get("years"), (options or {}).get("utilization", 1.0)
    in_use = "" if used == 1 else f", in use {used:.0%} of the time"
    if years is not None:
        hours = years * HOURS_PER_YEAR * used
        return Assumption("lifetime", hours, hours, hours, "h", "given", None, f"{years:g} years{in_use}")
    short, long = (least * HOURS_PER_YEAR * used for least in (LIFE_YEARS, LONGEST_LIFE_YEARS))
    basis = f"{LIFE_YEARS} years of 8,760 hours{in_use}; up to {LONGEST_LIFE_YEARS} are reckoned with elsewhere"
    return Assumption("lifetime", short, short, long, "h", LIFE_SOURCE, LIFE_YEAR, basis)


def _chosen(row: Assumption, kg: float | None) -> Assumption:
    return row if kg is None else row._replace(value=kg, low=kg, high=kg, source="given", year=None, basis="as given")


def _counted(row: Assumption, count: int) -> Assumption:
    return row if count == 1 else row._replace(basis=f"{count} of them; {row.basis}")


def _whole_host() -> Assumption:
    return Assumption("host_share", 1.0, 1.0, 1.0, "1", "default", None, "the whole machine is this job's")


def _over(hours: float, life: Figure) -> Figure:
    return Figure(hours / life.value, hours / life.high, hours / life.low)


def _scaled(one: Figure, by: float) -> Figure:
    return Figure(*(by * end for end in one))


def _kg(name: str, row: Mapping[str, str]) -> Assumption:
    value, low, high = (float(row[key]) for key in ("kg", "low", "high"))
    return Assumption(name, value, low, high, "kg CO2e", row["source"], int(row["year"]), f"{row['name']}: {row['basis']}")


@cache
def _rows(kind: str) -> tuple[Mapping[str, str], ...]:
    return tuple(row for row in table("embodied") if row["kind"] == kind)


@cache
def _pattern(words: str) -> re.Pattern[str]:
    """The words as they stand in a device's name: not inside another word (``H100`` is not in ``GH100``)."""
    return re.compile(rf"(?<![a-z0-9]){re.escape(words)}(?![a-z0-9])", re.IGNORECASE)
