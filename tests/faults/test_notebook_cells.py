"""Cells of a notebook that are interrupted and run again: each time a run of its own, and the old one has ended."""

from __future__ import annotations

import code
import gc
import sys
import threading

import pytest

from fitprint import Ledger

# Jupyter's own way: a cell's exception is shown and kept, and with it every frame of the cell.
SET_UP = """
from fitprint import Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter
clock = FakeClock()
def make():
    return Tracker(region="FR", counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ={}))
interrupts_in = 1
"""
BLOCK = """
with make() as tracker:
    for index in tracker.epochs(range(3)):
        clock.advance(1.0)
        if index == interrupts_in:
            raise KeyboardInterrupt
"""
NO_BLOCK = """
tracker = make().start()
for index in tracker.epochs(range(3)):
    clock.advance(1.0)
    if index == interrupts_in:
        raise KeyboardInterrupt
tracker.close()
"""


class Shell(code.InteractiveInterpreter):
    """Runs cells in one namespace."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    def write(self, data: str) -> None:
        self.said += data

    def cell(self, text: str) -> None:
        try:
            self.runsource(text, symbol="exec")
        except KeyboardInterrupt:
            self.showtraceback()


@pytest.mark.parametrize("cell", [BLOCK, NO_BLOCK], ids=["with a block", "without"])
def test_a_cell_that_is_interrupted_and_run_again_is_a_run_of_its_own(cell, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)  # some libraries replace it, for the whole process
    shell = Shell()
    for text in (SET_UP, cell, "interrupts_in = None", cell):
        shell.cell(text)
    assert "KeyboardInterrupt" in shell.said
    first, second = Ledger().runs()
    assert first["status"] in ("interrupted", "failed")
    assert (first["epochs"], second["epochs"], second["status"]) == (2, 3, "completed")
    assert (first["energy_j"], second["energy_j"]) == (200.0, 300.0)
    assert Ledger().footprint(second["run_id"]).parent_run_id is None


def test_a_cell_that_is_run_again_and_again_leaves_no_threads_behind():
    before, shell = threading.active_count(), Shell()
    shell.cell(SET_UP)
    for _ in range(5):
        shell.cell(NO_BLOCK)
    shell.locals.clear()
    shell.cell("1 / 0")  # the exception that is kept is another's now
    gc.collect()
    deadline = threading.Event()
    for _ in range(100):
        if threading.active_count() <= before:
            break
        deadline.wait(0.1)
    assert threading.active_count() <= before
