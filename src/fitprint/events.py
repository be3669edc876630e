"""The words between adapters and a run: the events of a training in, decisions and records out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from fitprint.blocks import NEVER
from fitprint.budget import Decision, Spent
from fitprint.config import Config
from fitprint.drift import Range
from fitprint.footprint import Footprint
from fitprint.guard import Guard
from fitprint.meetings import Meetings
from fitprint.pace import Schedule
from fitprint.provenance import Provenance
from fitprint.publisher import Publisher
from fitprint.ranks import Peers
from fitprint.run import Run
from fitprint.scalars import block_scalars
from fitprint.told import Told
from fitprint.work import Work


class EventTracker:
    """A tracker as adapters use it: each event of the training is told, and answers are asked for.

    Args:
        config: What the program set.
        peers: The ranks with which this one trains, where they are not PyTorch's.
    """

    def __init__(self, config: Config, peers: Peers | None = None) -> None:
        self._config = config
        self._guard = Guard()
        self._meetings = Meetings(self._guard, peers)
        self._publisher = Publisher(self._guard)
        self._started = False
        self._last_scalars: dict[str, float] = {}
        self._described = Provenance()
        self._told = Told()

    # ---- events

    def logged_in(self, places: Iterable[str]) -> None:
        """Say where the framework's own loggers write this run's figures: no sink writes them there a second time.

        Args:
            places: As ``Sink.place`` has them, or a sink's name alone for where it writes when nothing else is said.
        """
        self._publisher.logged_in(places)

    def begin_epoch(self, index: int, schedule: Schedule, *, sure: int | None = None) -> int:
        """Open an epoch; returns the number of batches after which to call ``look``.

        Args:
            index: Its number, from 0.
            schedule: What is planned, as far as it is known.
            sure: Of the ranks of a job: batches after each of which this one is sure to be able to look; by default
                all that are planned.
        """
        self._meetings.exchange(index, (schedule.batches or NEVER) if sure is None else sure)
        next_look = self._guard.safely(lambda run: run.begin_epoch(index, schedule), NEVER)
        self._publisher.publish()
        return self._meetings.agree(next_look, index)

    def look(self, batches_done: int) -> tuple[int, dict[str, float]]:
        """Look inside the epoch.

        Args:
            batches_done: Training batches of this epoch that are done.

        Returns:
            The number of batches after which to look next, and the scalars of a block that ended.
        """
        nothing: tuple[int, dict[str, float]] = (NEVER, {})
        self._meetings.look(batches_done)
        next_look, block = self._guard.safely(lambda run: _look(run, batches_done), nothing)
        self._publisher.publish()
        return self._meetings.agree(next_look, batches_done), block

    def end_epoch(self, *, steps: int | None = None, complete: bool = True) -> None:
        """Close the epoch, record it, and decide whether another may begin."""
        self._meetings.end()
        self._guard.safely(lambda run: run.end_epoch(steps=steps, complete=complete), None)
        self._publisher.publish()
        self._meetings.agree(NEVER, 0)

    def describe(self, *, hparams: object = None, seed: int | None = None, git_commit: str | None = None) -> Self:
        """Keep with the run what it was made from, before it starts or while it lasts.

        Args:
            hparams: Hyperparameters, a mapping or a namespace: ``{"lr": 0.1, "width": 64}``. Plain values are
                kept, at most 200 and mappings flattened; objects, folders and what looks like a secret are not.
            seed: Seed of the random numbers.
            git_commit: Full hash, where the working folder is not in the repository of the code.

        Example:
            >>> from fitprint import Tracker
            >>> tracker = Tracker(ledger="off").describe(hparams={"lr": 0.1}, seed=1)
        """
        self._described = self._described.described(self._told.hparams(hparams), seed, git_commit)
        self._guard.safely(lambda run: run.describe(self._described), None)
        return self

    def annotate(self, metrics: Mapping[str, Any]) -> None:
        """Add metrics to the open epoch, else to the one that ended last, for example ``{"val_acc": 0.91}``.

        What is not one number (a vector, a text) is left out, and so is what we log ourselves. What is no
        mapping at all is ignored and said once.
        """
        numbers = self._told.metrics(metrics)
        self._guard.safely(lambda run: run.annotate(numbers), None)

    def enter(self, phase: str) -> None:
        """Begin a phase."""
        self._guard.safely(lambda run: run.enter(phase), None)

    def leave(self, phase: str) -> None:
        """End a phase."""
        self._guard.safely(lambda run: run.leave(phase), None)

    def check_start(self) -> None:
        """Let the budgets decide whether the first epoch may begin."""
        self._guard.safely(lambda run: run.opening.await_no_state(), None)
        self._meetings.exchange(0)
        self._guard.safely(lambda run: run.begin_training(), None)
        self._meetings.agree(NEVER, 0)

    def check(self, ahead_s: float) -> None:
        """Let the budgets decide outside of epochs whether so many further seconds at this power fit."""
        self._guard.safely(lambda run: run.check(ahead_s), None)
        self._publisher.keep_up()

    def stop(self, decision: Decision | None) -> bool:
        """Stop for a reason that is no budget's, such as the efficiency rule's; every rank of a job calls it or none.

        Args:
            decision: The reason, or None where there is none on this rank.

        Returns:
            Whether the run is to stop, for this reason or another.
        """
        if decision is not None:
            self._guard.safely(lambda run: run.stop(decision), None)
        self._meetings.agree(NEVER, 0)
        return self.should_stop

    def resume(self, state: Mapping[str, Any], *, own: bool = False) -> None:
        """Go on with the run that ``state`` was taken from; call it before the first epoch.

        Where a live process writes for that run, or the run has gone on from there and ended already, this one is
        another run, with ``forked_from`` and ``inherited``.

        Args:
            state: What ``state()`` returned, then or in another process.
            own: It is of a run of the same series, whose run id was given once for all.
        """
        self._guard.safely(lambda run: run.opening.resume(state, own=own), None)

    # ---- answers

    @property
    def should_stop(self) -> bool:
        """Whether a budget decided to stop; the cached decision, which costs nothing to ask."""
        return self.decision is not None

    @property
    def decision(self) -> Decision | None:
        """Why the run is to stop, or None; of a job's ranks the same for all."""
        if self._meetings.job is not None:
            return self._meetings.job.decision
        return self._guard.run.watch.decision if self._guard.run is not None else None

    @property
    def footprint(self) -> Footprint:
        """The record: live while the run lasts, final after it; of a job of many ranks as of their last exchange."""
        status, why = ("completed", "switched off or failed") if self._started else ("failed", "the Tracker was never started")
        nothing = Footprint(run_id=self._config.run_id or "", status=status, notes=(f"nothing was measured: {why}",))
        return self._guard.footprint(nothing)

    @property
    def forecast(self) -> Range | None:
        """Grams of CO2e that the run will have emitted at its end, with their 95 % interval.

        None where the run's length is unknown, and before anything was seen of an epoch. The interval is
        that of the work ahead: how epochs differ and may still drift. It leaves out how sure the grams are.
        """
        return self._guard.safely(lambda run: run.view.forecast_g(), None)

    @property
    def spent(self) -> Spent | None:
        """What the run has used so far; None where nothing is measured."""
        return self._guard.safely(lambda run: run.view.spent(), None)

    def scalars(self) -> dict[str, float]:
        """The last epoch and the run so far under their public tags (``carbon/...``); the last known if all fails."""
        self._last_scalars = {**self._last_scalars, **self._guard.safely(lambda run: run.view.scalars(), {})}
        return dict(self._last_scalars)

    @property
    def work(self) -> Work:
        """What the run counts besides joules; one that nobody reads where nothing is measured."""
        return self._guard.safely(lambda run: run.work, Work())

    @property
    def alive(self) -> bool:
        """True from start to close, in the process that started it."""
        return self._guard.alive

    @property
    def measuring(self) -> bool:
        """False where measuring is switched off or has failed."""
        return self._guard.run is not None and not self._guard.broken

    def run_text(self, *, at_once: bool = False) -> str | None:
        """The run's record without its epochs as JSON, for a logger's text; None if it is not due.

        Once the run has ended, what would have made it smaller is in it as ``advice``: the rows of ``fitprint advise``.

        Args:
            at_once: True for the last one; otherwise it is due at the start and once a minute.
        """
        if self._guard.final is not None and at_once:
            from fitprint.parting import last_text  # needed once, at the end

            return last_text(self._guard.final, self._guard.run.view.intensities if self._guard.run is not None else None)
        return self._guard.safely(lambda run: run.view.text(at_once=at_once), None)

    def state(self) -> dict[str, Any]:
        """Plain types to keep in a checkpoint; empty where nothing is measured."""
        run, final = self._guard.run, self._guard.final
        if final is None:
            return self._guard.safely(lambda run: run.opening.state(), {})
        return run.opening.state() if run is not None else {"schema": final.schema, "footprint": final.to_dict()}


def _look(run: Run, batches_done: int) -> tuple[int, dict[str, float]]:
    blocks = len(run.view.blocks)
    next_look = run.look(batches_done)
    return next_look, block_scalars(run.view.blocks[-1]) if len(run.view.blocks) > blocks else {}
