"""Runs whose truth is known, written as the adapters write them."""

from __future__ import annotations

from pathlib import Path

from fitprint import Footprint, Tracker
from fitprint.pace import Schedule
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint_tensorboard import CarbonWriter

STEPS, TRAIN_S, VALIDATE_S = 10, 54.0, 6.0
WATTS, IDLE_WATTS = 100.0, 10.0


def write_run(
    folder: Path, *, epochs: int = 4, prefix: str = "", metric: str = "val_acc", waits_s: float = 0.0, **options
) -> Footprint:
    """A run on one scripted GPU of 100 W, with steps as Lightning counts them, or as the Trainer does with a prefix.

    Where it waits, the GPU draws 10 W for so many seconds before its last epoch.
    """
    clock = FakeClock()
    counter = ScriptedCounter(clock, watts=WATTS)
    around = Surroundings(clock=clock, environ={})
    writer = CarbonWriter(folder)
    with Tracker(counters=[counter], around=around, ledger="off", **options) as tracker:
        writer.run(tracker.run_text(at_once=True), 0)
        for epoch in range(epochs):
            if tracker.should_stop:
                break
            if epoch == epochs - 1:
                counter.watts = IDLE_WATTS
                clock.advance(waits_s)
                counter.watts = WATTS
            _train(tracker, clock, epoch, epochs)
            values = {metric: 1 - 0.5 / (epoch + 1), **tracker.scalars(), "epoch": epoch + 1 if prefix else epoch}
            writer.scalars({f"{prefix}{tag}": value for tag, value in values.items()}, step=(epoch + 1) * STEPS - (not prefix))
    writer.run(tracker.run_text(at_once=True), epochs * STEPS)
    writer.close()
    return tracker.footprint


def _train(tracker, clock, epoch, epochs):
    with tracker.epoch(epoch, Schedule(epochs=epochs, batches=1)):
        clock.advance(TRAIN_S)
        with tracker.phase("validate"):
            clock.advance(VALIDATE_S)
