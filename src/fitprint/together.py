"""What the ranks of a job come to together, where that is more than the sum of their counts: grams, factors, machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from fitprint.beside import Beside
from fitprint.carbon.factors import Factors, Grams
from fitprint.energy import Energy
from fitprint.footprint import Footprint
from fitprint.job import Job
from fitprint.process import host_name, key_of
from fitprint.telling import FIELDS, MICRO, Facts, Told

NOTHING = Told()
BESIDE = {"embodied_g": "embodied_ug", "water_l": "water_ul", "market_based_g": "market_ug", "cost": "cost_u"}


class Together(NamedTuple):
    """The figures of a job at its last exchange.

    Attributes:
        told: What all ranks have told, added up.
        energy_j: The joules to which that belongs.
        hosts: Works out a row for each machine.
        facts: Of all ranks.
    """

    told: Told = NOTHING
    energy_j: float = 0.0
    hosts: Callable[[], tuple[Mapping[str, Any], ...]] = tuple
    facts: tuple[Facts, ...] = ()

    @property
    def grams(self) -> Grams:
        """Of the run so far."""
        return _grams(*self.told[3:6])

    @property
    def epoch_grams(self) -> Grams:
        """Of the open epoch."""
        return _grams(*self.told[6:9])

    @property
    def block_grams(self) -> Grams:
        """Of the open block."""
        return _grams(*self.told[9:12])

    def grams_of(self, joules: float) -> Grams:
        """Of the run when it has used so many joules; what has come since the last exchange as what was before."""
        grams, more = self.grams, joules / self.energy_j if self.energy_j > 0 else 1.0
        return Grams(grams.central * more, grams.low * more, grams.high * more) if more != 1 else grams

    def g_per_j(self, otherwise: float) -> float:
        """Grams per joule over all machines."""
        return self.grams.central / self.energy_j if self.energy_j > 0 else otherwise

    def over(self, record: Footprint) -> Footprint:
        """The record with the figures of all machines in place of this process's own."""
        beside: dict[str, Any] = {
            name: getattr(self.told, told) / MICRO for name, told in BESIDE.items() if getattr(record, name) is not None
        }
        hosts = self.hosts()
        means: dict[str, Any] = {name: _mean(name, hosts) for name in ("intensity", "pue", "node_factor")}
        own = {tuple(row.items()): row for row in record.assumptions}
        rows = own | {tuple(row.items()): row for facts in self.facts for row in facts.assumptions}
        return replace(
            record,
            facility_energy_kwh=self.told.facility_uwh / MICRO / 1000,
            above_idle_j=None,
            overhead_cpu_s=self.told.effort_us / MICRO,
            segments=hosts or record.segments,
            assumptions=tuple(rows.values()),
            notes=tuple(dict.fromkeys(record.notes + tuple(note for facts in self.facts for note in facts.notes))),
            **beside,
            **{name: value for name, value in means.items() if value is not None},
        )


def together(job: Job, energy: Energy, earlier: Sequence[Mapping[str, Any]], budgets: Sequence[str]) -> Together:
    """What all ranks have told by now; the rows of machines are worked out when they are written down.

    Args:
        job: The job, after an exchange.
        energy: What all have used.
        earlier: Rows of the machines on which the run was before it was resumed.
        budgets: The budgets' limits.
    """
    told, rows, facts, spans = job.tally.told, tuple(job.tally.rows), tuple(job.tally.facts), tuple(job.tally.spans)

    def hosts() -> tuple[Mapping[str, Any], ...]:
        found: list[Mapping[str, Any]] = []
        for ranks in job.tally.hosts:
            key = key_of(job.peers.members[ranks[0]].host, job.tally.run_id)
            name = host_name(key, [*earlier, *found]) if earlier else f"host-{len(found) + 1}"
            known = {"host": name, "host_key": key, "budget": list(budgets), "duration_s": energy.duration_s}
            own = [Told(*rows[rank][:FIELDS]) for rank in ranks if rows[rank]]
            joules = [_part(energy, spans[rank]).joules for rank in ranks]
            found.append({**known, **_host(own, [facts[rank] for rank in ranks], sum(joules))})
        return tuple(found)

    return Together(told, energy.joules, hosts, facts)


def _host(told: Sequence[Told], facts: Sequence[Facts], energy_j: float) -> dict[str, Any]:
    """What is known of a machine by the ranks that are there; its factors are those of the first that has sensors."""
    first = next((one for one in facts if one.sensors), facts[0])
    factors = next((one for one in told if one.node_factor_u), NOTHING)
    return {
        "region": first.region,
        "cpu": first.cpu,
        "started_at": first.started_at,
        "energy_j": energy_j,
        "co2e_g": sum(one.run_ug for one in told) / MICRO,
        "intensity": factors.intensity_u / MICRO,
        "pue": first.pue,
        "node_factor": factors.node_factor_u / MICRO or 1.0,
    }


def _part(energy: Energy, span: slice) -> Energy:
    return Energy(energy.sensors[span], energy.counts[span], energy.observed_ns[span])


def told_of(
    beside: Beside,
    factors: Sequence[Factors],
    energies: Sequence[Energy],
    *,
    power_w: float,
    unseen_j: float,
    cpu_s: float,
) -> Told:
    """What this rank tells of its own sensors.

    Args:
        beside: What is shown beside the grams.
        factors: For the run, the open epoch and the open block.
        energies: What its sensors have counted in them.
        power_w: Power now.
        unseen_j: What has probably been drawn since the counters were read.
        cpu_s: CPU seconds that measuring has cost.
    """
    grams = [each.grams(energy) for each, energy in zip(factors, energies, strict=True)]
    ends = [end for each in grams for end in (each.central, each.low, each.high)]
    now, run = factors[0], energies[0]
    fields = beside.fields(run) if run.sensors else {}
    told = Told._make((0, *map(_micro, (power_w, unseen_j)), *map(_micro, ends), *(0,) * 8))
    return told._replace(
        facility_uwh=_micro(1000 * now.facility_kwh(run)),
        **{told: _micro(fields.get(name) or 0.0) for name, told in BESIDE.items()},
        intensity_u=_micro(now.intensity.g_per_kwh),
        node_factor_u=_micro(now.node_ratio(run)) if run.sensors else 0,
        effort_us=_micro(cpu_s),
    )


def _micro(value: float) -> int:
    return round(MICRO * value)


def _grams(central: int, low: int, high: int) -> Grams:
    """Machines share what their factors may be wrong by: their ends add up."""
    return Grams(central / MICRO, low / MICRO, high / MICRO)


def _mean(name: str, hosts: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean over the joules of all machines."""
    joules = sum(host["energy_j"] for host in hosts)
    return sum(host[name] * host["energy_j"] for host in hosts) / joules if joules > 0 else None
