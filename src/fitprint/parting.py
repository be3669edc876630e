"""What a run that has ended leaves with a logger: its record, and what would have made it smaller."""

from __future__ import annotations

import json

from fitprint.advice import Advice, advise
from fitprint.carbon.hourly import HourlySeries
from fitprint.errors import ConfigError
from fitprint.footprint import Footprint
from fitprint.notices import logger


def last_text(footprint: Footprint, series: HourlySeries | None = None) -> str:
    """The record without its epochs as JSON, with the rows of ``fitprint advise`` as ``advice``.

    They are worked out here because epochs, power over time and intensities over time are not in the text. A smaller
    model is not among them: that takes the project's other runs.

    Args:
        footprint: The whole record.
        series: Intensities over time, as far as they are known.
    """
    try:
        rows = [advice.to_dict() for advice in _advised(footprint, series)]
        return json.dumps({**footprint.to_dict(epochs=False), "advice": rows}, allow_nan=False)
    except Exception:  # a record without advice is better than none
        logger().debug("what would have made the run smaller could not be worked out", exc_info=True)
        return footprint.to_json(epochs=False)


def _advised(footprint: Footprint, series: HourlySeries | None) -> tuple[Advice, ...]:
    """A series that does not cover the run's time says nothing of a cleaner hour."""
    try:
        return advise(footprint, series=series)
    except ConfigError:
        return advise(footprint)
