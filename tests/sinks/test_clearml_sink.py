"""Figures in a real task of ClearML, offline: its session folder is read as ClearML would send it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fitprint.scalars import EPOCH_TAGS, RUN_TAGS

pytestmark = pytest.mark.skipif(find_spec("clearml") is None, reason="clearml is not installed")  # it would patch this process


class Session:
    """What a program has left, and what it said."""

    def __init__(self, folder: Path, said: str) -> None:
        self.facts = json.loads((folder / "facts.json").read_text())
        self.said = said
        self.folder = Path(self.facts["session"])
        self.others = [path for path in self.folder.parent.iterdir() if path.is_dir() and path != self.folder]
        self.task = json.loads((self.folder / "task.json").read_text())

    def points(self, plot: str, series: str, folder: Path | None = None) -> list[tuple[int, float]]:
        lines = ((folder or self.folder) / "metrics.jsonl").read_text().splitlines()
        events = [event for line in lines for event in json.loads(line)]
        found = [event for event in events if (event["metric"], event["variant"]) == (plot, series)]
        return [(event["iter"], event["value"]) for event in found]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("clearml")
    command = [sys.executable, str(Path(__file__).with_name("clearml_program.py"))]
    done = subprocess.run(
        command, env={**os.environ, "HOME": str(folder)}, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return Session(folder, done.stdout + done.stderr)


def test_a_plain_loop_logs_into_the_current_task_under_the_numbers_of_its_epochs(session):
    assert session.points("carbon", "epoch_energy_wh") == [(0, pytest.approx(1.1)), (1, pytest.approx(1.1))]
    assert session.points("carbon/part", "dram_wh") == [(0, pytest.approx(0.1)), (1, pytest.approx(0.1))]
    assert session.points("carbon", "total_co2e_g")[-1] == (1, pytest.approx(session.facts["plain"]["co2e_g"]))
    assert session.facts["still_open"]


def test_the_program_of_the_page_leaves_a_task_with_three_epochs(session):
    (of_page,) = session.others
    assert [step for step, _ in session.points("carbon", "epoch_co2e_g", of_page)] == [0, 1, 2]


def test_the_tasks_properties_lead_to_the_run_in_the_ledger(session):
    found = {name: entry["value"] for name, entry in session.task["hyperparams"]["properties"].items()}
    last = session.facts["fit"]["run_id"]
    assert found == {"fitprint_run_id": last, "fitprint_project": "digits", "fitprint_status": "completed"}


def test_hugging_faces_own_reporter_gets_the_same_metrics_and_the_sink_does_not_write_them_again(session):
    assert all(session.points("train", tag) for tag in (*EPOCH_TAGS, *RUN_TAGS))
    assert [value for _, value in session.points("train", "carbon/epoch_energy_wh")] == [pytest.approx(0.5)] * 2
    total_g = session.points("train", "carbon/total_co2e_g")[-1][1]
    assert total_g == pytest.approx(session.facts["fit"]["co2e_g"])
    assert len(session.points("carbon", "total_co2e_g")) == 3  # those of the plain loop
    assert session.said.count("the same run as the sink clearml") == 1


def test_offline_no_address_is_asked_for_or_connected_to(session):
    assert "CONNECTED" not in session.said
    assert not re.search(r"the sink \w+ (gets nothing|failed|has not)", session.said)


def test_without_a_task_none_is_begun_and_it_is_said(train, caplog):
    footprint = train("clearml")
    assert footprint.status == "completed"
    assert "Expected clearml.Task.init(...) before the first epoch" in caplog.text
