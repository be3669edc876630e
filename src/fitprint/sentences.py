"""What a run says to a person while it lasts."""

from __future__ import annotations

from fitprint.carbon.factors import Factors
from fitprint.units import format_co2e, significant


def defaults(factors: Factors) -> str:
    """The factors in use and how each was found, said once a run."""
    place, intensity = factors.place, factors.intensity
    year = f" ({intensity.year})" if intensity.year else ""
    pue, node = factors.pue, factors.node_factor
    return (
        f"region {place.name}, {place.found_by}; {significant(intensity.g_per_kwh)} g CO2e/kWh{year}, {intensity.source}; "
        f"PUE {pue.value:g} ({pue.source}), node factor {node.value:g} ({node.source})"
    )


def price_of_an_epoch(epoch_g: float, epochs: int | None, forecast_g: tuple[float, float, float]) -> str:
    """What one epoch costs, so that a first-time user can choose a budget.

    Args:
        epoch_g: The first epoch.
        epochs: Planned epochs, or None.
        forecast_g: Mean, low and high of the whole run.
    """
    price = f"an epoch costs {format_co2e(epoch_g)} CO2e"
    if epochs is None or epochs < 2:
        return price
    mean, low, high = (format_co2e(grams) for grams in forecast_g)
    return f"{price}; {epochs} epochs about {mean} ({low} to {high})"
