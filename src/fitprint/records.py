"""Writes the records of a run from what was booked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fitprint.account import Window
from fitprint.assumption import Assumption
from fitprint.beside import SCORE, Beside
from fitprint.budget import Decision, Spent
from fitprint.carbon.factors import Factors, Grams
from fitprint.clock import NS_PER_S
from fitprint.energy import Energy
from fitprint.footprint import EpochFootprint, Footprint, continued
from fitprint.nothing import NOTHING
from fitprint.process import host_key, host_name
from fitprint.provenance import Provenance
from fitprint.sensors.counter import NODE
from fitprint.sensors.probe import Sensors
from fitprint.settings import Settings
from fitprint.shared import Level
from fitprint.work import Facts

if TYPE_CHECKING:
    from fitprint.carbon.over_time import Mean
    from fitprint.together import Together

OVERLAPPED = (
    "other runs overlapped on this machine: processor and memory are divided by CPU time (evenly within a process), boards evenly"
)


class Stretch(NamedTuple):
    """What a run has booked at one moment; immutable, so that another thread can write it down.

    Attributes:
        run_id: The run.
        status: Its status.
        duration_ns: Time since its start.
        energy: All of it.
        in_epochs: What was booked inside epochs.
        phases: All of it by phase.
        decision: The stop, if one was decided.
        before: What the run had spent before it was resumed.
        energy_series: Its joules over time, where they are to be written down.
        work: What it has trained on or predicted, and with what.
        grid: Intensity of its time; None where it is a constant.
        grid_notes: What was decided about times without a figure.
        forked_from: The run from whose checkpoint this one began, or None.
        inherited: What that run had spent by then; counts against budgets and is in no sum.
        readings: Its devices' counts over time, likewise.
        pots: How full the project's pots were, by unit.
        together: What the ranks of a job have come to together; None where this process is alone.
        own: What this rank's own sensors have counted, from which its machine's factors are worked out.
        overhead_cpu_s: CPU seconds that measuring has cost.
    """

    run_id: str
    status: str
    duration_ns: int
    energy: Energy
    in_epochs: Energy
    phases: Mapping[str, Energy]
    decision: Decision | None
    before: Footprint | None
    energy_series: Mapping[str, Any] | None = None
    work: Facts = Facts()
    grid: Mean | None = None
    grid_notes: tuple[str, ...] = ()
    forked_from: str | None = None
    inherited: Mapping[str, Any] | None = None
    readings: Mapping[str, Any] | None = None
    pots: Mapping[str, Level] = NOTHING
    together: Together | None = None
    own: Energy | None = None
    overhead_cpu_s: float | None = None


class Records(NamedTuple):
    """Everything about a run that does not change while it lasts.

    Attributes:
        settings: The resolved options.
        kind: ``fit``, ``validate``, ``test`` or ``predict``.
        sensors: What is read.
        factors: Joules to grams.
        started_at: Wall-clock start, ISO 8601 in UTC.
        beside: What is shown beside the operational grams.
        parent_run_id: The run inside which this one was started, or None.
        idle: What the sensors counted while nothing was trained yet, or None.
        provenance: Hyperparameters, seed and commit.
        of_many: Other ranks have sensors too.
        failures: Where the measurement broke off; empty as long as it has not.
        cpu: The processor's model, as the system names it; empty where it is unknown.
    """

    settings: Settings
    kind: str
    sensors: Sensors
    factors: Factors
    started_at: str
    beside: Beside
    parent_run_id: str | None = None
    idle: Energy | None = None
    provenance: Provenance = Provenance()
    of_many: bool = False
    failures: tuple[str, ...] = ()
    cpu: str = ""

    def epoch(
        self,
        window: Window,
        *,
        index: int,
        started_at: str,
        duration_ns: int,
        steps: int | None,
        complete: bool,
        grid: Mean | None = None,
        grams: Grams | None = None,
    ) -> EpochFootprint:
        """The record of an epoch or block; its ``grams`` are given where other machines have a part in them."""
        grams = grams or self.factors_at(grid).grams(window.energy)
        return EpochFootprint(
            index=index,
            started_at=started_at,
            duration_s=duration_ns / NS_PER_S,
            steps=steps,
            energy_j=self._known(window.energy.joules),
            co2e_g=self._known(grams.central),
            co2e_low_g=self._known(grams.low),
            co2e_high_g=self._known(grams.high),
            by_part=window.energy.by_part,
            phases=window.phases_j(),
            complete=complete,
        )

    def footprint(
        self, stretch: Stretch, epochs: Sequence[EpochFootprint] = (), blocks: Sequence[EpochFootprint] = ()
    ) -> Footprint:
        """The record of the run, what it had spent before it was resumed included."""
        mine = dataclasses.replace(self._stretch(stretch), epochs=tuple(epochs), blocks=tuple(blocks))
        whole = mine if stretch.before is None else continued(stretch.before, mine)
        score = self.beside.score(whole)
        notes = tuple(note for note in whole.notes if SCORE not in note) + ((score,) if score else ())
        series = whole.energy_series if stretch.energy_series is not None else None  # else it is written as of before
        return dataclasses.replace(
            whole, notes=notes, energy_series=series, budget=self._budgets(self.spent(stretch), stretch.pots)
        )

    def spent(self, stretch: Stretch, unseen_j: float = 0.0) -> Spent:
        """What counts against budgets.

        Args:
            stretch: What was booked.
            unseen_j: What has probably been drawn since the last reading.
        """
        grams = self._grams(stretch)
        ahead = self.factors if stretch.grid is None else self.factors._replace(intensity=stretch.grid.now)
        per_j = ahead.g_per_further_j(stretch.energy if stretch.own is None else stretch.own)
        if stretch.together is not None:
            per_j = stretch.together.g_per_j(per_j)
        before = stretch.before or Footprint(run_id="")
        inherited = stretch.inherited or {}
        return Spent(
            energy_j=stretch.energy.joules + unseen_j + (before.energy_j or 0.0) + inherited.get("energy_j", 0.0),
            co2e_g=grams.central + unseen_j * per_j + (before.co2e_g or 0.0) + inherited.get("co2e_g", 0.0),
            co2e_low_g=grams.low + (before.co2e_low_g or 0.0) + inherited.get("co2e_low_g", 0.0),
            co2e_high_g=grams.high + (before.co2e_high_g or 0.0) + inherited.get("co2e_high_g", 0.0),
            g_per_j=per_j,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not counted first, then why sensors are absent."""
        missing = tuple(f"NOT COUNTED: {name}" for name in self.sensors.uncounted)
        reasons = tuple(f"{a.source}: {a.reason}" for a in self.sensors.absent if a.part != NODE)
        return self.failures + missing + self.sensors.notes + reasons

    def weighed(self, epoch: EpochFootprint, energy: Energy, grid: Mean) -> EpochFootprint:
        """The record of an epoch or block with what is known by now about the intensity of its time."""
        grams = self.factors_at(grid).grams(energy)
        g, low, high = (self._known(end) for end in (grams.central, grams.low, grams.high))
        return dataclasses.replace(epoch, co2e_g=g, co2e_low_g=low, co2e_high_g=high)

    def factors_at(self, grid: Mean | None) -> Factors:
        """The factors at the intensity of some time."""
        return self.factors if grid is None else self.factors._replace(intensity=grid.intensity)

    def _grams(self, stretch: Stretch) -> Grams:
        if stretch.together is not None:
            return stretch.together.grams_of(stretch.energy.joules)
        return self.factors_at(stretch.grid).grams(stretch.energy)

    def _stretch(self, stretch: Stretch) -> Footprint:
        energy, factors, config = stretch.energy, self.factors_at(stretch.grid), self.settings.config
        grams, own = self._grams(stretch), energy if stretch.own is None else stretch.own
        record = Footprint(
            run_id=stretch.run_id,
            parent_run_id=self.parent_run_id,
            launch=self.sensors.launch,
            forked_from=stretch.forked_from,
            inherited=stretch.inherited,
            kind=self.kind,
            project=config.project,
            name=config.name,
            tags=tuple(config.tags or ()),
            hparams=self.provenance.hparams,
            seed=self.provenance.seed,
            git_commit=self.provenance.git_commit,
            status=stretch.status,
            stop_reason=stretch.decision.to_dict() if stretch.decision else None,
            started_at=self.started_at,
            duration_s=stretch.duration_ns / NS_PER_S,
            energy_j=self._known(energy.joules),
            energy_low_j=self._known(energy.low_j),
            energy_high_j=self._known(energy.high_j),
            outside_epochs_j=self._known((energy - stretch.in_epochs).joules),
            gross_energy_j=energy.gross_j,
            above_idle_j=energy.above(self.idle) if self.idle is not None and not energy.overlapped else None,
            node_energy_j=energy.node_j,
            facility_energy_kwh=self._known(factors.facility_kwh(own)),
            co2e_g=self._known(grams.central),
            co2e_low_g=self._known(grams.low),
            co2e_high_g=self._known(grams.high),
            measured_fraction=energy.measured_fraction,
            coverage=energy.coverage,
            overhead_cpu_s=stretch.overhead_cpu_s,
            intensity=factors.intensity.g_per_kwh,
            pue=float(factors.pue.value or 1),
            node_factor=factors.node_ratio(own),
            by_part=energy.by_part,
            phases={phase: booked.joules for phase, booked in stretch.phases.items()},
            sensors=self._sensor_rows(energy),
            assumptions=tuple(row.to_dict() for row in self._assumptions(own, stretch.grid) + stretch.work.assumptions),
            notes=self.notes + stretch.grid_notes + stretch.work.notes + ((OVERLAPPED,) if energy.overlapped else ()),
            energy_series=stretch.energy_series,
            readings=(stretch.readings,) if stretch.readings else (),
            **stretch.work.fields(),
            **self.beside.fields(own),
        )
        if stretch.together is not None:
            return stretch.together.over(record)
        return dataclasses.replace(record, segments=(self._segment(record, stretch.before),))

    def _assumptions(self, energy: Energy, grid: Mean | None) -> tuple[Assumption, ...]:
        stand_in = grid.rows if grid is not None else ()
        return self.factors_at(grid).assumptions(energy) + stand_in + self.sensors.assumptions + self.beside.assumptions(energy)

    def _segment(self, record: Footprint, before: Footprint | None) -> dict[str, Any]:
        """What this process does, in its place, on its machine, under its budgets."""
        names = ("started_at", "duration_s", "energy_j", "co2e_g", "intensity", "pue", "node_factor")
        key = host_key(self.settings.proc_root, record.run_id)
        earlier = before.segments if before is not None else ()
        return {
            "host": host_name(key, earlier),
            "host_key": key,
            "region": self.factors.place.code,
            "cpu": self.cpu,
            "budget": [budget.limit for budget in self.settings.budgets],
            **{name: getattr(record, name) for name in names},
        }

    def _budgets(self, spent: Spent, pots: Mapping[str, Level]) -> tuple[dict[str, Any], ...]:
        rows = []
        for budget in self.settings.budgets:
            quantity = budget.quantity
            own = Level(0.0, quantity.value)
            level = pots.get(quantity.unit, own) if budget.scope == "project" else own
            used = level.used(spent.of(quantity))
            rows.append({"limit": level.limit, "unit": quantity.unit, "scope": budget.scope, "used": used})
        return tuple(rows)

    def _sensor_rows(self, energy: Energy) -> tuple[dict[str, Any], ...]:
        joules = energy.by_sensor
        return tuple({**sensor.to_dict(), "energy_j": joules[sensor.id]} for sensor in energy.sensors)

    def _known(self, value: float) -> float | None:
        """Without any counter nothing is known: None, not 0; 0 where all that it sees is counted elsewhere."""
        return value if self.sensors.counters or self.of_many or self.sensors.elsewhere else None
