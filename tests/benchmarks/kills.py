"""What is left of a run after SIGKILL at a random moment: nothing lost that was due, and a right total when it goes on."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.sheet import QUICK, Sheet
from random_kills import PERIOD_S, VISIBLE_S, Killed, kill_once

KILLS, AT_ONCE = (10 if QUICK else 200), 2
COLUMNS = (
    "kills",
    "ledger and sums right",
    "epochs ended",
    "of them due",
    "kept",
    "joules drawn",
    "kept",
    "most lost J",
    "median lost J",
    "totals wrong after resuming",
)


def sheets() -> list[Sheet]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        killed = list(pool.map(_one, range(0, 100 * KILLS, 100)))
    note = (
        "A run of 1 J about every 10 ms in epochs of 1 to 40 J is killed in its first 2.5 s and goes on under its run id. The "
        f"keeper's longest period is {PERIOD_S:g} s here, in place of 30 s; due is what was used before that and {VISIBLE_S:g} s "
        "for writing. The total is wrong where it is not what the ledger had and what the second process drew."
    )
    return [Sheet("SIGKILL at random moments", COLUMNS, [_row(killed)], note, broken=not all(one.right for one in killed))]


def _one(seed: int) -> Killed:
    with tempfile.TemporaryDirectory() as folder:
        return kill_once(Path(folder), seed)


def _row(killed: Sequence[Killed]) -> list[str]:
    lost = [one.drawn_j - one.kept_j for one in killed]
    figures = [
        len(killed),
        sum(one.right for one in killed),
        sum(one.ended_epochs for one in killed),
        sum(one.due_epochs for one in killed),
        sum(one.kept_epochs for one in killed),
    ]
    joules = [sum(one.drawn_j for one in killed), sum(one.kept_j for one in killed), max(lost), statistics.median(lost)]
    wrong = sum(one.wrong_j >= 1e-6 for one in killed)
    return [*(str(figure) for figure in figures), *(f"{value:,.0f}" for value in joules), str(wrong)]
