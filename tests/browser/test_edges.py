"""The tab where there is nothing, very much, an enemy, or another address."""

from __future__ import annotations

import http.client
import json
import os
import time
from urllib.parse import urlencode, urlsplit

import pytest
from written import write_run

from fitprint_tensorboard import CarbonWriter

pytestmark = pytest.mark.timeout(180)

RUNS, EPOCHS = 200, 1000
ENEMY = "<img src=x onerror=alert(1)>"
PLUGIN = "data/plugin/fitprint/"


def fetch(url, path):
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    connection.request("GET", f"{address.path}{path}")
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def test_a_log_folder_without_runs_is_said_to_be_empty_and_how_to_fill_it(serve, look, tmp_path):
    CarbonWriter(tmp_path / "logs" / "other").scalars({"loss": 1.0}, 0)
    tab = look(serve(tmp_path / "logs"), whole=True)
    text = tab.frame.locator("main").inner_text()
    assert "No run in this log folder has logged its carbon footprint yet." in text
    assert "CarbonCallback" in text
    assert tab.frame.locator("svg").count() == 0
    assert tab.said == []


def test_new_runs_appear_when_tensorboard_reloads(serve, look, tmp_path):
    CarbonWriter(tmp_path / "logs" / "other").scalars({"loss": 1.0}, 0)
    tab = look(serve(tmp_path / "logs", "--reload_interval=1"), whole=True)
    write_run(tmp_path / "logs" / "late", region="FR")
    for _ in range(20):
        tab.page.locator("button.reload-button").click()
        time.sleep(0.5)
        if tab.frame.get_by_role("row", name="late").count():
            break
    tab.chart("late")
    assert tab.said == []


def test_it_works_below_a_path_prefix(serve, look, tmp_path):
    write_run(tmp_path / "logs" / "run", region="FR")
    tab = look(serve(tmp_path / "logs", "--path_prefix=/team/board"), whole=True)
    tab.chart("run")
    tab.frame.get_by_role("region", name="Table of places").get_by_role("table").wait_for()
    assert tab.said == []


def test_names_of_runs_metrics_and_places_stay_text(serve, look, tmp_path):
    write_run(tmp_path / "logs" / ENEMY, name=f"<script>alert(2)</script>{ENEMY}", metric=f"{ENEMY} & '\"`", region="FR")
    tab = look(serve(tmp_path / "logs"))
    tab.page.on("dialog", lambda dialog: tab.said.append(dialog.message))
    tab.chart(f"{ENEMY} (<script>alert(2)</script>{ENEMY})")
    tab.chart(f"{ENEMY} & '\"` over CO2e so far")
    tab.frame.get_by_role("heading", name=f"{ENEMY} (<script>alert(2)</script>{ENEMY})").wait_for()
    assert tab.frame.locator("img, section script").count() == 0
    assert tab.said == []


def test_advice_of_an_enemy_stays_text(serve, look, tmp_path):
    run = write_run(tmp_path / "logs" / "run", region="FR")
    row = {"kind": ENEMY, "text": f"{ENEMY} <b>bold</b>", "saved_g": 1.0, "saved_share": 0.5, "evidence": {}}
    writer = CarbonWriter(tmp_path / "logs" / "run")
    writer.run(json.dumps(run.to_dict(epochs=False) | {"advice": [row]}), 100)
    writer.close()
    tab = look(serve(tmp_path / "logs"))
    tab.page.on("dialog", lambda dialog: tab.said.append(dialog.message))
    tab.frame.get_by_role("cell", name=f"{ENEMY} <b>bold</b>").wait_for()
    assert tab.frame.locator("img, td b").count() == 0
    assert tab.said == []


def test_a_record_that_is_none_leaves_the_scalars(serve, look, tmp_path):
    writer = CarbonWriter(tmp_path / "logs" / "run")
    writer.text("fitprint/run", "{not json", 0)
    writer.scalars({"carbon/epoch_co2e_g": 2.0, "carbon/total_co2e_g": 2.0}, 0)
    writer.close()
    tab = look(serve(tmp_path / "logs"))
    assert "2 g" in tab.frame.get_by_role("row", name="run").last.inner_text()
    tab.frame.get_by_text("This run has written no record of its energy here.").wait_for()


def test_files_come_with_their_types_and_none_from_elsewhere(serve, tmp_path):
    write_run(tmp_path / "logs" / "run", region="FR")
    url = serve(tmp_path / "logs")
    status, headers, _ = fetch(url, f"{PLUGIN}static/index.js")
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/javascript")
    answers = ("runs", "series?run=run", "metric?run=run&metric=no", "elsewhere?run=no", "advice?run=no")
    for path in ("static/index.js", "static/style.css", *answers):
        assert fetch(url, PLUGIN + path)[1]["X-Content-Type-Options"] == "nosniff"
    for path in ("static/../plugin.py", "static/%2e%2e/plugin.py", "static/..%2fplugin.py", "static//etc/passwd", "static/"):
        status, _, body = fetch(url, PLUGIN + path)
        assert status in (400, 404)
        assert b"CarbonPlugin" not in body
    assert [
        fetch(url, f"{PLUGIN}{path}?{urlencode({'run': 'no'})}")[0] for path in ("series", "metric", "elsewhere", "advice")
    ] == [404] * 4


@pytest.fixture
def many(serve, tmp_path):
    """Runs of many epochs: one is written, the others are links to its file."""
    write_run(tmp_path / "logs" / "run-000", region="FR", epochs=EPOCHS)
    (file,) = (tmp_path / "logs" / "run-000").iterdir()
    for number in range(1, RUNS):
        folder = tmp_path / "logs" / f"run-{number:03}"
        folder.mkdir()
        os.link(file, folder / file.name)
    url = serve(tmp_path / "logs")
    _await_all(url)
    return url


def _await_all(url):
    """The last thing in a run's file is the record of its end."""
    for _ in range(600):
        status, _, body = fetch(url, f"{PLUGIN}runs")
        if status == 200 and [run["status"] for run in json.loads(body)] == ["completed"] * RUNS:
            return
        time.sleep(0.2)
    raise AssertionError("TensorBoard has not loaded the runs")


def test_200_runs_of_1000_epochs_are_drawn_in_two_seconds(many, look):
    """The best of three: other tests may have the processor."""
    taken_ms = []
    while len(taken_ms) < 3 and min(taken_ms, default=2000) >= 2000:
        tab = look(many)
        tab.page.wait_for_function("performance.getEntriesByName('fitprint-drawn').length")
        taken_ms.append(tab.page.evaluate("performance.getEntriesByName('fitprint-drawn')[0].startTime"))
    assert min(taken_ms) < 2000
    assert tab.frame.get_by_role("region", name="Table of runs").locator("tbody tr").count() == RUNS
    assert "mean" in tab.chart("run-000").locator(".note").inner_text()
    assert tab.said == []
