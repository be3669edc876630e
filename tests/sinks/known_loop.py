"""A run of a plain loop whose joules are known: a GPU of 360 W and memory of 36 W at 100 g per kWh, epochs of 10 s."""

from __future__ import annotations

from fitprint import Config, Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import ScriptedCounter


def train(clock, *sinks, epochs=range(2), after_epoch=lambda: None, **options):
    """Trains with such sinks, and returns the record."""
    counters = [ScriptedCounter(clock, watts=360.0), ScriptedCounter(clock, watts=36.0, part="dram")]
    config = Config(**{"sinks": sinks, "intensity": 100.0, "pue": 1.0, "node_factor": 1.0, "ledger": "off", **options})
    with Tracker(config=config, counters=counters, around=Surroundings(clock=clock, environ={})) as tracker:
        for _ in tracker.epochs(epochs):
            clock.advance(10.0)
            after_epoch()
    return tracker.footprint


def history(store, run_id, tag):
    """Steps and values of a metric in MLflow's store."""
    points = store.get_metric_history(run_id, tag)
    return [(point.step, point.value) for point in points]
