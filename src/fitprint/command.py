"""Measures any command: starts it, passes signals on, stops it on a budget, returns its status."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from fitprint.config import Config
from fitprint.errors import CommandError
from fitprint.tracker import Tracker

LOOK_EVERY_S = 1.0
GRACE_S = 30.0
STOPPED_BY_BUDGET = 75
SIGNALLED = 128
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def run_command(command: Sequence[str], config: Config) -> int:
    """Run a command to its end, measured.

    A callback inside it finds this run in FITPRINT_PARENT_RUN and records it as its parent.

    Args:
        command: Program and arguments.
        config: Options of the run.

    Returns:
        The command's exit status, 128 + n if signal n ended it, 75 if the budget did.

    Raises:
        CommandError: If it cannot be started.
    """
    with Tracker(config=config, kind="command") as tracker:
        parent = tracker.footprint.run_id
        try:
            child = subprocess.Popen(command, env={**os.environ, "FITPRINT_PARENT_RUN": parent})
        except OSError as error:
            raise CommandError(f"cannot run {command[0]!r}: {error.strerror or error}") from error
        with _signals_passed_on(child):
            status = _wait(child, tracker)
        if not tracker.should_stop:
            tracker.close("completed" if status == 0 else "interrupted" if status < 0 else "failed")
    if tracker.footprint.status == "stopped":
        return STOPPED_BY_BUDGET
    return status if status >= 0 else SIGNALLED - status


def _wait(child: subprocess.Popen[bytes], tracker: Tracker) -> int:
    """Wait for the end; at the budget ask the command to end, and end it after a while."""
    while True:
        try:
            return child.wait(LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            tracker.check(ahead_s=LOOK_EVERY_S)
        if tracker.should_stop:
            child.terminate()
            try:
                return child.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                return child.wait()


@contextmanager
def _signals_passed_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """What is sent to us is meant for the command; it decides how to end.

    A terminal's Ctrl-C reaches the command by itself, as a member of the same process group.
    """

    def pass_on(number: int, _: FrameType | None) -> None:
        from_terminal = number == signal.SIGINT and os.isatty(0)
        if child.poll() is None and not from_terminal:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
