"""How a run says at its start what it assumes, and what is not as it should be."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fitprint.notices import logger
from fitprint.other_trackers import measured_twice
from fitprint.records import Records
from fitprint.report.text import FIRST_LINE
from fitprint.sensors.counter import Sensor
from fitprint.sentences import defaults


def say_start(records: Records, sensors: Sequence[Sensor]) -> None:
    """Say it once, where the run's other notices go.

    Args:
        records: How its energies become records.
        sensors: What it reads.
    """
    notes = records.notes
    logger().info(defaults(records.factors, sensors))
    doubled = measured_twice(sys.modules)
    if doubled:
        logger().warning(doubled)
    for note in notes:
        if note.startswith(FIRST_LINE):
            logger().warning(note)
    if not sensors and records.sensors.elsewhere:
        logger().info("this process counts nothing: %s", "; ".join(notes))
    elif not sensors:
        reasons = "; ".join(notes) or "no part is asked for"
        logger().warning("nothing can be measured or modelled here: %s. `fitprint detect` says more.", reasons)
