"""What is known of a run that could be gone on with, and why it cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fitprint.footprint import Footprint
from fitprint.ledger.claim import SILENCE_S, Claim, Job
from fitprint.location import Location
from fitprint.notices import logger
from fitprint.process import this_process
from fitprint.settings import Settings

ENDED_BY_ITSELF = ("completed", "stopped")


class Found(NamedTuple):
    """What is known of a run that could be gone on with.

    Attributes:
        claim: The right to write for it; None where nothing is recorded.
        held: A live process writes for it; None where that cannot be asked.
        recorded: Its record; None where there is none.
    """

    claim: Claim | None = None
    held: bool | None = False
    recorded: Footprint | None = None

    def why_another(self, kind: str) -> str:
        """Why a run that was asked for cannot be gone on with; empty if it can.

        Args:
            kind: What the asking run does.
        """
        if self.held:
            return "a live process writes for it"
        if self.held is None:
            return f"another machine or container wrote for it less than {SILENCE_S:g} s ago"
        if self.recorded is not None and self.recorded.kind != kind:
            return f"it is there already, as a run of kind {self.recorded.kind!r}"
        return ""

    def why_fork(self, kept: Footprint, generation: int) -> str:
        """Why going on from a checkpoint makes another run; empty where it is the same.

        A run that died goes on, from whichever checkpoint. One that has ended by itself, epochs later than this
        checkpoint, was completed from here; or, if it was stopped by its budget, another process
        has gone on from here since the checkpoint was written.

        Args:
            kept: The run's record in the checkpoint.
            generation: Of the process that wrote the checkpoint.
        """
        if self.held:
            return "a live process writes for that run"
        if self.held is None:
            return f"another machine or container wrote for that run less than {SILENCE_S:g} s ago"
        recorded = self.recorded
        if recorded is None or recorded.status not in ENDED_BY_ITSELF or len(recorded.epochs) <= len(kept.epochs):
            return ""
        newer = self.claim is not None and self.claim.generation > generation
        return "that run has gone on from this checkpoint and ended" if newer or recorded.status == "completed" else ""


def find(run_id: str, settings: Settings, environ: Mapping[str, str]) -> Found:
    """Ask the ledger, and the claims beside it, about a run.

    Args:
        run_id: The run.
        settings: The resolved options of the asking run.
        environ: Its process environment.
    """
    claim, place = claim_of(run_id, settings, environ), settings.ledger
    if claim is None or place is None or not place.may_exist:
        return Found(claim)
    held = claim.held_elsewhere()
    recorded = _recorded(place, run_id)
    # Where claims are not seen, of an earlier version or beside a server, the record alone says whether it is live.
    seen = claim.generation > 0 and place.path is not None
    if held is False and not seen and recorded is not None and recorded.status == "running":
        held = None
    return Found(claim, held, recorded)


def claim_of(run_id: str, settings: Settings, environ: Mapping[str, str]) -> Claim | None:
    """The right to write for a run, not yet taken; None where the ledger is off.

    Args:
        run_id: The run.
        settings: The resolved options of the asking run.
        environ: Its process environment.
    """
    place, proc_root = settings.ledger, settings.proc_root
    if place is None:
        return None
    return Claim(place.journals / run_id, this_process(proc_root), proc_root, Job.of(environ))


def _recorded(place: Location, run_id: str) -> Footprint | None:
    """What the ledger knows of a run; a ledger that cannot be read knows nothing, and measuring goes on."""
    try:
        from fitprint.ledger.ledger import Ledger  # few runs have an earlier part

        return Ledger(place).find(run_id)
    except Exception as error:
        logger().warning("the ledger %s cannot be read (%s): what run %s had spent before is not known", place, error, run_id)
        return None
