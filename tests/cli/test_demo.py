"""The demo: what it trains is real, what it leaves is complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fitprint import Ledger

pytest.importorskip("sklearn")

EPOCHS = 3
FOLDER = {"lightning": "tensorboard/lightning/version_0", "keras": "tensorboard/keras/train"}


@pytest.mark.parametrize("framework", ["lightning", "keras"])
def test_the_demo_leaves_events_ledger_and_report_and_says_how_to_look_at_them(framework):
    command = [sys.executable, "-m", "fitprint", "demo", "--framework", framework, "--epochs", str(EPOCHS), "--region", "FR"]
    environ = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environ)
    assert done.returncode == 0, done.stderr
    out = Path("fitprint_demo")
    events = EventAccumulator(str(out / FOLDER[framework]))
    events.Reload()
    points = [point.value for point in events.Scalars("carbon/epoch_co2e_g")]
    assert len(points) == EPOCHS
    run = Ledger(out / "fitprint.db").runs()[0]
    assert (run["status"], run["epochs"], run["name"]) == ("completed", EPOCHS, f"demo-{framework}")
    recorded = Ledger(out / "fitprint.db").footprint(run["run_id"])
    assert points == pytest.approx([epoch.co2e_g for epoch in recorded.epochs])
    accuracy = recorded.epochs[-1].metrics["val_acc"]
    assert accuracy > 0.9, "the digits are really learned"
    assert f"<title>Footprint of demo-{framework}</title>" in (out / "report.html").read_text()
    for expected in ("CO2e", "France", "budget", "that is", "(modelled)", "tensorboard --logdir fitprint_demo/tensorboard"):
        assert expected in done.stdout
    assert len(re.findall(r"^\d\s+[\d.]+ s\s", done.stdout, re.MULTILINE)) == EPOCHS


def test_a_small_budget_stops_the_demo():
    command = [sys.executable, "-m", "fitprint", "demo", "--epochs", "200", "--budget", "40 J"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "Stopped" in done.stdout
    run = Ledger("fitprint_demo/fitprint.db").runs()[0]
    assert run["status"] == "stopped"
    assert run["energy_j"] <= 40 * 1.05, "what closing the run costs may come on top"


def test_without_the_extra_the_install_command_is_named(tmp_path):
    (tmp_path / "sklearn.py").write_text("raise ModuleNotFoundError('No module named sklearn')")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "fitprint", "demo"], capture_output=True, text=True, timeout=120, env=environ)
    assert done.returncode == 1
    assert "pip install 'fitprint[demo]'" in done.stderr
