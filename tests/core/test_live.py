"""Services that tell carbon intensity: what they are asked, what is believed, and that nothing else ever happens."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fitprint.carbon.live import LiveIntensity, parse_source
from fitprint.carbon.live_http import LARGEST_BYTES
from fitprint.carbon.place import find_place
from fitprint.carbon.providers import ElectricityMaps, UkCarbonIntensity, WattTime
from fitprint.errors import ConfigError
from fitprint.testing import FakeClock
from web_service import Answer, WebService, only_this_machine

# FakeClock's wall clock begins here, on the hour.
EIGHT = datetime(2027, 1, 15, 8, tzinfo=UTC)
SECRET = "s3cr3t-t0ken"
HISTORY, LATEST = "/v3/carbon-intensity/history", "/v3/carbon-intensity/latest"
PAST, FORECAST = "/v3/carbon-intensity/past-range", "/v3/carbon-intensity/forecast"


def hours(*values, start=EIGHT, zone="FR"):
    """Rows as Electricity Maps documents them, an hour apart; None leaves one out."""
    return [
        {"zone": zone, "carbonIntensity": value, "datetime": (start + timedelta(hours=i)).isoformat().replace("+00:00", "Z")}
        for i, value in enumerate(values)
        if value is not None
    ]


def history(*values, start=EIGHT, zone="FR"):
    return Answer({"zone": zone, "history": hours(*values, start=start, zone=zone)})


@pytest.fixture(autouse=True)
def nothing_but_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.setenv("ELECTRICITYMAPS_TOKEN", SECRET)
    monkeypatch.setenv("WATTTIME_USER", "somebody")
    monkeypatch.setenv("WATTTIME_PASSWORD", SECRET)
    return only_this_machine(monkeypatch)


@pytest.fixture
def at_ten(clock):
    clock.advance(2 * 3600 + 600)
    return clock


@pytest.fixture
def france(service, at_ten, tmp_path):
    """Electricity Maps' France at ten past ten, as the service tells it."""

    def make(**options):
        return LiveIntensity(ElectricityMaps("FR", service.base), **{"cache": tmp_path / "cache", "clock": at_ten, **options})

    return make


def figures(live, start=EIGHT):
    """What is known of each hour from eight to ten."""
    middles = [start + timedelta(hours=i, minutes=30) for i in range(3)]
    found = [live.between(when, when) for when in middles]
    return [None if one is None else one.g_per_kwh for one in found]


# ---- what they answer, as they document it


def test_electricity_maps_tells_life_cycle_averages_by_the_hour(service, france):
    service.answers[HISTORY] = history(50, 60, 70)
    live = france()
    assert live.fetch(EIGHT)
    assert figures(live) == [50, 60, 70]
    (asked,) = service.asked
    assert asked.headers["auth-token"] == SECRET
    assert asked.query == {"zone": "FR", "emissionFactorType": "lifecycle", "disableCallerLookup": "true"}
    found = live.between(EIGHT, EIGHT + timedelta(hours=2))
    assert (found.g_per_kwh, found.basis_kind, found.source) == (55, "lifecycle", "Electricity Maps v3, zone FR")
    assert found.low_g_per_kwh < 55 < found.high_g_per_kwh


def test_where_its_history_lags_the_latest_figure_is_asked_for(service, france):
    service.answers[HISTORY] = history(50, 60)
    service.answers[LATEST] = Answer(hours(70, start=EIGHT + timedelta(hours=2))[0])
    live = france()
    live.fetch(EIGHT)
    assert figures(live) == [50, 60, 70]


def test_what_was_found_is_kept_where_what_is_asked_beside_it_fails(service, france):
    service.answers = {HISTORY: history(50, 60), LATEST: Answer(status=500), FORECAST: Answer(b"garbage")}
    live = france()
    assert live.fetch(EIGHT, EIGHT + timedelta(hours=9))
    assert figures(live)[:2] == [50, 60]


def test_hours_more_than_a_day_back_are_asked_for_as_a_range(service, france):
    long_ago = EIGHT - timedelta(hours=30)
    service.answers[PAST] = Answer({"zone": "FR", "data": hours(*range(100, 130), start=long_ago)})
    service.answers[HISTORY] = history(*range(200, 225), start=EIGHT - timedelta(hours=22))
    live = france()
    live.fetch(long_ago)
    assert service.paths == [PAST, HISTORY]
    assert figures(live, long_ago) == [100, 101, 102]
    assert figures(live) == [222, 223, 224]


def test_a_free_token_that_reaches_a_day_back_gets_that_day(service, france):
    service.answers[PAST] = Answer(status=401)
    service.answers[HISTORY] = history(50, 60, 70)
    live = france()
    assert live.fetch(EIGHT - timedelta(hours=30))
    assert figures(live) == [50, 60, 70]


def test_a_forecast_is_asked_for_where_the_window_lies_ahead(service, france):
    service.answers[HISTORY] = history(50, 60, 70)
    service.answers[FORECAST] = Answer({"zone": "FR", "forecast": hours(80, 90, start=EIGHT + timedelta(hours=3))})
    live = france()
    live.fetch(EIGHT, EIGHT + timedelta(hours=5))
    assert figures(live, EIGHT + timedelta(hours=2)) == [70, 80, 90]


def test_watttime_tells_marginal_pounds_per_megawatt_hour_every_five_minutes(service, at_ten, tmp_path):
    rows = [{"point_time": (EIGHT + timedelta(minutes=5 * i)).isoformat(), "value": 1000 + i} for i in range(24)]
    meta = {"region": "CAISO_NORTH", "signal_type": "co2_moer", "units": "lbs_co2_per_mwh", "data_point_period_seconds": 300}
    service.answers = {"/login": Answer({"token": "abc"}), "/v3/historical": Answer({"data": rows, "meta": meta})}
    live = LiveIntensity(WattTime("CAISO_NORTH", service.base), cache=tmp_path, clock=at_ten)
    assert live.fetch(EIGHT)
    found = live.between(EIGHT + timedelta(minutes=6), EIGHT + timedelta(minutes=9))
    assert found.g_per_kwh == pytest.approx(1001 * 0.45359237)
    assert found.basis_kind == "marginal"
    assert service.asked[0].headers["authorization"].startswith("Basic ")
    assert service.asked[1].headers["authorization"] == "Bearer abc"


@pytest.mark.parametrize("zone", ["GB", "13"])
def test_britain_tells_half_hours_what_was_before_what_was_expected_and_needs_no_credentials(
    service, at_ten, tmp_path, zone, monkeypatch
):
    monkeypatch.delenv("ELECTRICITYMAPS_TOKEN")
    window = "2027-01-15T06:00Z/2027-01-15T10:30Z"
    told = [{"forecast": 100 + i, "actual": None if i > 2 or zone != "GB" else 200 + i, "index": "low"} for i in range(5)]
    rows = [
        {"from": (EIGHT + timedelta(minutes=30 * i)).strftime("%Y-%m-%dT%H:%MZ"), "intensity": one} for i, one in enumerate(told)
    ]
    if zone == "GB":
        service.answers[f"/intensity/{window}"] = Answer({"data": rows})
    else:
        answer = {"data": {"regionid": 13, "shortname": "London", "data": rows}}
        service.answers[f"/regional/intensity/{window}/regionid/13"] = Answer(answer)
    live = LiveIntensity(UkCarbonIntensity(zone, service.base), cache=tmp_path, clock=at_ten)
    live.require()
    assert live.fetch(EIGHT)
    assert figures(live)[:2] == ([201, 103] if zone == "GB" else [101, 103])


# ---- what they answer otherwise


OTHERWISE = {
    "refused": (Answer(status=401), "the credentials are refused, HTTP 401"),
    "not allowed": (Answer(status=403), "the credentials do not allow it, HTTP 403"),
    "not there": (Answer(status=404), "not found, HTTP 404"),
    "too often": (Answer(status=429), "too many requests, HTTP 429"),
    "broken": (Answer(b"Traceback", 500), "HTTP 500"),
    "no JSON": (Answer(b"<html>Please sign in</html>"), "its answer makes no sense"),
    "nested": (Answer(b"[" * 100_000), "its answer makes no sense"),
    "a list": (Answer([1, 2]), "its answer makes no sense"),
    "nothing in it": (Answer({"zone": "FR", "history": None}), "its answer makes no sense"),
    "another zone": (history(50, 60, 70, zone="DE"), "its answer makes no sense"),
    "packed": (Answer(b"x", headers={"Content-Encoding": "gzip"}), "its answer makes no sense"),
    "huge": (Answer(b" " * (LARGEST_BYTES + 1)), "its answer is too large"),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_anything_else_brings_nothing_and_says_why(service, france, what):
    service.answers[HISTORY], reason = OTHERWISE[what]
    live = france()
    assert not live.fetch(EIGHT)
    assert figures(live) == [None] * 3
    assert live.trouble == reason


@pytest.mark.parametrize("figure", [None, "60", -1, 2001, 1e400, True, [], {}])
def test_a_figure_that_cannot_be_one_is_a_gap(service, france, figure):
    rows = hours(50, 60, 70)
    rows[1]["carbonIntensity"] = figure
    service.answers[HISTORY] = Answer({"zone": "FR", "history": rows})
    live = france()
    live.fetch(EIGHT)
    assert [piece.g_per_kwh for piece in live.pieces(EIGHT.timestamp(), EIGHT.timestamp() + 7200)] != [50, 60]
    assert 60 not in figures(live)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_token_goes_nowhere_else(service, france, status):
    other = WebService()
    service.answers[HISTORY] = Answer(status=status, headers={"Location": f"{other.base}{HISTORY}"})
    live = france()
    assert not live.fetch(EIGHT)
    assert live.trouble == f"it redirects elsewhere, HTTP {status}"
    other.close()
    assert other.asked == []


@pytest.mark.parametrize("slowly", ["silent", "drip"])
def test_a_slow_service_costs_the_time_limit_and_no_more(service, france, slowly):
    service.answers[HISTORY] = Answer(b"{}" * 100, drip_s=0.05)
    service.silent = {HISTORY} if slowly == "silent" else set()
    live = france(timeout_s=0.3)
    began = time.monotonic()
    assert not live.fetch(EIGHT)
    assert time.monotonic() - began < 1.5
    assert live.trouble == "timeout"


def test_whoever_waits_may_give_up(service, france):
    service.silent = {HISTORY}
    live, began = france(), time.monotonic()
    assert not live.fetch(EIGHT, None, lambda: time.monotonic() - began > 0.2)
    assert time.monotonic() - began < 1.5


def test_nobody_there_brings_nothing(service, france):
    service.close()
    live = france()
    assert not live.fetch(EIGHT)
    assert live.trouble == "no connection"


# ---- how often


def test_what_is_known_is_not_asked_for_again(service, france, at_ten):
    service.answers[HISTORY] = history(50, 60, 70)
    live = france()
    live.fetch(EIGHT)
    at_ten.advance(1200)
    assert not live.fetch(EIGHT)
    assert len(service.asked) == 1


def test_a_service_that_fails_is_asked_less_and_less(service, france, at_ten):
    service.answers[HISTORY] = Answer(status=500)
    live, asked = france(), []
    for _ in range(60):
        live.fetch(EIGHT)
        asked.append(len(service.asked))
        at_ten.advance(60)
    assert asked[0] == 1
    assert asked[-1] == 6  # after 0, 1, 3, 7, 15 and 31 minutes


@pytest.mark.parametrize("wait", ["1800", "Fri, 15 Jan 2027 10:40:00 GMT"])
def test_a_rate_limit_is_obeyed_by_every_process_that_shares_the_cache(service, france, at_ten, wait):
    service.answers[HISTORY] = Answer(status=429, headers={"Retry-After": wait})
    one, other = france(), france()
    one.fetch(EIGHT)
    at_ten.advance(1700)
    one.fetch(EIGHT)
    other.fetch(EIGHT)
    assert len(service.asked) == 1
    at_ten.advance(200)
    service.answers[HISTORY] = history(50, 60, 70)
    assert one.fetch(EIGHT)


# ---- the cache


def test_what_one_process_fetched_another_finds_on_disk(service, france, tmp_path):
    service.answers[HISTORY] = history(50, 60, 70)
    code = f"""
from datetime import UTC, datetime
from pathlib import Path
from fitprint.carbon.live import LiveIntensity
from fitprint.carbon.providers import ElectricityMaps
from fitprint.testing import FakeClock
clock = FakeClock(); clock.advance(7800)
live = LiveIntensity(ElectricityMaps("FR", {service.base!r}), cache=Path({str(tmp_path / "cache")!r}), clock=clock)
assert live.fetch(datetime(2027, 1, 15, 8, tzinfo=UTC))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    live = france()
    assert live.fetch(EIGHT)
    assert figures(live) == [50, 60, 70]
    assert len(service.asked) == 1


@pytest.mark.parametrize("text", ["", "{", "[[1, 2, 3]]", "null", '[["a", 1, 2]]', "[[NaN, 1, 2]]", "[" * 100_000])
def test_a_cache_file_that_makes_no_sense_is_fetched_again(service, france, tmp_path, text):
    service.answers[HISTORY] = history(50, 60, 70)
    france().fetch(EIGHT)
    for file in (tmp_path / "cache").rglob("*.json"):
        file.write_text(text)
    for marker in (tmp_path / "cache").rglob("next_try"):
        marker.unlink()
    live = france()
    assert live.fetch(EIGHT)
    assert figures(live) == [50, 60, 70]
    assert len(service.asked) == 2


def test_a_cache_that_cannot_be_written_costs_nothing_but_the_cache(service, france, tmp_path):
    (tmp_path / "file").write_text("")
    service.answers[HISTORY] = history(50, 60, 70)
    live = france(cache=tmp_path / "file")
    assert live.fetch(EIGHT)
    assert figures(live) == [50, 60, 70]


# ---- credentials


def token_file(folder: Path, text=f"# mine\nELECTRICITYMAPS_TOKEN = {SECRET}\n", mode=0o600) -> Path:
    path = folder / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_credentials_may_stand_in_a_file_of_the_owner_alone(service, france, tmp_path, monkeypatch):
    monkeypatch.delenv("ELECTRICITYMAPS_TOKEN")
    service.answers[HISTORY] = history(50, 60, 70)
    assert france(token_file=token_file(tmp_path)).fetch(EIGHT)
    assert service.asked[0].headers["auth-token"] == SECRET


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_not_used(service, france, tmp_path, monkeypatch, mode):
    monkeypatch.delenv("ELECTRICITYMAPS_TOKEN")
    live = france(token_file=token_file(tmp_path, mode=mode))
    assert not live.fetch(EIGHT)
    assert "run chmod 600" in live.trouble
    assert service.asked == []
    with pytest.raises(ConfigError, match="run chmod 600 on it"):
        live.require()


def test_without_credentials_nothing_is_asked(service, france, monkeypatch):
    monkeypatch.delenv("ELECTRICITYMAPS_TOKEN")
    live = france()
    assert not live.fetch(EIGHT)
    assert service.asked == []
    with pytest.raises(ConfigError, match="ELECTRICITYMAPS_TOKEN is not set in the environment"):
        live.require()


def test_credentials_are_kept_nowhere(service, france, tmp_path):
    service.answers[HISTORY] = Answer(SECRET.encode(), 401, {"WWW-Authenticate": SECRET})
    live = france()
    live.fetch(EIGHT)
    told = (repr(live), live.trouble, live.source, str(vars(live)))
    assert not [text for text in told if SECRET in text]
    assert SECRET.encode() not in pickle.dumps(live)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and SECRET in path.read_text()]


def test_a_copy_goes_on_with_what_was_known(service, france):
    service.answers[HISTORY] = history(50, 60, 70)
    live = france()
    live.fetch(EIGHT)
    assert figures(pickle.loads(pickle.dumps(live))) == [50, 60, 70]


# ---- names


@pytest.mark.parametrize(
    ("text", "key", "zone"),
    [
        ("electricitymaps:FR", "electricitymaps", "FR"),
        ("ElectricityMaps:us-cal-ciso", "electricitymaps", "US-CAL-CISO"),
        ("electricity-maps:fr", "electricitymaps", "FR"),
        ("electricitymaps", "electricitymaps", ""),
        ("watttime:CAISO_NORTH", "watttime", "CAISO_NORTH"),
        ("ukci", "ukci", "GB"),
        ("ukci:13", "ukci", "13"),
    ],
)
def test_a_service_and_its_zone_go_by_name(text, key, zone):
    live = parse_source(text)
    assert (live.provider.key, live.provider.zone) == (key, zone)


@pytest.mark.parametrize("text", ["series.csv", "/data/grid.csv", "C:/grid.csv", "fr"])
def test_other_text_names_no_service(text):
    assert parse_source(text) is None


@pytest.mark.parametrize(
    "text", ["electricitymap:FR", "electricitymaps:", "electricitymaps:../x", "ukci:18", "watttime", "watttime:"]
)
def test_a_name_that_is_nearly_one_is_refused(text):
    with pytest.raises(ConfigError, match=r"electricitymaps:ZONE"):
        parse_source(text)


@pytest.mark.parametrize(
    ("region", "zone"),
    [("FR", "FR"), ("SE-SE3", "SE-SE3"), ("CA-QC", "CA-QC"), ("gcp:europe-west9", "FR"), ("US-CA", ""), ("WORLD", "")],
)
def test_without_a_zone_it_is_that_of_the_place(region, zone):
    live = parse_source("electricitymaps").for_place(find_place(region, "argument", {}))
    assert live.provider.zone == zone
    assert zone or "name it as intensity='electricitymaps:ZONE'" in live.trouble


def test_nothing_is_sent_before_it_is_told_to(nothing_but_this_machine):
    live = parse_source("electricitymaps:FR", clock=FakeClock())
    live.require()
    assert live.between(EIGHT, EIGHT) is None
    assert nothing_but_this_machine == []


def test_the_documented_services_are_asked_over_tls():
    for provider in (ElectricityMaps(), WattTime(), UkCarbonIntensity()):
        assert provider.base.startswith("https://")
        assert replace(provider, base="").base == ""
