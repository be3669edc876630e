"""The parts of a run, put together once before its start."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from fitprint.beside import Beside
from fitprint.books import Books
from fitprint.chronicle import Chronicle
from fitprint.clock import Clock, iso_utc
from fitprint.effort import Effort
from fitprint.grid import Grid
from fitprint.ledger.project import Project
from fitprint.ledger.recorder import Recorder
from fitprint.notices import logger
from fitprint.outlook import Outlook
from fitprint.periods import Periods
from fitprint.provenance import Provenance, git_commit
from fitprint.records import Records
from fitprint.resume import Identity
from fitprint.sensors.company import overlap_of
from fitprint.sensors.modelled import bare_cpu_name
from fitprint.sensors.probe import Sensors, Surroundings
from fitprint.settings import Settings
from fitprint.watch import Watch
from fitprint.work import Work

if TYPE_CHECKING:
    from fitprint.job import Job
    from fitprint.ledger.reservation import Reservations
    from fitprint.team import Follower


class Parts(NamedTuple):
    """What a run consists of.

    Attributes:
        lock: Held by whoever changes or reads several of them.
        clock: Where the time comes from.
        leads: This process speaks for the run: it prints, and writes its record.
        identity: Who the run is.
        books: Readings, and where they are booked.
        grid: The intensity over time, or None where it is constant.
        periods: Epochs and blocks.
        outlook: What lies ahead.
        watch: The budgets.
        work: What it trains on.
        recorder: Writes.
        effort: What measuring costs.
        chronicle: Makes records.
    """

    lock: threading.RLock
    clock: Clock
    leads: bool
    identity: Identity | Follower
    books: Books
    grid: Grid | None
    periods: Periods
    outlook: Outlook
    watch: Watch
    work: Work
    recorder: Recorder
    effort: Effort
    chronicle: Chronicle


def assemble(
    settings: Settings,
    kind: str,
    sensors: Sensors,
    around: Surroundings,
    *,
    parent_run_id: str | None,
    awaits_state: bool,
    job: Job | None,
    on_tick: Callable[[], None],
) -> Parts:
    """Put the parts together; nothing is read or written yet.

    Args:
        settings: The resolved options.
        kind: What the run does.
        sensors: What is read.
        around: The machine.
        parent_run_id: The run inside which this one is started, or None.
        awaits_state: A checkpoint may still say which run this is.
        job: The ranks with which this one trains, or None where it is alone.
        on_tick: Called by the keeper.
    """
    leads, leads_host = job is None or job.leads, sensors.of_host if job is None else job.leads_host
    identity = _identity(settings, kind, around, parent_run_id, awaits_state=awaits_state, job=job)
    overlap = overlap_of(lambda: identity.run_id, parent_run_id, sensors.devices, around)
    books = Books(sensors, around, kind, job, overlap=overlap, on_tick=on_tick, sync=settings.sync)
    records = _records(settings, kind, sensors, around, parent_run_id, leads_host=leads_host)
    grid = Grid.of(records.factors, books.timeline)
    periods = Periods(books, identity, settings.block, grid)
    outlook = Outlook(books, periods)
    errand, rank = grid.errand if grid else None, job.rank if job is not None else 0
    recorder = Recorder(settings.ledger, settings.proc_root, around.clock, errand, rank)
    pots = _pots(settings, recorder) if leads else None
    say = logger().warning if leads else logger().debug
    watch = outlook.watch = Watch(settings.budgets, say, outlook.forecast, pots)
    work = Work(count_flops=settings.flops and kind == "fit")
    effort = Effort(lambda: books.meter.cpu_s, lambda: recorder.cpu_s)
    chronicle = Chronicle(records, books, periods, identity, work, grid, watch, recorder, pots, effort, around.clock)
    return Parts(
        threading.RLock(),
        around.clock,
        leads,
        identity,
        books,
        grid,
        periods,
        outlook,
        watch,
        work,
        recorder,
        effort,
        chronicle,
    )


def _identity(
    settings: Settings, kind: str, around: Surroundings, parent_run_id: str | None, *, awaits_state: bool, job: Job | None
) -> Identity | Follower:
    if job is None or job.leads:
        return Identity(settings, kind, around, parent_run_id=parent_run_id, awaits_state=awaits_state)
    from fitprint.team import Follower

    return Follower(settings, around, looks=job.leads_host)


def _pots(settings: Settings, recorder: Recorder) -> Reservations | None:
    project = Project.of(settings)
    if project is None:
        return None
    from fitprint.ledger.reservation import Reservations  # with what reads and writes pots

    return Reservations(project, recorder)


def _records(
    settings: Settings, kind: str, sensors: Sensors, around: Surroundings, parent_run_id: str | None, *, leads_host: bool
) -> Records:
    factors = settings.factors(around, hidden_boards=sensors.hidden_boards, covered=sensors.covered)
    beside = Beside.of(settings, factors, around.machine, leads=leads_host)
    made_from, cpu = Provenance(git_commit=git_commit()), bare_cpu_name(around.machine.cpu_name)
    started_at = iso_utc(around.clock.time())
    return Records(settings, kind, sensors, factors, started_at, beside, parent_run_id, provenance=made_from, cpu=cpu)
