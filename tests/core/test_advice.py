"""What would have made a run smaller: each sentence with grams and figures of the run itself, or nothing."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitprint import Tracker
from fitprint.advice import advise
from fitprint.carbon.grid import find_region
from fitprint.carbon.hourly import HourlySeries
from fitprint.elsewhere import rank_places
from fitprint.errors import ConfigError
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.parting import last_text
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint.units import format_co2e
from fitprint.waiting import waiting

NOON = "2026-01-01T12:00:00.000Z"


def epoch(index, phases, g_per_j=2.0, metrics=None):
    joules = math.fsum(phases.values())
    values = {"energy_j": joules, "co2e_g": joules * g_per_j, "phases": phases, "metrics": metrics or {}}
    return EpochFootprint(index=index, started_at=NOON, duration_s=10.0, **values)


def run(epochs=(), **changes):
    sums = {"energy_j": math.fsum(e.energy_j for e in epochs), "co2e_g": math.fsum(e.co2e_g for e in epochs)}
    return Footprint(**{"run_id": "a", "status": "completed", "epochs": tuple(epochs), **sums, **changes})


def of_kind(found, kind):
    return [advice for advice in found if advice.kind == kind]


# ---- phases


def test_validation_is_told_with_its_share_and_what_every_second_epoch_would_have_saved():
    found = advise(run([epoch(i, {"train": 30.0, "validate": 20.0}) for i in range(5)]))
    (advice,) = found
    assert advice.saved_g == pytest.approx(2 * 20.0 * 2.0)  # of five the first, third and last are kept
    assert advice.saved_share == pytest.approx(80 / 500)
    assert advice.text == "validation cost 200 g (40 %); validating after every second epoch would have saved 80 g (16 %)"
    assert advice.evidence["cost_g"] == pytest.approx(200.0)


def test_checkpoints_are_told_alike_and_the_largest_saving_comes_first():
    found = advise(run([epoch(i, {"train": 30.0, "validate": 5.0, "checkpoint": 15.0}) for i in range(4)]))
    assert [advice.kind for advice in found] == ["checkpoint", "validation"]
    assert "writing checkpoints cost 120 g" in found[0].text


def test_grams_are_those_of_the_epochs_own_hour():
    dirty, clean = epoch(0, {"train": 1.0, "validate": 1.0}, g_per_j=9.0), epoch(1, {"train": 1.0, "validate": 1.0}, g_per_j=1.0)
    (advice,) = advise(run([dirty, clean]))
    assert advice.saved_g == pytest.approx(9.0)


def test_validation_that_came_once_or_cost_next_to_nothing_is_no_advice():
    assert advise(run([epoch(0, {"train": 1.0, "validate": 1.0}), epoch(1, {"train": 1.0})])) == ()
    assert advise(run([epoch(i, {"train": 1000.0, "validate": 1.0}) for i in range(9)])) == ()


def test_a_run_of_which_nothing_is_known_gets_no_advice():
    assert advise(Footprint(run_id="a")) == ()
    assert advise(Footprint(run_id="a", co2e_g=1.0, energy_j=1.0)) == ()


# ---- waiting


def measured(tmp_path, stretches, **options):
    """A run whose GPU draws so many watts for so many seconds, an epoch each."""
    clock = FakeClock()
    gpu = ScriptedCounter(clock, watts=stretches[0][1])
    around = Surroundings(tmp_path / "sys", tmp_path / "proc", clock=clock, environ={})
    with Tracker(counters=[gpu], around=around, intensity=100.0, pue=1.0, ledger="off", **options) as tracker:
        for index, (seconds, watts) in enumerate(stretches):
            gpu.watts = watts
            with tracker.epoch(index), tracker.phase("train"):
                clock.advance(seconds)
    return tracker.footprint


@pytest.fixture
def waited(tmp_path):
    """300 W for six minutes, with two minutes at 60 W in between."""
    return measured(tmp_path, [(180.0, 300.0), (120.0, 60.0), (60.0, 300.0), (120.0, 300.0)])


def test_time_of_little_power_is_found_with_its_energy(waited):
    found = waiting(waited)
    assert found.time_s == pytest.approx(120.0, abs=1.0)
    assert found.energy_j == pytest.approx(120.0 * 60.0, rel=0.02)
    (advice,) = of_kind(advise(waited), "waiting")
    assert advice.saved_share == pytest.approx(7200 / (360 * 300 + 7200), rel=0.02)
    assert "for 2 min 00 s (25 % of the time)" in advice.text
    assert "half of the 300 W at which most of the energy was used" in advice.text


def test_a_gpu_that_was_read_by_itself_tells_when_it_waited(waited):
    boot_s = [1000.0 + 60.0 * i for i in range(9)]
    whole_j = [0.0, 18e3, 36e3, 39e3, 42e3, 60e3, 78e3, 96e3, 114e3]  # 300 W, but 50 W in the third and fourth minute
    device = {"id": "gpu:0", "whole_j": whole_j}
    sensors = ({"id": "gpu:0", "part": "gpu", "method": "counter", "source": "NVML"},)
    readings = ({"machine": "m", "boot_s": boot_s, "devices": {"gpu-uuid": device}},)
    found = waiting(Footprint.from_dict(waited.to_dict() | {"sensors": sensors, "readings": readings}))
    assert (found.part, found.time_s, found.observed_s) == ("gpu", pytest.approx(120.0), pytest.approx(480.0))
    assert found.energy_j == pytest.approx(60.0 * 300.0 + 60.0 * 60.0, rel=0.02)  # of the whole run in these minutes


def test_the_time_between_a_crash_and_going_on_is_no_waiting(waited):
    series = dict(waited.energy_series)
    paused = {**series, "time_s": [*series["time_s"], 9000.0], "energy_j": [*series["energy_j"], series["energy_j"][-1]]}
    resumed = Footprint.from_dict(waited.to_dict() | {"energy_series": paused})
    assert waiting(resumed).time_s == waiting(waited).time_s


def test_steady_power_is_no_waiting(tmp_path):
    assert waiting(measured(tmp_path, [(60.0, 300.0)] * 6)) is None


def test_idle_power_that_was_measured_before_is_the_limit(waited):
    idle = Footprint.from_dict(waited.to_dict() | {"above_idle_j": waited.energy_j - 50.0 * waited.duration_s, "readings": []})
    found = waiting(idle)
    assert (found.limit_w, found.measured) == (pytest.approx(60.0), True)
    assert "50 W were measured before the run" in found.how


# ---- epochs


def test_epochs_after_which_the_metric_stood_still_are_told():
    values = [0.5, 0.7, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    (advice,) = advise(run([epoch(i, {"train": 10.0}, metrics={"val_acc": value}) for i, value in enumerate(values)]))
    assert (advice.kind, advice.evidence["stop_at_epoch"]) == ("stood_still", 2)
    assert advice.saved_g == pytest.approx(100.0)


# ---- place and time


def placed(code, **changes):
    row = {"name": "region", "value": code, "low": None, "high": None, "unit": "", "source": code, "year": None, "basis": "given"}
    return run([epoch(0, {"train": 100.0})], facility_energy_kwh=2.0, assumptions=(row,), **changes)


def test_a_cleaner_place_nearby_is_told_in_the_same_basis():
    (advice,) = advise(placed("PL"))
    here, there = find_region("PL"), find_region(advice.evidence["there"])
    assert there.basis_kind == here.basis_kind
    assert advice.saved_share == pytest.approx(1 - there.g_per_kwh / here.g_per_kwh)
    assert advice.saved_g == pytest.approx(200.0 * advice.saved_share)
    cleanest = next(place for place in rank_places(2.0, near="PL", within_km=1500.0, basis=here.basis_kind) if place.code != "PL")
    assert there.code == cleanest.code
    assert str(there.year) in advice.text


def test_a_cloud_run_stays_in_its_cloud():
    (advice,) = advise(placed("gcp:asia-south1"))
    assert advice.evidence["there"].startswith("gcp:")
    assert "the cleanest region of gcp" in advice.text


@pytest.mark.parametrize("code", ["world", "nowhere-land"])
def test_a_place_that_is_not_known_gets_no_other(code):
    assert advise(placed(code)) == ()


def test_the_cleanest_place_gets_no_other():
    cleanest = next(place for place in rank_places(1.0) if place.rank == 1)
    assert of_kind(advise(placed(cleanest.code)), "region") == []


def series(*values):
    start = 1767268800.0  # 2026-01-01 12:00 UTC
    return HourlySeries([(start + 3600.0 * i, value) for i, value in enumerate(values)], "forecast.csv", "given")


def test_a_cleaner_hour_is_told_only_where_a_series_is_given():
    hour = run([epoch(0, {"train": 100.0})], started_at=NOON, duration_s=3600.0)
    assert advise(hour) == ()
    (advice,) = advise(hour, series=series(400.0, 300.0, 100.0, 500.0))
    assert (advice.kind, advice.evidence["later_s"]) == ("hour", 7200.0)
    assert advice.saved_g == pytest.approx(0.75 * 200.0)
    assert "100 instead of 400 g CO2e/kWh (forecast.csv)" in advice.text


def test_a_series_of_other_days_is_refused():
    with pytest.raises(ConfigError):
        advise(run([epoch(0, {"train": 1.0})], started_at="2020-01-01T00:00:00Z", duration_s=60.0), series=series(1.0, 2.0))


def test_nobody_is_told_to_wait_longer_than_a_week():
    hour = run([epoch(0, {"train": 100.0})], started_at=NOON, duration_s=3600.0)
    best = {100: 200.0, 7 * 24: 300.0, 7 * 24 + 1: 50.0}
    (advice,) = advise(hour, series=series(*(best.get(i, 400.0) for i in range(1000))))
    assert advice.evidence["later_s"] == 100 * 3600.0


# ---- what a run leaves at its end


def left(text):
    return json.loads(text)["advice"]


def test_a_run_that_has_ended_leaves_its_advice_in_its_text_and_one_that_lasts_does_not(tmp_path):
    clock = FakeClock()
    gpu = ScriptedCounter(clock, watts=300.0)
    hours = HourlySeries([(clock.time() + 3600.0 * i, value) for i, value in enumerate((400.0, 400.0, 100.0))], "grid.csv", "given")
    around = Surroundings(tmp_path / "sys", tmp_path / "proc", clock=clock, environ={})
    with Tracker(counters=[gpu], around=around, region="FR", intensity=hours, ledger="off") as tracker:
        for _ in tracker.epochs(range(4)):
            gpu.watts = 300.0
            clock.advance(30.0)
            gpu.watts = 30.0
            with tracker.phase("checkpoint"):
                clock.advance(10.0)
        assert "advice" not in json.loads(tracker.run_text(at_once=True))
    rows, said = left(tracker.run_text(at_once=True)), advise(tracker.footprint, series=hours)
    assert rows == [advice.to_dict() for advice in said]
    assert [row["kind"] for row in rows] == ["hour", "region", "waiting", "checkpoint"]
    assert "advice" not in tracker.footprint.to_dict()


def test_intensities_that_say_nothing_of_the_runs_time_leave_the_other_advice():
    late = run([epoch(i, {"train": 30.0, "validate": 20.0}) for i in range(2)], started_at="2020-01-01T00:00:00Z", duration_s=60.0)
    assert [row["kind"] for row in left(last_text(late, series(400.0, 100.0)))] == ["validation"]


def test_a_record_of_which_no_advice_can_be_worked_out_is_left_as_it_is():
    strange = run([epoch(0, {"train": 1.0})], assumptions=({"value": "FR"},))
    assert last_text(strange) == strange.to_json(epochs=False)


# ---- smaller models


def model(name, accuracy, joules, **changes):
    return run([epoch(0, {"train": joules}, metrics={"val_acc": accuracy})], run_id=name, name=name, project="p", **changes)


def test_a_smaller_model_that_is_as_good_is_told():
    large, small, tiny = model("large", 0.95, 100.0), model("small", 0.949, 10.0), model("tiny", 0.6, 1.0)
    (advice,) = advise(large, runs=[large, small, tiny])
    assert advice.text.startswith("small, on the project's Pareto front, reaches val_acc 0.949 instead of 0.95")
    assert advice.saved_g == pytest.approx(180.0)
    assert advise(small, runs=[large, small, tiny]) == ()


def test_the_same_model_on_cleaner_electricity_is_no_smaller_one_and_a_smaller_one_is_told_at_the_runs_own():
    dirty = model("dirty", 0.95, 100.0)
    clean, small = model("clean", 0.95, 95.0, co2e_g=10.0), model("small", 0.95, 40.0, co2e_g=8.0)
    assert advise(dirty, runs=[dirty, clean]) == ()
    (advice,) = advise(dirty, runs=[dirty, clean, small])
    assert advice.text.startswith("small, ")
    assert advice.saved_g == pytest.approx(0.6 * dirty.co2e_g)


def test_for_a_loss_the_smaller_one_is_better():
    def of(name, loss, joules):
        return run([epoch(0, {"train": joules}, metrics={"val_loss": loss})], run_id=name, name=name)

    large, small, bad = of("large", 0.2, 100.0), of("small", 0.201, 50.0), of("bad", 0.9, 1.0)
    (advice,) = advise(large, runs=[small, bad])
    assert advice.evidence["score"] == pytest.approx(0.201)


def test_a_project_without_a_metric_says_nothing_of_models():
    assert advise(run([epoch(0, {"train": 1.0})]), runs=[run([epoch(0, {"train": 1.0})], run_id="b")]) == ()


# ---- all of them


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(0.0, 1e4), st.floats(0.0, 1e4)), min_size=1, max_size=12))
def test_nothing_saves_more_than_it_cost_and_each_sentence_has_its_grams(rows):
    whole = run([epoch(i, {"train": a, "validate": b, "checkpoint": c}) for i, (a, b, c) in enumerate(rows)])
    for advice in advise(whole):
        assert 0 < advice.saved_g <= advice.evidence["cost_g"] <= whole.co2e_g * (1 + 1e-9)
        assert format_co2e(advice.saved_g) in advice.text
        assert re.search(r"\d", advice.text)
        assert advice.saved_share == pytest.approx(advice.saved_g / whole.co2e_g)
