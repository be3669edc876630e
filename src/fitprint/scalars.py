"""The scalars that every adapter logs, under their public tags. All are finite floats."""

from __future__ import annotations

from fitprint.budget import Budget, Spent
from fitprint.footprint import EpochFootprint
from fitprint.units import wh

EPOCH_TAGS = (
    "carbon/epoch_co2e_g",
    "carbon/epoch_co2e_low_g",
    "carbon/epoch_co2e_high_g",
    "carbon/epoch_energy_wh",
    "carbon/power_w",
)
RUN_TAGS = ("carbon/total_co2e_g", "carbon/total_energy_wh", "carbon/measured_fraction")


def epoch_scalars(epoch: EpochFootprint | None) -> dict[str, float]:
    """Scalars of one epoch; all at 0.0 before the first."""
    if epoch is None:
        return dict.fromkeys(EPOCH_TAGS, 0.0)
    energy_j = epoch.energy_j or 0.0
    power_w = energy_j / epoch.duration_s if epoch.duration_s > 0 else 0.0
    values = (epoch.co2e_g or 0.0, epoch.co2e_low_g or 0.0, epoch.co2e_high_g or 0.0, wh(energy_j), power_w)
    parts = {f"carbon/part/{part}_wh": wh(joules) for part, joules in epoch.by_part.items()}
    phases = {f"carbon/phase/{phase}_wh": wh(joules) for phase, joules in epoch.phases.items()}
    return {**dict(zip(EPOCH_TAGS, values, strict=True)), **parts, **phases}


def run_scalars(spent: Spent, measured_fraction: float | None) -> dict[str, float]:
    """Scalars of the run so far."""
    values = (spent.co2e_g, wh(spent.energy_j), measured_fraction or 0.0)
    return dict(zip(RUN_TAGS, values, strict=True))


def budget_scalars(nearest: tuple[Budget, float] | None) -> dict[str, float]:
    """Scalars of the budget nearest its limit; none without budgets."""
    if nearest is None:
        return {}
    budget, used = nearest
    limit = budget.quantity
    if limit.unit == "g":
        return {"carbon/budget_used": used, "carbon/budget_limit_g": limit.value}
    return {"carbon/budget_used": used, "carbon/budget_limit_wh": wh(limit.value)}


def block_scalars(block: EpochFootprint) -> dict[str, float]:
    """Scalars of one block of steps."""
    return {"carbon/block_co2e_g": block.co2e_g or 0.0, "carbon/block_energy_wh": wh(block.energy_j or 0.0)}


def idle_scalars(budgets: tuple[Budget, ...], parts: tuple[str, ...]) -> dict[str, float]:
    """All keys at 0.0, for a run that measures nothing: callbacks that monitor them stay content."""
    of_budget = budget_scalars((budgets[0], 0.0)) if budgets else {}
    of_parts = [f"carbon/part/{part}_wh" for part in parts]
    of_phases = [f"carbon/phase/{phase}_wh" for phase in ("train", "validate")]
    return dict.fromkeys((*EPOCH_TAGS, *RUN_TAGS, *of_budget, *of_parts, *of_phases, "carbon/forecast_co2e_g"), 0.0)
