"""Runs compared by what they reached and what they emitted."""

from __future__ import annotations

import json
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fitprint
from fitprint import Config, FitprintError, Ledger, Tracker
from fitprint.comparison import pareto
from fitprint.errors import ConfigError
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.noise import scatter, student_t
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter


def run(run_id, score, grams, metric="val_acc", **fields):
    values = score if isinstance(score, list) else [score]
    epochs = tuple(EpochFootprint(index=i, started_at="", duration_s=1.0, metrics={metric: v}) for i, v in enumerate(values))
    known = {"status": "completed", "co2e_g": grams, "co2e_low_g": grams * 0.8, "co2e_high_g": grams * 1.5, "energy_j": grams * 1e4}
    return Footprint(run_id=run_id, epochs=epochs, **{**known, **fields})


def repeats(name, scores, grams, **fields):
    return [run(f"{name}-{i}", score, grams, name=name, **fields) for i, score in enumerate(scores)]


def labels(rows):
    return [row.label for row in rows]


def test_repeats_of_one_configuration_are_one_row_with_mean_and_scatter():
    scores = [0.90, 0.92, 0.94]
    comparison = fitprint.compare(repeats("large", scores, 100.0) + repeats("small", [0.8], 10.0))
    large = comparison.configurations[1]
    assert (large.label, large.n, large.run_ids) == ("large", 3, ("large-0", "large-1", "large-2"))
    assert (large.score, large.score_sd) == pytest.approx((statistics.fmean(scores), statistics.stdev(scores)))
    assert (large.co2e_low_g, large.co2e_g, large.co2e_high_g) == pytest.approx((80.0, 100.0, 150.0))
    assert comparison.configurations[0].score_sd is None


def test_hyperparameters_tell_configurations_apart_and_seeds_do_not():
    runs = [
        run("a", 0.8, 10.0, name="net", hparams={"opt": {"lr": 0.1}, "depth": 3, "seed": 1}),
        run("b", 0.8, 10.0, name="net", hparams={"opt": {"lr": 0.1}, "depth": 3, "seed": 2}),
        run("c", 0.9, 20.0, name="net", hparams={"opt": {"lr": 0.2}, "depth": 3, "seed": 1}),
    ]
    assert labels(fitprint.compare(runs).configurations) == ["net opt.lr=0.1", "net opt.lr=0.2"]


def test_runs_of_which_nothing_is_known_are_each_their_own():
    comparison = fitprint.compare([run("a", 0.8, 10.0), run("b", 0.8, 20.0)])
    assert labels(comparison.configurations) == ["a", "b"]
    tagged = fitprint.compare([run("a", 0.8, 10.0, tags=("x",)), run("b", 0.8, 20.0, tags=("x",))])
    assert labels(tagged.configurations) == ["x"]


def test_two_configurations_with_one_label_are_told_apart_by_a_run():
    comparison = fitprint.compare([run("a", 0.8, 10.0, name="net", tags=("x",)), run("b", 0.8, 20.0, name="net", tags=("y",))])
    assert labels(comparison.configurations) == ["net (a)", "net (b)"]


def test_the_score_of_a_run_is_its_best_epoch():
    assert fitprint.compare([run("a", [0.1, 0.9, math.nan, 0.7], 10.0)]).best.score == 0.9
    assert fitprint.compare([run("a", [3.0, 1.0, 2.0], 10.0, metric="val_loss")]).best.score == 1.0


def test_a_winner_is_named_only_outside_the_noise():
    far = fitprint.compare(repeats("a", [0.90, 0.91, 0.92], 100.0) + repeats("b", [0.70, 0.71, 0.72], 10.0))
    assert far.winner.label == "a"
    assert far.verdict == "a has the highest val_acc (0.91), by more than chance"
    near = fitprint.compare(repeats("a", [0.90, 0.95, 0.85], 100.0) + repeats("b", [0.89, 0.94, 0.84], 10.0))
    assert near.winner is None
    assert near.verdict == "no winner: a has the highest val_acc (0.9), but b differs from it by no more than chance"
    assert all(row.among_best for row in near.configurations)


def test_without_repeats_there_is_no_winner_for_the_noise_is_not_known():
    comparison = fitprint.compare([run("a", 0.9, 100.0), run("b", 0.5, 10.0)])
    assert comparison.winner is None
    assert "nothing was repeated" in comparison.verdict


def test_the_more_configurations_are_looked_at_the_more_is_asked_of_the_best():
    two = repeats("a", [0.80, 0.82, 0.84], 10.0) + repeats("b", [0.86, 0.88, 0.90], 20.0)
    assert fitprint.compare(two).winner.label == "b"
    many = [r for i in range(30) for r in repeats(f"c{i}", [0.80, 0.82, 0.84], 10.0)]
    spread = scatter([[0.80, 0.82, 0.84]] * 32)
    assert spread.least_difference(3, 3, looks=31) > spread.least_difference(3, 3)
    assert fitprint.compare(two + many).scatter.freedom == 64


def test_the_bargain_is_the_cheapest_of_those_that_are_nearly_as_good():
    runs = [run("huge", 0.95, 1000.0), run("mid", 0.945, 200.0), run("small", 0.942, 30.0), run("tiny", 0.7, 1.0)]
    assert fitprint.compare(runs).bargain == "small reaches 99 % of the best val_acc with 3 % of the CO2e of huge"
    assert fitprint.compare(runs[:1] + runs[3:]).bargain is None


def test_a_loss_comes_within_some_percent_of_the_best():
    runs = [run("huge", 1.0, 1000.0, metric="val_loss"), run("small", 1.004, 30.0, metric="val_loss")]
    comparison = fitprint.compare(runs)
    assert comparison.mode == "min"
    assert comparison.bargain == "small comes within 1 % of the best val_loss with 3 % of the CO2e of huge"


def test_scores_without_a_zero_have_no_percent_of_the_best():
    runs = [run("a", -1.0, 1000.0, metric="val_reward"), run("b", -1.001, 30.0, metric="val_reward")]
    assert fitprint.compare(runs, metric="val_reward", mode="max").bargain is None


def test_runs_that_cannot_be_compared_are_left_out_with_the_reason():
    runs = [
        run("ok", 0.9, 10.0),
        run("dead", 0.9, 10.0, status="lost"),
        run("other", 0.9, 10.0, metric="lr"),
        run("dark", 0.9, 10.0, co2e_g=None),
        run("command", 0.9, 10.0, kind="command"),
    ]
    comparison = fitprint.compare(runs)
    assert set(comparison.left_out) == {"dead", "other", "dark", "command"}
    assert comparison.left_out["dead"] == "its status is lost"
    assert labels(comparison.configurations) == ["ok"]


def test_runs_in_several_places_are_pointed_out():
    runs = [run("a", 0.9, 10.0, segments=({"region": "FR"},)), run("b", 0.9, 100.0, segments=({"region": "PL"},))]
    assert any("FR, PL" in note for note in fitprint.compare(runs).notes)


def test_the_metric_is_the_one_that_most_of_the_runs_have():
    runs = [run("a", 0.9, 1.0, metric="val_loss"), run("b", 0.9, 1.0, metric="val_loss"), run("c", 0.9, 1.0, metric="val_acc")]
    assert fitprint.compare(runs).metric == "val_loss"
    assert fitprint.compare(runs, metric="val_acc").metric == "val_acc"


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"runs": []}, FitprintError, "no runs"),
        ({"runs": [run("a", 1.0, 1.0, metric="reward")]}, ConfigError, "reward"),
        ({"runs": [run("a", 1.0, 1.0, metric="reward")], "metric": "reward"}, ConfigError, "mode='max' or mode='min'"),
        ({"runs": [run("a", 1.0, 1.0)], "metric": "val_loss"}, ConfigError, "Expected one of val_acc"),
        ({"runs": ["missing"]}, FitprintError, "missing"),
        ({"project": "none"}, FitprintError, "no runs"),
    ],
)
def test_where_there_is_nothing_to_compare_it_says_why(options, error, word):
    with pytest.raises(error, match=word):
        fitprint.compare(**options)


def record(ledger, name, acc, watts, **options):
    clock = FakeClock()
    config = Config(intensity=100.0, pue=1.0, node_factor=1.0, name=name, **options)
    gpu = ScriptedCounter(clock, watts=watts)
    with Tracker(ledger=str(ledger), counters=[gpu], around=Surroundings(clock=clock, environ={}), config=config) as tracker:
        for _ in tracker.epochs(range(2)):
            clock.advance(3600.0)
            tracker.annotate({"val_acc": acc})
    return tracker.footprint


def test_recorded_runs_of_several_ledgers_count_once_each(tmp_path):
    first, second = tmp_path / "a" / "fitprint.db", tmp_path / "b" / "fitprint.db"
    a, b = record(first, "a", 0.9, 1000.0, project="p"), record(second, "b", 0.8, 10.0, project="p")
    record(second, "c", 0.8, 10.0, project="q")
    assert [footprint.run_id for footprint in Ledger(first).footprints()] == [a.run_id]
    comparison = fitprint.compare(project="p", ledger=[first, second, first])
    assert [(c.label, c.n) for c in comparison.configurations] == [("b", 1), ("a", 1)]
    assert comparison.configurations[1].co2e_g == pytest.approx(200.0)
    assert fitprint.compare([a.run_id, b], ledger=first).best.label == "a"
    with pytest.raises(FitprintError, match="Did you mean 'p'"):
        fitprint.compare(project="P", ledger=first)


def test_the_json_is_plain():
    comparison = fitprint.compare([*repeats("a", [0.9, 0.91], 100.0), run("b", 0.5, 10.0)])
    written = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert [row["label"] for row in written["configurations"]] == ["b", "a"]
    assert written["configurations"][1]["n"] == 2


points = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=30)


def beats(a, b):
    return a[0] <= b[0] and a[1] >= b[1] and a != b


@given(points)
def test_the_front_is_exactly_what_no_other_point_beats(points):
    assert pareto(points) == [not any(beats(other, point) for other in points) for point in points]


@given(points, st.randoms())
def test_the_front_does_not_depend_on_the_order(points, chance):
    shuffled = list(points)
    chance.shuffle(shuffled)
    front = {point for point, on in zip(points, pareto(points), strict=True) if on}
    assert front == {point for point, on in zip(shuffled, pareto(shuffled), strict=True) if on}


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.1, 1e4)), min_size=1, max_size=12))
def test_the_best_and_the_cheapest_are_always_on_the_front(runs):
    rows = fitprint.compare([run(str(i), score, grams) for i, (score, grams) in enumerate(runs)]).configurations
    assert min(rows, key=lambda row: (row.co2e_g, -row.score)).on_front
    assert max(rows, key=lambda row: (row.score, -row.co2e_g)).on_front


@pytest.mark.parametrize(
    ("share", "freedom", "quantile"),
    [(0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 5, 2.571), (0.975, 30, 2.042), (0.9995, 4, 8.610), (0.995, 3, 5.841)],
)
def test_students_t_is_that_of_the_printed_tables(share, freedom, quantile):
    assert student_t(share, freedom) == pytest.approx(quantile, abs=5e-4)


def test_pooled_scatter_weighs_groups_by_their_repeats():
    spread = scatter([[1.0, 3.0], [10.0, 10.0, 10.0], [5.0]])
    assert (spread.sd, spread.freedom) == (pytest.approx(math.sqrt(2.0 / 3)), 3)
    assert scatter([[1.0], [2.0]]) is None


def test_trials_that_a_study_named_by_counting_are_repeats_where_their_parameters_are_the_same():
    told = [{"width": 8}, {"width": 8}, {"width": 16}]
    runs = [run(f"r{i}", 0.9, 1.0, name=f"trial-{i}", hparams=hparams) for i, hparams in enumerate(told)]
    assert {row.label: row.n for row in fitprint.compare(runs).configurations} == {"width=8": 2, "width=16": 1}


def test_trials_of_which_nothing_but_a_number_is_known_stay_apart():
    runs = [run(f"r{i}", 0.9, 1.0, name=f"trial-{i}") for i in range(2)]
    assert {row.label: row.n for row in fitprint.compare(runs).configurations} == {"trial-0": 1, "trial-1": 1}


def test_where_no_run_recorded_a_metric_it_is_said_how_to():
    bare = Footprint(run_id="a", status="completed", co2e_g=1.0)
    with pytest.raises(FitprintError, match=r"no run recorded a metric.*tracker.annotate") as caught:
        fitprint.compare([bare])
    assert "None" not in str(caught.value)
