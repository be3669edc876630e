"""Budgets hold and forecasts contain the truth, in many simulated runs; `make bench BENCH=budgets` makes more of them."""

from __future__ import annotations

import random
from statistics import mean

import pytest

from benchmarks.budgets import PATTERNS, foretold, held, promised, share

RUNS = 30


@pytest.mark.parametrize("check", [1, "epoch"])
@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 10])
def test_a_budget_holds_and_is_used(epochs, check):
    draw = random.Random(epochs)
    runs = [held(draw, epochs, check) for _ in range(RUNS)]
    assert all(run.overrun_j <= run.allowed_j for run in runs)
    assert mean(run.used for run in runs) > promised(epochs, check)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_interval_of_the_whole_run_contains_the_truth(pattern):
    found = foretold(pattern, 60, epochs=20, after=(3, 5, 10, 17))
    assert all(len(forecasts) == 60 for forecasts in found.values())
    assert mean(share(forecasts) for forecasts in found.values()) >= 0.9


def test_the_forecast_gets_better_with_every_epoch():
    found = foretold("steady", 30, epochs=20, after=(1, 3, 10, 19))
    widths = [mean(forecast.width for forecast in forecasts) for forecasts in found.values()]
    assert widths == sorted(widths, reverse=True)
