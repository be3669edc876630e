"""Where a program runs short of files, space or rights, training ends as it would without us, and no second later."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from with_and_without import paired

from fitprint import Footprint, Ledger

pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(not hasattr(os, "fork"), reason="each case is a forked child")]

PROGRAM = Path(__file__).with_name("short_of.py")
CASES = ("folder@2", "log@2", "size@2", "open@2", "open@-1")
# A namespace in which a disk may be mounted, and in it an ordinary user's rights.
CONFINED = ["unshare", "-rm"]
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]


@dataclass(frozen=True)
class Ended:
    """One training: its exit status, how long it took, what it said, and its run."""

    status: int
    took_s: float
    said: str
    run: Footprint | None
    listed: tuple[str, int]


def told(folder: Path, row: dict) -> Ended:
    rows = Ledger(folder / "ours" / "fitprint.db").runs() if row["watched"] else []
    run = Ledger(folder / "ours" / "fitprint.db").footprint(rows[0]["run_id"]) if rows else None
    listed = (rows[0]["status"], rows[0]["epochs"]) if rows else ("", 0)
    return Ended(row["status"], row["took_s"], (folder / "said.txt").read_text(), run, listed)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Every case, with and without us."""
    pytest.importorskip("tensorboard")
    confined = [*CONFINED, *WITHOUT_RIGHTS]
    if not all(map(shutil.which, ("unshare", "setpriv"))) or subprocess.run([*confined, "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount a disk in a namespace of its own")
    folder = tmp_path_factory.mktemp("short")
    command = [*confined, sys.executable, str(PROGRAM), str(folder), *CASES]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=110, check=True).stdout
    return paired(map(json.loads, out.splitlines()), folder, told)


@pytest.mark.parametrize("case", CASES)
def test_training_ends_as_it_would_without_us(ended, case):
    with_us, without = ended[case]["with"], ended[case]["without"]
    assert (with_us.status, without.status) == (0, 0), with_us.said + without.said
    assert with_us.said.splitlines()[-1] == without.said.strip(), "weights and random numbers"
    assert "Traceback" not in with_us.said
    assert with_us.took_s - without.took_s < 1.0


@pytest.mark.parametrize("case", CASES)
def test_what_is_short_costs_a_line_of_each_that_needs_it(ended, case):
    said = ended[case]["with"].said
    assert said.count("may not be recorded") == (not case.startswith("log"))
    assert said.count("training goes on without them") == (case in ("log@2", "size@2", "open@-1")), "a file that is open stays so"


def test_what_a_folder_that_was_closed_took_is_in_the_journal(ended):
    run = ended["folder@2"]["with"].run
    assert (run.status, len(run.epochs), ended["folder@2"]["with"].listed) == ("completed", 6, ("completed", 6))


def test_a_full_disk_of_events_costs_the_events_alone(ended):
    assert ended["log@2"]["with"].listed == ("completed", 6)
