"""Commands that ask a service for intensities."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from test_report import measured

from fitprint.carbon import provider_names
from fitprint.carbon.providers import ElectricityMaps
from fitprint.cli import main
from web_service import Answer, WebService, only_this_machine

PATHS = {"history": "history", "past-range": "data", "forecast": "forecast"}


@pytest.fixture
def service(monkeypatch, tmp_path):
    """Electricity Maps, in which each hour of the day has ten times its number."""
    service = WebService()

    @dataclass(frozen=True)
    class Here(ElectricityMaps):
        base: str = service.base

    monkeypatch.setitem(provider_names.PROVIDERS, "electricitymaps", Here)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.setenv("ELECTRICITYMAPS_TOKEN", "t")
    only_this_machine(monkeypatch)
    yield service
    service.close()


def tell(service, start, hours):
    times = [start + timedelta(hours=i) for i in range(hours)]
    rows = [{"zone": "FR", "datetime": when.isoformat(), "carbonIntensity": 10 + 10 * when.hour} for when in times]
    for path, key in PATHS.items():
        service.answers[f"/v3/carbon-intensity/{path}"] = Answer({"zone": "FR", key: rows})


def test_when_takes_a_services_forecast(service, capsys):
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    tell(service, now - timedelta(hours=2), 27)
    assert main(["when", "--hours", "1", "--live", "electricitymaps:FR", "--allow-network", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["series"] == "Electricity Maps v3, zone FR"
    assert data["flexible_start"]["g_per_kwh"] <= data["now"]["g_per_kwh"]
    assert any(path.endswith("forecast") for path in service.paths)


def test_a_report_takes_a_services_past(service, capsys, tmp_path, monkeypatch):
    footprint = measured(tmp_path)
    tell(service, datetime(2027, 1, 15, 6, tzinfo=UTC), 6)
    monkeypatch.setattr("fitprint.clock.SystemClock.time", lambda self: datetime(2027, 1, 16, 6, tzinfo=UTC).timestamp())
    words = ["report", "--run", footprint.run_id, "--intensity", "electricitymaps:FR", "--allow-network", "--json"]
    assert main(words) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["co2e_g"] == pytest.approx(0.54 * 90 + 0.54 * 100, rel=0.01)
    (row,) = [row for row in record["assumptions"] if row["name"] == "intensity"]
    assert row["low"] < row["value"] < row["high"]


@pytest.mark.parametrize("words", [["when", "--hours", "1", "--live"], ["run", "--intensity"]])
def test_without_leave_a_command_asks_nobody_and_says_how_to_allow_it(service, capsys, words):
    assert main([*words, "electricitymaps:FR", *(["--", "true"] if words[0] == "run" else [])]) == 2
    assert "--allow-network" in capsys.readouterr().err
    assert service.asked == []


def test_a_service_that_tells_nothing_is_an_error_with_the_reason(service, capsys):
    assert main(["when", "--hours", "1", "--live", "electricitymaps:FR", "--allow-network"]) == 1
    assert "told nothing: not found, HTTP 404" in capsys.readouterr().err
