"""What a typed program may write; mypy reads this file, nothing runs it."""

from __future__ import annotations

from fitprint import Budget, Config, Decision, Energy, EpochFootprint, Footprint, Ledger, Meter, Tracker, detect, track
from fitprint_tensorboard import CarbonWriter


def say(decision: Decision) -> None:
    print(decision.sentence, decision.spent, decision.unit)


@track(region="FR")
def train(epochs: int) -> list[float]:
    budget = Budget("250 g", check=10, on_exceed=say, warn_at=0.9, min_epochs=1)
    config = Config(parts=["gpu"], node_factor=1.3, block=100)
    losses: list[float] = []
    with Tracker(budget=[budget, "1 kWh"], pue=1.2, config=config) as tracker:
        for epoch in tracker.epochs(range(epochs)):
            losses.append(1.0 / (epoch + 1))
            with tracker.phase("validate"):
                tracker.annotate({"loss": losses[-1]})
    footprint: Footprint = tracker.footprint
    records: tuple[EpochFootprint, ...] = footprint.epochs
    grams: float | None = footprint.co2e_g
    CarbonWriter("logs").scalars({"carbon/epoch_co2e_g": records[-1].co2e_g or 0.0, "total": grams or 0.0}, step=0)
    return losses


def measure(meter: Meter) -> Energy:
    before = meter.start()
    return meter.between(before, meter.snapshot())


print(train(3), detect().to_dict(), Ledger("fitprint.db").runs())
