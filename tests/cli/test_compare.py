"""``fitprint compare``: recorded runs by what they reached and what they emitted."""

from __future__ import annotations

import itertools
import json
import random
import sys

import pytest

from fitprint import Config, EpochFootprint, Footprint, Tracker, compare
from fitprint.cli import main
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

RUNS = [("large", 0.920, 1000.0), ("large", 0.922, 1010.0), ("large", 0.924, 990.0), ("small", 0.915, 30.0), ("poor", 0.5, 500.0)]


@pytest.fixture
def sweep():
    """Five recorded runs of an hour, three of them repeats: 100 g a kWh."""
    footprints = []
    for name, acc, watts in RUNS:
        clock = FakeClock()
        gpu = ScriptedCounter(clock, watts=watts)
        config = Config(intensity=100.0, pue=1.0, node_factor=1.0, name=name, project="sweep")
        with Tracker(counters=[gpu], around=Surroundings(clock=clock, environ={}), config=config) as tracker:
            for _ in tracker.epochs(range(2)):
                clock.advance(1800.0)
                tracker.annotate({"val_acc": acc})
        footprints.append(tracker.footprint)
    return footprints


def test_the_table_has_a_row_for_each_configuration_and_the_sentences(sweep, capsys):
    assert main(["compare", "--project", "sweep"]) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()[1:4]]
    assert [(row[:3] if row[0] == "*" else ["", *row[:2]]) for row in rows] == [
        ["*", "small", "1"],
        ["", "poor", "1"],
        ["*", "large", "3"],
    ]
    assert "small reaches 99 % of the best val_acc with 3 % of the CO2e of large" in out
    assert "no winner: large has the highest val_acc (0.922), but small differs from it by no more than chance" in out
    assert "best val_acc of its epochs" in err


def test_runs_that_cannot_be_compared_are_told_in_a_line_for_each_reason(sweep, capsys):
    for number in range(5):
        clock = FakeClock()
        with Tracker(counters=[], around=Surroundings(clock=clock, environ={}), project="sweep", run_id=f"none-{number}"):
            pass
    assert main(["compare", "--project", "sweep"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
    assert told == ["left out: none-0, none-1, none-2 and 2 more runs: has no val_acc"]


def test_json_has_all_of_it(sweep, capsys):
    assert main(["compare", "--json", *[footprint.run_id for footprint in sweep[:4]]]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [(row["label"], row["n"], row["on_front"]) for row in record["configurations"]] == [
        ("small", 1, True),
        ("large", 3, True),
    ]
    assert record["configurations"][1]["co2e_g"] == pytest.approx(100.0)
    assert record["repeats_sd"] == pytest.approx(0.002)


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_a_figure_is_drawn_where_it_is_asked_for(sweep, tmp_path, ending):
    file = tmp_path / f"compare.{ending}"
    assert main(["compare", "--figure", str(file)]) == 0
    head = file.read_bytes()[:8]
    assert head.startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[ending])


def test_the_figure_tells_the_front_by_shape_as_well_as_by_colour(sweep, tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    compare().plot(axes)
    shapes = {container.get_label(): container.lines[0].get_marker() for container in axes.containers}
    assert shapes == {"Pareto front": "o", "others": "s"}
    assert axes.get_xscale() == "log"
    assert {text.get_text() for text in axes.texts} == {"large", "small", "poor"}


def drawn(runs, size=(7.0, 4.5), metric="val_acc"):
    """Axes with the runs, and the boxes of what is written into them and beside, in pixels, once all is laid out."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    compare(runs, metric=metric).plot(axes)
    figure.draw_without_rendering()
    return axes, [text.get_window_extent() for text in axes.texts]


def crowd(count, name):
    """Runs whose grams go over three powers of ten."""
    draw = random.Random(count)
    for number in range(count):
        grams, metrics = 10 ** draw.uniform(0, 3), {"val_acc": draw.uniform(0.5, 0.9)}
        epoch = EpochFootprint(index=0, started_at="", duration_s=1.0, metrics=metrics)
        ends = {"co2e_g": grams, "co2e_low_g": 0.8 * grams, "co2e_high_g": 1.3 * grams, "energy_j": 1.0}
        yield Footprint(run_id=f"r{number}", name=name.format(number), epochs=(epoch,), status="completed", **ends)


@pytest.mark.parametrize("size", [(7.0, 4.5), (3.5, 2.6)])
@pytest.mark.parametrize("name", ["r{}", "resnet50 lr=0.{:03} width=64 weight_decay=0.0001", "W" * 200 + "{}", "cost $5 {} \n$x_"])
def test_labels_stay_inside_the_axes_and_leave_each_other_and_the_legend_room(size, name):
    axes, boxes = drawn(list(crowd(8, name)), size)
    inside, legend = axes.get_window_extent(), axes.get_legend().get_window_extent()
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
    assert all(inside.y0 <= box.y0 and box.y1 <= inside.y1 for box in boxes)
    assert not any(box.overlaps(other) for box, other in itertools.combinations([*boxes, legend], 2))
    assert len(boxes) >= (6 if size[0] > 5 else 1)


def test_the_axes_names_stay_in_the_figure():
    axes, _ = drawn(list(crowd(8, "resnet50 lr=0.{:03} width=64 weight_decay=0.0001")))
    for name in (axes.xaxis.label, axes.yaxis.label):
        assert axes.figure.bbox.count_contains(name.get_window_extent().corners()) == 4


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (["--project", "swep"], 1, "Did you mean 'sweep'?"),
        (["no-such-run"], 1, "has no run 'no-such-run'"),
        (["--metric", "val_f1"], 2, "Expected one of "),
        (["--metric", "nope"], 2, "--metric 'nope' is not valid"),
        (["--mode", "most"], 2, "mode"),
        (["--figure", "x.bmp"], 2, ".svg, .png, .pdf"),
        (["--figure", "no/such/x.png"], 1, "cannot write"),
        (["--ledger", "elsewhere.db"], 1, "elsewhere.db. Name another file"),
    ],
)
def test_what_cannot_be_done_is_said(sweep, capsys, arguments, status, word):
    assert main(["compare", *arguments]) == status
    assert word in capsys.readouterr().err


def test_without_matplotlib_it_names_the_extra(sweep, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["compare", "--figure", "x.png"]) == 1
    assert "pip install 'fitprint[report]'" in capsys.readouterr().err


HOSTILE = "nice\x1b[31m\x1b]0;owned\x07\r\n\u202egpj.exe\x9b2J\t[red]" + "x" * 200


@pytest.fixture
def hostile():
    """Two recorded runs whose names, project, hyperparameters and metric hold what commands a terminal."""
    for name, lr in ((HOSTILE, HOSTILE), ("plain", "0.1")):
        clock = FakeClock()
        config = Config(intensity=100.0, pue=1.0, node_factor=1.0, name=name, project=HOSTILE)
        gpu = ScriptedCounter(clock, watts=100.0)
        with Tracker(counters=[gpu], around=Surroundings(clock=clock, environ={}), config=config) as tracker:
            tracker.describe(hparams={HOSTILE: lr})
            for _ in tracker.epochs(range(1)):
                clock.advance(1800.0)
                tracker.annotate({f"val_acc {HOSTILE}": 0.9})


@pytest.mark.parametrize("command", [["runs"], ["runs", "--project", HOSTILE], ["compare"], ["report", "--project", HOSTILE]])
def test_nothing_that_commands_a_terminal_is_printed(hostile, command, capsys):
    assert main(command) == 0
    shown = "".join(capsys.readouterr())
    assert not [c for c in shown if not c.isprintable() and c != "\n"]
    assert r"nice\x1b[31m" in shown


def test_a_long_name_is_cut_in_the_list_of_runs(hostile, capsys):
    assert main(["runs"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert "x" * 40 not in out
    assert "…" in out
