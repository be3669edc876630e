"""OpenTelemetry's own reader reads back what we record."""

from __future__ import annotations

import pytest

from fitprint.sinks.otel import OTelSink

pytest.importorskip("opentelemetry.sdk")
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def sink(reader):
    return OTelSink(provider=MeterProvider([reader]))


def metrics(reader):
    data = reader.get_metrics_data()
    return {m.name: m for resource in data.resource_metrics for scope in resource.scope_metrics for m in scope.metrics}


def by(metric, attribute, of_run=None):
    points = metric.data.data_points
    return {p.attributes[attribute]: p.value for p in points if of_run in (None, p.attributes["fitprint.run_id"])}


def test_energy_and_power_follow_the_conventions_for_hardware(train, sink, reader):
    train(sink)
    found = metrics(reader)
    energy, power = found["hw.energy"], found["hw.power"]
    assert (energy.unit, power.unit) == ("J", "W")
    assert energy.data.is_monotonic
    assert by(energy, "hw.type") == {"gpu": pytest.approx(7200.0), "memory": pytest.approx(720.0)}
    assert by(power, "hw.type") == {"gpu": pytest.approx(360.0), "memory": pytest.approx(36.0)}
    assert by(energy, "hw.id") == {"gpu": pytest.approx(7200.0), "dram": pytest.approx(720.0)}


def test_grams_are_under_our_own_names_with_their_interval(train, sink, reader):
    footprint = train(sink, run_id="r1", project="digits")
    found = metrics(reader)
    assert {found[name].unit for name in ("fitprint.co2e", "fitprint.co2e.low", "fitprint.co2e.high")} == {"g"}
    assert by(found["fitprint.co2e"], "fitprint.run_id") == {"r1": pytest.approx(footprint.co2e_g)}
    assert by(found["fitprint.co2e.low"], "fitprint.project") == {"digits": pytest.approx(footprint.co2e_low_g)}
    assert by(found["fitprint.co2e.high"], "fitprint.project") == {"digits": pytest.approx(footprint.co2e_high_g)}


def test_a_run_that_goes_on_counts_what_this_process_has_used(train, reader, tmp_path):
    options = {"ledger": str(tmp_path / "fitprint.db"), "run_id": "again"}
    train(epochs=range(3), **options)
    train(OTelSink(provider=MeterProvider([reader])), epochs=range(3, 4), **options)
    found = metrics(reader)
    assert by(found["hw.energy"], "hw.id") == {"gpu": pytest.approx(3600.0), "dram": pytest.approx(360.0)}
    assert by(found["fitprint.co2e"], "fitprint.run_id") == {"again": pytest.approx(0.11)}


def test_runs_after_each_other_have_series_of_their_own(train, sink, reader, caplog):
    train(sink, run_id="one")
    train(sink, run_id="two", epochs=range(1))
    energy = metrics(reader)["hw.energy"]
    assert by(energy, "hw.id", "one")["gpu"] == pytest.approx(7200.0)
    assert by(energy, "hw.id", "two")["gpu"] == pytest.approx(3600.0)
    assert "already" not in caplog.text


def test_the_name_takes_the_provider_that_the_program_has_set(train, reader, monkeypatch):
    import opentelemetry.metrics

    provider = MeterProvider([reader])
    monkeypatch.setattr(opentelemetry.metrics, "get_meter_provider", lambda: provider)
    train("otel")
    assert by(metrics(reader)["hw.energy"], "hw.id")["gpu"] == pytest.approx(7200.0)


def test_grams_that_are_told_to_be_less_later_do_not_count_down(sink, reader):
    from fitprint.footprint import Footprint

    sink.begin(None)
    for grams in (5.0, 4.0, 6.0):
        sink.run(Footprint(run_id="r1", status="running", co2e_g=grams))
    assert by(metrics(reader)["fitprint.co2e"], "fitprint.run_id") == {"r1": pytest.approx(6.0)}
