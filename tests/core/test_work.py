"""What a run has trained on: samples, batches and operations, without a framework where none is needed."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint import Footprint, Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import ScriptedCounter
from fitprint.work import Done, Feed, Work

SIZES = st.integers(1, 500)


@pytest.fixture
def tracker(clock):
    """Makes trackers that read one scripted GPU of 100 W."""

    def make(**options):
        around = Surroundings(clock=clock, environ={})
        options = {"ledger": "off", "region": "FR", "intensity": 360.0, "pue": 1.0, **options}
        return Tracker(counters=[ScriptedCounter(clock, watts=100.0)], around=around, **options)

    return make


@pytest.fixture
def torch_step():
    """Makes a training step of a linear layer, 3 to 2, and its module."""
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(3, 2)

    def step(samples):
        layer(torch.ones(samples, 3)).sum().backward()

    return step, layer


@given(SIZES, SIZES, st.booleans())
def test_the_samples_of_a_pass_are_those_of_its_batches(size, samples, drop_last):
    batches = [size] * (samples // size) + ([samples % size] if samples % size and not drop_last else [])
    feed = Feed(size, samples)
    assert [feed.between(i, i + 1) for i in range(len(batches))] == batches
    assert feed.first(len(batches)) == sum(batches)


@given(SIZES, st.integers(1, 50), st.data())
def test_a_smaller_last_batch_that_is_told_is_counted_as_it_is(size, batches, data):
    last = data.draw(st.none() | st.integers(1, size))
    assert Feed.with_last(size, batches, last).first(batches) == size * (batches - 1) + (last or size)


@pytest.mark.parametrize("feed", [Feed(), Feed(8)])
def test_batches_of_unknown_size_have_unknown_samples(feed):
    assert feed.first(3) is None
    assert feed.between(1, 3) is None


def test_what_is_known_only_of_a_part_is_not_known_of_the_whole():
    assert Done(3, 24) + Done(2, None) == Done(5, None)


def test_a_plain_loop_counts_its_batches(tracker, clock):
    with tracker() as run:
        for _ in run.epochs(range(2)):
            for samples in (8, 8, 4):
                with run.batch(samples):
                    clock.advance(1.0)
            with run.phase("validate"), run.batch(100):
                clock.advance(5.0)
    footprint = run.footprint
    assert [epoch.samples for epoch in footprint.epochs] == [20, 20]
    assert (footprint.samples, footprint.batch_size, footprint.flops) == (40, 8, None)
    assert footprint.energy_per_sample_j == pytest.approx(2 * 300 / 40)
    node = footprint.node_factor
    assert footprint.co2e_per_1000_samples_g == pytest.approx(1000 * 15 / 3.6e6 * 360 * node)
    assert "a sample   15 J, 1.95 g CO2e for 1,000; in training alone after the first epoch, 40 samples in all" in str(footprint)


def test_a_plain_loop_counts_the_operations_of_its_first_batch(tracker, torch_step):
    step, layer = torch_step
    with tracker() as run:
        for _ in run.epochs(range(2)):
            for samples in (8, 8, 4):
                with run.batch(samples, layer):
                    step(samples)
    footprint = run.footprint
    assert footprint.flops == 40 * (2 * 3 * 2) * 2  # the result and the weights' gradient
    assert footprint.parameters == 3 * 2 + 2
    row = next(row for row in footprint.assumptions if row["name"] == "flops_per_batch")
    assert (row["value"], row["unit"]) == (8 * 2 * 3 * 2 * 2, "FLOP")
    assert "8 parameters, 960 FLOP of training, batches of 8" in str(footprint)
    assert "960 FLOP of training" in footprint.to_html()


def test_a_batch_that_raises_raises_what_it_raised_and_is_not_counted(tracker, torch_step):
    step, layer = torch_step
    with pytest.raises(StopIteration), tracker() as run, run.epoch(0), run.batch(8, layer):
        step(8)
        raise StopIteration
    assert (run.footprint.samples, run.footprint.flops) == (None, None)


def test_a_loop_that_counts_nothing_knows_nothing(tracker, clock):
    with tracker() as run:
        for _ in run.epochs(range(2)):
            clock.advance(1.0)
    written = json.loads(run.footprint.to_json())
    names = ("samples", "flops", "parameters", "batch_size", "energy_per_sample_j", "co2e_per_1000_samples_g")
    assert [written[name] for name in names] == [None] * len(names)
    assert not any(label in str(run.footprint) for label in ("a sample", "model  ", "FLOP"))


def test_a_prediction_counts_what_it_predicts(tracker, clock):
    with tracker(kind="predict") as run:
        for samples in (8, 2):
            with run.batch(samples):
                clock.advance(1.0)
    assert (run.footprint.samples, run.footprint.energy_per_sample_j) == (10, pytest.approx(20.0))


@pytest.mark.parametrize(
    ("before", "samples", "flops"),
    [
        ({"samples": None, "flops": None, "epochs": ()}, 8, 192.0),  # saved before anything was trained
        ({"samples": 20, "flops": 480.0}, 28, 672.0),
        ({"samples": 20, "flops": None}, 28, None),
        ({"samples": None, "flops": 480.0}, None, 672.0),
    ],
)
def test_a_resumed_run_goes_on_counting_and_what_was_unknown_stays_so(tracker, torch_step, before, samples, flops):
    step, layer = torch_step
    with tracker() as first:
        list(first.epochs(range(1)))
    kept = dataclasses.replace(first.footprint, **before)
    second = tracker(awaits_state=True).start()
    second.resume({"footprint": kept.to_dict()})
    with second:
        for _ in second.epochs(range(1, 2)):
            with second.batch(8, layer):
                step(8)
    assert (second.footprint.samples, second.footprint.flops) == (samples, flops)


def test_a_step_that_cannot_be_watched_costs_the_operations_only(tracker, monkeypatch):
    monkeypatch.setattr("fitprint.flops.obstacle", lambda *_: 1 / 0)
    with tracker() as run, run.epoch(0), run.batch(8, object()):
        pass
    assert run.footprint.samples == 8
    assert any("the step could not be watched" in note for note in run.footprint.notes)


def test_the_derived_figures_of_a_record_come_back_from_json():
    footprint = Footprint(run_id="a", kind="predict", samples=10, energy_j=50.0, co2e_g=2.0, phases={"predict": 50.0})
    again = Footprint.from_json(footprint.to_json())
    assert (again, again.extra) == (footprint, {})
    assert (again.energy_per_sample_j, again.co2e_per_1000_samples_g) == (5.0, 200.0)


def test_a_place_where_somebody_else_has_stepped_in_is_left_to_them():
    torch = pytest.importorskip("torch")

    class Loop:
        def run(self):
            return "own"

    loop, work = Loop(), Work(count_flops=True)
    work.watch(torch.nn.Linear(1, 1), loop, "run")
    loop.run = lambda: "theirs"
    work.first_step.leave()
    assert loop.run() == "theirs"
