"""Budgets hold and forecasts contain the truth, in many simulated runs; `make bench BENCH=budgets` makes more of them."""

from __future__ import annotations

import random
from statistics import mean

import pytest

from benchmarks.budgets import PATTERNS, foretold, held, promised, share
from fitprint import Tracker
from fitprint.pace import Schedule
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

RUNS = 30


@pytest.mark.parametrize("check", [1, "epoch"])
@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 10])
def test_a_budget_holds_and_is_used(epochs, check):
    draw = random.Random(epochs)
    runs = [held(draw, epochs, check) for _ in range(RUNS)]
    assert all(run.overrun_j <= run.allowed_j for run in runs)
    assert mean(run.used for run in runs) > promised(epochs, check)


WARM_UP_S, BATCH_S, VALIDATION_BATCHES, VALIDATION_S = 100.0, 1.0, 200, 80.0


def warmed_up(limit_j, *, validation_batches=VALIDATION_BATCHES):
    """A run of 500 batches an epoch, of which the first warms up; joules in all, and batches done when it was stopped."""
    clock = FakeClock()
    around = Surroundings(clock=clock, environ={})
    plan = Schedule(epochs=10, batches=500, validation_batches=validation_batches, validate_every=1)
    with Tracker(budget=f"{limit_j} J", counters=[ScriptedCounter(clock, watts=100.0)], around=around, ledger="off") as tracker:
        done = epoch = 0
        while epoch < 10 and not tracker.should_stop:
            next_look = tracker.begin_epoch(epoch, plan)
            for batch in range(1, 501):
                clock.advance(BATCH_S + (WARM_UP_S if not done else 0.0))
                done += 1
                if batch >= next_look:
                    next_look, _ = tracker.look(batch)
                if tracker.should_stop:
                    break
            with tracker.phase("validate"):
                clock.advance(VALIDATION_S)
            tracker.end_epoch(complete=batch == 500)
            epoch += 1
    return tracker.footprint.energy_j, done


@pytest.mark.parametrize("limit_j", [40e3, 50e3, 60e3])
@pytest.mark.parametrize("validation_batches", [VALIDATION_BATCHES, None])
def test_a_first_batch_that_warms_up_ends_no_run_and_the_closing_validation_still_fits(limit_j, validation_batches):
    used_j, done = warmed_up(limit_j, validation_batches=validation_batches)
    assert done > 1
    # Kept back for a validation that was never seen: a training batch for each of its batches, or a fifth of the training.
    kept_j = 100.0 * VALIDATION_BATCHES * BATCH_S if validation_batches else 0.2 * limit_j
    interval_j = 0.01 * limit_j + 2 * 100.0 * BATCH_S
    assert limit_j - kept_j - interval_j <= used_j <= limit_j + (interval_j if validation_batches else VALIDATION_S * 100.0)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_interval_of_the_whole_run_contains_the_truth(pattern):
    found = foretold(pattern, 60, epochs=20, after=(3, 5, 10, 17))
    assert all(len(forecasts) == 60 for forecasts in found.values())
    assert mean(share(forecasts) for forecasts in found.values()) >= 0.9


def test_the_forecast_gets_better_with_every_epoch():
    found = foretold("steady", 30, epochs=20, after=(1, 3, 10, 19))
    widths = [mean(forecast.width for forecast in forecasts) for forecasts in found.values()]
    assert widths == sorted(widths, reverse=True)
