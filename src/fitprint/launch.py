"""What the environment of a process says of the others that were started with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fitprint.process import start_of


class Launcher(NamedTuple):
    """The variables of a launcher.

    Attributes:
        size: In it stands how many processes were started.
        names: What together names one launch, the same for all its processes and no other's; the first that is set, for
            versions that differ, where ``any_of`` is True.
        any_of: As it says.
    """

    size: str
    names: tuple[str, ...] = ()
    any_of: bool = False


# A launcher that runs inside another's job comes first: mpirun in a step of SLURM, torchrun in either.
LAUNCHERS = (
    Launcher("WORLD_SIZE", ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")),
    Launcher("OMPI_COMM_WORLD_SIZE", ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "OMPI_MCA_orte_ess_jobid"), any_of=True),
    Launcher("MV2_COMM_WORLD_SIZE"),
    Launcher("JSM_NAMESPACE_SIZE", ("LSB_JOBID", "JSM_NAMESPACE_ID")),
    Launcher("PALS_SIZE", ("PALS_APID",)),
    # Of a step alone: in a batch script the number of tasks stands, too, and every process there is one by itself.
    Launcher("SLURM_STEP_NUM_TASKS", ("SLURM_JOB_ID", "SLURM_STEP_ID")),
    Launcher("PMI_SIZE", ("PMI_JOBID", "PMI_ID"), any_of=True),
)


def launch(environ: Mapping[str, str], proc_root: Path) -> str | None:
    """The name of the launch to which this process belongs; None where it was started alone.

    Args:
        environ: Its environment.
        proc_root: Normally ``/proc``; where a launcher gives no name, the process that started all of them is it.
    """
    for launcher in LAUNCHERS:
        size = environ.get(launcher.size, "")
        if size.isdecimal() and int(size) > 1:
            return f"{launcher.size} {_name(launcher, environ) or _parent(proc_root)}"
    return None


def _name(launcher: Launcher, environ: Mapping[str, str]) -> str:
    values = [environ[name] for name in launcher.names if environ.get(name)]
    return " ".join(values[:1] if launcher.any_of else values)


def _parent(proc_root: Path) -> str:
    parent = os.getppid()
    return f"{parent} {start_of(proc_root, parent)}"
