"""Asks every source, fills what has no sensor with the model, and explains the outcome."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from typing import NamedTuple

from fitprint.assumption import Assumption
from fitprint.nothing import NOTHING
from fitprint.notices import logger
from fitprint.sensors.counter import HOST_PARTS, NODE, PARTS, Counter
from fitprint.sensors.divided import Device
from fitprint.sensors.finding import Absent, Finding, Found
from fitprint.sensors.machine import Machine, busy_clock, job_name
from fitprint.sensors.share import Shared
from fitprint.sensors.sources import SOURCES, Probe, Source
from fitprint.sensors.surroundings import Surroundings as Surroundings


class Sensors(NamedTuple):
    """The outcome of probing: what is read, and what is not and why.

    Attributes:
        counters: What is read.
        absent: What is not, and why.
        assumptions: Figures that modelled counters rest on.
        notes: What a reader of the result has to know.
        covered: Parts that are counted inside another part's sensor.
        hidden_boards: A sensor of the whole machine sees accelerators that are not counted.
        devices: By sensor id, what is divided with runs that overlap.
        elsewhere: Ids of sensors that other processes of the same launch count.
        launch: That launch, where its processes do not talk to each other; None otherwise.
        of_host: This process stands for its machine: what is counted once for each is counted here.
    """

    counters: tuple[Counter | Shared, ...] = ()
    absent: tuple[Absent, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    notes: tuple[str, ...] = ()
    covered: frozenset[str] = frozenset()
    hidden_boards: bool = False
    devices: Mapping[str, Device] = NOTHING
    elsewhere: tuple[str, ...] = ()
    launch: str | None = None
    of_host: bool = True

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Hardware that draws power and is not counted."""
        return tuple(absent.uncounted for absent in self.absent if absent.uncounted)

    @property
    def whole(self) -> tuple[Counter, ...]:
        """The counters themselves, of shared ones too."""
        return tuple(c.counter if isinstance(c, Shared) else c for c in self.counters)

    def keeping(self, own: Sequence[bool]) -> Sensors:
        """What of this is this process's; the other counters are given back.

        Args:
            own: Of each counter, whether it is kept.
        """
        pairs = list(zip(self.counters, own, strict=True))
        others = self._replace(counters=tuple(counter for counter, keep in pairs if not keep))
        others.close()
        ids = {counter.sensor.id for counter in others.whole}
        devices = {name: device for name, device in self.devices.items() if name not in ids}
        return self._replace(counters=tuple(counter for counter, keep in pairs if keep), devices=devices)

    def close(self) -> None:
        for counter in self.whole:
            counter.close()


def probe(parts: tuple[str, ...] = PARTS, around: Surroundings | None = None, attribute: str = "auto") -> Sensors:
    """Find a counter for each wanted part: hardware first, the model where there is none.

    Args:
        parts: Parts to count, out of ``gpu cpu dram soc``.
        around: Where to look; this machine by default.
        attribute: ``auto`` takes this job's share of devices of which it owns only a part, ``share`` that of CPU and
            memory in any case, ``all`` takes none. Runs that overlap divide devices whatever it is.
    """
    around = around or Surroundings()
    wanted = (*parts, NODE)
    findings: list[Finding] = []
    for source in SOURCES:
        if set(source.parts) & set(wanted) - _inside(findings):
            findings += _wanted(_first_that_finds(source, around), wanted, _inside(findings))
    findings = _outermost(findings)
    if "gpu" in parts and "gpu" not in _inside(findings):
        findings += _unread_accelerators(findings, around)
    machine = around.machine
    missing = [part for part in HOST_PARTS if part in parts and part not in _counted(findings) | _inside(findings)]
    findings = [_made_up_for(finding, missing) for finding in findings]
    findings += [_model(part, machine, around) for part in missing]
    return _collect(_one_node(findings), machine, around, attribute)


def _first_that_finds(source: Source, around: Surroundings) -> list[Finding]:
    """What the first alternative that has a counter found, and why those before it have none."""
    findings: list[Finding] = []
    for alternative in source.alternatives:
        found = _answer(source, alternative, around)
        if _counted(found) & set(source.parts):
            return [_made_up_for(finding, source.parts) for finding in findings] + found
        findings += [finding for finding in found if not findings or _helps(finding)]
    return findings


def _answer(source: Source, ask: Probe, around: Surroundings) -> list[Finding]:
    """What one way to read a source has to say; one that fails as nobody has foreseen costs itself and no other."""
    try:
        return ask(around)
    except Exception as error:
        logger().debug("looking for %s has failed", source.name, exc_info=True)
        return [Absent(source.name, f"looking for it failed ({type(error).__name__}: {error})", part=source.parts[0])]


def _helps(finding: Finding) -> bool:
    """Whether it says what could be done; that a further way does not exist either is no news."""
    return isinstance(finding, Absent) and finding.remedy != ""


def _wanted(findings: Sequence[Finding], wanted: Sequence[str], inside: Container[str]) -> list[Finding]:
    """The findings without reasons and counters of other parts, or of parts that are counted inside something."""
    about = [finding for finding in findings if isinstance(finding, Found) or finding.part in ("", *wanted)]
    unwanted = [part for part in (*PARTS, NODE) if part not in wanted or part in inside]
    return [_without(finding, unwanted) for finding in about]


def _without(finding: Finding, parts: Collection[str]) -> Finding:
    """The finding with its counters of these parts closed and left out."""
    if isinstance(finding, Absent):
        return finding
    good = tuple(counter for counter in finding.counters if counter.sensor.part not in parts)
    for counter in finding.counters:
        if counter not in good:
            counter.close()
    return finding._replace(counters=good, covers=finding.covers if good else ())


def _outermost(findings: Sequence[Finding]) -> list[Finding]:
    """The findings without counters of parts that another one counts inside itself."""
    return [
        _without(finding, {part for other in findings if other is not finding for part in _covers(other)}) for finding in findings
    ]


def _covers(finding: Finding) -> tuple[str, ...]:
    return finding.covers if isinstance(finding, Found) else ()


def _counters(findings: Sequence[Finding]) -> list[Counter]:
    return [counter for finding in findings if isinstance(finding, Found) for counter in finding.counters]


def _counted(findings: Sequence[Finding]) -> set[str]:
    return {counter.sensor.part for counter in _counters(findings)}


def _inside(findings: Sequence[Finding]) -> set[str]:
    """Parts that are counted inside something, or are that something."""
    whole = [finding for finding in findings if isinstance(finding, Found) and finding.covers]
    return {part for finding in whole for part in finding.covers} | _counted(whole)


def _unread_accelerators(findings: Sequence[Finding], around: Surroundings) -> list[Finding]:
    """Model the accelerators that no source above has spoken for."""
    from fitprint.sensors import accelerators, amdsmi, nvml

    taken = {counter.sensor.id for counter in _counters(findings)}
    taken |= {accelerators.NVIDIA} if nvml.answered(findings) else set()
    taken |= {accelerators.AMD} if amdsmi.answered(findings) else set()
    where = (around.sys_root, around.dev_root, around.environment(), around.clock)
    return accelerators.probe(*where, sys.modules, taken, around.platform)


def _model(part: str, machine: Machine, around: Surroundings) -> Finding:
    from fitprint.sensors import modelled

    if part == "dram":
        return modelled.probe_dram(machine, around.clock)

    def busy() -> Callable[[], int]:
        roots = (around.sys_root, around.proc_root)
        return busy_clock(machine, *roots, around.environment(), platform=around.system, pids=around.pids)

    return modelled.probe_cpu(machine, around.clock, busy)


def _made_up_for(finding: Finding, parts: Sequence[str]) -> Finding:
    """What another source or a model counts is not left out."""
    if isinstance(finding, Absent) and finding.part in parts:
        return finding._replace(uncounted="")
    return finding


def _one_node(findings: Sequence[Finding]) -> list[Finding]:
    """Sensors of the whole machine contain each other: the first kind that was found is kept."""
    kinds = [finding for finding in findings if NODE in _counted([finding])]
    for finding in kinds[1:]:
        for counter in _counters([finding]):
            counter.close()
    return [finding for finding in findings if finding not in kinds[1:]]


def _collect(findings: Sequence[Finding], machine: Machine, around: Surroundings, attribute: str) -> Sensors:
    from fitprint.sensors.attribution import devices, shared
    from fitprint.sensors.trace import Recorded, head, shielded

    found = [finding for finding in findings if isinstance(finding, Found)]
    counters = _counters(findings)
    if around.keep is not None:
        shielded(around.keep)(head(counters))
        counters = [Recorded(counter, around.keep, around.clock) for counter in counters]
    boards = {name: share for finding in found for name, share in finding.shares.items()}
    where = {"sys_root": around.sys_root, "proc_root": around.proc_root}
    environ = around.environment()
    charged = shared(counters, attribute, boards, machine, clock=around.clock, environ=environ, pids=around.pids, **where)
    return Sensors(
        counters=charged,
        devices=devices(charged, machine, job_name(around.sys_root, around.proc_root, environ, platform=around.system)),
        absent=tuple(finding for finding in findings if isinstance(finding, Absent)),
        assumptions=tuple(row for finding in found for row in finding.assumptions),
        notes=tuple(note for finding in found for note in finding.notes),
        covered=frozenset(part for finding in found for part in finding.covers),
        hidden_boards=NODE in _counted(findings) and _hidden_boards(counters, around),
    )


def _hidden_boards(counters: Sequence[Counter], around: Surroundings) -> bool:
    """Whether the whole machine's power contains boards that are not counted."""
    from fitprint.sensors import accelerators

    return accelerators.boards_on_bus(around.sys_root) > sum(counter.sensor.part == "gpu" for counter in counters)
