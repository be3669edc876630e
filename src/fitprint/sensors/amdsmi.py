"""AMD boards through the library amdsmi: the energy counters of Instinct MI200 and later, the power of all others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fitprint.clock import Clock
from fitprint.errors import SensorError
from fitprint.sensors.accelerators import DUAL_DIE, PACKAGES, sensor_id
from fitprint.sensors.amdsmi_board import SOURCE, AmdCounter, AmdPower, Die, ask, die_of, energy_of
from fitprint.sensors.amdsmi_visible import CUDA, HIP, ROCR, choices, visible_dies
from fitprint.sensors.counter import Counter, Integrated
from fitprint.sensors.finding import Absent, Finding, Found
from fitprint.sensors.modelled import model_accelerator

SILENT = "no AMD driver answers here"
# The counter of a board that is on moves in this time; where the library or the firmware hands out one
# reading for ever (ROCm/amdsmi issue 38, ROCm/rocm_smi_lib issue 180), the power is integrated instead.
LOOKS_APART_S = 0.02

# Boards whose energy Linux hands on as 64 bits of a known unit (aldebaran_ppt.c, smu_v13_0_6_ppt.c). MI100's
# often stands still; a Radeon's has 32 bits or is declared invalid (smu_v14_0_2_ppt.c).
COUNTING = re.compile(r"Instinct MI[2-9]\d\d")


def probe(library: Any, environ: Mapping[str, str], clock: Clock, modules: Mapping[str, Any]) -> list[Finding]:
    """Find the boards that this process may use: by energy counter, else by power, else modelled.

    Args:
        library: The module ``amdsmi`` of ROCm, or a stand-in.
        environ: The process environment (ROCR_, HIP_ and CUDA_VISIBLE_DEVICES).
        clock: What power is integrated over, and what passes between two looks at the counters.
        modules: Modules that are loaded already; torch is asked if it has opened AMD's boards.
    """
    try:
        ask(library, "amdsmi_init")
        handles = ask(library, "amdsmi_get_processor_handles")
    except SensorError as error:
        return [Absent(SOURCE, f"{SILENT} ({error})", _remedy(str(error)))]
    dies = [die_of(library, index, handle) for index, handle in enumerate(handles)]
    if not dies:
        return [Absent(SOURCE, "the driver lists no board")]
    visible, note = visible_dies(dies, environ, modules)
    if not visible:
        return [_none_visible(environ)]
    boards = [board for board in boards_of(die for die in dies if die.card) if any(die in visible for die in board)]
    clock.sleep(LOOKS_APART_S)
    notes = tuple(filter(None, [note, *(_shared(board, visible) for board in boards)]))
    inside = [Absent(f"{SOURCE}, {die.name}", "it is part of the CPU") for die in visible if not die.card]
    return [*(_count(library, board, clock) for board in boards), *inside, Found((), notes=notes)]


def answered(findings: Iterable[Finding]) -> bool:
    """Whether the driver has told what there is among these: what it does not count then is hidden from the process."""
    for finding in findings:
        if isinstance(finding, Found) and any(counter.sensor.source.startswith(SOURCE) for counter in finding.counters):
            return True
        if isinstance(finding, Absent) and finding.source.startswith(SOURCE) and not finding.reason.startswith(SILENT):
            return True
    return False


def boards_of(dies: Iterable[Die]) -> list[list[Die]]:
    """Group what one counter measures, so that a board is counted once.

    Partitions of a board share its slot. The two dies of a board are neighbours on the bus; either may
    be the one that reads (ROCm/rocm_smi_lib issue 160).
    """
    slots: dict[str, list[Die]] = {}
    for die in sorted(dies, key=lambda die: die.address):
        slots.setdefault(die.slot, []).append(die)
    boards: list[list[Die]] = []
    for board in slots.values():
        if boards and _is_second_die(board, boards[-1]):
            boards[-1] = boards[-1] + board
        else:
            boards.append(board)
    return boards


def _is_second_die(board: Sequence[Die], before: Sequence[Die]) -> bool:
    names_fit = all(DUAL_DIE in die.name for die in (*before, *board))
    return names_fit and len(before) == len(board) == 1 and not (before[0].reads and board[0].reads)


def _count(library: Any, board: Sequence[Die], clock: Clock) -> Finding:
    """The best that the board can do, found out by asking it."""
    die = next((die for die in board if die.reads), board[0])
    ways: list[Callable[[], Counter]] = [lambda: _open_counter(library, die), lambda: Integrated(AmdPower(library, die), clock)]
    reasons = []
    for way in ways if die.reads else []:
        try:
            counter = way()
            counter.read()
        except SensorError as error:
            reasons.append(str(error))
            continue
        told = bool(reasons) and COUNTING.search(die.name) is not None
        notes = (f"{die.name} at {die.address}: {reasons[0]}, its power is integrated instead",) if told else ()
        return Found((counter,), notes=notes, covers=PACKAGES.get(die.name, ()))
    modelled = model_accelerator(sensor_id(die.address), die.name, clock)
    if modelled:
        return modelled._replace(covers=PACKAGES.get(die.name, ()))
    reason = "; ".join(reasons) or "it tells neither energy nor power"
    return Absent(f"{SOURCE}, {die.name}", reason, uncounted=die.name, part="gpu")


def _open_counter(library: Any, die: Die) -> AmdCounter:
    if die.energy is None or not COUNTING.search(die.name):
        raise SensorError("it keeps no energy in a known unit")
    if energy_of(library, die.handle).ticks == die.energy.ticks:
        raise SensorError("its energy counter stands still")
    return AmdCounter(library, die, die.energy.unit_j)


def _shared(board: Sequence[Die], visible: Sequence[Die]) -> str:
    used = sum(die in visible for die in board)
    if used == len(board):
        return ""
    return f"{board[0].name} at {board[0].address}: {used} of its {len(board)} dies or partitions are used, all of it is counted"


def _none_visible(environ: Mapping[str, str]) -> Absent:
    said = ", ".join(f"{name}={environ[name]}" for name in (ROCR, HIP, CUDA) if name in environ)
    meant = any(text is not None and text.strip(" ,") in ("", "-1") for text in choices(environ))
    return Absent(SOURCE, f"{said} leaves no board visible", uncounted="" if meant else f"the GPUs of {said}")


def _remedy(error: str) -> str:
    if "NO_PERM" in error:
        return "sudo usermod -aG render,video $USER, and log in again"
    if "DRIVER_NOT_LOADED" in error:
        return "sudo modprobe amdgpu"
    return "in a container, start it with --device=/dev/kfd --device=/dev/dri"
