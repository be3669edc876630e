"""What would be measured here, and how place and factors would be found."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from fitprint.carbon.factors import Factors
from fitprint.config import Config
from fitprint.meter import Meter
from fitprint.sensors.machine import Machine
from fitprint.sensors.modelled import bare_cpu_name
from fitprint.sensors.probe import Sensors, Surroundings, probe
from fitprint.settings import resolve
from fitprint.units import significant

SHOWN = ("id", "part", "method", "role", "source")


@dataclass(frozen=True)
class Detection:
    """The answer of ``detect``.

    Attributes:
        found: Sensors that would be read: id, part, method, role (``counted``, ``share`` of a device whose
            ``gross`` is shown beside it, ``node`` for the whole machine's power), source.
        absent: What was looked for in vain: source, reason, remedy.
        notes: What a reader of the result has to know: what is not counted, modelled or shared.
        factors: Region, intensity, PUE and node factor with their sources.
        cpu: The processor's model and its threads; empty where it is unknown.
    """

    found: tuple[dict[str, Any], ...]
    absent: tuple[dict[str, str], ...]
    notes: tuple[str, ...]
    factors: tuple[dict[str, Any], ...]
    cpu: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "found": list(self.found),
            "absent": list(self.absent),
            "notes": list(self.notes),
            "factors": list(self.factors),
            "cpu": self.cpu,
        }

    def __str__(self) -> str:
        lines = ["hardware", f"  CPU   {self.cpu}"] if self.cpu else []
        lines += ["sensors"]
        lines += [f"  {row['part']:<5} {_obtained(row):<16} {row['id']}  ({row['source']})" for row in self.found]
        for row, following in zip_longest(self.absent, self.absent[1:], fillvalue={"remedy": ""}):
            lines += [f"  -     {'absent':<16} {row['source']}: {row['reason']}"]
            once = row["remedy"] != following["remedy"]  # one command may mend several in a row
            lines += [f"{'':<25}remedy: {row['remedy']}"] if row["remedy"] and once else []
        lines += [f"  note: {note}" for note in self.notes]
        lines += ["carbon"]
        lines += [f"  {row['name']:<12} {_value(row)}  ({row['source']}; {row['basis']})" for row in self.factors]
        return "\n".join(lines)


def detect(config: Config | None = None, around: Surroundings | None = None) -> Detection:
    """Look for sensors and settle place and factors, without starting anything.

    Args:
        config: Options as a run would get them.
        around: The machine; this one by default.
    """
    settings = resolve(config, around.environ if around else None)
    around = around or settings.surroundings()
    sensors: Sensors = probe(settings.parts, around, settings.attribute)
    factors: Factors = settings.factors(around, hidden_boards=sensors.hidden_boards, covered=sensors.covered)
    read = Meter(sensors.counters).sensors
    rows = [{name: getattr(sensor, name) for name in SHOWN} for sensor in read]
    sensors.close()
    return Detection(
        tuple(rows),
        tuple({"source": a.source, "reason": a.reason, "remedy": a.remedy} for a in sensors.absent),
        tuple(f"NOT COUNTED: {name}" for name in sensors.uncounted) + sensors.notes,
        tuple(row.to_dict() for row in factors.assumptions(sensors=read)),
        _cpu(around.machine),
    )


def _cpu(machine: Machine) -> str:
    """``"AMD EPYC 7742, 128 threads"``."""
    name = bare_cpu_name(machine.cpu_name)
    return f"{name}, {machine.threads} threads" if name else ""


def _obtained(row: dict[str, Any]) -> str:
    return row["method"] if row["role"] == "counted" else f"{row['method']}, {row['role']}"


def _value(row: dict[str, Any]) -> str:
    if not isinstance(row["value"], float):
        return str(row["value"])
    unit = "" if row["unit"] == "1" else f" {row['unit']}"
    return f"{significant(row['value'])}{unit}"
