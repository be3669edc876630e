"""``fitprint run``: any command, measured."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fitprint import Ledger, Tracker
from fitprint.cli import main
from fitprint.sensors.probe import Surroundings
from fitprint.sensors.trace import Trace
from terminal import shown_by


def fitprint_run(*words, **options):
    command = [sys.executable, "-m", "fitprint", "run", "--region", "FR", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def only_run():
    rows = Ledger().runs()
    assert len(rows) == 1
    return Ledger().footprint(rows[0]["run_id"])


def test_a_wrong_setting_is_said_once(monkeypatch):
    monkeypatch.setenv("FITPRINT_PUE", "0.5")
    Path("pyproject.toml").write_text("[tool.fitprint]\nregoin = 'FR'\n")
    done = fitprint_run("--", sys.executable, "-c", "pass")
    said = [line for line in done.stderr.splitlines() if "ignored a setting" in line]
    assert [("pue=0.5" in text, "Did you mean 'region'?" in text) for text in said] == [(False, True), (True, False)]


def test_the_commands_output_and_status_come_through_and_the_run_is_recorded():
    done = fitprint_run(
        "--name", "job", "--", sys.executable, "-c", "print('out'); import time; time.sleep(0.3); raise SystemExit(7)"
    )
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert "CO2e" in done.stderr
    run = only_run()
    assert (run.kind, run.status, run.name) == ("command", "failed", "job")
    assert run.duration_s >= 0.3
    assert set(run.phases) == {"other"}


def test_a_command_that_a_signal_ends_gives_128_and_its_number():
    done = fitprint_run("--", sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == 128 + signal.SIGKILL
    assert only_run().status == "interrupted"


def test_a_signal_is_passed_on_and_the_command_decides():
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "print('ready', flush=True); time.sleep(30)"
    )
    command = [sys.executable, "-m", "fitprint", "run", "--", sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 3


def test_at_the_budget_the_command_is_asked_to_end_and_the_status_is_75():
    code = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\ntime.sleep(60)"
    began = time.monotonic()
    done = fitprint_run("--budget", "20 J", "--", sys.executable, "-c", code)
    assert time.monotonic() - began < 30
    assert (done.returncode, done.stdout) == (75, "saved\n")
    run = only_run()
    assert run.status == "stopped"
    assert run.energy_j <= 20 * 1.1


def test_a_run_inside_it_knows_its_parent():
    code = "from fitprint import Tracker\nwith Tracker(region='FR', name='inner') as t: list(t.epochs(range(2)))"
    fitprint_run("--name", "outer", "--", sys.executable, "-c", code)
    runs = {row["name"]: Ledger().footprint(row["run_id"]) for row in Ledger().runs()}
    assert runs["inner"].parent_run_id == runs["outer"].run_id
    assert runs["outer"].parent_run_id is None


def test_commands_of_a_project_draw_on_one_budget(tmp_path):
    ledger = str(tmp_path / "fitprint.db")
    pot = ["--project", "p", "--project-budget", "10 J", "--ledger", ledger]
    ended = [fitprint_run(*pot, "--", "sleep", seconds).returncode for seconds in ("0.2", "30")]
    ended.append(fitprint_run(*pot, "--", "touch", str(tmp_path / "begun")).returncode)
    assert ended == [0, 75, 75]
    assert not (tmp_path / "begun").exists()
    codes = [(run.stop_reason or {}).get("code") for run in Ledger(ledger).footprints()]
    assert codes == [None, "pot_spent", "pot_spent"]
    done = fitprint_run("--project", "p", "--project-budget", "10 J", "--", "true")
    assert (done.returncode, "needs an absolute path or a URL" in done.stderr) == (2, True)


def test_what_a_command_of_less_than_a_second_has_used_is_in_the_pot(tmp_path, capsys):
    pot = ["--project", "p", "--project-budget", "1 kJ", "--ledger", str(tmp_path / "fitprint.db")]
    fitprint_run(*pot, "--", "sleep", "0.1")
    (run,) = Ledger(tmp_path / "fitprint.db").footprints()
    assert main(["runs", "pot", "p", "--ledger", str(tmp_path / "fitprint.db"), "--json"]) == 0
    (pot,) = json.loads(capsys.readouterr().out)
    (row,) = pot["runs"]
    assert row["used"] == pytest.approx(run.energy_j)


@pytest.mark.parametrize(("program", "status"), [("no-such-program", 127), ("./not-executable", 126)])
def test_a_command_that_cannot_be_started_gives_the_status_of_a_shell_and_a_reason(program, status):
    Path("not-executable").write_text("print()")
    done = fitprint_run("--", program)
    assert done.returncode == status
    assert f"cannot run '{program}'" in done.stderr


@pytest.mark.parametrize("words", [[], ["--"]])
def test_without_a_command_the_usage_is_shown_by_example(words):
    done = fitprint_run(*words)
    assert done.returncode == 2
    assert "fitprint run --region FR -- python train.py" in done.stderr


def test_bad_options_are_refused_before_anything_starts():
    done = fitprint_run("--budget", "2kgs", "--", "touch", "started")
    assert done.returncode == 2
    assert "Did you mean '2 kg'" in done.stderr
    assert not Path("started").exists()


def test_the_environment_is_the_commands_own_beside_the_parents_id():
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    done = fitprint_run("--", sys.executable, "-c", code, env={**os.environ, "MINE": "kept"})
    seen = json.loads(done.stdout)
    assert seen["MINE"] == "kept"
    assert seen["FITPRINT_PARENT_RUN"] == only_run().run_id


def test_a_run_inside_it_counts_in_the_same_place_and_ledger_whatever_its_folder(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    code = "import os; os.chdir('elsewhere')\nfrom fitprint import Tracker\nwith Tracker(name='inner'): pass"
    options = ("--pue", "1.31", "--project", "p", "--intensity", "77", "--ledger", "l.db", "--name", "outer")
    done = fitprint_run(*options, "--", sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    runs = {row["name"]: Ledger("l.db").footprint(row["run_id"]) for row in Ledger("l.db").runs()}
    assert runs["inner"].parent_run_id == runs["outer"].run_id
    assert [(run.intensity, run.pue, run.project) for run in runs.values()] == [(77.0, 1.31, "p")] * 2
    assert {run.segments[0]["region"] for run in runs.values()} == {"FR"}
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_the_users_environment_sets_is_left_as_it_is():
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    environ = {**os.environ, "FITPRINT_PUE": "1.5", "FITPRINT_PROJECT": ""}
    seen = json.loads(fitprint_run("--pue", "1.2", "--project", "p", "--", sys.executable, "-c", code, env=environ).stdout)
    assert (seen["FITPRINT_PUE"], seen["FITPRINT_PROJECT"], seen["FITPRINT_REGION"]) == ("1.5", "p", "FR")
    assert "FITPRINT_BUDGET" not in seen


def on_a_terminal(*words):
    """What a terminal would have shown, and the exit status."""
    return shown_by([sys.executable, "-m", "fitprint", "run", "--region", "FR", *words])


@pytest.mark.timeout(60)
def test_a_long_command_has_a_live_line_on_a_terminal_and_a_quiet_one_has_none():
    code = "import time; print('working', flush=True); time.sleep(7.2)"
    shown, status = on_a_terminal("--budget", "1 kg", "--", sys.executable, "-c", code)
    assert status == 0
    assert "working" in shown
    assert re.search(r"fitprint: [67]\.\d s, .* CO2e, .* W, 0 % of 1 kg", shown)
    shown, _ = on_a_terminal("--quiet", "--", sys.executable, "-c", code)
    assert "fitprint: 6" not in shown


def test_a_short_command_has_no_live_line():
    shown, _ = on_a_terminal("--", sys.executable, "-c", "print('done')")
    assert "done" in shown
    assert " W" not in shown.split("CO2e")[0]


def test_a_recorded_trace_replays_to_the_joules_of_the_run():
    fitprint_run("--record", "trace.jsonl", "--", sys.executable, "-c", "import time; time.sleep(2.5)")
    trace = Trace.read(Path("trace.jsonl").read_text().splitlines())
    around = Surroundings(clock=trace.clock, environ={})
    with Tracker(counters=trace.counters, around=around, ledger="off", region="FR") as tracker:
        for _ in trace.play():
            tracker.check(ahead_s=0.0)
    run = only_run()
    # A busy machine lets some time pass between the run's readings and the recorder's at either end.
    assert tracker.footprint.duration_s == pytest.approx(run.duration_s, abs=0.1)
    assert tracker.footprint.by_part == pytest.approx(run.by_part, rel=0.1 / run.duration_s)


def test_a_trace_that_cannot_be_written_is_refused_before_the_command_starts():
    done = fitprint_run("--record", "no/such/folder/trace.jsonl", "--", sys.executable, "-c", "print('ran')")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot write the trace" in done.stderr


def test_a_tracker_inside_the_command_joins_it_as_a_child():
    code = "from fitprint import Tracker\nwith Tracker(region='FR', name='inner'): pass"
    done = fitprint_run("--name", "outer", "--", sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    runs = {row["name"]: Ledger().footprint(row["run_id"]) for row in Ledger().runs()}
    assert runs["inner"].parent_run_id == runs["outer"].run_id


def test_a_series_of_intensities_counts_by_the_hour(tmp_path):
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    times = [hour + timedelta(hours=i) for i in range(-1, 3)]
    (tmp_path / "grid.csv").write_text("datetime,g_per_kwh\n" + "".join(f"{when.isoformat()},77\n" for when in times))
    assert fitprint_run("--intensity", "grid.csv", "--", sys.executable, "-c", "pass").returncode == 0
    assert only_run().intensity == pytest.approx(77)


def test_a_service_is_refused_where_the_network_is_not_allowed():
    done = fitprint_run("--intensity", "electricitymaps:FR", "--", "true")
    assert done.returncode == 2
    assert done.stderr.count("FITPRINT_ALLOW_NETWORK=1") == 1
