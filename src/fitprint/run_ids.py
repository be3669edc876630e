"""Names for runs: a new one, and the one that a requeued job has again."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping

from fitprint.clock import Clock, iso_utc


def job_run_id(environ: Mapping[str, str], count: int) -> str | None:
    """The id of the count-th run of this command in a scheduler's job; None outside of jobs.

    Args:
        environ: The process environment.
        count: Which run of this process it is, from 1.
    """
    slurm, elastic = environ.get("SLURM_JOB_ID", ""), environ.get("TORCHELASTIC_RUN_ID", "")
    job = f"slurm-{slurm}" if slurm else f"elastic-{elastic}" if elastic not in ("", "none") else ""
    rank = environ.get("RANK") or environ.get("SLURM_PROCID") or "0"
    command = hashlib.sha256("\0".join([job, rank, *sys.orig_argv]).encode(errors="replace")).hexdigest()[:10]
    name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in job)[:80]
    return f"{name}-{command}-{count}" if job else None


def new_run_id(clock: Clock) -> str:
    """A sortable, unique name; drawn without touching the random state that training uses."""
    stamp = iso_utc(clock.time()).replace("-", "").replace(":", "")[:15]
    return f"{stamp}-{os.urandom(4).hex()}"
