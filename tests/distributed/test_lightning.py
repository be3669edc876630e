"""Lightning on two real processes: one record on both, whoever started them."""

from __future__ import annotations

import math

import pytest

from fitprint import Ledger

pytestmark = pytest.mark.timeout(170)


def test_both_ranks_of_torchrun_have_what_the_machine_counted_and_stop_together(torchrun, machine):
    launched = torchrun("lightning_ddp.py", timeout=160)
    assert launched.returncode == 0, launched.errors[-3000:]
    first, second = launched.ranks["0"]["fit"], launched.ranks["1"]["fit"]
    for name in ("run_id", "energy_j", "co2e_g", "epochs", "phases", "sensors", "status"):
        assert first[name] == second[name]
    assert [name for name, _ in first["sensors"]] == ["cpu:package-0", "dram:package-0"]
    # 12 batches and 4 of validation of 0.03 s each at the least, at 120 W.
    assert 120 * 16 * 0.03 < first["energy_j"] < first["most_j"]
    assert first["energy_j"] == pytest.approx(math.fsum(e[0] for e in first["epochs"]) + first["outside_epochs_j"], abs=1e-6)
    assert set(first["phases"]) >= {"train", "validate", "sanity_check"}
    assert first["logged"] == second["logged"] > 0
    row = next(row for row in Ledger(machine / "fitprint.db").runs() if row["run_id"] == first["run_id"])
    assert (row["energy_j"], row["epochs"], row["status"]) == (first["energy_j"], 3, "completed")
    stops = [rank["stop"] for rank in launched.ranks.values()]
    assert stops[0]["steps"] == stops[1]["steps"] > 1
    assert stops[0]["stop_reason"] == stops[1]["stop_reason"]
    assert stops[0]["status"] == stops[1]["status"] == "stopped"
    assert stops[0]["energy_j"] < 50 + 120 * 0.5


def test_the_process_that_spawned_the_ranks_has_their_record(alone, machine):
    launched = alone("lightning_ddp.py", "spawn", timeout=160)
    assert launched.returncode == 0, launched.errors[-3000:]
    record = launched.ranks["parent"]
    assert record["status"] == "completed"
    assert record["runs"] == 1
    assert len(record["epochs"]) == 2
    assert 120 * 10 * 0.03 < record["energy_j"] < record["most_j"]
    assert [row["energy_j"] for row in Ledger(machine / "fitprint.db").runs()] == [record["energy_j"]]
