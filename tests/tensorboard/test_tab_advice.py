"""Advice in the Carbon tab: what `fitprint advise` says of a run, from its event data alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("tensorboard")

from board import Board
from fitprint.advice import NOTHING, advise
from fitprint.footprint import EpochFootprint, Footprint
from fitprint_tensorboard import CarbonWriter
from fitprint_tensorboard.pieces import THINNED

POLAND = {"name": "region", "value": "PL", "low": None, "high": None, "unit": "", "source": "Poland", "year": None, "basis": "b"}


def a_run(run_id="a", *, accuracies=(0.5, 0.8, 0.9, 0.9, 0.9, 0.9), grams=10.0, **more):
    """Epochs of 360 J a gram, four tenths of them in validation."""
    joules = 360.0 * grams
    phases = {"train": 0.6 * joules, "validate": 0.4 * joules}
    epochs = tuple(
        EpochFootprint(
            index=i, started_at="", duration_s=0.0, energy_j=joules, co2e_g=grams, phases=phases, metrics={"val_acc": value}
        )
        for i, value in enumerate(accuracies)
    )
    total = len(epochs) * grams
    known = {"co2e_low_g": 0.8 * total, "co2e_high_g": 1.2 * total, "facility_energy_kwh": 0.006, "duration_s": 60.0}
    return Footprint(
        run_id=run_id, status="completed", energy_j=joules * len(epochs), co2e_g=total, epochs=epochs, **{**known, **more}
    )


def written(folder, run, *, left_out=(), status=None, told=None):
    """The events of a run, as adapters write them; ``told`` is what it left at its end, where it did."""
    writer = CarbonWriter(folder)
    for epoch in run.epochs:
        if epoch.index in left_out:
            continue
        values = {
            "carbon/epoch_co2e_g": epoch.co2e_g,
            "carbon/epoch_energy_wh": epoch.energy_j / 3600,
            "carbon/total_co2e_g": sum(e.co2e_g for e in run.epochs[: epoch.index + 1]),
            "carbon/total_energy_wh": sum(e.energy_j for e in run.epochs[: epoch.index + 1]) / 3600,
            **{f"carbon/phase/{name}_wh": joules / 3600 for name, joules in epoch.phases.items()},
            **epoch.metrics,
        }
        writer.scalars(values, epoch.index)
    record = replace(run, status=status or run.status, extra={} if told is None else {"advice": told})
    writer.run(record.to_json(epochs=False), len(run.epochs))
    writer.close()


def texts(answer):
    return [piece["text"] for piece in answer["pieces"]]


def test_the_tab_says_of_a_run_what_the_command_says_of_it():
    run = a_run(assumptions=(POLAND,))
    written("logs/run", run)
    answer = Board("logs").ask("advice", run="run")
    said = [advice.text for advice in advise(run)]
    assert [piece["kind"] for piece in answer["pieces"]] == ["region", "stood_still", "validation"]
    # Event files hold values in single precision.
    assert texts(answer) == said
    assert answer["pieces"][2]["saved"] == "12 g"
    assert answer["pieces"][2]["share"] == "20 %"
    assert "do not add up" in answer["notes"][0]


def test_a_smaller_model_is_found_among_the_runs_of_the_project_in_the_log_folder():
    large = a_run("large", project="digits", name="large", hparams={"width": 100})
    small = a_run("small", project="digits", name="small", hparams={"width": 10}, grams=2.0)
    strange = a_run("strange", project="other", name="strange", grams=0.1)
    for run in (large, small, strange):
        written(f"logs/{run.run_id}", run)
    (found,) = [p for p in Board("logs").ask("advice", run="large")["pieces"] if p["kind"] == "smaller_model"]
    (known,) = [advice for advice in advise(large, runs=[large, small]) if advice.kind == "smaller_model"]
    assert found["text"] == known.text
    assert (found["saved"], found["share"]) == ("48 g", "80 %")


WAITED = {
    "kind": "waiting",
    "saved_g": 3.0,
    "saved_share": 0.05,
    "text": "for 6 s (10 % of the time) the GPU drew idle power",
    "evidence": {"time_s": 6.0},
}


def test_what_a_run_left_at_its_end_is_shown_though_the_events_do_not_tell_it():
    written("logs/run", a_run(), left_out=(2,), told=[WAITED])
    answer = Board("logs").ask("advice", run="run")
    assert answer["pieces"] == [{"kind": "waiting", "saved": "3 g", "share": "5 %", "text": WAITED["text"]}]
    assert answer["notes"] == []


def test_a_run_that_left_no_advice_has_none_but_a_smaller_model_that_it_could_not_know():
    large = a_run("large", project="digits", name="large", hparams={"width": 100})
    written("logs/large", large, told=[WAITED])
    board = Board("logs")
    assert [piece["kind"] for piece in board.ask("advice", run="large")["pieces"]] == ["waiting"]
    written("logs/small", a_run("small", project="digits", name="small", hparams={"width": 10}, grams=2.0), told=[])
    board = Board("logs")
    assert [piece["kind"] for piece in board.ask("advice", run="large")["pieces"]] == ["smaller_model", "waiting"]
    assert board.ask("advice", run="small") == {"run": "small", "pieces": [], "notes": [f"N{NOTHING[1:]}."]}


@pytest.mark.parametrize(
    "told",
    [
        "many",
        [1],
        [WAITED | {"saved_g": None}],
        [WAITED | {"saved_share": 1e99}],
        [WAITED | {"saved_g": True}],
        [WAITED | {"text": 1}],
    ],
)
def test_rows_that_are_no_advice_leave_what_the_events_show(told):
    written("logs/run", a_run(), told=told)
    assert [piece["kind"] for piece in Board("logs").ask("advice", run="run")["pieces"]] == ["stood_still", "validation"]


def test_a_run_that_goes_on_after_its_end_is_advised_on_what_it_has_used_so_far_again():
    written("logs/run", a_run(accuracies=(0.5, 0.6)), status="running", told=[WAITED])
    assert [piece["kind"] for piece in Board("logs").ask("advice", run="run")["pieces"]] == ["validation"]


def test_a_run_that_lasts_is_advised_on_what_it_has_used_so_far():
    run = a_run(accuracies=(0.5, 0.6))
    written("logs/run", replace(run, co2e_g=1.0, energy_j=360.0), status="running")
    answer = Board("logs").ask("advice", run="run")
    assert texts(answer) == ["validation cost 8 g (40 %); validating after every second epoch would have saved 4 g (20 %)"]
    assert answer["notes"] == []


def test_of_epochs_that_tensorboard_has_thinned_nothing_is_said():
    written("logs/run", a_run(), left_out=(2,))
    answer = Board("logs").ask("advice", run="run")
    assert answer["pieces"] == []
    assert [note[:20].lower() for note in answer["notes"]] == [NOTHING[:20], THINNED[:20].lower()]


def test_of_keras_the_validation_beside_tells_where_the_metric_stood_still():
    run = a_run()
    bare = replace(run, epochs=tuple(replace(epoch, metrics={}) for epoch in run.epochs))
    written("logs/fit/train", bare)
    validation = CarbonWriter("logs/fit/validation")
    for epoch in run.epochs:
        validation.scalars({"epoch_accuracy": epoch.metrics["val_acc"]}, epoch.index)
    validation.close()
    said = texts(Board("logs").ask("advice", run="fit/train"))
    assert said[0].startswith("epochs 3-5 cost 50 % of the CO2e and did not raise validation/epoch_accuracy")


def test_without_a_record_there_is_no_advice():
    CarbonWriter("logs/run").scalars({"carbon/epoch_co2e_g": 1.0}, 0)
    board = Board("logs")
    assert board.ask("advice", run="run") is None
    assert board.ask("advice", run="no") is None


@pytest.mark.parametrize(
    "changes",
    [{"assumptions": [{"value": "PL"}]}, {"phases": ["a"]}, {"facility_energy_kwh": 1e-320}, {"energy_j": 0}, {"hparams": "many"}],
)
def test_a_record_whose_rows_are_none_of_ours_has_no_advice_or_what_remains(changes):
    run = a_run(project="p")
    written("logs/other", replace(run, run_id="other"))
    written("logs/run", run)
    writer = CarbonWriter("logs/run")
    writer.text("fitprint/run", json.dumps({**run.to_dict(epochs=False), **changes}), 10)
    writer.close()
    assert Board("logs").ask("advice", run="run")["run"] == "run"
