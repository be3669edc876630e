"""Prometheus reads what we write, with its own parser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

from fitprint import Budget

prometheus_client = pytest.importorskip("prometheus_client")
parser = pytest.importorskip("prometheus_client.parser")


def samples(text):
    """Value of each sample by its name and its labels beyond those of the run."""
    own = ("run_id", "project", "name")
    return {
        (sample.name, *(value for label, value in sorted(sample.labels.items()) if label not in own)): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_file_has_every_figure_in_base_units(train, tmp_path):
    path = tmp_path / "collected" / "fitprint.prom"
    footprint = train(f"prometheus:{path}", run_id="r1", project="digits", budget="100 g")
    found = samples(path.read_text())
    assert found["fitprint_energy_joules_total", "gpu"] == pytest.approx(7200.0)
    assert found["fitprint_energy_joules_total", "dram"] == pytest.approx(720.0)
    assert found["fitprint_power_watts", "gpu"] == pytest.approx(360.0)
    assert found["fitprint_power_watts", "dram"] == pytest.approx(36.0)
    assert found["fitprint_co2e_grams_total",] == pytest.approx(0.22)
    assert found["fitprint_co2e_low_grams",] == pytest.approx(footprint.co2e_low_g)
    assert found["fitprint_co2e_high_grams",] == pytest.approx(footprint.co2e_high_g)
    assert found["fitprint_run_duration_seconds",] == pytest.approx(20.0)
    assert found["fitprint_measured_ratio",] == 1.0
    assert found["fitprint_budget_used_ratio", "100 g", "run"] == pytest.approx(0.0022)
    assert found["fitprint_run_info", "fit", "completed"] == 1.0


def test_each_sample_says_its_run_and_project_whatever_is_in_their_names(train, tmp_path):
    path = tmp_path / "fitprint.prom"
    hostile = 'a "quoted"\\ name\nof two lines {x="y"} 1'
    train(f"prometheus:{path}", run_id="r1", project="digits", name=hostile)
    families = list(parser.text_string_to_metric_families(path.read_text()))
    labels = [sample.labels for family in families for sample in family.samples]
    assert labels
    assert {(label["run_id"], label["project"], label["name"]) for label in labels} == {("r1", "digits", hostile)}


def test_counters_have_the_type_and_help_that_node_exporter_expects(train, tmp_path):
    path = tmp_path / "fitprint.prom"
    train(f"prometheus:{path}")
    text = path.read_text()
    assert "# TYPE fitprint_energy_joules_total counter" in text
    assert "# TYPE fitprint_co2e_grams_total counter" in text
    assert "# TYPE fitprint_power_watts gauge" in text
    assert "_created" not in text
    assert text.endswith("\n")


def test_a_reader_never_sees_half_a_file(train, tmp_path):
    path, over, seen = tmp_path / "fitprint.prom", threading.Event(), []

    def read():
        while not over.is_set():
            if path.exists():
                seen.append(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    train(f"prometheus:{path}", epochs=range(30))
    over.set()
    reader.join()
    assert seen
    assert all(text.endswith("\n") and "fitprint_run_info" in text for text in seen)
    assert [file.name for file in tmp_path.glob("fitprint.prom*")] == ["fitprint.prom"]


def test_runs_at_the_same_time_write_a_file_each_into_a_folder(train, tmp_path):
    train(f"prometheus:{tmp_path}", run_id="one")
    train(f"prometheus:{tmp_path}", run_id="two")
    assert sorted(file.name for file in tmp_path.glob("*.prom")) == ["fitprint-one.prom", "fitprint-two.prom"]


def test_a_run_that_knows_no_joules_has_no_samples_of_them(clock, tmp_path):
    from fitprint import Config, Tracker
    from fitprint.sensors.probe import Surroundings

    path = tmp_path / "fitprint.prom"
    config = Config(sinks=[f"prometheus:{path}"], ledger="off")
    with Tracker(config=config, counters=[], around=Surroundings(clock=clock, environ={})) as tracker:
        for _ in tracker.epochs(range(1)):
            clock.advance(10.0)
    names = {name for name, *_ in samples(path.read_text())}
    assert "fitprint_run_info" in names
    assert not names & {"fitprint_energy_joules_total", "fitprint_co2e_grams_total", "fitprint_measured_ratio"}


def test_a_folder_that_cannot_be_written_costs_one_line(train, tmp_path, caplog):
    (tmp_path / "file").touch()
    footprint = train(f"prometheus:{tmp_path}/file/fitprint.prom")
    assert footprint.status == "completed"
    assert caplog.text.count("the sink prometheus failed") == 1


def test_the_endpoint_answers_on_loopback_while_the_run_lasts(train, free_port):
    seen = []

    def scrape():
        with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=5) as answer:
            seen.append(answer.read().decode())

    train(f"prometheus-http:{free_port}", epochs=range(3), after_epoch=scrape, budget=Budget("1 kWh"))
    told = [samples(text) for text in seen]
    assert "fitprint_energy_joules_total" not in seen[0]
    assert told[-1]["fitprint_energy_joules_total", "gpu"] in (pytest.approx(3600.0), pytest.approx(7200.0))
    with pytest.raises(urllib.error.URLError):
        scrape()


@pytest.mark.timeout(60)
def test_a_command_is_told_of_while_it_lasts(free_port):
    url = f"http://127.0.0.1:{free_port}/metrics"
    code = (
        "import time, urllib.error, urllib.request\n"
        "while True:\n"
        "    time.sleep(0.1)\n"
        "    try:\n"
        f"        text = urllib.request.urlopen({url!r}, timeout=5).read().decode()\n"
        "    except urllib.error.URLError:\n"
        "        continue\n"
        "    if 'fitprint_energy_joules_total{' in text:\n"
        "        print(text)\n"
        "        break\n"
    )
    command = [sys.executable, "-m", "fitprint", "run", "--region", "FR", "--", sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "FITPRINT_SINKS": f"prometheus-http:{free_port}"}
    )
    assert samples(done.stdout)["fitprint_run_info", "command", "running"] == 1.0


def test_the_endpoint_is_bound_to_loopback_alone(train, free_port, monkeypatch):
    bound, start = [], prometheus_client.start_http_server
    monkeypatch.setattr(prometheus_client, "start_http_server", lambda port, **kw: bound.append(kw["addr"]) or start(port, **kw))
    train(f"prometheus-http:{free_port}")
    assert bound == ["127.0.0.1"]


def test_a_port_that_is_taken_costs_one_line(train, caplog):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        footprint = train(f"prometheus-http:{other.getsockname()[1]}")
    assert footprint.status == "completed"
    assert "the sink prometheus-http gets nothing" in caplog.text
