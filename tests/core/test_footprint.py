"""The record of a run: round trips, resumption, and what it says to people."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import operator
import pickle

import pytest

from fitprint.footprint import EpochFootprint, Footprint, continued

HOSTILE = "<script>alert(1)</script>"
NOON, EVENING = "2026-01-01T12:00:00.000Z", "2026-01-01T18:00:00.000Z"


def sensor(**changes):
    return {"id": "gpu:0", "part": "gpu", "method": "counter", "energy_j": 900.0, "source": "NVML", **changes}


def assumption(name, value, **changes):
    row = {"name": name, "value": value, "low": None, "high": None, "unit": "1", "source": "given", "year": None}
    return {**row, "basis": "as given", **changes}


def epoch(index, **changes):
    values = {"started_at": NOON, "duration_s": 10.0, "energy_j": 100.0, "metrics": {"loss": 0.5}}
    return EpochFootprint(index=index, **{**values, **changes})


ASSUMPTIONS = (
    assumption("region", "FR", unit="", source="France", basis="guessed from the time zone Europe/Paris"),
    assumption("intensity", 41.44, unit="g/kWh", source="Ember", year=2025, basis="lifecycle"),
    assumption("pue", 1.2),
    assumption("node_factor", 1.0, low=1.0, high=1.5, source="default"),
)


def run(**changes):
    bare = Footprint(run_id="run-1", name="resnet", status="completed", started_at=NOON, duration_s=245.0)
    numbers = {"energy_j": 7_200_000.0, "co2e_g": 240.0, "co2e_low_g": 200.0, "co2e_high_g": 310.0}
    shares = {"measured_fraction": 0.91, "coverage": 1.0}
    rows = {
        "by_part": {"gpu": 7_200_000.0},
        "sensors": (sensor(),),
        "epochs": (epoch(0), epoch(1, complete=False)),
        "blocks": (epoch(0, steps=500),),
        "assumptions": ASSUMPTIONS,
        "budget": ({"limit": 500.0, "unit": "g", "scope": "run", "used": 0.48},),
        "tags": ("night",),
        "notes": ("RAPL: no permission",),
    }
    return dataclasses.replace(bare, **{**numbers, **shares, **rows, **changes})


def test_a_record_comes_back_from_json_as_it_went():
    footprint = run(stop_reason={"code": "budget", "sentence": "Stopped."}, hparams={"lr": 0.1, "layers": [1, 2]})
    assert Footprint.from_json(footprint.to_json()) == footprint


def test_keys_of_a_later_version_are_kept_and_written_back():
    text = json.dumps({"run_id": "a", "schema": 9, "noise_db": 40, "nested": {"x": [1]}})
    footprint = Footprint.from_json(text)
    assert (footprint.schema, footprint.extra) == (9, {"noise_db": 40, "nested": {"x": [1]}})
    again = json.loads(footprint.to_json())
    assert (again["noise_db"], again["nested"]) == (40, {"x": [1]})
    assert Footprint.from_json(footprint.to_json()) == footprint


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_becomes_null(value):
    footprint = run(epochs=(epoch(0, metrics={"loss": value, "acc": 0.5}),), hparams={"clip": [value]})
    written = json.loads(footprint.to_json())
    assert written["epochs"][0]["metrics"] == {"loss": None, "acc": 0.5}
    assert written["hparams"] == {"clip": [None]}


def test_the_epochs_can_be_left_out_of_the_json():
    assert {"epochs", "blocks"}.isdisjoint(json.loads(run().to_json(epochs=False)))


def test_a_record_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        run().co2e_g = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        epoch(0).energy_j = 0.0


def test_what_is_unknown_is_none_and_not_zero():
    footprint = Footprint(run_id="a")
    unknown = ("energy_j", "energy_kwh", "co2e_g", "co2e_low_g", "measured_fraction", "coverage", "intensity", "cost")
    assert [getattr(footprint, name) for name in unknown] == [None] * 8
    assert json.loads(footprint.to_json())["energy_kwh"] is None
    assert str(footprint).startswith("unknown CO2e (unknown to unknown), unknown in 0.0 s, 0 epochs")


def test_kilowatt_hours_follow_from_the_joules():
    assert json.loads(run().to_json())["energy_kwh"] == run().energy_kwh == pytest.approx(2.0)


def resumed():
    before = run(status="lost", energy_j=100.0, co2e_g=10.0, duration_s=60.0, intensity=300.0, coverage=0.8, blocks=())
    now = run(started_at=EVENING, energy_j=300.0, co2e_g=2.0, duration_s=30.0, intensity=100.0, coverage=0.9)
    before_too = {"by_part": {"gpu": 100.0}, "phases": {"train": 100.0}, "notes": ("a", "b")}
    now_too = {"by_part": {"gpu": 250.0, "cpu": 50.0}, "phases": {"train": 200.0, "test": 100.0}, "notes": ("b", "c")}
    return continued(
        dataclasses.replace(before, **before_too, segments=({"region": "PL"},)),
        dataclasses.replace(now, **now_too, segments=({"region": "FR"},), epochs=(epoch(2),)),
    )


def test_a_resumed_run_sums_what_both_stretches_used():
    whole = resumed()
    assert (whole.energy_j, whole.co2e_g, whole.co2e_low_g, whole.duration_s) == (400.0, 12.0, 400.0, 90.0)
    assert whole.by_part == {"gpu": 350.0, "cpu": 50.0}
    assert whole.phases == {"train": 300.0, "test": 100.0}


def test_a_resumed_run_keeps_the_epochs_segments_and_notes_of_both_in_order():
    whole = resumed()
    assert [e.index for e in whole.epochs] == [0, 1, 2]
    assert [e.steps for e in whole.blocks] == [500]
    assert [s["region"] for s in whole.segments] == ["PL", "FR"]
    assert whole.notes == ("a", "b", "c")


def test_a_resumed_run_weights_its_intensity_by_energy():
    # A quarter of the joules at 300 g/kWh, three quarters at 100 g/kWh.
    assert resumed().intensity == pytest.approx(150.0)


def test_a_resumed_run_began_when_it_first_began_and_ends_as_it_ends_now():
    whole = resumed()
    assert (whole.started_at, whole.status, whole.coverage) == (NOON, "completed", 0.8)


def test_the_text_of_a_resumed_run_names_each_factor_once_by_its_mean():
    def row(value):
        return {"name": "node_factor", "value": value, "source": "wall meters", "basis": "", "year": 2025, "unit": "1"}

    before = run(energy_j=100.0, node_factor=1.0, assumptions=(row(1.0),))
    whole = continued(before, run(energy_j=300.0, node_factor=1.2, assumptions=(row(1.2),)))
    (line,) = (line for line in str(whole).splitlines() if line.startswith("  factors"))
    assert line == "  factors    node factor 1.15 (wall meters)"


def test_resuming_what_measured_nothing_leaves_the_unknown_unknown():
    whole = continued(run(energy_j=None, co2e_g=None), run(energy_j=5.0, co2e_g=None))
    assert (whole.energy_j, whole.co2e_g) == (5.0, None)


def test_the_text_says_how_much_how_sure_where_and_against_which_budget():
    text = str(run())
    assert text.startswith("240 g CO2e (200 g to 310 g), 2 kWh in 4 min 05 s, 2 epochs, completed\n")
    assert "gpu 2 kWh (counter); 91 % measured, 100 % of the time covered" in text
    assert "France (FR), guessed from the time zone Europe/Paris; 41.4 g CO2e/kWh (2025, lifecycle; Ember)" in text
    assert "PUE 1.2 (given), node factor 1 (default)" in text
    assert "48 % of 500 g used" in text
    assert "RAPL: no permission" in text


def test_what_is_not_counted_comes_first():
    text = str(run(notes=("RAPL: no permission", "NOT COUNTED: the CPU")))
    assert text.startswith("NOT COUNTED: the CPU, 240 g CO2e")
    assert text.count("NOT COUNTED") == 1


def test_the_reason_of_a_stop_is_told():
    assert "Stopped before epoch 3." in str(run(stop_reason={"sentence": "Stopped before epoch 3."}))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": HOSTILE},
        {"name": None, "run_id": HOSTILE},
        {"status": HOSTILE, "started_at": HOSTILE},
        {"notes": (f"NOT COUNTED: {HOSTILE}",)},
        {"by_part": {HOSTILE: 1.0}},
        {"epochs": (epoch(0, metrics={HOSTILE: 1.0}),)},
        {"blocks": (epoch(0, metrics={HOSTILE: 1.0}),)},
        {"sensors": (sensor(source=HOSTILE, id=HOSTILE),)},
        {"assumptions": (assumption("pue", 1.2, source=HOSTILE, basis=HOSTILE),)},
        {"stop_reason": {"sentence": HOSTILE}},
    ],
)
def test_nothing_in_a_record_becomes_markup(changes):
    page = run(**changes).to_html()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_page_stands_alone_and_shows_every_epoch_with_its_metrics():
    page = run().to_html()
    assert page.startswith("<!doctype html>")
    assert not any(word in page for word in ("http:", "https:", "<script", "<link"))
    assert page.count("src=") == page.count('src="data:')
    assert all(text in page for text in ("Footprint of resnet", "200 g to 310 g", "1 (cut short)", ">loss</th>"))


def test_a_projects_budget_is_named_as_the_pot_of_all_its_runs():
    row = {"limit": 500.0, "unit": "g", "scope": "project", "used": 0.482}
    text = str(run(project="digits", budget=(row,)))
    assert "48.2 % of the project's pot of 500 g used or reserved, by all runs of 'digits'" in text


def test_a_tiny_share_of_a_budget_is_not_told_to_ten_places():
    text = str(run(budget=({"limit": 500.0, "unit": "g", "scope": "run", "used": 9e-7},)))
    assert "< 0.01 % of 500 g used" in text


def test_what_an_epoch_does_not_have_is_one_empty_mapping_that_stays_so():
    epochs = [EpochFootprint(index=i, started_at="", duration_s=1.0) for i in range(2)]
    assert epochs[0].metrics is epochs[1].metrics is epochs[0].extra
    for change in (
        lambda it: it.update(loss=1.0),
        lambda it: it.setdefault("loss", 1.0),
        lambda it: operator.setitem(it, "loss", 1.0),
    ):
        with pytest.raises(TypeError, match="read-only"):
            change(epochs[0].metrics)
    assert pickle.loads(pickle.dumps(epochs[0])) == copy.deepcopy(epochs[0]) == epochs[0]
    assert dataclasses.asdict(epochs[0])["metrics"] == {}
