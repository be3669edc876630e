"""Floor 5: the tracker, what every adapter and every plain loop drives."""

from __future__ import annotations

import atexit
import sys
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from fitprint.budget import Budget
from fitprint.carbon.intensity import IntensitySource
from fitprint.config import Config
from fitprint.guard import Guard
from fitprint.ledger.project import check_project
from fitprint.loop import LoopTracker
from fitprint.meetings import Meetings
from fitprint.nesting import entered, parent_run_id
from fitprint.notices import logger, show_on_console
from fitprint.publisher import Publisher
from fitprint.ranks import Peers
from fitprint.run import Run
from fitprint.scalars import idle_scalars
from fitprint.sensors.counter import Counter
from fitprint.sensors.probe import Sensors, Surroundings, probe
from fitprint.settings import Settings, check_network, resolve
from fitprint.status import status_of, stay_interrupted

if TYPE_CHECKING:
    from fitprint.display import Display


class Tracker(LoopTracker):
    """Measures a run: a context manager with epochs and phases inside.

    Args:
        budget: ``"250 g"``, ``"0.5 kWh"``, a Budget, or a list of these.
        region: Country, part of one or cloud region: ``FR``, ``US-CA``, ``gcp:europe-west1``.
        intensity: Carbon intensity in g CO2e per kWh; or what tells it over time: a CSV file, a service, an object (see Config).
        pue: Facility power over IT power, from 1 up.
        project: Name under which runs are kept together.
        name: Name of the run.
        run_id: Identity of the run; a new one by default. One that the ledger knows is gone on with, by whatever
            process: what was spent under it is spent.
        ledger: Path of the SQLite file that records runs, ``"postgresql://user@host/database"``, or ``"off"``.
        config: Options beyond these, and defaults for these.
        kind: ``fit``, ``validate``, ``test``, ``predict`` or ``command``.
        counters: Counters to read instead of this machine's sensors.
        around: The machine: clock, folders, environment.
        peers: The ranks with which this one trains; by default those that PyTorch, JAX or TensorFlow has set up.
        awaits_state: ``resume`` may be called up to ``check_start``; nothing is written before.
        live: Show epoch, CO2e so far, power, budget and forecast at the foot of a terminal while the run lasts; of several
            ranks the first one shows it.

    Raises:
        ConfigError: If an option makes no sense; nothing has been started or written then.

    Example:
        >>> from fitprint.testing import FakeClock, ScriptedCounter
        >>> from fitprint.sensors.probe import Surroundings
        >>> clock = FakeClock()
        >>> gpu = ScriptedCounter(clock, watts=360.0)
        >>> with Tracker(region="FR", ledger="off", counters=[gpu], around=Surroundings(clock=clock)) as tracker:
        ...     for epoch in tracker.epochs(range(2)):
        ...         clock.advance(10.0)
        >>> [epoch.energy_j for epoch in tracker.footprint.epochs]
        [3600.0, 3600.0]

        A budget is looked at inside epochs, too, where their batches are counted::

            with Tracker(budget=Budget("250 g", check=50), region="FR") as tracker:
                for epoch in tracker.epochs(range(100)):
                    for x, y in batches:
                        with tracker.batch(len(x)):
                            train(x, y)
                        if tracker.should_stop:
                            break
    """

    def __init__(
        self,
        *,
        budget: str | Budget | Sequence[str | Budget] | None = None,
        region: str | None = None,
        intensity: float | str | IntensitySource | None = None,
        pue: float | None = None,
        project: str | None = None,
        name: str | None = None,
        run_id: str | None = None,
        ledger: str | None = None,
        config: Config | None = None,
        kind: str = "fit",
        counters: Sequence[Counter] | None = None,
        around: Surroundings | None = None,
        peers: Peers | None = None,
        awaits_state: bool = False,
        live: bool = False,
    ) -> None:
        options = Config.of(config).overridden(
            budget=budget,
            region=region,
            intensity=intensity,
            pue=pue,
            project=project,
            name=name,
            run_id=run_id,
            ledger=ledger,
        )
        check_network(options, around.environ if around else None)
        check_project(options)
        super().__init__(options, peers)
        self._kind = kind
        self._counters = counters
        self._around = around
        self._awaits_state = awaits_state
        self._inside = False
        self._live = live
        self._display: Display | None = None

    def start(self) -> Self:
        """Begin the run. Failures are logged once and leave a tracker that does nothing."""
        if self._guard.run is not None or self._guard.broken:
            self._guard.remind_of_the_end()
            return self
        self._started = True
        self._guard.begin(self._begin)
        self._meetings.exchange(0)
        self._show()
        return self

    def _show(self) -> None:
        """Begin the live display, where one is asked for; without it all goes on."""
        job = self._meetings.job
        if not self._live or not self.measuring or (job is not None and not job.leads):
            return
        guard = self._guard  # not the tracker, which the display's thread must not keep alive
        try:
            from fitprint.display import Display

            self._display = Display(lambda: guard.run.view.standing() if guard.run else None)
            self._display.start()
        except Exception:  # a terminal that has gone, or a broken rich
            logger().warning("the live display could not be started; training and measuring go on", exc_info=True)

    def _hide(self) -> None:
        display, self._display = self._display, None
        try:
            if display is not None:
                display.stop()
        except Exception:  # a terminal that has gone
            logger().debug("the live display did not end properly", exc_info=True)

    def close(self, status: str | None = None, *, abandoned: bool = False) -> None:
        """End the run; may be called any number of times.

        Args:
            status: ``completed``, ``stopped``, ``failed`` or ``interrupted``; by default one of the
                first two, as the budget decided.
            abandoned: The run ended some time ago without telling: what was used since its last event
                is not its own.
        """
        self._end(status, abandoned=abandoned, together=status is None and not abandoned)

    def _end(self, status: str | None, *, abandoned: bool = False, together: bool) -> None:
        """End the run, ``together`` with all other ranks if they end it too."""
        run = self._guard.run
        if run is not None and not run.alive:
            return
        self._hide()
        self._meetings.part(abandoned=abandoned, together=together)
        self._guard.end(status, abandoned=abandoned)
        self._meetings.release()
        self._publisher.end()

    def __del__(self) -> None:
        """Nobody holds the tracker any more: its run is over, and so are its threads."""
        try:
            self.close("failed", abandoned=True)
        except Exception:  # the interpreter may be half gone
            return

    def __enter__(self) -> Self:
        self.start()
        self._inside = True
        entered().append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is not None and self._left_loop:
            self._guard.safely(lambda run: run.cut_short(), None)
        if self in entered():
            entered().remove(self)
        self._inside = False
        self.close(status_of(error))

    def _begin(self) -> Run | None:
        """The run, started; None where measuring is switched off."""
        settings = resolve(self._config, self._around.environ if self._around else None)
        self._last_scalars = idle_scalars(settings.budgets, settings.parts)
        if settings.disabled:
            return None
        show_on_console()
        around = self._meetings.join(self._around or settings.surroundings())
        sensors, parent = self._sensors(settings, around), parent_run_id(around.environment())
        job = self._meetings.job
        run = Run(settings, self._kind, sensors, around, parent_run_id=parent, awaits_state=self._awaits_state, job=job)
        run.describe(self._described)
        run.start()
        if job is None or job.leads:
            self._publisher.ask(settings.sinks)
        atexit.register(_close_at_exit, weakref.ref(self))
        return run

    def _sensors(self, settings: Settings, around: Surroundings) -> Sensors:
        """What this process reads."""
        given = self._counters

        def find() -> Sensors:
            return Sensors(tuple(given)) if given is not None else probe(settings.parts, around, settings.attribute)

        return self._meetings.share_out(find, around, given=given is not None)

    def _repr_html_(self) -> str:
        from fitprint.report.html import glance

        return glance(self.footprint)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry the options and the record, not the run."""
        guard = Guard(final=self._guard.final, broken=self._guard.broken)
        afresh = {"_display": None, "_guard": guard, "_meetings": Meetings(guard), "_publisher": Publisher(guard)}
        return self.__dict__ | afresh


def _close_at_exit(tracker: weakref.ref[Tracker]) -> None:
    """The interpreter ends and nobody closed the run: the last exception says how it ended."""
    alive = tracker()
    if alive is not None:
        # A `with` block that is still open then was in a thread that ended with the process; an epoch that is still open
        # was left by sys.exit, which the interpreter keeps nowhere.
        run = alive._guard.run
        cut_off = "interrupted" if alive._inside else "failed" if run is not None and run.in_epoch else None
        status = status_of(getattr(sys, "last_value", None)) or alive._broke_off or cut_off
        alive._end(status, together=False)
        stay_interrupted()
