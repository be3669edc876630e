"""However a training ends, it ends as it would without us: the same status, weights and random numbers, and no later."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from with_and_without import paired

from fitprint import Footprint, Ledger

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(not hasattr(os, "fork"), reason="each case is a forked child")]

PROGRAM = Path(__file__).with_name("trained.py")
FRAMEWORKS = ("plain", "lightning", "keras", "transformers")
FAULTS = ("exception", "MemoryError", "sys.exit", "os._exit", "SIGINT", "SIGTERM", "SIGKILL")
TRAININGS = ["nothing@end", *(f"{fault}@{phase}" for phase in ("train", "validate", "checkpoint") for fault in FAULTS)]
TESTS = [f"{fault}@test" for fault in ("exception", "sys.exit", "SIGINT")]
CASES = [*TRAININGS, *TESTS]
# What the ledger says of a run; where a framework has an answer of its own to a signal, the run ends as that answer does.
LOST = {"os._exit", "SIGKILL", "SIGTERM"}
STATUS = {"nothing": "completed", "SIGINT": "interrupted"} | dict.fromkeys(LOST, "lost")


@dataclass(frozen=True)
class Ended:
    """One training: its exit status, what it said, the seconds from the fault to the end, its states then, and its run."""

    status: int
    said: str
    took_s: float
    states: dict
    run: Footprint | None


def told(folder: Path, row: dict) -> Ended:
    states = {name: json.loads((folder / name).read_text()) for name in ("then.json", "end.json") if (folder / name).exists()}
    at = states.get("then.json", {}).pop("at", row["at"])
    run = None
    if row["watched"]:
        ledger = Ledger(folder / "fitprint.db")
        (listed,) = ledger.runs()
        run = ledger.footprint(listed["run_id"])
    return Ended(row["status"], (folder / "said.txt").read_text(), row["at"] - at, states, run)


@pytest.fixture(scope="module", params=FRAMEWORKS)
def framework(request):
    pytest.importorskip("torch")
    if request.param != "plain":
        pytest.importorskip(request.param)
    return request.param


@pytest.fixture(scope="module")
def ended(framework, tmp_path_factory):
    """Every case of a framework, with and without us."""
    folder = tmp_path_factory.mktemp(framework)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FITPRINT_", "KERAS_"))}
    environ |= {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(PROGRAM), framework, str(folder), *CASES]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environ, timeout=580, check=True).stdout
    rows = [json.loads(line) for line in out.splitlines() if line.startswith('{"case"')]
    return paired(rows, folder, told)


@pytest.mark.parametrize("case", CASES)
def test_a_training_ends_as_it_would_without_us(ended, case):
    with_us, without = ended[case]["with"], ended[case]["without"]
    assert with_us.status == without.status, with_us.said
    assert with_us.states == without.states
    assert ("ZeroDivisionError: the user's own" in with_us.said) == case.startswith("exception")
    assert "training goes on" not in with_us.said, "nothing of ours failed"


@pytest.mark.parametrize("case", TRAININGS)
def test_what_was_trained_until_then_is_in_the_ledger(ended, framework, case):
    fault = case.partition("@")[0]
    run = ended[case]["with"].run
    expected = STATUS.get(fault, "failed")
    handled = fault == "SIGTERM" and framework == "lightning"  # which ends the fit at the next batch
    assert run.status == ("interrupted" if handled else expected)
    assert len(run.epochs) == 3 if fault == "nothing" else 1 <= len(run.epochs) <= 2
    assert (run.epochs[0].complete, run.epochs[0].steps) == (True, None if framework == "plain" else 4)
    total = sum(epoch.energy_j for epoch in run.epochs) + run.outside_epochs_j
    assert total == pytest.approx(run.energy_j) == pytest.approx(sum(run.by_part.values()))


@pytest.mark.parametrize("case", TESTS)
def test_a_test_by_itself_that_ends_so_is_in_the_ledger(ended, framework, case):
    run = ended[case]["with"].run
    kind = {"plain": "fit", "transformers": "validate"}.get(framework, "test")  # the Trainer has no other name for it
    assert (run.kind, run.status, run.epochs) == (kind, STATUS.get(case.partition("@")[0], "failed"), ())


def test_no_end_comes_a_second_later(ended):
    added = {case: pair["with"].took_s - pair["without"].took_s for case, pair in ended.items() if case != "nothing@end"}
    assert statistics.median(added.values()) < 1.0, added
    assert max(added.values()) < 4.0, f"a second, and what a busy machine takes: {added}"


def test_random_numbers_and_weights_of_a_whole_training_are_the_same(ended):
    """FLOPs are counted, a budget is watched, and the writer of events is on where there is a log."""
    pair = ended["nothing@end"]
    end = pair["with"].states["end.json"]
    assert set(end) == {"weights", "torch", "numpy", "python"}
    assert end == pair["without"].states["end.json"]


def test_operations_were_counted_meanwhile(ended, framework):
    run = ended["nothing@end"]["with"].run
    assert run.budget[0]["used"] >= 0
    assert (run.flops or 0) > 0 or framework == "plain"
