"""After SIGKILL at a random moment the ledger opens and holds what it must; `make bench BENCH=kills` does it 200 times."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from random_kills import kill_once

SEEDS = [100 * i for i in range(10)]


@pytest.mark.timeout(240)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_runs_that_are_killed_at_random_moments_lose_at_most_the_last_period_and_go_on_rightly(tmp_path):
    folders = [tmp_path / str(seed) for seed in SEEDS]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(4) as pool:
        killed = list(pool.map(kill_once, folders, SEEDS))
    assert [one for one in killed if not one.right] == []
    assert sum(one.due_epochs for one in killed) > 0, "some of them had lived long enough to owe something"
    assert sum(one.due_j for one in killed) > 0
