"""What a program shows on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
from collections.abc import Callable, Sequence


def shown_by(command: Sequence[str], *, react: Callable[[int, bytes], None] = lambda pid, shown: None, **environ: str):
    """Run a command on a terminal of its own; returns what was shown, and its exit status.

    Args:
        command: Program and arguments.
        react: Called with the process id and all that was shown so far, whenever there is more.
        environ: Variables beside those of this process.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], list(command), {**os.environ, "TERM": "xterm", "COLUMNS": "160", **environ})
    shown = b""
    with contextlib.suppress(OSError):  # a terminal whose programs have ended answers EIO
        while chunk := os.read(terminal, 4096):
            shown += chunk
            react(pid, shown)
    os.close(terminal)
    return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
