"""Runs every probe, fills what has no sensor with the model, and explains the outcome."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fitprint.assumption import Assumption
from fitprint.clock import Clock, SystemClock
from fitprint.sensors import modelled, nvml, rapl
from fitprint.sensors.counter import PARTS, Counter
from fitprint.sensors.finding import Absent, Finding, Found
from fitprint.sensors.machine import busy_clock, read_machine
from fitprint.sensors.share import Shared


def load_pynvml() -> Any:
    """Import the module of the package nvidia-ml-py; importing it touches no driver."""
    import pynvml

    return pynvml


@dataclass(frozen=True)
class Surroundings:
    """Where sensors are looked for; tests bring their own.

    Attributes:
        sys_root: Normally ``/sys``.
        proc_root: Normally ``/proc``.
        dev_root: Normally ``/dev``.
        environ: The process environment.
        clock: The clock that modelled counters run on.
        nvml: Returns the NVML module.
        keep: Takes the raw readings of all counters, to record them.
    """

    sys_root: Path = Path("/sys")
    proc_root: Path = Path("/proc")
    dev_root: Path = Path("/dev")
    environ: Mapping[str, str] | None = None
    clock: Clock = field(default_factory=SystemClock)
    nvml: Callable[[], Any] = load_pynvml
    keep: Callable[[dict[str, Any]], None] | None = None

    def environment(self) -> Mapping[str, str]:
        return os.environ if self.environ is None else self.environ


@dataclass(frozen=True)
class Sensors:
    """The outcome of probing: what is read, and what is not and why."""

    counters: tuple[Counter | Shared, ...] = ()
    absent: tuple[Absent, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Hardware that draws power and is not counted."""
        return tuple(absent.uncounted for absent in self.absent if absent.uncounted)

    @property
    def whole(self) -> tuple[Counter, ...]:
        """The counters themselves, of shared ones too."""
        return tuple(c.counter if isinstance(c, Shared) else c for c in self.counters)

    def close(self) -> None:
        for counter in self.whole:
            counter.close()


def probe(parts: tuple[str, ...] = PARTS, around: Surroundings | None = None, attribute: str = "auto") -> Sensors:
    """Find a counter for each wanted part: hardware first, the model where there is none.

    Args:
        parts: Parts to count, out of ``gpu cpu dram soc``.
        around: Where to look; this machine by default.
        attribute: ``all`` counts devices whole, ``share`` this job's share of them, ``auto`` the share
            where the job owns only a part.
    """
    around = around or Surroundings()
    findings: list[Finding] = []
    if "gpu" in parts:
        findings += nvml.probe(around.nvml(), around.environment(), around.clock, sys.modules)
    if "cpu" in parts or "dram" in parts:
        findings += rapl.probe(around.sys_root)
    kept, dropped = _split(findings, parts)
    modelled_parts = [part for part in ("cpu", "dram") if part in parts and part not in kept]
    findings = [_made_up_for(finding, modelled_parts) for finding in findings]
    findings += [_model(part, around) for part in modelled_parts]
    for counter in dropped:
        counter.close()
    return _collect(findings, parts)


def _model(part: str, around: Surroundings) -> Finding:
    machine = read_machine(around.sys_root, around.proc_root)
    if part == "dram":
        return modelled.probe_dram(machine, around.clock)
    return modelled.probe_cpu(machine, around.clock, lambda: busy_clock(machine, around.sys_root, around.proc_root))


def _made_up_for(finding: Finding, modelled_parts: Sequence[str]) -> Finding:
    """What a model counts is not left out."""
    if isinstance(finding, Absent) and finding.part in modelled_parts:
        return replace(finding, uncounted="")
    return finding


def _split(findings: list[Finding], parts: tuple[str, ...]) -> tuple[set[str], list[Counter]]:
    counters = [counter for finding in findings if isinstance(finding, Found) for counter in finding.counters]
    kept = {counter.sensor.part for counter in counters if counter.sensor.part in parts}
    return kept, [counter for counter in counters if counter.sensor.part not in parts]


def _collect(findings: list[Finding], parts: tuple[str, ...]) -> Sensors:
    found = [finding for finding in findings if isinstance(finding, Found)]
    return Sensors(
        counters=tuple(c for finding in found for c in finding.counters if c.sensor.part in parts),
        absent=tuple(finding for finding in findings if isinstance(finding, Absent) and finding.part in ("", *parts)),
        assumptions=tuple(row for finding in found for row in finding.assumptions),
        notes=tuple(note for finding in found for note in finding.notes),
    )
