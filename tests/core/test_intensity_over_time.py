"""Runs whose intensity changes while they last: every gram is known, and so is what stands in for what is not."""

from __future__ import annotations

import json
import logging
import pickle
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitprint import Config, Ledger, Tracker, detect
from fitprint.carbon import provider_names
from fitprint.carbon.hourly import HOUR_S, HourlySeries
from fitprint.carbon.intensity import Intensity, yearly_intensity
from fitprint.carbon.live import LiveIntensity
from fitprint.carbon.place import find_place
from fitprint.carbon.providers import ElectricityMaps
from fitprint.errors import ConfigError
from fitprint.regrams import regrams
from fitprint.sensors.probe import Surroundings
from fitprint.settings import resolve
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint.timeline import SHORTEST_S
from fitprint.units import J_PER_KWH
from web_service import Answer, only_this_machine

SECRET = "s3cr3t-t0ken"
# FakeClock's wall clock begins here, on the hour.
EIGHT = datetime(2027, 1, 15, 8, tzinfo=UTC)
EIGHT_S = EIGHT.timestamp()
HISTORY = "/v3/carbon-intensity/history"
FRANCE = yearly_intensity(find_place("FR", "argument", {}))
PLAIN = {"pue": 1.0, "node_factor": 1.0, "region": "FR"}


@pytest.fixture(autouse=True)
def nothing_but_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.setenv("ELECTRICITYMAPS_TOKEN", SECRET)
    return only_this_machine(monkeypatch)


def series(*values, start_s=EIGHT_S, **options):
    points = [(start_s + i * HOUR_S, value) for i, value in enumerate(values) if value is not None]
    return HourlySeries(points, "test", "as given", **options)


def run_of(clock, intensity, *, watts=1000.0, ledger="off", budget=None, **options):
    """A run on one scripted GPU without losses in machine or building: 1 kW for an hour is 1 kWh."""
    config = Config(**{**PLAIN, **options}, intensity=intensity)
    gpu = ScriptedCounter(clock, watts=watts, error=0.0)
    return Tracker(config=config, budget=budget, ledger=ledger, counters=[gpu], around=Surroundings(clock=clock, environ={}))


def rows(footprint, name):
    return [row for row in footprint.assumptions if row["name"] == name]


# ---- exactly


def test_an_epoch_over_the_edge_of_an_hour_gets_each_hours_own_grams(clock):
    clock.advance(1800)
    with run_of(clock, series(100, 300)) as tracker:
        for _ in tracker.epochs(range(1)):
            clock.advance(3600)
    (epoch,) = tracker.footprint.epochs
    assert epoch.co2e_g == pytest.approx(0.5 * 100 + 0.5 * 300)
    assert tracker.footprint.co2e_g == pytest.approx(200)
    assert tracker.footprint.intensity == pytest.approx(200)
    assert tracker.footprint.segments[0]["co2e_g"] == pytest.approx(200)


def test_grams_follow_the_energy_and_not_the_time(clock):
    with run_of(clock, series(100, 300)) as tracker:
        for index in tracker.epochs(range(2)):
            tracker._counters[0].watts = 3000.0 if index == 0 else 1000.0
            clock.advance(3600)
    assert [epoch.co2e_g for epoch in tracker.footprint.epochs] == pytest.approx([300, 300])
    assert tracker.footprint.intensity == pytest.approx(150)


def test_outside_of_epochs_the_hours_count_too(clock):
    with run_of(clock, series(100, 200, 400)) as tracker:
        clock.advance(3600)
        for _ in tracker.epochs(range(1)):
            clock.advance(3600)
        clock.advance(3600)
    assert tracker.footprint.co2e_g == pytest.approx(700)
    assert tracker.footprint.epochs[0].co2e_g == pytest.approx(200)


@given(
    values=st.lists(st.one_of(st.none(), st.floats(1, 2000)), min_size=6, max_size=6).filter(
        lambda v: sum(x is not None for x in v) > 1
    ),
    epochs=st.lists(st.tuples(st.floats(1, 5000), st.floats(1, 3000), st.floats(0, 3000)), min_size=1, max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_epochs_and_what_is_outside_them_sum_to_the_run(values, epochs):
    clock = FakeClock()
    with run_of(clock, series(*values)) as tracker:
        outside = []
        for watts, inside_s, between_s in epochs:
            tracker._counters[0].watts = watts
            with tracker.epoch(len(outside)):
                clock.advance(inside_s)
            before = tracker.footprint
            clock.advance(between_s)
            outside.append(tracker.footprint.co2e_g - before.co2e_g)
    footprint = tracker.footprint
    # Marks at one moment are put apart by as much, and what was used then with them.
    apart_g = len(epochs) * SHORTEST_S * max(watts for watts, *_ in epochs) * 2000 / J_PER_KWH
    assert footprint.co2e_g == pytest.approx(sum(e.co2e_g for e in footprint.epochs) + sum(outside), rel=1e-6, abs=apart_g)
    assert footprint.co2e_low_g <= footprint.co2e_g <= footprint.co2e_high_g


def test_blocks_of_a_long_epoch_have_their_own_hours(clock):
    from fitprint.pace import Schedule

    with run_of(clock, series(100, 300), block=10) as tracker:
        tracker.begin_epoch(0, Schedule(epochs=1, batches=20))
        clock.advance(3600)
        tracker.look(10)
        clock.advance(3600)
        tracker.end_epoch(steps=20)
    assert [block.co2e_g for block in tracker.footprint.blocks] == pytest.approx([100, 300])


def test_a_run_and_its_recorded_energy_over_time_agree(clock):
    clock.advance(1234)
    with run_of(clock, series(100, 300, 250)) as tracker:
        for _ in tracker.epochs(range(3)):
            clock.advance(2000)
    again = regrams(tracker.footprint, series(100, 300, 250))
    assert again.co2e_g == pytest.approx(tracker.footprint.co2e_g)
    assert [e.co2e_g for e in again.epochs] == pytest.approx([e.co2e_g for e in tracker.footprint.epochs])


def test_a_resumed_run_keeps_the_grams_of_before(clock):
    with run_of(clock, series(100, 300)) as first:
        for _ in first.epochs(range(1)):
            clock.advance(3600)
        state = first.state()
    second = run_of(clock, series(100, 300)).start()
    second.resume(state)
    for _ in second.epochs(range(1, 2)):
        clock.advance(3600)
    second.close()
    assert [epoch.co2e_g for epoch in second.footprint.epochs] == pytest.approx([100, 300])
    assert second.footprint.co2e_g == pytest.approx(400)


# ---- what is not known


def test_for_what_a_source_does_not_know_the_yearly_average_stands_in_and_is_said(clock, caplog):
    caplog.set_level(logging.WARNING, "fitprint")
    with run_of(clock, series(100, 100)) as tracker:
        for _ in tracker.epochs(range(2)):
            clock.advance(5 * 3600)
    footprint = tracker.footprint
    # Two hours given, three carried, five unknown.
    assert footprint.co2e_g == pytest.approx(5 * 100 + 5 * FRANCE.g_per_kwh)
    assert footprint.epochs[1].co2e_g == pytest.approx(5 * FRANCE.g_per_kwh)
    (stand_in,) = rows(footprint, "intensity_stand_in")
    assert (stand_in["value"], stand_in["low"], stand_in["high"]) == (
        FRANCE.g_per_kwh,
        FRANCE.low_g_per_kwh,
        FRANCE.high_g_per_kwh,
    )
    assert "yearly average of France, for 50 % of the energy" in stand_in["basis"]
    assert "test has no figure for 50 % of the energy: the yearly average of France is used" in footprint.notes
    assert "test has no figure for 30 % of the energy: the last one before was carried, for at most 3 h" in footprint.notes
    (intensity,) = rows(footprint, "intensity")
    assert "50 % of the energy" in intensity["source"]
    assert "50 % of the energy" in intensity["basis"]
    assert "the yearly average of France is used" in caplog.text


def test_the_stand_in_brings_its_own_interval(clock):
    with run_of(clock, series(100, 100, start_s=EIGHT_S - 100 * HOUR_S)) as tracker:
        for _ in tracker.epochs(range(1)):
            clock.advance(3600)
    footprint = tracker.footprint
    ends = (footprint.co2e_low_g, footprint.co2e_g, footprint.co2e_high_g)
    assert ends == pytest.approx((FRANCE.low_g_per_kwh, FRANCE.g_per_kwh, FRANCE.high_g_per_kwh))


def test_a_source_that_knows_all_leaves_no_trace_of_the_average(clock):
    with run_of(clock, series(100, 300)) as tracker:
        clock.advance(7200)
    assert rows(tracker.footprint, "intensity_stand_in") == []
    (intensity,) = rows(tracker.footprint, "intensity")
    assert (intensity["value"], intensity["source"], intensity["year"]) == (pytest.approx(200), "test", 2027)
    assert not [note for note in tracker.footprint.notes if "average" in note]


def test_marginal_figures_and_averages_are_never_taken_for_one_another(clock):
    with run_of(clock, series(500, 500, basis_kind="marginal")) as tracker:
        clock.advance(10 * 3600)
    assert any("which is no marginal figure" in note for note in tracker.footprint.notes)
    assert ";" in rows(tracker.footprint, "intensity")[0]["basis"]


# ---- a source of one's own


@dataclass(frozen=True)
class Daylight:
    """Clean from nine to ten."""

    def between(self, start, end):
        g = 50.0 if 9 <= start.hour < 10 else 150.0
        return Intensity(g, g, g, 2027, "my meter", "contract")


@dataclass(frozen=True)
class Broken:
    answer: object = None

    def between(self, start, end):
        if self.answer is None:
            raise RuntimeError("no line")
        return self.answer


def test_any_object_that_answers_between_will_do(clock):
    clock.advance(1800)
    with run_of(clock, Daylight()) as tracker:
        for _ in tracker.epochs(range(2)):
            clock.advance(3600)
    assert [epoch.co2e_g for epoch in tracker.footprint.epochs] == pytest.approx([100, 100])
    assert rows(tracker.footprint, "intensity")[0]["source"] == "my meter"


NONSENSE = [
    None,
    "42",
    42.0,
    Intensity(float("nan"), 0.0, 1.0, None, "", ""),
    Intensity(-1.0, -1.0, -1.0, None, "", ""),
    Intensity(9e9, 9e9, 9e9, None, "", ""),
    Intensity(50.0, 60.0, 40.0, None, "", ""),
]


@pytest.mark.parametrize("answer", NONSENSE, ids=str)
def test_a_source_that_fails_or_answers_nonsense_costs_its_figures_only(clock, answer):
    with run_of(clock, Broken(answer)) as tracker:
        for _ in tracker.epochs(range(1)):
            clock.advance(3600)
    assert tracker.footprint.co2e_g == pytest.approx(FRANCE.g_per_kwh)
    assert (
        "the intensity source has no figure for 100 % of the energy: the yearly average of France is used"
        in tracker.footprint.notes
    )


def test_a_constant_with_its_own_interval_is_taken_as_it_is(clock):
    with run_of(clock, Intensity(50.0, 40.0, 70.0, 2026, "my supplier", "lifecycle", "lifecycle")) as tracker:
        clock.advance(3600)
    footprint = tracker.footprint
    assert (footprint.co2e_low_g, footprint.co2e_g, footprint.co2e_high_g) == pytest.approx((40, 50, 70))


# ---- as an option


def write_csv(path, *values):
    lines = [f"{(EIGHT + timedelta(hours=i)).isoformat()},{value}" for i, value in enumerate(values)]
    path.write_text("\n".join(["datetime,g_per_kwh", *lines]) + "\n")
    return path


def test_the_path_of_a_series_is_an_intensity_in_every_layer(clock, tmp_path, monkeypatch):
    file = write_csv(tmp_path / "grid.csv", 100, 300)
    monkeypatch.setenv("FITPRINT_INTENSITY", "grid.csv")
    for intensity, environ in ((str(file), {}), (file, {}), ("grid.csv", {}), (None, {"FITPRINT_INTENSITY": str(file)})):
        start = FakeClock()
        config = Config(**PLAIN, ledger="off", intensity=intensity)
        gpu = ScriptedCounter(start, watts=1000.0)
        with Tracker(config=config, counters=[gpu], around=Surroundings(clock=start, environ=environ)) as tracker:
            start.advance(7200)
        assert tracker.footprint.co2e_g == pytest.approx(400)
        assert str(tmp_path) not in tracker.footprint.to_json()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("gird.csv", "There is no such file"),
        ("bad.csv", "bad.csv"),
        ("electricitymap:FR", "Did you mean 'electricitymaps:FR'"),
        ("5000", "at most 2000"),
        ("", "is not valid"),
        (".", "There is no such file"),
    ],
)
def test_a_text_that_is_no_intensity_is_refused_at_construction(tmp_path, text, match):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match=match):
        Config(intensity=text)


def test_a_number_as_text_is_a_number():
    assert Config(intensity="41.5").intensity == 41.5


def test_a_file_that_has_gone_by_the_start_costs_its_figures_only(clock, tmp_path, caplog):
    file = write_csv(tmp_path / "grid.csv", 100, 300)
    tracker = run_of(clock, file)
    file.unlink()
    with tracker:
        clock.advance(3600)
    assert tracker.footprint.co2e_g == pytest.approx(FRANCE.g_per_kwh)
    assert "There is no such file" in caplog.text


def test_a_service_without_leave_to_use_the_network_is_refused_with_the_fix(nothing_but_this_machine):
    with pytest.raises(ConfigError, match=r"Config\(allow_network=True\) or FITPRINT_ALLOW_NETWORK=1"):
        Tracker(intensity="electricitymaps:FR", ledger="off")
    with pytest.raises(ConfigError, match="the network is not allowed"):
        Tracker(config=Config(intensity="ukci", allow_network=False))
    assert nothing_but_this_machine == []


def test_a_service_in_the_environment_without_leave_is_warned_about_and_ignored(caplog, nothing_but_this_machine):
    settings = resolve(None, {"FITPRINT_INTENSITY": "electricitymaps:FR"})
    assert settings.config.intensity is None
    assert "the network is not allowed" in caplog.text
    allowed = resolve(None, {"FITPRINT_INTENSITY": "electricitymaps:FR", "FITPRINT_ALLOW_NETWORK": "1"})
    assert allowed.config.intensity == "electricitymaps:FR"
    assert nothing_but_this_machine == []


def test_missing_credentials_are_told_at_construction(monkeypatch, tmp_path):
    monkeypatch.delenv("ELECTRICITYMAPS_TOKEN")
    with pytest.raises(ConfigError, match="ELECTRICITYMAPS_TOKEN is not set"):
        Tracker(intensity="electricitymaps:FR", config=Config(allow_network=True))
    file = tmp_path / "tokens"
    file.write_text("ELECTRICITYMAPS_TOKEN=x\n")
    file.chmod(0o600)
    Tracker(intensity="electricitymaps:FR", config=Config(allow_network=True, token_file=str(file)))


def test_what_a_run_would_ask_is_shown_without_asking(nothing_but_this_machine, tmp_path):
    around = Surroundings(tmp_path / "sys", tmp_path / "proc", environ={})
    found = detect(Config(region="FR", intensity="electricitymaps", allow_network=True), around)
    (row,) = [row for row in found.factors if row["name"] == "intensity_source"]
    assert row["value"] == "Electricity Maps v3, zone FR"
    assert nothing_but_this_machine == []


# ---- services, while a run lasts


@pytest.fixture
def live(service, clock, tmp_path):
    return LiveIntensity(ElectricityMaps("FR", service.base), cache=tmp_path / "cache", clock=clock)


def tells(service, clock, *values):
    """The hours that have begun, from eight on."""

    def answer(_):
        began = [value for i, value in enumerate(values) if EIGHT_S + i * HOUR_S <= clock.time()]
        times = [(EIGHT + timedelta(hours=i - 1)).isoformat() for i in range(len(began) + 1)]
        told = zip(times, [999, *began], strict=True)
        return Answer({"zone": "FR", "history": [{"zone": "FR", "datetime": t, "carbonIntensity": g} for t, g in told]})

    service.answers[HISTORY] = answer


def wait_for(condition, seconds=5.0):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    assert condition()


def test_a_short_run_has_its_figures_before_it_ends(service, clock, live):
    tells(service, clock, 100)
    with run_of(clock, live, allow_network=True) as tracker:
        for _ in tracker.epochs(range(1)):
            clock.advance(1800)
    assert tracker.footprint.co2e_g == tracker.footprint.epochs[0].co2e_g == pytest.approx(50)
    assert rows(tracker.footprint, "intensity")[0]["source"] == "Electricity Maps v3, zone FR"
    assert rows(tracker.footprint, "intensity_stand_in") == []


def test_figures_that_come_after_an_epoch_are_in_its_record_and_in_the_ledger(service, clock, live, tmp_path):
    clock.advance(1800)
    tells(service, clock, 100, 300)
    with run_of(clock, live, allow_network=True, ledger=str(tmp_path / "runs.db")) as tracker:
        for index in tracker.epochs(range(2)):
            clock.advance(3600)
            if index == 1:
                wait_for(lambda: live.series is not None and live.series.points[-1] == (EIGHT_S + HOUR_S, 300))
    epochs = tracker.footprint.epochs
    assert epochs[0].co2e_g == pytest.approx(0.5 * 100 + 0.5 * 300)
    assert epochs[1].co2e_g == pytest.approx(300)
    recorded = Ledger(tmp_path / "runs.db").footprint(tracker.footprint.run_id)
    assert [epoch.co2e_g for epoch in recorded.epochs] == [epoch.co2e_g for epoch in epochs]
    assert recorded.co2e_g == pytest.approx(tracker.footprint.co2e_g) == pytest.approx(500)


def test_a_budget_counts_at_what_is_known(service, clock, live):
    tells(service, clock, 1000)
    with run_of(clock, live, allow_network=True, budget="600 g") as tracker:
        wait_for(lambda: live.series is not None)
        done = 0
        for _ in tracker.epochs(range(10)):
            clock.advance(600)
            done += 1
    assert done == 3  # of 167 g each
    assert tracker.footprint.status == "stopped"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(status=401), "the credentials are refused, HTTP 401"),
        (Answer(status=302, headers={"Location": "http://example.org/"}), "it redirects elsewhere, HTTP 302"),
        (Answer(status=500), "HTTP 500"),
        (Answer(b"<html>"), "its answer makes no sense"),
        (Answer({"zone": "DE", "history": []}), "its answer makes no sense"),
        (None, "the run ended before it answered"),
        (Answer(b"x" * 1000, drip_s=0.05), "the run ended before it answered"),
    ],
)
def test_a_service_that_fails_costs_a_note(service, clock, live, answer, why, tmp_path, caplog):
    service.answers[HISTORY] = answer
    service.silent = {HISTORY} if answer is None else set()
    began = time.monotonic()
    with run_of(clock, live, allow_network=True, ledger=str(tmp_path / "runs.db")) as tracker:
        for _ in tracker.epochs(range(2)):
            clock.advance(1800)
        trained = time.monotonic()
    assert trained - began < 0.5
    assert time.monotonic() - trained < 1.8
    footprint = tracker.footprint
    assert footprint.co2e_g == pytest.approx(FRANCE.g_per_kwh)
    assert footprint.status == "completed"
    assert rows(footprint, "intensity_stand_in")
    note = "Electricity Maps v3, zone FR has no figure for 100 % of the energy: the yearly average of France is used"
    assert any(text.startswith(note) for text in footprint.notes)
    assert why in live.trouble
    everything = footprint.to_json() + caplog.text + str(footprint) + footprint.to_html()
    everything += "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET not in everything


def test_the_journal_is_written_while_a_service_hangs(service, clock, live, tmp_path):
    service.silent = {HISTORY}
    with run_of(clock, live, allow_network=True, ledger=str(tmp_path / "runs.db")) as tracker:
        for _ in tracker.epochs(range(1)):
            clock.advance(60)
        began = time.monotonic()
        wait_for(lambda: [row["epochs"] for row in Ledger(tmp_path / "runs.db").runs()] == [1])
        assert time.monotonic() - began < 2.0


def test_a_service_by_name_goes_from_the_option_to_the_grams(service, clock, monkeypatch):
    @dataclass(frozen=True)
    class Here(ElectricityMaps):
        base: str = service.base

    monkeypatch.setitem(provider_names.PROVIDERS, "electricitymaps", Here)
    tells(service, clock, 100)
    tracker = run_of(clock, "electricitymaps:FR", allow_network=True)
    assert SECRET.encode() not in pickle.dumps(tracker)
    with pickle.loads(pickle.dumps(run_of(FakeClock(), "electricitymaps:FR", allow_network=True))):
        pass
    with tracker:
        clock.advance(3599)
    assert tracker.footprint.intensity == pytest.approx(100)
    assert json.loads(tracker.footprint.to_json())["intensity"] == pytest.approx(100)
