"""What a rank tells the others: integers that only grow, and facts that hardly ever change.

A later telling of a rank replaces its earlier one: told twice, or in another order, the totals are the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self

from fitprint.account import PHASES
from fitprint.energy import Energy
from fitprint.sensors.counter import Sensor

MICRO = 1_000_000
# Where joules are booked: outside of epochs and inside, by phase.
CELLS = tuple((inside, phase) for inside in (False, True) for phase in PHASES)


class Told(NamedTuple):
    """The figures of a rank's own sensors beside their counts, in millionths, so that sums are exact.

    Attributes:
        number: Grows with each telling.
        power_uw: Power now.
        unseen_uj: What has probably been drawn since the counters were read.
        run_ug: Grams of the run, with their lower and upper ends.
        epoch_ug: Grams of the open epoch, likewise.
        block_ug: Grams of the open block, likewise.
        facility_uwh: Energy with the losses of machine and building.
        embodied_ug: Embodied grams.
        water_ul: Water.
        market_ug: Market-based grams.
        cost_u: Money.
        intensity_u: Grams per kWh.
        node_factor_u: Joules at the wall over those at the sensors.
        effort_us: CPU time that measuring has cost.
    """

    number: int = 0
    power_uw: int = 0
    unseen_uj: int = 0
    run_ug: int = 0
    run_low_ug: int = 0
    run_high_ug: int = 0
    epoch_ug: int = 0
    epoch_low_ug: int = 0
    epoch_high_ug: int = 0
    block_ug: int = 0
    block_low_ug: int = 0
    block_high_ug: int = 0
    facility_uwh: int = 0
    embodied_ug: int = 0
    water_ul: int = 0
    market_ug: int = 0
    cost_u: int = 0
    intensity_u: int = 0
    node_factor_u: int = 0
    effort_us: int = 0


FIELDS = len(Told._fields)
# Behind them: the number of sensors, and one bit for each cell that is in use.
HEAD = FIELDS + 2


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rank says of itself when it begins, and again where something about it is new.

    Attributes:
        run_id: The run; rank 0's is everybody's.
        sensors: What it reads.
        region: Where it is.
        started_at: When it began, ISO 8601 in UTC.
        pue: Facility power over IT power there.
        assumptions: What its factors rest on.
        notes: What a reader of the result has to know of its machine.
        before: What the ledger of its machine knows the run to have spent before it was resumed; all are brought together.
        forked_from: The run from whose checkpoint it began.
        inherited: What that run had spent.
        cpu: The processor's model, as the system of its machine names it.
    """

    run_id: str = ""
    sensors: tuple[Sensor, ...] = ()
    region: str = ""
    started_at: str = ""
    pue: float = 1.0
    assumptions: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    before: Mapping[str, Any] | None = field(default=None, compare=False)
    forked_from: str | None = None
    inherited: Mapping[str, Any] | None = None
    cpu: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        data = json.loads(text)
        sensors = tuple(Sensor(**row) for row in data.pop("sensors"))
        lists = {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
        return cls(**{**data, **lists}, sensors=sensors)


def row_of(told: Told, sensors: tuple[Sensor, ...], cells: Mapping[int, Energy]) -> list[int]:
    """Everything in one row of integers.

    Args:
        told: The figures.
        sensors: The order of the counts.
        cells: What was counted, by the place in CELLS.
    """
    used = sorted(cells)
    row = [*told, len(sensors), sum(1 << cell for cell in used)]
    for cell in used:
        energy = cells[cell].over(sensors)
        row += (energy.duration_ns, *energy.counts, *energy.observed_ns)
    return row


def cell_of(row: Sequence[int], cell: int) -> tuple[int, Sequence[int], Sequence[int]] | None:
    """Duration, counts and observed times of a cell; None where nothing was booked there."""
    if not row or not row[FIELDS + 1] >> cell & 1:
        return None
    sensors = row[FIELDS]
    at = HEAD + (row[FIELDS + 1] & (1 << cell) - 1).bit_count() * (1 + 2 * sensors)
    return row[at], row[at + 1 : at + 1 + sensors], row[at + 1 + sensors : at + 1 + 2 * sensors]


def later(a: Sequence[int], b: Sequence[int]) -> Sequence[int]:
    """What a rank told last: idempotent, commutative and associative, for tellings are numbered."""
    return max(a, b, key=lambda row: row[0] if row else -1)
