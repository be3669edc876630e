"""What the command line says speaks of flags, and never to the terminal itself."""

from __future__ import annotations

import logging

import pytest

from fitprint import Config, Tracker
from fitprint.carbon.series_file import read_series
from fitprint.cli import main
from fitprint.errors import ConfigError
from fitprint.sensors.probe import Surroundings
from fitprint.settings import resolve
from fitprint.testing import ScriptedCounter

TWO_COLUMNS = "time,carbon_intensity,value_g/kWh\n2025-01-01T00:00,100,100\n"
NO_ZONE = "time,carbon_intensity\n2025-01-01T00:00,100\n2025-01-01T01:00,200\n"


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "grid.csv"
        path.write_text(text)
        return str(path)

    return write


def trained(metrics=None, **options):
    with Tracker(region="FR", **options) as tracker:
        for _ in tracker.epochs(range(1)):
            tracker.annotate(metrics or {"val_acc": 0.9, "loss": 0.1})
    return tracker.footprint


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("fitprint 0.")


def test_times_without_a_zone_ask_for_the_flag(file, capsys):
    assert main(["when", "--hours", "1", "--series", file(NO_ZONE)]) == 2
    said = capsys.readouterr().err
    assert "--tz 'Europe/Paris'" in said
    assert "tz=" not in said
    assert "read_series" not in said


def test_columns_that_cannot_be_told_apart_ask_for_the_flag(file, capsys):
    assert main(["when", "--hours", "1", "--series", file(TWO_COLUMNS), "--tz", "UTC"]) == 2
    assert "Name one with --column" in capsys.readouterr().err


def test_a_service_without_the_network_names_the_flag(capsys):
    assert main(["when", "--hours", "1", "--live", "ukci"]) == 2
    said = capsys.readouterr().err
    assert "--allow-network" in said
    assert "Config(" not in said


def test_a_bad_value_is_told_as_it_was_typed(capsys):
    assert main(["run", "--budget", "250", "--", "true"]) == 2
    said = capsys.readouterr().err
    assert "--budget '250'" in said
    assert "budget=" not in said


@pytest.mark.parametrize(
    ("words", "flags", "names"),
    [
        ("estimate --hours 1", "Expected either --power-w or --hardware", "power_w"),
        ("estimate --hours 1 --power-w 3 --hardware A100", "Expected either --power-w or --hardware", "power_w"),
        ("estimate --hours 1 --hardware nosuch", "give --power-w", "power_w"),
        ("regions --within-km 5", "Say where you are with --near.", "with near"),
        ("when --hours 1 --series grid.csv --from yesterday", "--from 'yesterday' is not valid", "from="),
        ("report --intensity nofile.csv", "--intensity 'nofile.csv' is not valid", "series="),
        ("compare --metric reward", "Give --mode 'max' or --mode 'min'", "mode="),
    ],
)
def test_arguments_are_named_as_they_are_typed(file, capsys, words, flags, names):
    file("time,carbon_intensity\n2025-01-01T00:00Z,100\n2025-01-01T01:00Z,200\n")
    trained(metrics={"reward": 1.0})
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert flags in said
    assert names not in said


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_is_called_empty(file, capsys, text):
    assert main(["when", "--hours", "1", "--series", file(text)]) == 2
    assert "The file is empty." in capsys.readouterr().err


def test_a_file_without_zones_is_read_in_a_program_with_the_zone(file, clock):
    path = file("time,carbon_intensity\n" + "".join(f"2027-01-15T{h:02}:00,{80 * h}\n" for h in range(24)))
    with pytest.raises(ConfigError, match=r"intensity=read_series\('FILE', tz='ZONE'\)"):
        Tracker(intensity=path)
    config = Config(intensity=read_series(path, tz="Europe/Paris"), pue=1.0, node_factor=1.0)
    around = Surroundings(clock=clock, environ={})
    with Tracker(counters=[ScriptedCounter(clock, watts=3600.0)], around=around, config=config) as tracker:
        for _ in tracker.epochs(range(1)):
            clock.advance(100.0)
    # The clock begins at 08:00 UTC, which is 09:00 in Paris: 720 g/kWh.
    assert tracker.footprint.co2e_g == pytest.approx(0.1 * 720.0)


def test_a_metric_that_no_run_has_tells_those_there_are(capsys):
    trained(project="digits")
    assert main(["report", "--project", "digits", "--metric", "nope"]) == 2
    said = capsys.readouterr().err
    assert "--metric 'nope'" in said
    assert "one of loss, val_acc" in said


def test_a_hostile_name_says_nothing_to_the_terminal(capsys):
    trained(project="p\x1b[2J", name="\x1b]0;owned\x07\x9b31m")
    assert main(["report"]) == 0
    out = capsys.readouterr().out
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in out)


@pytest.mark.parametrize(("name", "meant"), [("FITPRINT_REGOIN", "FITPRINT_REGION"), ("FITPRINT_DISABLED", "FITPRINT_DISABLE")])
def test_a_variable_that_is_nearly_ours_is_warned_about(caplog, name, meant):
    with caplog.at_level(logging.WARNING, logger="fitprint"):
        resolve(environ={name: "1"})
    assert f"{name} in the environment is no setting. Did you mean {meant}?" in caplog.text


def test_variables_of_ours_and_those_far_from_them_are_not(caplog):
    with caplog.at_level(logging.WARNING, logger="fitprint"):
        resolve(environ={"FITPRINT_REGION": "FR", "FITPRINT_DISABLE": "0", "FITPRINT_MY_OWN_THING": "1"})
    assert "Did you mean" not in caplog.text
