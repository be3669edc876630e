"""NVIDIA boards through NVML: which this process may use, the best that each can tell, and whose share of it is ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fitprint.clock import Clock
from fitprint.errors import SensorError
from fitprint.sensors.finding import Absent, Finding, Found
from fitprint.sensors.modelled import model_accelerator
from fitprint.sensors.nvml_board import SOURCE, Board, Driver, code_of, covered, sources
from fitprint.sensors.nvml_share import Share, part_share, process_share
from fitprint.sensors.visible import Identity, Opened, bus_id, visible_boards

# Codes of nvml.h for a driver that is there and cannot be used, and what helps.
NO_PERMISSION, NOT_LOADED, VERSION_MISMATCH = 4, 9, 18
REMEDIES = {
    NO_PERMISSION: "sudo chmod a+rw /dev/nvidiactl /dev/nvidia[0-9]*",
    NOT_LOADED: "sudo modprobe nvidia",
    VERSION_MISMATCH: "restart the machine: the driver was updated and its kernel module is still the old one",
}
REMEDY = "check that nvidia-smi works here; a container needs --gpus all and NVIDIA_DRIVER_CAPABILITIES=utility,compute"


def probe(
    nvml: Any,
    environ: Mapping[str, str],
    clock: Clock,
    modules: Mapping[str, Any],
    *,
    proc_root: Path = Path("/proc"),
    runs: Callable[[], set[int]] = set,
) -> list[Finding]:
    """Find the boards that this process may use: by energy counter, else by power, else modelled.

    Args:
        nvml: The module ``pynvml`` of the package nvidia-ml-py, or a stand-in.
        environ: The process environment (CUDA_VISIBLE_DEVICES).
        clock: What power is integrated over, and when shares were asked for.
        modules: Modules that are loaded already; a framework that has opened its boards is asked.
        proc_root: Normally ``/proc``: tells which of a board's processes are ours.
        runs: Processes of the runs beside this one, with which boards are divided anyway.
    """
    driver = Driver(nvml)
    try:
        driver.ask("nvmlInit")
    except SensorError as error:
        return [_no_driver(error)]
    try:
        count = driver.ask("nvmlDeviceGetCount")
    except SensorError as error:
        return [Absent(SOURCE, f"the driver does not count its boards ({error})", REMEDY, "the NVIDIA GPUs")]
    boards = [board for board in (_listed(driver, i) for i in range(count)) if board is not None]
    visible = visible_boards(
        [board.identity for board in boards], environ, modules=modules, parent_of_mig=lambda mig: _parent_uuid(driver, mig)
    )
    if not visible.indices and not visible.unlisted:
        return [_nothing_visible(count, len(boards), environ)]

    def share(board: Board, parts: Sequence[str]) -> tuple[Share | None, str]:
        return part_share(board, parts) or process_share(board, clock, proc_root, runs) or (None, "")

    findings = [_shared(_counted(boards[i], clock), boards[i], visible.parts.get(i, ()), share) for i in visible.indices]
    findings += [_unlisted(gpu, clock) for gpu in visible.unlisted]
    return [*findings, Found((), notes=(visible.note,))] if visible.note else findings


def answered(findings: Iterable[Finding]) -> bool:
    """Whether the driver spoke for its boards; else something else has to."""
    return not any(isinstance(finding, Absent) and finding.source == SOURCE and finding.part == "gpu" for finding in findings)


def _no_driver(error: SensorError) -> Absent:
    """Nothing is left out by this: a board that CUDA can use all the same is found on the PCI bus and modelled."""
    return Absent(SOURCE, f"no NVIDIA driver answers here ({error})", REMEDIES.get(code_of(error) or 0, REMEDY), part="gpu")


def _nothing_visible(count: int, open_boards: int, environ: Mapping[str, str]) -> Absent:
    if count == 0:
        return Absent(SOURCE, "the driver lists no board")
    if open_boards == 0:
        return Absent(SOURCE, f"this process may open none of the driver's {count} boards", REMEDIES[NO_PERMISSION])
    asked_for = environ.get("CUDA_VISIBLE_DEVICES", "")
    left_out = f"the GPUs of CUDA_VISIBLE_DEVICES={asked_for}" if asked_for.strip(" ,") not in ("", "-1") else ""
    return Absent(SOURCE, f"CUDA_VISIBLE_DEVICES={asked_for!r} leaves no board visible", uncounted=left_out)


def _listed(driver: Driver, index: int) -> Board | None:
    """A board of the driver's list; None for those that this process may not open, which CUDA does not number either."""
    try:
        handle = driver.ask("nvmlDeviceGetHandleByIndex", index)
        name, uuid = (_text(driver.ask(f"nvmlDeviceGet{what}", handle)) for what in ("Name", "UUID"))
    except SensorError as error:
        unknown = Identity(f"unknown board {index}", f"GPU {index}")
        return None if code_of(error) == NO_PERMISSION else Board(driver, None, unknown, fault=str(error))
    return Board(driver, handle, Identity(uuid, name, _bus_id(driver, handle)))


def _bus_id(driver: Driver, handle: Any) -> str:
    try:
        pci = driver.ask("nvmlDeviceGetPciInfo", handle)
    except SensorError:
        return ""
    return bus_id(pci.domain, pci.bus, pci.device)


def _parent_uuid(driver: Driver, mig: str) -> str | None:
    """The board that a MIG device is cut out of."""
    try:
        device = driver.ask("nvmlDeviceGetHandleByUUID", mig)
        return _text(driver.ask("nvmlDeviceGetUUID", driver.ask("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", device)))
    except SensorError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _counted(board: Board, clock: Clock) -> Finding:
    """The best that the board can do, found out by asking it: what an architecture promises may still fail."""
    name = board.identity.name
    if board.fault:
        return Absent(f"{SOURCE}, {name}", f"the board does not answer ({board.fault})", uncounted=name)
    reasons = []
    for counter in sources(board, clock):
        try:
            counter.read()
        except Exception as error:  # whatever a driver answers here, the next source may work
            reasons.append(str(error))
            continue
        covers = covered(board, counter)
        note = f"the counter of {name} is that of its module: the CPU and the memory are counted with the GPU"
        return Found((counter,), notes=(note,) if covers else (), covers=covers)
    modelled = model_accelerator(board.sensor_id, name, clock)
    return modelled or Absent(f"{SOURCE}, {name}", f"neither energy nor power can be read ({'; '.join(reasons)})", uncounted=name)


def _unlisted(gpu: Opened, clock: Clock) -> Finding:
    """A GPU that trains and is not the driver's, or not under this name: which board it is is not guessed."""
    modelled = model_accelerator(f"gpu:{gpu.uuid or gpu.ordinal}", gpu.name, clock)
    reason = "a framework uses it, and the driver lists no board with its UUID or at its place on the bus"
    return modelled or Absent(f"{SOURCE}, {gpu.name}", reason, "nvidia-smi -L", uncounted=gpu.name)


def _shared(
    finding: Finding, board: Board, parts: Sequence[str], ask: Callable[[Board, Sequence[str]], tuple[Share | None, str]]
) -> Finding:
    """A finding with the share of the board that is ours, where it is not all."""
    if isinstance(finding, Absent):
        return finding
    share, note = ask(board, parts)
    shares = {counter.sensor.id: share for counter in finding.counters} if share else {}
    return finding._replace(shares=shares, notes=(*finding.notes, note) if note else finding.notes)
