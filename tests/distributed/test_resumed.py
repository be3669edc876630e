"""Two Lightning ranks are killed between two checkpoints: the next launch goes on with what was spent, after the checkpoint too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fitprint import Ledger
from powered import WATTS

pytestmark = pytest.mark.timeout(170)

SCRIPT = Path(__file__).parent / "lightning_resumed.py"
WITHIN_S = 70
# A processor's counter is a tick late at most.
TICK_J = sum(WATTS.values()) * 0.1


class Job:
    """A launch of two ranks.

    Args:
        folder: Where they leave their marks.
        port: A free one.
        launch: Its name.
    """

    def __init__(self, folder: Path, port: int, launch: str) -> None:
        self._folder, self._launch, self._said = folder, launch, folder / f"{launch}.txt"
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "OUT": str(folder)}
        agent = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
        with self._said.open("w") as said:
            self._agent = subprocess.Popen([*agent, str(SCRIPT), launch], cwd=folder, env=environ, stdout=said, stderr=said)

    def marks(self) -> list[dict]:
        """What each rank has written down so far."""
        paths = [self._folder / f"{self._launch}-{rank}.json" for rank in (0, 1)]
        return [json.loads(path.read_text()) if path.exists() else {} for path in paths]

    def kill_at(self, mark: str) -> list[dict]:
        """Kill both ranks once both have come there; returns their marks."""
        until = time.monotonic() + WITHIN_S
        while not all(mark in marks for marks in self.marks()):
            assert time.monotonic() < until, self._said.read_text()[-3000:]
            time.sleep(0.01)
        marks = self.marks()
        for rank in marks:
            os.kill(rank["pid"], signal.SIGKILL)
        assert self._agent.wait(WITHIN_S) == 1
        return marks

    def done(self) -> list[dict]:
        assert self._agent.wait(WITHIN_S) == 0, self._said.read_text()[-3000:]
        return self.marks()


def drawn_j(ranks, begin, end):
    """What the machine drew in the stretch that both ranks were in."""
    return min(rank[end]["cpu_j"] for rank in ranks) - max(rank[begin]["cpu_j"] for rank in ranks)


def most_j(ranks, begin, end):
    """And in the one that either was in."""
    return max(rank[end]["cpu_j"] for rank in ranks) - min(rank[begin]["cpu_j"] for rank in ranks)


def test_both_ranks_count_what_was_spent_before_the_kill_and_after_the_last_checkpoint(machine, free_ports):
    killed = Job(machine, free_ports[0], "killed").kill_at("amid-3")
    ledger = Ledger(machine / "fitprint.db")
    (row,) = ledger.runs()
    assert (row["status"], row["epochs"]) == ("lost", 3)
    kept = torch.load(machine / "kept" / "last.ckpt", weights_only=True)["callbacks"]["fitprint.CarbonCallback"]["footprint"]
    assert (kept["run_id"], len(kept["epochs"])) == (row["run_id"], 2)
    unsaved_j = drawn_j(killed, "began-2", "ended-2")
    assert row["energy_j"] >= kept["energy_j"] + unsaved_j - TICK_J
    assert drawn_j(killed, "started", "ended-2") - TICK_J <= row["energy_j"] <= most_j(killed, "before", "amid-3") + TICK_J

    resumed = Job(machine, free_ports[1], "resumed").done()
    assert [rank["first"] for rank in resumed] == [2, 2]
    first, second = (rank["footprint"] for rank in resumed)
    assert first == second
    assert (first["run_id"], first["status"], first["runs"]) == (row["run_id"], "completed", 1)
    more_j = drawn_j(resumed, "started", "ended-5"), most_j(resumed, "before", "after")
    assert row["energy_j"] + more_j[0] - TICK_J <= first["energy_j"] <= row["energy_j"] + more_j[1] + TICK_J
    assert [joules for joules, _, _ in first["epochs"]][:3] == [epoch.energy_j for epoch in ledger.footprint(row["run_id"]).epochs][
        :3
    ]
    assert [complete for _, _, complete in first["epochs"]] == [True] * 7  # the third was trained twice
    assert first["energy_j"] == pytest.approx(sum(joules for joules, _, _ in first["epochs"]) + first["outside_epochs_j"])
    rows = ledger.runs()
    assert [(run["run_id"], run["status"], run["epochs"]) for run in rows] == [(row["run_id"], "completed", 7)]
    assert rows[0]["energy_j"] == first["energy_j"]
