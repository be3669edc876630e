"""A loop of one's own in a process that a launcher has started with others, and that cannot talk to them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ranks_of import counted_j, record, report

from fitprint import Tracker

NAME = os.environ["NAME"]


def meet(word: str) -> None:
    """Wait for the other process."""
    Path("out", f"{word}-{NAME}").touch()
    until = time.monotonic() + 60
    while len(list(Path("out").glob(f"{word}-*"))) < 2 and time.monotonic() < until:
        time.sleep(0.01)


meet("begins")
before_j = counted_j()
with Tracker(project="job") as tracker:
    meet("measures")
    started_j = counted_j()
    for _ in tracker.epochs(range(3)):
        time.sleep(0.4)
    ending_j = counted_j()
    meet("ends")
after_j = counted_j()
footprint = tracker.footprint
more = {"launch": footprint.launch, "bounds_j": [ending_j - started_j, after_j - before_j]}
report(NAME, {**record(footprint), **more})
