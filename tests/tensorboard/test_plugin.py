"""The Carbon tab's side of the server: what it reads out of event data, and that it never keeps TensorBoard from starting."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

pytest.importorskip("tensorboard")

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.summary.writer.record_writer import RecordWriter

import fitprint_tensorboard
from board import Board
from fitprint import Footprint, Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint_tensorboard import CarbonWriter
from fitprint_tensorboard.loader import CarbonLoader
from fitprint_tensorboard.summaries import text_value

STATIC = Path(fitprint_tensorboard.__file__).parent / "static"
PROJECT = Path(__file__).parents[2]


def epochs_of(log_dir, count, *, prefix="", step=lambda epoch: epoch, epoch_tag=None, **more):
    """Epochs of 2 g and 10 Wh, three quarters of it in training."""
    writer = CarbonWriter(log_dir)
    for epoch in range(count):
        values = {
            "carbon/epoch_co2e_g": 2.0,
            "carbon/epoch_co2e_low_g": 1.0,
            "carbon/epoch_co2e_high_g": 4.0,
            "carbon/epoch_energy_wh": 10.0,
            "carbon/power_w": 100.0,
            "carbon/total_co2e_g": 2.0 * (epoch + 1),
            "carbon/total_energy_wh": 10.0 * (epoch + 1),
            "carbon/part/gpu_wh": 10.0,
            "carbon/part/soc_wh": 0.0,
            "carbon/phase/train_wh": 7.5,
            "carbon/phase/validate_wh": 2.5,
            **{name: function(epoch) for name, function in more.items()},
        }
        if epoch_tag is not None:
            values["epoch"] = epoch_tag(epoch)
        writer.scalars({f"{prefix}{tag}": value for tag, value in values.items()}, step(epoch))
    writer.close()


# ---- the axis


def test_where_the_framework_logs_steps_the_axis_is_the_epoch_of_the_same_step():
    epochs_of("logs/run", 3, step=lambda epoch: 50 * epoch + 49, epoch_tag=float)
    columns = Board("logs").ask("series", run="run")
    assert (columns["axis"], columns["x"]) == ("epoch", [0, 1, 2])
    assert columns["total_co2e_g"] == [2, 4, 6]


def test_the_trainers_fractions_are_epochs_that_are_over():
    epochs_of("logs/run", 3, prefix="train/", step=lambda epoch: 50 * (epoch + 1), epoch_tag=lambda epoch: epoch + 1 - 1e-8)
    columns = Board("logs").ask("series", run="run")
    assert columns["x"] == [0, 1, 2]
    assert columns["epoch_co2e_g"] == [2, 2, 2]
    assert columns["parts"] == {"gpu": [10, 10, 10]}


def test_without_epochs_beside_them_the_steps_are_the_epochs():
    epochs_of("logs/fit/train", 3)
    assert Board("logs").ask("series", run="fit/train")["x"] == [0, 1, 2]


def test_an_epoch_that_was_done_again_is_shown_once_as_it_was_the_last_time():
    epochs_of("logs/run", 3, epoch_tag=float, step=lambda epoch: epoch * 10)
    writer = CarbonWriter("logs/run")
    writer.scalars({"carbon/epoch_co2e_g": 5.0, "epoch": 2.0}, 25)
    writer.close()
    columns = Board("logs").ask("series", run="run")
    assert columns["x"] == [0, 1, 2]
    assert columns["epoch_co2e_g"] == [2, 2, 5]


def test_one_long_epoch_is_shown_in_blocks_whose_power_is_that_between_their_ends():
    writer = CarbonWriter("logs/run")
    for number in range(4):
        writer.scalars({"carbon/block_co2e_g": 1.0, "carbon/block_energy_wh": 5.0}, (number + 1) * 500)
    writer.close()
    columns = Board("logs").ask("series", run="run")
    assert (columns["axis"], columns["x"]) == ("step", [500, 1000, 1500, 2000])
    assert columns["total_co2e_g"] == [1, 2, 3, 4]
    assert columns["power_w"][0] is None
    assert all(power > 0 for power in columns["power_w"][1:])


def test_a_sum_of_blocks_is_unknown_from_the_block_on_that_tensorboard_has_not_kept():
    writer = CarbonWriter("logs/run")
    for step in (500, 1000, 2000, 2500):
        writer.scalars({"carbon/block_co2e_g": 1.0, "carbon/block_energy_wh": 5.0}, step)
    writer.close()
    columns = Board("logs").ask("series", run="run")
    assert columns["total_co2e_g"] == [1, 2, None, None]
    assert columns["power_w"][2] is None
    assert columns["power_w"][3] is not None


# ---- what is read


def test_parts_and_phases_that_used_nothing_are_left_out():
    epochs_of("logs/run", 2)
    columns = Board("logs").ask("series", run="run")
    assert list(columns["parts"]) == ["gpu"]
    assert columns["phases"] == {"train": [7.5, 7.5], "validate": [2.5, 2.5]}


def test_a_long_run_comes_in_groups_of_epochs_with_their_means_and_last_totals():
    epochs_of("logs/run", 450, **{"carbon/epoch_co2e_g": lambda epoch: float(epoch)})
    columns = Board("logs").ask("series", run="run")
    assert columns["windows"] == 450
    assert len(columns["x"]) == 150
    assert (columns["first"][1], columns["x"][1]) == (3, 5)
    assert columns["epoch_co2e_g"][1] == 4
    assert columns["total_co2e_g"][1] == 12


def test_a_value_that_is_not_finite_is_unknown():
    epochs_of("logs/run", 2, **{"carbon/power_w": lambda epoch: float("nan") if epoch else 1.0})
    assert Board("logs").ask("series", run="run")["power_w"] == [1, None]


def test_a_metric_inside_an_epoch_counts_for_it_with_its_last_value():
    epochs_of("logs/run", 2, step=lambda epoch: 10 * epoch + 9, epoch_tag=float)
    writer = CarbonWriter("logs/run")
    for step in (3, 7, 15):
        writer.scalars({"loss": 1.0 / step}, step)
    writer.close()
    answer = Board("logs").ask("metric", run="run", metric="loss")
    assert answer["co2e_g"] == [2, 4]
    assert answer["value"] == pytest.approx([1 / 7, 1 / 15])


def test_the_metrics_of_keras_validation_are_found_in_the_folder_beside():
    epochs_of("logs/fit/train", 2)
    validation = CarbonWriter("logs/fit/validation")
    for epoch in range(2):
        validation.scalars({"epoch_loss": 0.5 - epoch / 10}, epoch)
    validation.close()
    board = Board("logs")
    assert board.ask("series", run="fit/train")["metrics"] == ["validation/epoch_loss"]
    assert board.ask("metric", run="fit/train", metric="validation/epoch_loss")["value"] == pytest.approx([0.5, 0.4])


def test_runs_that_are_not_ours_are_left_out():
    CarbonWriter("logs/other").scalars({"loss": 1.0}, 0)
    epochs_of("logs/run", 1)
    board = Board("logs")
    assert [row["run"] for row in board.ask("runs")] == ["run"]
    assert board.ask("series", run="other") is None


@pytest.mark.parametrize(
    "record",
    [
        "",
        "[]",
        "{}",
        '{"run_id": "r", "co2e_g": "many", "status": "completed"}',
        '{"run_id": "r", "co2e_g": NaN, "status": "completed"}',
        '{"run_id": "r", "name": {"a": 1}}',
        '{"run_id": "r", "assumptions": ["region"]}',
        '{"run_id": "r", "duration_s": null}',
    ],
)
def test_a_record_that_is_none_of_ours_leaves_the_scalars_alone(record):
    epochs_of("logs/run", 2)
    writer = CarbonWriter("logs/run")
    writer.text("fitprint/run", record, 0)
    writer.close()
    board = Board("logs")
    assert (board.run("run")["co2e"], board.run("run")["status"]) == ("4 g", "")
    assert board.ask("elsewhere", run="run") is None


def test_a_place_whose_figures_are_of_another_kind_is_not_ranked_and_that_is_said():
    for place in ("US-CA", "gcp:europe-west1", "FR"):
        with Tracker(region=place, counters=[ScriptedCounter(clock := FakeClock())], around=Surroundings(clock=clock)) as tracker:
            clock.advance(3600.0)
        writer = CarbonWriter(f"logs/{place.replace(':', '-')}")
        writer.scalars({"carbon/total_co2e_g": 1.0}, 0)
        writer.run(tracker.run_text(at_once=True), 0)
        writer.close()
    board = Board("logs")
    assert board.ask("elsewhere", run="US-CA")["apart"] == "California (here) is not ranked with them: its figures are direct."
    assert " (here) is not ranked with them" in board.ask("elsewhere", run="gcp-europe-west1")["apart"]
    assert board.ask("elsewhere", run="FR")["apart"] == ""
    assert [place["here"] for place in board.ask("elsewhere", run="FR")["places"]].count(True) == 1


def test_while_a_run_lasts_its_scalars_are_newer_than_its_record():
    epochs_of("logs/run", 2)
    writer = CarbonWriter("logs/run")
    writer.text("fitprint/run", '{"run_id": "r", "co2e_g": 0.1, "co2e_low_g": 0.05, "co2e_high_g": 0.2, "status": "running"}', 0)
    writer.close()
    row = Board("logs").run("run")
    assert (row["co2e"], row["interval"], row["status"]) == ("4 g", "", "running")


def test_a_run_that_tensorboard_cannot_read_hides_no_other(tmp_path):
    record = Footprint(run_id="r", status="completed", started_at="2027-01-15T08:00:00Z", duration_s=1.0, co2e_g=3.0).to_json()
    for run in ("bad", "good"):
        writer = CarbonWriter(tmp_path / run)
        writer.scalars({"carbon/epoch_co2e_g": 3.0}, 0)
        writer.text("fitprint/run", record, 0)
        writer.close()
    (file,) = (tmp_path / "bad").iterdir()
    text = text_value("fitprint/run", record)
    text.tensor.dtype = 0
    with file.open("ab") as raw:
        RecordWriter(raw).write(Event(step=1, summary=Summary(value=[text])).SerializeToString())
    rows = Board(tmp_path).ask("runs")
    assert [(row["run"], row["co2e_g"]) for row in rows] == [("bad", None), ("good", 3.0)]


def test_without_a_data_provider_the_tab_is_empty():
    plugin = CarbonLoader().load(TBContext())
    board = Board.__new__(Board)
    board.routes = plugin.get_plugin_apps()
    assert board.ask("runs") == []
    assert board.ask("series", run="x") is None


# ---- starting


def test_what_tensorboard_imports_as_it_starts_imports_nothing_else_of_ours():
    code = (
        "import sys; before = set(sys.modules); import tensorboard.plugins.base_plugin; import fitprint_tensorboard.loader\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('fitprint', 'tensorflow', 'torch', 'keras', 'numpy')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert out.stdout.strip() == "[]", out.stderr


@pytest.mark.parametrize("broken", ["fitprint_tensorboard.plugin", "fitprint.footprint"])
def test_a_broken_installation_costs_the_tab_and_a_line(monkeypatch, caplog, broken):
    for name in [
        name for name in sys.modules if name.startswith("fitprint_tensorboard.") and name != "fitprint_tensorboard.loader"
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, broken, None)
    assert CarbonLoader().load(TBContext()) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "without the Carbon tab" in caplog.text


def test_the_entry_point_is_the_loader():
    points = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["entry-points"]["tensorboard_plugins"]
    assert EntryPoint("fitprint", points["fitprint"], "tensorboard_plugins").load() is CarbonLoader


def test_the_wheel_holds_the_tabs_files(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {f"fitprint_tensorboard/static/{file.name}" for file in STATIC.iterdir()} <= held


def test_the_tabs_files_ask_nothing_of_other_hosts():
    for file in STATIC.iterdir():
        addresses = [word for word in file.read_text().split() if "://" in word and "www.w3.org/2000/svg" not in word]
        assert addresses == [], file.name
