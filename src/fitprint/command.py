"""Measures any command: starts it, passes signals on, stops it on a budget, returns its status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from fitprint.config import Config
from fitprint.errors import CommandError
from fitprint.live import LiveLine
from fitprint.recording import Recording
from fitprint.settings import check_network, resolve
from fitprint.tracker import Tracker

LOOK_EVERY_S = 1.0
GRACE_S = 30.0
STOPPED_BY_BUDGET = 75
# As shells return them.
NOT_EXECUTABLE, NOT_FOUND = 126, 127
SIGNALLED = 128
# Windows has the first two only.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
PASSED_ON = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


def run_command(command: Sequence[str], config: Config, *, record: Path | None = None, quiet: bool = False) -> int:
    """Run a command to its end, measured.

    A callback inside it finds this run in FITPRINT_PARENT_RUN and records it as its parent. Region, intensity, PUE, node
    factor, project and ledger reach it as FITPRINT_* variables, where the user's environment does not set these.

    Args:
        command: Program and arguments.
        config: Options of the run.
        record: File for the raw readings of all counters, as JSON lines that ``Trace.read`` replays.
        quiet: Show no live line.

    Returns:
        The command's exit status, 128 + n if signal n ended it, 75 if the budget did.

    Raises:
        CommandError: If it cannot be started.
        ConfigError: If the intensity has to be fetched and must not be.
    """
    check_network(config)
    with ExitStack() as stack:
        recording = stack.enter_context(Recording(record)) if record else None
        around = resolve(config, quiet=True).surroundings(keep=recording.keep if recording else None)
        tracker = stack.enter_context(Tracker(config=config, kind="command", around=around))
        live = stack.enter_context(LiveLine()) if not quiet else None

        def look() -> None:
            tracker.check(ahead_s=LOOK_EVERY_S)
            if recording:
                recording.write()
            if live:
                live.show(tracker.footprint)

        status = _run(command, tracker, look, _environment(config, tracker.footprint.run_id))
    if tracker.footprint.status == "stopped":
        return STOPPED_BY_BUDGET
    return status if status >= 0 else SIGNALLED - status


def _environment(config: Config, run_id: str) -> dict[str, str]:
    """The command's environment: the user's own, and where that is silent what places a run inside it beside this one."""
    own = {name: text for name, text in os.environ.items() if text.strip() or not name.startswith("FITPRINT_")}
    return {**resolve(config, quiet=True).environment(), **own, "FITPRINT_PARENT_RUN": run_id}


def _run(command: Sequence[str], tracker: Tracker, look: Callable[[], None], environ: dict[str, str]) -> int:
    """Start the command unless its budget is spent, wait for its end, and close the run by how it ended."""
    tracker.check(ahead_s=0.0)
    if tracker.should_stop:
        return 0
    try:
        child = subprocess.Popen(command, env=environ)
    except OSError as error:
        status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        raise CommandError(f"cannot run {command[0]!r}: {error.strerror or error}", status) from error
    with _signals_passed_on(child):
        status = _wait(child, tracker, look)
    if not tracker.should_stop:
        tracker.close("completed" if status == 0 else "interrupted" if status < 0 else "failed")
    return status


def _wait(child: subprocess.Popen[bytes], tracker: Tracker, look: Callable[[], None]) -> int:
    """Wait for the end; at the budget ask the command to end, and end it after a while."""
    while not tracker.should_stop:
        try:
            return child.wait(LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            look()
    child.terminate()
    try:
        return child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


@contextmanager
def _signals_passed_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """What is sent to us is meant for the command; it decides how to end.

    A terminal's Ctrl-C reaches the command by itself, as a member of the same process group; on Windows
    there is no other SIGINT.
    """

    def pass_on(number: int, _: FrameType | None) -> None:
        from_terminal = number == signal.SIGINT and (sys.platform == "win32" or os.isatty(0))
        if child.poll() is None and not from_terminal:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
