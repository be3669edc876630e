"""A rank is killed in the middle of an epoch: the other ends with the framework's error, and what was used is on record."""

from __future__ import annotations

import pytest

from fitprint import Ledger

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("victim", [0, 1])
def test_the_other_rank_ends_with_the_frameworks_error_and_the_energy_is_on_record(alone, machine, free_port, victim):
    launched = alone("killed.py", str(free_port), str(victim))
    survivor, killed = launched.ranks[str(1 - victim)], launched.ranks[f"victim-{victim}"]
    assert "closed" in survivor["error"] or "reset" in survivor["error"]
    assert survivor["status"] == "failed"
    assert [complete for _, _, complete in survivor["epochs"]][:2] == [True, True]
    ledger = Ledger(machine / "fitprint.db")
    rows = ledger.runs()
    assert [(row["run_id"], row["status"]) for row in rows] == [(killed["run_id"], "lost" if victim == 0 else "failed")]
    recorded = ledger.footprint(killed["run_id"])
    # Two epochs of 0.25 s at 120 W at the least, whichever rank has read the counters.
    assert recorded.energy_j >= 2 * 0.25 * 120
    assert len(recorded.epochs) >= 2
    assert (rows[0]["energy_j"], rows[0]["epochs"]) == (recorded.energy_j, len(recorded.epochs)), "the list says the same"
