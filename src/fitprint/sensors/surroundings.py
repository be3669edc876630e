"""The machine as probes see it; tests bring their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from fitprint.clock import Clock, SystemClock
from fitprint.sensors.machine import Machine, architecture, read_machine
from fitprint.sensors.siblings import Registry


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
        environ: The process environment.
        clock: The clock that modelled counters run on.
        nvml: Returns the NVML module.
        dev_root: Normally ``/dev``.
        library: Imports an optional library by its name.
        pids: Processes that belong to this job beside this one and its descendants.
        platform: ``sys.platform`` and ``platform.machine()``, joined by a dash.
        keep: Takes the raw readings of all counters, to record them.
    """

    sys_root: Path = Path("/sys")
    proc_root: Path = Path("/proc")
    environ: Mapping[str, str] | None = None
    clock: Clock = field(default_factory=SystemClock)
    nvml: Callable[[], Any] = load_pynvml
    dev_root: Path = Path("/dev")
    library: Callable[[str], Any] = import_module
    pids: Sequence[int] = ()
    platform: str = field(default_factory=lambda: f"{sys.platform}-{architecture()}")
    keep: Callable[[dict[str, Any]], None] | None = None

    @property
    def machine(self) -> Machine:
        """What is known of the machine and of this job's part of it, read anew."""
        return read_machine(self.sys_root, self.proc_root, self.environment(), platform=self.system)

    @property
    def registry(self) -> Registry | None:
        """The runs that last on this machine; None on a system where they cannot be told."""
        return Registry.of(self.dev_root, self.sys_root, self.proc_root) if self.system == "linux" else None

    @property
    def system(self) -> str:
        """As ``sys.platform``."""
        return self.platform.partition("-")[0]

    def optional(self, name: str) -> Any:
        """A library that is an extra; None where it is not installed or cannot be loaded here."""
        if name in sys.modules:
            return sys.modules[name]
        try:
            with redirect_stdout(None):
                return self.library(name)
        except Exception:  # some print and raise what they like where their driver is missing
            return None

    def environment(self) -> Mapping[str, str]:
        return os.environ if self.environ is None else self.environ
