"""The tracker on scripted hardware: every joule is known."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import subprocess
import sys
import threading

import pytest

from fitprint import Budget, Config, Ledger, Tracker, track
from fitprint.errors import ConfigError
from fitprint.footprint import StepEnergy
from fitprint.pace import Schedule
from fitprint.run import Run
from fitprint.sensors.probe import Surroundings
from fitprint.series import Series
from fitprint.settings import resolve
from fitprint.testing import ScriptedCounter


@pytest.fixture
def gpu(clock):
    return ScriptedCounter(clock, watts=100.0)


@pytest.fixture
def tracker(clock, gpu, tmp_path):
    """Makes trackers in France on one scripted GPU, in a machine of which nothing else is known."""

    def make(*extra_counters, **options):
        around = Surroundings(tmp_path / "sys", tmp_path / "proc", clock=clock, environ={})
        return Tracker(**{"ledger": "off", "region": "FR", **options}, counters=[gpu, *extra_counters], around=around)

    return make


def test_each_epoch_gets_its_own_joules(tracker, clock, gpu):
    with tracker() as t:
        for index in t.epochs(range(3)):
            gpu.watts = 100.0 * (index + 1)
            clock.advance(2.0)
    assert [epoch.energy_j for epoch in t.footprint.epochs] == [200.0, 400.0, 600.0]


def test_what_is_used_between_epochs_is_outside_them(tracker, clock):
    with tracker() as t:
        clock.advance(1.0)
        for _ in t.epochs(range(2)):
            clock.advance(2.0)
        clock.advance(3.0)
    assert t.footprint.outside_epochs_j == pytest.approx(400.0)
    assert t.footprint.energy_j == pytest.approx(800.0)


def test_epochs_phases_and_parts_sum_to_the_run(tracker, clock):
    cpu = ScriptedCounter(clock, watts=37.3, part="cpu", method="modelled")
    with tracker(cpu) as t:
        for _ in t.epochs(range(50)):
            clock.advance(0.1234567)
            with t.phase("validate"):
                clock.advance(0.0765432)
        clock.advance(0.01)
    f = t.footprint
    assert sum(e.energy_j for e in f.epochs) + f.outside_epochs_j == pytest.approx(f.energy_j, abs=1e-6)
    assert sum(f.by_part.values()) == pytest.approx(f.energy_j, abs=1e-6)
    assert sum(f.phases.values()) == pytest.approx(f.energy_j, abs=1e-6)


def test_validation_is_a_phase_inside_the_epoch(tracker, clock):
    with tracker() as t:
        for _ in t.epochs([0]):
            clock.advance(3.0)
            with t.phase("validate"):
                clock.advance(1.0)
    epoch = t.footprint.epochs[0]
    assert epoch.phases == {"train": 300.0, "validate": 100.0}


def test_grams_are_energy_times_factors(tracker, clock):
    with tracker(pue=1.2, intensity=500.0, config=Config(node_factor=1.25)) as t:
        clock.advance(3600.0)
    assert t.footprint.energy_kwh == pytest.approx(0.1)
    assert t.footprint.facility_energy_kwh == pytest.approx(0.15)
    assert t.footprint.co2e_g == pytest.approx(75.0)


def test_the_footprint_is_live_while_the_run_lasts(tracker, clock):
    with tracker() as t:
        clock.advance(1.0)
        assert t.footprint.energy_j == pytest.approx(100.0)
        clock.advance(1.0)
        assert t.footprint.energy_j == pytest.approx(200.0)
        assert t.footprint.status == "running"
    assert t.footprint.status == "completed"


def test_closing_twice_changes_nothing(tracker, clock):
    with tracker() as t:
        clock.advance(1.0)
    before = t.footprint
    clock.advance(5.0)
    t.close("failed")
    assert t.footprint == before


def test_an_exception_leaves_the_epoch_incomplete_and_the_run_failed(tracker, clock):
    with pytest.raises(ZeroDivisionError), tracker() as t:
        for _ in t.epochs(range(3)):
            clock.advance(1.0)
            raise ZeroDivisionError
    assert t.footprint.status == "failed"
    assert [epoch.complete for epoch in t.footprint.epochs] == [False]
    assert t.footprint.energy_j == pytest.approx(100.0)


def test_ctrl_c_leaves_the_run_interrupted(tracker, clock):
    with pytest.raises(KeyboardInterrupt), tracker() as t:
        clock.advance(1.0)
        raise KeyboardInterrupt
    assert t.footprint.status == "interrupted"


def test_a_break_out_of_the_loop_ends_the_epoch_there(tracker, clock):
    with tracker() as t:
        for index in t.epochs(range(10)):
            clock.advance(1.0)
            if index == 2:
                break
        clock.advance(4.0)
    assert [epoch.energy_j for epoch in t.footprint.epochs] == [100.0, 100.0, 100.0]
    assert t.footprint.epochs[-1].complete


def test_metrics_can_be_added_after_the_epochs_end(tracker, clock):
    with tracker() as t:
        for _ in t.epochs([0]):
            clock.advance(1.0)
        t.annotate({"val_acc": 0.9})
    assert t.footprint.epochs[0].metrics == {"val_acc": 0.9}


def test_the_next_epoch_is_begun_only_if_it_is_expected_to_fit(tracker, clock):
    with tracker(budget="1000 J") as t:
        for _ in t.epochs(range(100)):
            clock.advance(3.0)
    assert len(t.footprint.epochs) == 3
    assert t.footprint.status == "stopped"
    assert t.footprint.energy_j <= 1000


def test_the_reason_of_a_stop_is_one_sentence_with_its_numbers(tracker, clock):
    with tracker(budget="1000 J") as t:
        for _ in t.epochs(range(100)):
            clock.advance(3.0)
    reason = t.footprint.stop_reason
    assert reason["code"] == "budget"
    assert (reason["spent"], reason["limit"], reason["unit"]) == (pytest.approx(900), 1000, "J")
    assert reason["next_expected"] == pytest.approx(300)
    assert "900 J of the budget of 1000 J" in reason["sentence"]


def test_a_budget_of_co2e_counts_grams(tracker, clock):
    with tracker(budget="10 g", intensity=360.0) as t:
        for _ in t.epochs(range(1000)):
            clock.advance(100.0)  # 10 kJ = 1 g
    assert 9.0 <= t.footprint.co2e_g <= 10.0
    assert "95 % interval" in t.footprint.stop_reason["sentence"]


def test_the_end_of_the_planned_epochs_is_no_stop(tracker, clock):
    with tracker(budget="1000 J") as t:
        for _ in t.epochs(range(3)):
            clock.advance(3.0)
    assert t.footprint.status == "completed"
    assert t.footprint.stop_reason is None


def test_a_resumed_run_that_has_nothing_left_trains_no_epoch(tracker, clock):
    with tracker(budget="1000 J") as first:
        for _ in first.epochs(range(100)):
            clock.advance(3.0)
    second = tracker(budget="900 J").start()
    second.resume(json.loads(json.dumps(first.state())))
    assert list(second.epochs(range(100))) == []
    second.close()


def test_a_resumed_run_goes_on_with_what_it_had_spent(tracker, clock):
    with tracker() as first:
        for _ in first.epochs(range(2)):
            clock.advance(1.0)
    second = tracker().start()
    second.resume(first.state())
    for _ in second.epochs(range(3)):
        clock.advance(1.0)
    second.close()
    f = second.footprint
    assert f.run_id == first.footprint.run_id
    assert f.energy_j == pytest.approx(500.0)
    assert len(f.epochs) == 5
    assert len(f.segments) == 2
    assert sum(f.phases.values()) == pytest.approx(500.0)


def test_min_epochs_are_run_whatever_they_cost_and_the_reason_says_so(tracker, clock):
    with tracker(budget=Budget("100 J", min_epochs=3)) as t:
        for _ in t.epochs(range(10)):
            clock.advance(2.0)
    assert len(t.footprint.epochs) == 3
    assert "min_epochs=3" in t.footprint.stop_reason["sentence"]


def test_without_a_budget_a_sentence_after_the_first_epoch_helps_to_choose_one(tracker, clock, caplog):
    caplog.set_level("INFO", "fitprint")
    with tracker(intensity=360.0) as t:
        for _ in t.epochs(range(100)):
            clock.advance(100.0)
    said = [record.getMessage() for record in caplog.records if "an epoch costs" in record.getMessage()]
    assert said == ["an epoch costs 1 g CO2e; 100 epochs about 100 g (61 g to 164 g)"]


def test_the_defaults_in_use_are_said_once(tracker, caplog):
    caplog.set_level("INFO", "fitprint")
    with tracker():
        pass
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("region")]
    assert len(said) == 1
    assert "France, given by argument" in said[0]
    assert "2025" in said[0]


def test_a_warning_is_given_once_at_its_share(tracker, clock, caplog):
    caplog.set_level("INFO", "fitprint")
    with tracker(budget=Budget("1000 J", warn_at=0.5, on_exceed="warn")) as t:
        for _ in t.epochs(range(20)):
            clock.advance(1.0)
    warned = [r.getMessage() for r in caplog.records if "budget of 1000 J is used" in r.getMessage()]
    assert len(warned) == 1
    assert warned[0].startswith(
        "50 % of the budget of 1000 J is used (500 J); at this pace the budget is reached in epoch 9 of 0-19 (9 to "
    )
    assert "; the run would need 2,000 J (" in warned[0]
    assert t.footprint.status == "completed"
    assert len(t.footprint.epochs) == 20


def test_a_loop_that_never_asks_its_budget_is_warned_while_it_lasts_and_told_how(tracker, clock, caplog):
    with tracker(budget="1000 J") as t:
        for _ in range(2):
            clock.advance(8.0)
            t._guard.run._books.meter.snapshot()
            t._guard.run._tick()
        said = [r.getMessage() for r in caplog.records if "budget of 1000 J" in r.getMessage()]
    assert said[0].startswith("80 % of the budget of 1000 J is used (800 J)")
    assert "nobody has asked the budget of 1000 J, which is used up: write `for epoch in tracker.epochs(" in said[1]
    assert len([r for r in caplog.records if "budget of 1000 J" in r.getMessage()]) == 2


def test_a_number_of_epochs_is_refused_with_the_loop_to_write(tracker):
    with tracker() as t, pytest.raises(ConfigError, match=r"Write tracker\.epochs\(range\(5\)\)"):
        t.epochs(5)


def test_a_short_loop_that_never_asked_its_budget_is_told_at_the_end(tracker, clock, caplog):
    with tracker(budget="1000 J"):
        clock.advance(11.0)
    assert len([r for r in caplog.records if "nobody has asked the budget" in r.getMessage()]) == 1


def test_a_callable_is_called_once_and_the_run_stops(tracker, clock):
    decisions = []
    with tracker(budget=Budget("1000 J", on_exceed=decisions.append)) as t:
        for _ in t.epochs(range(20)):
            clock.advance(3.0)
    assert [decision.limit for decision in decisions] == [1000]
    assert t.footprint.status == "stopped"


def test_a_failing_callable_costs_a_log_line_and_nothing_else(tracker, clock):
    def explode(decision):
        raise RuntimeError("chat is down")

    with tracker(budget=Budget("1000 J", on_exceed=explode)) as t:
        for _ in t.epochs(range(20)):
            clock.advance(3.0)
    assert t.footprint.status == "stopped"
    assert len(t.footprint.epochs) == 3


def test_of_several_budgets_the_tightest_stops(tracker, clock):
    with tracker(budget=["1 kg", "500 J"]) as t:
        for _ in t.epochs(range(20)):
            clock.advance(1.0)
    assert t.footprint.energy_j <= 500
    assert [row["unit"] for row in t.footprint.budget] == ["g", "J"]


def test_a_long_epoch_is_cut_into_blocks_that_are_never_added_to_epochs(tracker, clock):
    t = tracker(config=Config(block=10)).start()
    next_look = t.begin_epoch(0, Schedule(epochs=1, batches=25))
    looks = []
    for batch in range(1, 26):
        clock.advance(1.0)
        if batch >= next_look:
            next_look, scalars = t.look(batch)
            looks += [(batch, scalars["carbon/block_energy_wh"])] if scalars else []
    t.end_epoch(steps=25)
    t.close()
    f = t.footprint
    assert looks == [(10, pytest.approx(1000 / 3600)), (20, pytest.approx(1000 / 3600))]
    assert [block.energy_j for block in f.blocks] == [1000.0, 1000.0, 500.0]
    assert [block.steps for block in f.blocks] == [10, 10, None]
    assert [epoch.energy_j for epoch in f.epochs] == [2500.0]
    assert f.energy_j == 2500.0


def test_an_epoch_of_unknown_length_is_stopped_at_a_blocks_end_or_inside(tracker, clock):
    t = tracker(budget="1000 J", config=Config(block=3)).start()
    next_look = t.begin_epoch(0, Schedule(batches=None, validation_batches=0))
    batches = 0
    while not t.should_stop and batches < 1000:
        clock.advance(1.0)
        batches += 1
        if batches >= next_look:
            next_look, _ = t.look(batches)
    t.close()
    assert 8 <= batches <= 9
    assert t.footprint.energy_j <= 1000


def epoch(t, clock, index, schedule, seconds):
    """One whose batches take so long; returns those after which it was looked into."""
    next_look, looks = t.begin_epoch(index, schedule), []
    for batch, batch_s in enumerate(seconds, start=1):
        clock.advance(batch_s)
        if batch >= next_look:
            looks.append(batch)
            next_look, _ = t.look(batch)
    t.end_epoch(steps=len(seconds))
    return looks


def test_without_a_budget_the_first_epoch_is_looked_into_ever_less_and_no_other_at_all(tracker, clock):
    t = tracker().start()
    plan = Schedule(epochs=3, batches=500)
    looks = [epoch(t, clock, index, plan, [1.0] * 500) for index in range(3)]
    t.close()
    assert looks == [[1, 2, 4, 8, 16, 32, 64, 128, 256], [], []]


@pytest.mark.parametrize("warm_up", [[300.0, 1.0, 1.0, 1.0], [100.0, 1.0, 150.0, 5.0]], ids=["compiled", "and compiled again"])
@pytest.mark.parametrize("budget", [None, "1 kWh"])
def test_what_compiling_has_cost_is_not_expected_of_later_epochs(tracker, clock, caplog, warm_up, budget):
    caplog.set_level("INFO", logger="fitprint")
    t = tracker(budget=budget).start()
    plan = Schedule(epochs=11, batches=32, validation_batches=0)
    epoch(t, clock, 0, plan, [*warm_up, *[1.0] * 28])
    ahead = t.forecast
    t.close()
    later_s, first_s = 10 * 32, sum(warm_up) + 28
    assert ahead.mean - t.footprint.co2e_g == pytest.approx(later_s / first_s * t.footprint.epochs[0].co2e_g, rel=0.05)
    said = [record.getMessage() for record in caplog.records if "the first epoch cost" in record.getMessage()]
    assert len(said) == (budget is None)
    assert all("% of it warm-up or compilation; 11 epochs about" in text for text in said)


def test_a_first_validation_that_compiles_is_not_expected_again(tracker, clock):
    t = tracker().start()
    plan = Schedule(epochs=2, batches=32, validation_batches=8, validate_every=1)
    look = t.begin_epoch(0, plan)
    for batch in range(1, 33):
        clock.advance(200.0 if batch == 1 else 1.0)
        look = t.look(batch)[0] if batch >= look else look
    t.enter("validate")
    clock.advance(100.0)
    t.leave("validate")
    t.end_epoch(steps=32)
    ahead = t.forecast
    t.close()
    assert ahead.mean - t.footprint.co2e_g == pytest.approx((32 + 8) / 331 * t.footprint.co2e_g, rel=0.05)


def test_while_only_the_first_batch_is_known_nothing_is_forecast(tracker, clock):
    t = tracker().start()
    t.begin_epoch(0, Schedule(epochs=11, batches=1000))
    clock.advance(300.0)
    assert t.look(1)[0] == 2
    assert t.forecast is None
    clock.advance(1.0)
    t.look(2)
    seen_s, ahead_s = 301, 11_000 - 2 + 0.1 * 11_000  # a tenth for validations of unknown length
    assert t.forecast.mean == pytest.approx(t.scalars()["carbon/total_co2e_g"] * (seen_s + ahead_s) / seen_s, rel=0.01)
    t.close()


def test_the_scalars_are_finite_and_carry_the_public_tags(tracker, clock):
    with tracker(budget="1 kWh") as t:
        for _ in t.epochs(range(2)):
            clock.advance(36.0)
        scalars = t.scalars()
    assert scalars["carbon/epoch_energy_wh"] == pytest.approx(1.0)
    assert scalars["carbon/total_energy_wh"] == pytest.approx(2.0)
    assert scalars["carbon/power_w"] == pytest.approx(100.0)
    assert scalars["carbon/part/gpu_wh"] == pytest.approx(1.0)
    assert scalars["carbon/phase/train_wh"] == pytest.approx(1.0)
    assert scalars["carbon/measured_fraction"] == 1.0
    assert scalars["carbon/budget_used"] == pytest.approx(0.002)
    assert scalars["carbon/budget_limit_wh"] == 1000.0
    assert scalars["carbon/forecast_co2e_g"] == pytest.approx(scalars["carbon/total_co2e_g"])


def test_without_any_sensor_energy_is_unknown_and_not_zero(clock):
    with Tracker(ledger="off", counters=[], around=Surroundings(clock=clock, environ={})) as t:
        for _ in t.epochs(range(2)):
            clock.advance(1.0)
    assert t.footprint.energy_j is None
    assert t.footprint.co2e_g is None
    assert t.footprint.epochs[0].energy_j is None
    assert t.footprint.by_part == {}


def test_disabled_it_measures_nothing_but_keeps_the_keys_at_zero(clock, gpu, tmp_path):
    around = Surroundings(clock=clock, environ={"FITPRINT_DISABLE": "1"})
    with Tracker(counters=[gpu], around=around, budget="1 g") as t:
        assert list(t.epochs(range(2))) == [0, 1]
        scalars = t.scalars()
    assert gpu.reads == 0
    assert set(scalars.values()) == {0.0}
    assert {"carbon/epoch_co2e_g", "carbon/total_co2e_g", "carbon/budget_used"} <= set(scalars)
    assert list(tmp_path.iterdir()) == []


def test_a_sensor_that_fails_from_the_start_costs_coverage_only(tracker, clock, gpu):
    gpu.fails = True
    with tracker() as t:
        for _ in t.epochs(range(2)):
            clock.advance(1.0)
    assert t.footprint.status == "completed"
    assert t.footprint.coverage == 0.0


def test_a_step_of_the_wall_clock_changes_no_duration(tracker, clock):
    with tracker() as t:
        for _ in t.epochs(range(2)):
            clock.advance(1.0)
            clock.step_wall(-3600.0)
    assert [epoch.duration_s for epoch in t.footprint.epochs] == [1.0, 1.0]
    assert t.footprint.duration_s == 2.0


def test_a_tracker_pickles_and_copies_before_it_starts(clock):
    t = Tracker(budget="250 g", region="FR")
    assert pickle.loads(pickle.dumps(t)).scalars() == copy.deepcopy(t).scalars() == t.scalars()


@pytest.mark.parametrize("bad", [{"budget": "2kgs"}, {"budget": 0.5}, {"region": "XX"}, {"pue": 0.3}])
def test_bad_options_are_refused_at_construction(bad):
    with pytest.raises(ConfigError, match="Expected"):
        Tracker(**bad)


@pytest.mark.parametrize("taker", [Tracker, Series, resolve])
@pytest.mark.parametrize(
    ("came", "fix"),
    [
        ({"pue": 1, "region": "FR"}, r"Received: a dict\. Write config=Config\(pue=1, region='FR'\)"),
        ("FR", r"Received: a str\. Write config=Config\(pue=1\.2\)"),
    ],
)
def test_options_that_are_no_config_are_refused_with_the_fix(taker, came, fix):
    with pytest.raises(ConfigError, match=fix):
        taker(config=came)


def test_a_refused_config_shows_no_password():
    with pytest.raises(ConfigError) as refused:
        Tracker(config={"ledger": "postgresql://me:secret@host/db"})
    assert "secret" not in str(refused.value)


def test_track_measures_each_call_of_a_function(caplog):
    caplog.set_level("INFO", "fitprint")

    @track(region="FR", ledger="off")
    def train(x):
        return x + 1

    assert train(1) == 2
    assert sum("completed" in record.getMessage() for record in caplog.records) == 1


def test_track_refuses_bad_options_where_it_is_written():
    with pytest.raises(ConfigError):
        track(region="XX")


def test_an_epoch_that_is_still_open_is_in_the_record_as_incomplete(tracker, clock):
    with tracker() as t:
        for index in t.epochs(range(3)):
            clock.advance(1.0)
            if index == 1:
                live = t.footprint
    assert [(e.energy_j, e.complete) for e in live.epochs] == [(100.0, True), (100.0, False)]
    assert sum(e.energy_j for e in live.epochs) + live.outside_epochs_j == pytest.approx(live.energy_j)


def test_a_state_of_the_very_run_changes_nothing(tracker, clock):
    with tracker() as t:
        for _ in t.epochs(range(2)):
            clock.advance(1.0)
        t.resume(t.state())
        for _ in t.epochs(range(2, 4)):
            clock.advance(1.0)
    assert t.footprint.energy_j == pytest.approx(400.0)
    assert [e.index for e in t.footprint.epochs] == [0, 1, 2, 3]


def test_a_state_with_an_id_that_leaves_its_folder_is_not_taken(tracker, clock, caplog):
    t = tracker().start()
    t.resume({"footprint": {"run_id": "../../escape", "energy_j": 5.0}})
    t.close()
    assert "escape" not in t.footprint.run_id


def test_metrics_given_inside_an_epoch_are_that_epochs(tracker, clock):
    with tracker() as t:
        for index in t.epochs(range(3)):
            clock.advance(1.0)
            t.annotate({"loss": float(index), "vector": [1, 2], "text": "x", "none": None, "carbon/ours": 1.0})
    assert [dict(e.metrics) for e in t.footprint.epochs] == [{"loss": 0.0}, {"loss": 1.0}, {"loss": 2.0}]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda t: t.annotate(0.9),
        lambda t: t.annotate(None),
        lambda t: t.annotate([0.9, 0.8]),
        lambda t: t.annotate("val_acc=0.9"),
        lambda t: t.describe(hparams=0.1),
        lambda t: one_batch(t, "x"),
        lambda t: one_batch(t, [1, 2]),
        lambda t: one_batch(t, -3),
    ],
)
def test_a_wrong_argument_is_said_once_and_the_budget_holds(tracker, clock, caplog, wrong):
    with tracker(budget="500 J") as t:
        for _ in t.epochs(range(20)):
            wrong(t)
            clock.advance(1.0)
            wrong(t)
    assert (t.footprint.status, len(t.footprint.epochs)) == ("stopped", 4)
    assert sum(" are ignored; measuring and budgets go on. Expected" in record.getMessage() for record in caplog.records) == 1
    assert "no longer watched" not in caplog.text


def one_batch(tracker, samples):
    with tracker.batch(samples):
        pass


def test_a_wrong_number_of_samples_leaves_them_unknown_and_says_what_was_expected(tracker, caplog):
    with tracker() as t, t.epoch(0):
        one_batch(t, 8)
        one_batch(t, "x")
    assert t.footprint.samples is None
    assert "Expected the number of samples of the batch, as in tracker.batch(len(x)). Received: str 'x'." in caplog.text


def test_a_measurement_that_breaks_says_so_in_its_record(tracker, clock, monkeypatch):
    with tracker() as t:
        for index in t.epochs(range(3)):
            clock.advance(1.0)
            if index == 1:
                monkeypatch.setattr(Run, "annotate", lambda *_: 1 / 0)
                t.annotate({"loss": 1.0})
                assert "what follows is not measured" in t.footprint.notes[0]
    assert t.footprint.energy_j == 100.0
    assert t.footprint.notes[0].startswith("the measurement failed at 2")


@pytest.mark.parametrize("check", ["epoch", 1, 7])
def test_a_plain_loop_that_counts_its_batches_is_stopped_inside_an_epoch(tracker, clock, check):
    with tracker(budget=Budget("1000 J", check=check)) as t:
        for _ in t.epochs(range(20)):
            for _ in range(40):
                with t.batch(8):
                    clock.advance(1.0)
                if t.should_stop:
                    break
    footprint = t.footprint
    assert footprint.status == "stopped"
    assert [epoch.complete for epoch in footprint.epochs] == [False]
    assert 700 <= footprint.energy_j <= 1000


def test_by_batches_a_later_epoch_is_begun_and_used_to_the_last_batch_that_fits(tracker, clock):
    with tracker(budget=Budget("1000 J", check=1)) as t:
        for _ in t.epochs(range(20)):
            for _ in range(4):
                with t.batch(8):
                    clock.advance(1.0)
                if t.should_stop:
                    break
    assert [epoch.complete for epoch in t.footprint.epochs] == [True, True, False]
    assert 800 < t.footprint.energy_j <= 1000


def test_epochs_of_changing_length_are_looked_into_past_the_length_of_the_last(tracker, clock):
    with tracker(budget=Budget("1000 J", check=1)) as t:
        for index in t.epochs(range(2)):
            for _ in range(2 if index == 0 else 100):
                with t.batch(8):
                    clock.advance(1.0)
                if t.should_stop:
                    break
    assert t.footprint.status == "stopped"
    assert t.footprint.energy_j <= 1000


def test_batches_of_a_validation_are_not_counted_as_the_epochs(tracker, clock):
    with tracker(budget=Budget("10 kJ", check=2)) as t:
        for _ in t.epochs(range(3)):
            for _ in range(5):
                with t.batch(8):
                    clock.advance(1.0)
            with t.phase("validate"), t.batch(8):
                clock.advance(1.0)
    assert [(epoch.samples, epoch.complete) for epoch in t.footprint.epochs] == [(40, True)] * 3
    assert (t.footprint.status, t.footprint.blocks) == ("completed", ())


def test_by_batches_in_a_loop_that_counts_none_is_said_once(tracker, clock, caplog):
    with tracker(budget=Budget("10 kJ", check=10)) as t:
        for _ in t.epochs(range(3)):
            clock.advance(1.0)
    said = [record.getMessage() for record in caplog.records if "with tracker.batch(len(x)):" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("check=10 cannot look inside an epoch")


def test_by_batches_without_a_hook_between_batches_whole_epochs_are_kept_back(tracker, clock):
    with tracker(budget=Budget("1000 J", check=10)) as t:
        for _ in t.epochs(range(20)):
            clock.advance(3.0)
    assert t.footprint.energy_j <= 1000


def test_a_run_that_ends_with_its_last_batch_is_not_stopped(tracker, clock):
    t = tracker(budget="450 J").start()
    look_at = t.begin_epoch(0, Schedule(epochs=1, batches=4, validation_batches=0))
    for batch in range(1, 5):
        clock.advance(1.0)
        if batch >= look_at:
            look_at, _ = t.look(batch)
    t.end_epoch()
    t.close()
    assert (t.footprint.status, t.footprint.energy_j) == ("completed", 400.0)


def test_an_abandoned_run_ends_at_its_last_event(tracker, clock):
    t = tracker().start()
    t.begin_epoch(0, Schedule())
    clock.advance(1.0)
    t.enter("validate")
    clock.advance(3600.0)
    t.close("failed", abandoned=True)
    assert t.footprint.energy_j == pytest.approx(100.0)


def test_a_callable_may_ask_for_the_footprint_from_another_thread(tracker, clock):
    seen = []

    def ask(decision):
        thread = threading.Thread(target=lambda: seen.append(t.footprint.energy_j))
        thread.start()
        thread.join(timeout=10)

    with tracker(budget=Budget("1000 J", on_exceed=ask)) as t:
        for _ in t.epochs(range(20)):
            clock.advance(3.0)
    assert seen == [900.0]


def test_a_callable_object_that_cannot_be_hashed_works_too(tracker, clock):
    class Chat(list):
        def __call__(self, decision):
            self.append(decision)

    chat = Chat()
    with tracker(budget=Budget("1000 J", on_exceed=chat)) as t:
        for _ in t.epochs(range(20)):
            clock.advance(3.0)
    assert (t.footprint.status, len(chat)) == ("stopped", 1)


def test_a_state_asked_for_in_the_middle_of_a_reading_is_answered(tracker, clock, gpu):
    class Interrupting(ScriptedCounter):
        asked = None

        def read(self):
            if self.asked is None and t is not None:
                self.asked = {}
                self.asked = t.state()
            return super().read()

    t = None
    interrupting = Interrupting(clock, watts=1.0, part="cpu")
    t = tracker(interrupting).start()
    clock.advance(1.0)
    t.enter("validate")
    t.close()
    assert interrupting.asked["footprint"]["status"] == "running"
    assert t.footprint.energy_j == pytest.approx(101.0)


def test_max_steps_end_a_run_before_its_epochs():
    assert Schedule(epochs=1000, batches=4, steps=8).last_epoch == 2
    assert Schedule(epochs=None, batches=None, steps=8).last_epoch is None


@pytest.mark.parametrize(("code", "status"), [(0, "completed"), (None, "completed"), (3, "failed")])
def test_sys_exit_ends_a_run_by_its_code(tracker, code, status):
    with pytest.raises(SystemExit), tracker() as t:
        raise SystemExit(code)
    assert t.footprint.status == status


def test_a_tracker_that_was_never_started_says_so_once(caplog):
    t = Tracker(ledger="off")
    assert list(t.epochs(range(2))) == [0, 1]
    with t.phase("validate"):
        pass
    assert sum("never started" in record.getMessage() for record in caplog.records) == 1


def test_a_tracker_that_was_never_started_is_seen_on_the_terminal_and_has_no_completed_run(tmp_path):
    code = "from fitprint import Tracker\nt = Tracker(ledger='off')\nlist(t.epochs(range(2)))\nf = t.footprint\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print(f.status, f.notes[0])"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.count("fitprint: this Tracker was never started and measures nothing: write `with Tracker") == 1
    assert done.stdout.strip() == "failed nothing was measured: the Tracker was never started"


def test_a_tracker_that_is_entered_again_after_its_end_says_so_and_keeps_its_record(tracker, clock, caplog):
    t = tracker()
    for _ in range(3):
        with t:
            for _ in t.epochs(range(2)):
                clock.advance(1.0)
    assert sum("make another one for another run" in record.getMessage() for record in caplog.records) == 1
    assert (t.footprint.energy_j, len(t.footprint.epochs)) == (200.0, 2)
    assert t.footprint.notes[0].startswith("the Tracker was started again after its run had ended")


def test_an_unknown_phase_is_booked_as_other_and_said(tracker, clock, caplog):
    with tracker() as t, t.phase("vaildate"):
        clock.advance(1.0)
    assert dict(t.footprint.phases) == {"other": 100.0}
    assert "vaildate" in caplog.text


def test_track_measures_a_coroutine_while_it_is_awaited(caplog):
    caplog.set_level("INFO", "fitprint")

    @track(region="FR", ledger="off")
    async def train():
        await asyncio.sleep(0.2)
        return 7

    assert asyncio.run(train()) == 7
    assert "in 0.2 s" in caplog.text


# ---- nesting


def test_a_tracker_inside_another_of_the_same_thread_is_its_child(tracker, clock):
    with tracker() as outer, tracker(name="inner") as inner:
        clock.advance(2.0)
    assert inner.footprint.parent_run_id == outer.footprint.run_id
    assert outer.footprint.parent_run_id is None
    assert outer.footprint.energy_j == inner.footprint.energy_j == pytest.approx(200.0)


def test_a_tracker_after_another_is_nobodys_child(tracker, clock):
    with pytest.raises(ValueError, match="boom"), tracker():
        raise ValueError("boom")
    with tracker() as later:
        clock.advance(1.0)
    assert later.footprint.parent_run_id is None


def test_a_tracker_in_another_thread_is_a_sibling(tracker, clock):
    inner = tracker()

    def measure():
        with inner:
            pass

    with tracker():
        thread = threading.Thread(target=measure)
        thread.start()
        thread.join()
    assert inner.footprint.parent_run_id is None


def test_the_innermost_open_tracker_is_the_parent_in_whatever_order_they_end(tracker, clock):
    first, second = tracker().__enter__(), tracker().__enter__()
    first.__exit__(None, None, None)
    with tracker() as third:
        clock.advance(1.0)
    second.__exit__(None, None, None)
    assert third.footprint.parent_run_id == second.footprint.run_id


def test_a_run_that_nobody_closed_adopts_no_other(tracker, clock):
    left_behind = tracker().start()
    with tracker() as later:
        clock.advance(1.0)
    assert later.footprint.parent_run_id is None
    left_behind.close()


# ---- beside the run


def test_idle_power_is_measured_before_the_run_and_is_in_none(tracker, clock, gpu):
    gpu.watts = 40.0
    t = tracker(config=Config(calibrate_idle=10.0)).start()
    gpu.watts = 100.0
    clock.advance(5.0)
    t.close()
    assert t.footprint.duration_s == pytest.approx(5.0)
    assert t.footprint.energy_j == pytest.approx(500.0)
    assert t.footprint.above_idle_j == pytest.approx(300.0)


def test_without_calibration_nothing_is_said_about_idling(tracker, clock):
    with tracker() as t:
        clock.advance(5.0)
    assert t.footprint.above_idle_j is None


def test_the_whole_machines_power_stands_beside_the_run_and_in_no_sum(tracker, clock):
    bmc = ScriptedCounter(clock, watts=450.0, part="node", role="node")
    with tracker(bmc, budget="1000 J") as t:
        for _ in t.epochs(range(5)):
            clock.advance(1.0)
    assert t.footprint.energy_j == pytest.approx(500.0)
    assert t.footprint.node_energy_j == pytest.approx(2250.0)
    assert t.footprint.by_part.keys() == {"gpu"}
    assert t.footprint.status == "completed"


def test_a_lost_node_sensor_costs_no_coverage_of_the_run(tracker, clock):
    bmc = ScriptedCounter(clock, watts=450.0, part="node", role="node")
    with tracker(bmc) as t:
        bmc.fails = True
        clock.advance(5.0)
    assert t.footprint.coverage == 1.0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("attribute", "half"),
        ("attribute", True),
        ("calibrate_idle", -1.0),
        ("calibrate_idle", 7200.0),
        ("calibrate_idle", "long"),
        ("sync", "maybe"),
        ("sync", 1),
    ],
)
def test_options_that_make_no_sense_are_refused(option, value):
    with pytest.raises(ConfigError, match=option):
        Config(**{option: value})


# ---- energy per step


def test_energy_per_step_comes_from_windows_long_enough_for_the_counter(tracker, clock):
    slow = ScriptedCounter(clock, watts=10.0, part="cpu", tick_s=0.1)
    with tracker(slow, config=Config(block=50)) as t:
        t.begin_epoch(0, Schedule(batches=100))
        for batches in (50, 100):
            clock.advance(20.0)
            t.look(batches)
        t.end_epoch(steps=100)
    step = t.footprint.step_energy
    assert step.energy_j == pytest.approx(110.0 * 20 / 50)
    assert (step.window_steps, step.window_s) == (50, pytest.approx(20.0))
    assert "from windows of 50 steps (20.0 s)" in str(t.footprint)


def test_windows_that_are_too_short_give_no_energy_per_step(tracker, clock):
    slow = ScriptedCounter(clock, watts=10.0, part="cpu", tick_s=0.1)
    with tracker(slow) as t:
        t.begin_epoch(0, Schedule(batches=10))
        clock.advance(9.0)
        t.end_epoch(steps=10)
    assert t.footprint.step_energy is None


def trained(run, clock, *seconds):
    """Epochs of two steps and eight samples, each so long."""
    for index, duration_s in enumerate(seconds):
        run.begin_epoch(index, Schedule(batches=2))
        run.work.count(8, batches=2)
        clock.advance(duration_s)
        run.end_epoch(steps=2)


def test_a_first_epoch_that_compiles_stands_for_no_step_and_no_sample(tracker, clock):
    with tracker() as t:
        trained(t, clock, 12.0, 2.0, 2.0)
    assert t.footprint.step_energy == StepEnergy(100.0, 2, 2.0)
    assert t.footprint.energy_per_sample_j == 25.0
    assert "in training alone after the first epoch, 24 samples in all" in str(t.footprint)


def test_where_only_the_first_epoch_is_long_enough_none_is_told_of_a_step(tracker, clock):
    slow = ScriptedCounter(clock, watts=10.0, part="cpu", tick_s=0.1)
    with tracker(slow) as t:
        trained(t, clock, 12.0, 2.0, 2.0)
    assert t.footprint.step_energy is None
    assert "a step" not in str(t.footprint)


def test_a_single_epoch_tells_of_no_step_and_of_a_sample_what_it_cost_with_its_warm_up(tracker, clock):
    with tracker() as t:
        trained(t, clock, 12.0)
    assert t.footprint.step_energy is None
    assert t.footprint.energy_per_sample_j == 150.0
    assert "in training alone, 8 samples" in str(t.footprint)


def test_the_first_epoch_after_a_resume_warms_up_too(tracker, clock):
    with tracker() as first:
        trained(first, clock, 12.0, 2.0, 2.0)
    clock.advance(60.0)
    again = tracker(awaits_state=True).start()
    again.resume(first.state())
    with again:
        trained(again, clock, 20.0, 3.0)
    assert again.footprint.step_energy == StepEnergy(350.0 / 3, 2, pytest.approx(7 / 3))


def test_a_training_that_begins_again_inside_its_run_warms_up_too(tracker, clock):
    with tracker() as t:
        trained(t, clock, 12.0, 2.0)
        t.begin_epoch(2, Schedule(batches=2))
        clock.advance(1.0)
        t.end_epoch(complete=False)
        trained(t, clock, 12.0, 4.0)
    assert t.footprint.step_energy == StepEnergy(150.0, 2, 3.0)


def test_a_run_whose_thread_ends_with_the_process_is_interrupted(tmp_path):
    code = (
        "import threading, time\nfrom fitprint import Tracker\nbegun = threading.Event()\n"
        "def work():\n    with Tracker(region='FR', run_id='r'):\n        begun.set(); time.sleep(60)\n"
        "threading.Thread(target=work, daemon=True).start(); begun.wait()"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True, cwd=tmp_path)
    assert Ledger(tmp_path / "fitprint.db").footprint("r").status == "interrupted"
