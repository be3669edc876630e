"""Two real processes that train together in a loop of their own: right totals, one stop, and nobody hangs."""

from __future__ import annotations

import math

import pytest

from fitprint import Ledger

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def _once():
    return {}


@pytest.fixture
def scenes(torchrun, machine, _once):
    """What both ranks have reported of every scene; launched once for all tests."""
    if not _once:
        launched = torchrun("plain_loop.py")
        assert launched.returncode == 0, launched.errors[-3000:]
        ledger = Ledger(machine / "fitprint.db")
        rows = {row["run_id"]: row for row in ledger.runs()}
        _once.update(ranks=[launched.ranks["0"], launched.ranks["1"]], rows=rows, errors=launched.errors)
    return _once


def of(scenes, name):
    return [rank[name] for rank in scenes["ranks"]]


def test_the_ranks_together_used_what_the_machine_counted(scenes):
    for record in of(scenes, "measured"):
        assert record["least_j"] - 1e-6 <= record["energy_j"] <= record["most_j"] + 1e-6
        assert record["most_j"] < 1.5 * record["energy_j"]


def test_both_ranks_have_the_same_record(scenes):
    first, second = of(scenes, "measured")
    for name in ("run_id", "energy_j", "co2e_g", "outside_epochs_j", "epochs", "phases", "sensors", "status"):
        assert first[name] == second[name]
    assert [name for name, _ in first["sensors"]] == ["cpu:package-0", "dram:package-0"]
    assert first["energy_j"] == pytest.approx(math.fsum(e[0] for e in first["epochs"]) + first["outside_epochs_j"], abs=1e-6)
    assert first["energy_j"] == pytest.approx(math.fsum(first["phases"].values()), abs=1e-6)
    assert first["coverage"] > 0.99


def test_the_ledger_has_one_row_for_the_job(scenes):
    record = of(scenes, "measured")[0]
    row = scenes["rows"][record["run_id"]]
    assert row["energy_j"] == record["energy_j"]
    assert row["epochs"] == 4
    assert row["status"] == "completed"


def test_a_stop_that_one_rank_decides_is_everybodys_at_the_same_batch(scenes):
    first, second = of(scenes, "stopped_by_one_rank")
    assert first["batches"] == second["batches"] < 400
    assert first["stop_reason"] == second["stop_reason"]
    assert first["stop_reason"]["code"] == "budget"
    assert first["status"] == second["status"] == "stopped"
    # One check later, at 120 W, and the closing work.
    assert first["energy_j"] < 60 + 120 * 0.2


def test_ranks_that_count_their_batches_stop_inside_an_epoch_after_the_same(scenes):
    first, second = of(scenes, "stopped_in_a_counted_loop")
    assert 0 < first["batches"] == second["batches"] < 400
    assert first["stop_reason"] == second["stop_reason"]
    assert first["status"] == second["status"] == "stopped"
    assert [epoch[2] for epoch in first["epochs"]] == [epoch[2] for epoch in second["epochs"]] == [False]
    assert first["energy_j"] == second["energy_j"] < 60 + 120 * 0.2


def test_ranks_of_uneven_batches_look_inside_epochs_and_wait_for_nobody(scenes):
    first, second = of(scenes, "of_uneven_batches")
    for record in (first, second):
        assert [epoch[2] for epoch in record["epochs"]] == [True] * 5
        assert record["took_s"] < 30
    assert first["epochs"] == second["epochs"]
    assert first["energy_j"] == second["energy_j"]
    assert "exchange no more what they use (they are not at the same place" not in scenes["errors"]


def test_a_rank_whose_measuring_fails_hangs_nobody(scenes):
    first = of(scenes, "broken_on_one_rank")[0]
    assert len(first["epochs"]) == 3
    assert first["status"] == "completed"


def test_two_machines_in_two_places_make_one_record_with_a_row_each(scenes):
    first, second = of(scenes, "on_two_machines")
    for name in ("run_id", "energy_j", "co2e_g", "epochs", "hosts", "sensors"):
        assert first[name] == second[name]
    assert [(host["host"], host["region"]) for host in first["hosts"]] == [("host-1", "FR"), ("host-2", "DE")]
    for host, rank in zip(first["hosts"], (first, second), strict=True):
        assert rank["least_j"] - 1e-6 <= host["energy_j"] <= rank["most_j"] + 1e-6
    assert first["energy_j"] == pytest.approx(sum(host["energy_j"] for host in first["hosts"]))
    assert first["co2e_g"] == pytest.approx(sum(host["co2e_g"] for host in first["hosts"]), abs=1e-6)
    grams_per_j = [host["co2e_g"] / host["energy_j"] for host in first["hosts"]]
    assert grams_per_j[1] / grams_per_j[0] == pytest.approx(
        first["hosts"][1]["intensity"] / first["hosts"][0]["intensity"], rel=0.01
    )
    assert [name for name, _ in first["sensors"]][2:] == ["host-2:cpu:package-0", "host-2:dram:package-0"]


def test_a_rank_that_raises_frees_the_others_at_once(scenes):
    first, second = of(scenes, "raised_on_one_rank")
    assert second["error"] == "the loss is NaN"
    assert second["status"] == "failed"
    assert first["status"] == "completed"
    assert first["took_s"] < 10
    assert first["energy_j"] > second["energy_j"] > 0


def test_a_rank_that_never_starts_us_is_waited_for_only_so_long(scenes):
    first = of(scenes, "missing_on_one_rank")[0]
    assert first["took_s"] < 15
    assert first["energy_j"] > 0
    assert "not all 2 processes of this job measure" in scenes["errors"]
