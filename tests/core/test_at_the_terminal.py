"""What a run shows a person: a table at its end, a live display where one is asked for, plain lines where there is no terminal."""

from __future__ import annotations

import copy
import io
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import threading

import pytest

from fitprint import Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, FakeRanks, ScriptedCounter
from terminal import shown_by

pytestmark = pytest.mark.timeout(60)

# Epochs of 36 kJ; 3.6 kJ of them at 41.4 g CO2e/kWh, at the sensors alone, are 41.4 mg.
RUN = """
import os, sys, threading, time
from fitprint import Budget, Config, Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

clock = FakeClock()
options = dict(counters=[ScriptedCounter(clock, watts=360.0)], around=Surroundings(clock=clock, environ={}), ledger="off")
options.update(region="FR", pue=1.0, config=Config(node_factor=1.0))
"""
WHOLE = """
with Tracker(name="[red]small[/red]\\x1b[2J", budget=Budget("1.5 g"), **options) as tracker:
    for epoch in tracker.epochs(range(9)):
        clock.advance(100.0)
"""
LIVE = """
print("begins", flush=True)
try:
    with Tracker(name="live", budget=Budget("5 g"), live=True, **options) as tracker:
        for epoch in tracker.epochs(range(9)):
            clock.advance(100.0)
            if epoch == 2:
                time.sleep(0.9)
                print("said inside", flush=True)
                INSIDE
                break
finally:
    for _ in range(100):
        left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        if not left:
            break
        time.sleep(0.01)
    print("threads left:", left, type(sys.stdout).__name__, type(sys.stderr).__name__, flush=True)
"""
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])[\d;]*m")
ESCAPE = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


def python(code):
    return [sys.executable, "-c", code]


def bare(shown):
    return ESCAPE.sub("", shown).replace("\r", "")


# ---- at the end


def test_on_a_terminal_a_run_ends_with_a_table_of_totals_each_with_its_unit():
    shown, status = shown_by(python(RUN + WHOLE))
    assert status == 0
    text = bare(shown)
    assert "╭" in text or "┏" in text or "┌" in text
    table = text[text.index("fitprint: [red]small[/red]\\x1b[2J") :]
    rows = dict(re.findall(r"│ (\w+) +│ (.*?) +│", table))
    assert re.fullmatch(r"1\.24 g \(95 % interval [\d.]+ m?g to [\d.]+ g\)", rows["CO2e"])
    assert (rows["energy"], rows["time"], rows["status"]) == ("30 Wh", "5 min 00 s, epochs: 3", "stopped")
    assert "gpu 30 Wh (counter); 100 % measured, 100 % of the time covered" in rows["parts"]
    assert "France (FR)" in rows["place"]
    assert "g CO2e/kWh" in rows["place"]
    assert rows["budget"] == "82.9 % of 1.5 g used"
    assert rows["stopped"].startswith("Stopped before epoch 3: 1.24 g of the budget of 1.5 g are used")


def test_without_colours_where_the_user_wants_none():
    shown, _ = shown_by(python(RUN + WHOLE + LIVE.replace("INSIDE", "pass")), NO_COLOR="1")
    assert "budget" in shown
    assert "━" in shown
    assert not COLOUR.search(shown)


@pytest.mark.parametrize("environ", [{}, {"FORCE_COLOR": "1"}])
def test_into_a_pipe_the_same_is_said_in_plain_lines(environ):
    code = RUN + WHOLE.replace("**options", "live=True, **options")
    done = subprocess.run(python(code), capture_output=True, text=True, timeout=60, env={**os.environ, **environ})
    assert done.stdout == ""
    assert "\x1b" not in done.stderr
    lines = done.stderr.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("fitprint: 1.24 g CO2e ("))
    assert lines[at].endswith("30 Wh in 5 min 00 s, 3 epochs, stopped")
    assert [line.split()[0] for line in lines[at + 1 :]] == ["parts", "place", "budget", "stopped"]


def test_a_terminal_that_cannot_draw_has_the_plain_lines():
    shown, _ = shown_by(python(RUN + WHOLE.replace("**options", "live=True, **options")), TERM="dumb")
    assert "3 epochs, stopped" in shown
    assert "\x1b" not in shown


def test_a_program_with_logging_of_its_own_decides_what_is_shown():
    code = RUN + "import logging; logging.basicConfig(format='mine: %(message)s', level=logging.WARNING)\n" + WHOLE
    text = bare(shown_by(python(code))[0])
    assert "CO2e (" not in text.replace("Stopped", "")[:60]
    assert "│" not in text
    assert "mine: Stopped before epoch 3" in text


class Terminal(io.StringIO):
    """A terminal as far as a program can ask."""

    def isatty(self):
        return True


def test_of_many_ranks_the_first_one_speaks_and_shows(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="fitprint")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    ranks, clock = FakeRanks(2), FakeClock()

    def train(rank):
        board = ScriptedCounter(clock, watts=100.0, sensor_id=f"gpu:{rank}")
        around = Surroundings(clock=clock, environ={})
        options = {"ledger": "off", "region": "FR", "live": True, "peers": ranks.peers[rank]}
        with Tracker(counters=[board], around=around, **options) as tracker:
            for _ in tracker.epochs(range(2)):
                pass

    threads = [threading.Thread(target=train, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum("completed" in record.getMessage() for record in caplog.records) == 1
    assert terminal.getvalue().count(HIDDEN) == 1


# ---- live


def test_a_live_display_shows_epoch_grams_power_budget_and_forecast_and_goes_away():
    shown, status = shown_by(python(RUN + LIVE.replace("INSIDE", "pass")))
    assert status == 0
    text = bare(shown)
    assert re.search(r"fitprint +epoch 2 of 0-8, ", text)
    assert re.search(r"so far +1\.24 g CO2e, 30 Wh, 360 W", text)
    assert re.search(r"forecast +3\.73 g CO2e \(.* to .*\) for the whole run", text)
    assert re.search(r"budget +24\.9 % of 5 g used", text)
    assert "━" in text
    assert COLOUR.search(shown)
    assert "said inside" in text
    assert "threads left: [] TextIOWrapper TextIOWrapper" in text
    assert (shown.count(HIDDEN), shown.count(SHOWN)) == (1, 1)
    assert "completed" in text[text.index("said inside") :]


def test_it_is_gone_with_its_thread_when_the_training_fails():
    shown, status = shown_by(python(RUN + LIVE.replace("INSIDE", "raise OSError('disk')")))
    assert status == 1
    assert "threads left: [] TextIOWrapper TextIOWrapper" in bare(shown)
    assert "OSError: disk" in shown
    assert shown.rindex(SHOWN) > shown.rindex(HIDDEN)


def test_ctrl_c_ends_it_too():
    sent = []

    def interrupt(pid, shown):
        if b"said inside" in shown and not sent:
            sent.append(os.kill(pid, signal.SIGINT))

    shown, status = shown_by(python(RUN + LIVE.replace("INSIDE", "time.sleep(20)")), react=interrupt)
    assert status != 0
    assert "KeyboardInterrupt" in shown
    assert "threads left: [] TextIOWrapper TextIOWrapper" in bare(shown)
    assert shown.rindex(SHOWN) > shown.rindex(HIDDEN)
    assert "interrupted" in bare(shown)


def test_a_forked_worker_prints_as_if_there_were_none():
    inside = "os.write(1, b'') if os.fork() else (print('worker', type(sys.stdout).__name__, flush=True), os._exit(0)); os.wait()"
    shown, status = shown_by(python(RUN + LIVE.replace("INSIDE", inside)))
    assert status == 0
    assert "worker TextIOWrapper" in bare(shown)


def test_a_run_that_measures_nothing_shows_nothing():
    shown, status = shown_by(
        python(RUN.replace("environ={}", "environ={'FITPRINT_DISABLE': '1'}") + LIVE.replace("INSIDE", "pass"))
    )
    assert status == 0
    assert HIDDEN not in shown


def test_a_tracker_with_a_display_is_copied_and_pickled_without_it():
    with Tracker(ledger="off", live=True, counters=[]) as tracker:
        for other in (copy.deepcopy(tracker), pickle.loads(pickle.dumps(tracker))):
            assert other.footprint.notes == ("nothing was measured: switched off or failed",)
