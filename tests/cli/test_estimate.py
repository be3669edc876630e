"""``fitprint estimate`` and ``fitprint regions`` as a person or a script uses them."""

from __future__ import annotations

import json
import sys

import pytest

from fitprint import Tracker, cli
from fitprint.sensors.probe import Surroundings
from fitprint.testing import ScriptedCounter


def answer(capsys, *words):
    assert cli.main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_price_without_a_currency_asks_for_one(capsys):
    words = ["estimate", "--power-w", "1000", "--hours", "2", "--price", "0.3", "--price-per-hour", "2"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "4.60 (no currency given: --currency)" in said
    assert "0.3 per kWh (" in said
    assert "2 per h (" in said
    assert cli.main([*words, "--currency", "EUR"]) == 0
    said = capsys.readouterr().out
    assert "4.60 EUR" in said
    assert "0.3 EUR/kWh (" in said


def test_watts_hours_and_intensity_are_enough(capsys):
    found = answer(capsys, "estimate", "--power-w", "300", "--hours", "100", "--intensity", "570")
    keys = [
        "cost",
        "currency",
        "energy_kwh",
        "facility_energy_kwh",
        "co2e_g",
        "co2e_low_g",
        "co2e_high_g",
        "embodied_g",
        "assumptions",
    ]
    assert list(found) == keys
    assert (found["energy_kwh"], found["co2e_g"], found["cost"]) == (30, 17_100, None)


def test_every_option_reaches_the_calculator(capsys):
    words = "--hardware T4 --count 4 --utilization 0.5 --hours 10 --region FR --intensity 100 --pue 1.5 --node-factor 1.2"
    money = "--price 0.2 --price-per-hour 0.35 --currency EUR --embodied years=5"
    found = answer(capsys, "estimate", *words.split(), *money.split())
    assert found["energy_kwh"] == pytest.approx(1.4)
    assert found["facility_energy_kwh"] == pytest.approx(1.4 * 1.8)
    assert found["co2e_g"] == pytest.approx(252)
    assert (found["cost"], found["currency"]) == (pytest.approx(40 * 0.35 + 2.52 * 0.2), "EUR")
    rows = {row["name"]: row["value"] for row in found["assumptions"]}
    assert (rows["region"], rows["lifetime"]) == ("FR", 5 * 8760)


def test_embodied_can_be_left_out(capsys):
    assert answer(capsys, "estimate", "--hardware", "T4", "--hours", "1", "--embodied", "off")["embodied_g"] is None


def test_for_people_it_says_the_figures_and_where_it_would_be_cleaner(capsys):
    assert cli.main(["estimate", "--hardware", "h100 sxm", "--count", "8", "--hours", "24", "--region", "PL"]) == 0
    out = capsys.readouterr().out
    assert "134 kWh at the hardware" in out
    assert "The same elsewhere: " in out
    assert "fitprint regions --energy-kwh 269.069" in out


def test_in_a_cloud_the_other_regions_of_that_cloud_are_offered(capsys):
    assert cli.main(["estimate", "--power-w", "1000", "--hours", "1", "--region", "gcp:europe-west4"]) == 0
    assert capsys.readouterr().out.endswith("fitprint regions --energy-kwh 1 --provider gcp\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("estimate --hours 1", "either --power-w or --hardware"),
        ("estimate --power-w 1 --hours -1", "--hours -1.0"),
        ("estimate --power-w 1 --hours nan", "--hours nan"),
        ("estimate --power-w 1 --hours 1 --intensity 5000", "--intensity 5000.0"),
        ("estimate --hardware RTX4909 --hours 1", "Did you mean 'RTX 4090'"),
        ("estimate --power-w 1 --hours 1 --region Frnace", "Did you mean 'France'"),
        ("estimate --hardware T4 --hours 1 --embodied perhaps", "--embodied 'perhaps'"),
        ("estimate --hardware T4 --hours 1 --embodied year=3", "Did you mean 'years'"),
        ("regions --energy-kwh 0", "--energy-kwh 0.0"),
        ("regions --provider gpc", "Did you mean 'gcp'"),
        ("regions --limit 0", "--limit 0"),
        ("regions --within-km 100", "Say where you are with --near"),
        ("regions --figure places.txt", "ends in .svg, .png, .pdf"),
    ],
)
def test_bad_usage_is_named_and_exits_with_two(words, message, capsys):
    assert cli.main(words.split()) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("words", ["estimate --power-w 1", "estimate --power-w x --hours 1", "regions --energy-kwh 1 --run a"])
def test_options_that_cannot_be_read_exit_with_two(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words.split())
    assert stopped.value.code == 2


def test_regions_as_json_are_all_places_cleanest_first(capsys):
    places = answer(capsys, "regions", "--energy-kwh", "12")
    ranks = [place["rank"] for place in places if place["rank"] is not None]
    assert ranks == list(range(1, len(ranks) + 1))
    assert [place["rank"] for place in places[len(ranks) :]] == [None] * (len(places) - len(ranks))
    assert {place["code"]: place["co2e_g"] for place in places}["FR"] == pytest.approx(12 * 41.44)


def test_without_energy_regions_are_those_of_one_kilowatt_hour(capsys):
    assert all(place["co2e_g"] == place["g_per_kwh"] for place in answer(capsys, "regions"))


def test_the_table_marks_what_has_no_rank_and_says_what_is_left_out(capsys):
    assert cli.main(["regions", "--country", "US", "--limit", "3"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3", "-"]
    assert "US-VT" in lines[1]
    assert lines[4].rstrip().endswith("lifecycle")
    assert "1 without a rank (-): their figures are not direct ones." in captured.err
    assert "48 more are not shown" in captured.err


def test_a_recorded_run_is_compared_at_its_own_energy_and_its_place_is_pointed_out(capsys):
    with Tracker(region="aws:eu-central-1") as tracker:
        list(tracker.epochs(range(2)))
    run = tracker.footprint
    capsys.readouterr()
    places = answer(capsys, "regions", "--run", run.run_id, "--provider", "aws")
    mine = {place["code"]: place for place in places}["aws:eu-central-1"]
    assert mine["co2e_g"] == pytest.approx(run.co2e_g)
    assert cli.main(["regions", "--run", run.run_id, "--provider", "aws", "--limit", "1", "--within-km", "600"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[0] == "1"
    assert "Frankfurt (AWS eu-central-1) (here)" in lines[2]


def test_a_run_that_is_not_recorded_is_a_failure_with_a_reason(capsys):
    assert cli.main(["regions", "--run", "nowhere"]) == 1
    assert "has no run 'nowhere'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["places.svg", "places.png"])
def test_a_figure_is_drawn_into_a_file(name, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert cli.main(["regions", "--provider", "scaleway", "--figure", str(tmp_path / name)]) == 0
    start = (tmp_path / name).read_bytes()[:200]
    assert start.startswith(b"\x89PNG") or b"<?xml" in start
    assert "Paris (Scaleway fr-par)" in capsys.readouterr().out


def test_a_figure_without_matplotlib_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["regions", "--figure", "places.svg"]) == 1
    assert "pip install 'fitprint[report]'" in capsys.readouterr().err


def test_a_figure_that_cannot_be_written_is_a_failure_with_a_reason(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert cli.main(["regions", "--figure", str(tmp_path / "no-such-folder" / "places.svg")]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_the_whole_life_of_a_model_is_its_training_and_its_queries(capsys):
    words = "--power-w 300 --hours 100 --intensity 400 --queries 600000 --energy-per-query-wh 0.1"
    life = answer(capsys, "estimate", *words.split())["lifetime"]
    assert (life["energy_kwh"], life["co2e_g"]) == (pytest.approx(90), pytest.approx(36_000))


def test_what_a_query_takes_comes_from_a_recorded_prediction(capsys, clock):
    around = Surroundings(clock=clock, environ={})
    counters = [ScriptedCounter(clock, watts=360.0)]
    with Tracker(kind="predict", run_id="served", region="FR", counters=counters, around=around) as tracker, tracker.batch(10):
        clock.advance(10.0)
    words = "--power-w 300 --hours 100 --intensity 400 --queries 600000 --run served"
    found = answer(capsys, "estimate", *words.split())
    assert found["lifetime"]["energy_per_query_wh"] == pytest.approx(0.1)
    assert cli.main(["estimate", *words.split(), "--energy-per-query-wh", "1"]) == 2
    assert "Received: both" in capsys.readouterr().err
