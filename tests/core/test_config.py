"""Options: what is refused, which layer wins, and what a bad layer costs."""

from __future__ import annotations

import copy
import os
import pickle
import re
from pathlib import Path

import pytest

from fitprint.budget import Budget
from fitprint.config import Config
from fitprint.errors import ConfigError
from fitprint.ledger.ledger import Ledger
from fitprint.settings import resolve
from fitprint.sidecar import Sidecar


def project_file(text):
    Path("pyproject.toml").write_text(f"[tool.fitprint]\n{text}\n")


def user_file(text):
    folder = Path(os.environ["XDG_CONFIG_HOME"], "fitprint")
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text)


@pytest.mark.parametrize(
    ("option", "fix"),
    [
        ({"budget": "2kgs"}, "Did you mean '2 kg'?"),
        ({"budget": 0.5}, "A bare number has no unit. Write for example '0.5 g' or '0.5 kWh'."),
        ({"budget": ["1 kg", 3]}, "Write for example '3 g'"),
        ({"budget": 0}, "Write for example '250 g'"),
        ({"budget": True}, "such as '250 g'"),
        ({"region": "XX"}, "a country ('FR', 'France')"),
        ({"region": "Frnace"}, "Did you mean 'France'?"),
        ({"region": "US-XX"}, "Did you mean 'US'? (the whole country; its parts are written like 'US-AK')"),
        ({"region": ""}, "a country ('FR', 'France')"),
        ({"pue": 0.3}, "If 0.3 is the overhead alone, write pue=1.3."),
        ({"pue": 3.5}, "a number from 1 to 3"),
        ({"node_factor": 0.15}, "a number from 1 to 3"),
        ({"node_factor": 9}, "power at the wall over the sum of the sensors"),
        ({"intensity": 0}, "grams of CO2e per kWh"),
        ({"intensity": 5000}, "at most 2000"),
        ({"intensity": float("nan")}, "a number"),
        ({"intensity": True}, "a number"),
        ({"parts": ["cpu", "gpus"]}, "Did you mean 'gpu'?"),
        ({"parts": "disk"}, "some of gpu, cpu, dram, soc"),
        ({"block": 0}, "optimizer steps from 1 up"),
        ({"block": 2.0}, "optimizer steps from 1 up"),
        ({"block": True}, "optimizer steps from 1 up"),
        ({"name": " "}, "a text that is not empty"),
        ({"ledger": "mysql://me:secret@host/runs"}, "Received: ledger='mysql://me@host/runs'"),
        ({"ledger": "sqlite:///runs.db"}, "without 'sqlite://'"),
        ({"ledger": ""}, "or 'off'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_the_fix_in_the_message(option, fix):
    (name,) = option
    with pytest.raises(ConfigError, match=re.escape(fix)) as refused:
        Config(**option)
    assert str(refused.value).startswith(f"{name}=")


@pytest.mark.parametrize(
    ("option", "take"),
    [
        ("ledger", lambda path: Config(ledger=path)),
        ("ledger", Ledger),
        ("token_file", lambda path: Config(token_file=path)),
        ("intensity", lambda path: Config(intensity=path)),
        ("sinks", lambda path: Config(sinks=[f"prometheus:{path}"])),
        ("backup_dir", Sidecar),
    ],
)
def test_a_path_in_the_home_of_somebody_unknown_is_refused(option, take):
    with pytest.raises(ConfigError, match=rf"^{option}=.* No home is known for ~nobody-here\.$"):
        take("~nobody-here/x.prom")


@pytest.mark.parametrize("run_id", ["..", "../x", "a/b", "a\\b", "/tmp", ".hid", "~", "", "a\n", "a\0b", "x" * 129, 7])
def test_a_run_id_that_would_leave_its_folder_is_refused(run_id):
    with pytest.raises(ConfigError, match=r"^run_id="):
        Config(run_id=run_id)


def test_one_text_stands_for_a_list_of_one_and_doubles_are_dropped():
    config = Config(budget="1 kg", parts=["gpu", "cpu", "gpu"], tags="night")
    assert config.budget == (Budget("1 kg"),)
    assert config.parts == ("gpu", "cpu")
    assert config.tags == ("night",)


def test_only_arguments_that_are_set_override():
    config = Config(region="FR", pue=1.2).overridden(region="SE", pue=None)
    assert config.given() == {"region": "SE", "pue": 1.2}


def test_a_config_is_frozen():
    with pytest.raises(AttributeError):
        Config(region="FR").region = "SE"


def test_a_config_survives_pickling_and_copying():
    config = Config(budget=["1 kg", Budget("900 kJ", check=20)], region="FR", parts=["gpu"], tags=["a", "b"])
    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config) == config


def test_without_any_layer_everything_is_at_its_default():
    settings = resolve()
    assert settings.config.given() == {}
    assert (settings.budgets, settings.parts, settings.block) == ((), ("gpu", "cpu", "dram", "soc"), 500)
    assert settings.ledger.path == Path.cwd() / "fitprint.db"
    assert (settings.sys_root, settings.proc_root) == (Path("/sys"), Path("/proc"))
    assert settings.source_of("region") == "default"
    assert not settings.disabled


def test_argument_beats_environment_beats_project_file_beats_user_file(monkeypatch):
    user_file("region = 'SE'\npue = 1.1\nname = 'user'\nproject = 'user'")
    project_file("region = 'PL'\npue = 1.2\nname = 'project'")
    monkeypatch.setenv("FITPRINT_REGION", "US")
    monkeypatch.setenv("FITPRINT_PUE", "1.3")
    settings = resolve(Config(region="FR"))
    assert settings.config.given() == {"region": "FR", "pue": 1.3, "name": "project", "project": "user"}
    layers = {"region": "argument", "pue": "environment", "name": "pyproject.toml", "project": "user file"}
    assert settings.given_by == layers


def test_the_project_file_of_a_folder_above_is_found(tmp_path):
    project_file("block = 7")
    below = tmp_path / "src" / "deep"
    below.mkdir(parents=True)
    assert resolve(folder=below).block == 7


def test_numbers_and_lists_are_read_from_the_environment(monkeypatch):
    texts = {"BUDGET": "1 kg, 2 kWh", "INTENSITY": "41.5", "BLOCK": "20", "TAGS": "a, b,", "NAME": " n "}
    for name, text in texts.items():
        monkeypatch.setenv(f"FITPRINT_{name}", text)
    budget = (Budget("1 kg"), Budget("2 kWh"))
    given = {"budget": budget, "intensity": 41.5, "block": 20, "tags": ("a", "b"), "name": "n"}
    assert resolve().config.given() == given


@pytest.mark.parametrize(
    ("name", "text"),
    [("BUDGET", "2kgs"), ("REGION", "Frnace"), ("PUE", "0.3"), ("BLOCK", "many"), ("RUN_ID", "../x")],
)
def test_a_bad_environment_value_is_warned_about_and_ignored(name, text, monkeypatch, caplog):
    monkeypatch.setenv(f"FITPRINT_{name}", text)
    assert resolve().config == Config()
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("fitprint", "WARNING")
    assert "ignored a setting in the environment" in record.getMessage()
    assert text in record.getMessage()


def test_a_bad_value_in_a_file_is_warned_about_and_the_rest_of_the_file_counts(caplog):
    project_file("pue = 0.3\nregion = 'FR'\ntags = 5")
    assert resolve().config == Config(region="FR")
    assert len(caplog.records) == 2
    assert "pyproject.toml: pue=0.3 is not valid" in caplog.text


def test_a_bad_value_leaves_the_layer_below_in_force(monkeypatch):
    project_file("pue = 1.4")
    monkeypatch.setenv("FITPRINT_PUE", "0.4")
    settings = resolve()
    assert (settings.config.pue, settings.source_of("pue")) == (1.4, "pyproject.toml")


@pytest.mark.parametrize(("word", "meant"), [("regoin", "region"), ("node-factor", "node_factor")])
def test_an_unknown_option_in_the_file_is_warned_about_with_the_nearest_name(word, meant, caplog):
    project_file(f"{word} = 'FR'")
    assert resolve().config == Config()
    assert f"unknown option '{word}'. Did you mean '{meant}'?" in caplog.text


@pytest.mark.parametrize("content", [b"[tool.fitprint\n", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_warned_about_and_ignored(content, caplog):
    Path("pyproject.toml").write_bytes(content)
    assert resolve().config == Config()
    assert "pyproject.toml" in caplog.text


@pytest.mark.parametrize(("text", "disabled"), [("1", True), ("true", True), ("", False), ("0", False), ("Off", False)])
def test_fitprint_disable_switches_everything_off(text, disabled, monkeypatch):
    monkeypatch.setenv("FITPRINT_DISABLE", text)
    assert resolve().disabled is disabled


@pytest.mark.parametrize("text", ["off", "OFF", "none", "0"])
def test_fitprint_ledger_off_means_no_ledger(text, monkeypatch):
    monkeypatch.setenv("FITPRINT_LEDGER", text)
    assert resolve().ledger is None


def test_a_ledger_path_is_made_absolute_and_may_begin_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert resolve(Config(ledger="runs/a.db")).ledger.path == tmp_path / "runs" / "a.db"
    assert resolve(Config(ledger="~/a.db")).ledger.path == tmp_path / "home" / "a.db"
