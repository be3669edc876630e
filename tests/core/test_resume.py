"""Resuming: who goes on with a run, what it has spent by then, and when another run begins instead."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitprint import Budget, Config, Footprint, Ledger, Tracker
from fitprint.ledger.claim import Claim, Job
from fitprint.process import Process, host_key
from fitprint.run_ids import job_run_id
from fitprint.sensors.probe import Surroundings
from fitprint.series import Series
from fitprint.sidecar import Sidecar
from fitprint.testing import ScriptedCounter

LEDGER = Path("fitprint.db")
WATTS = 100.0

# A program on a machine of 100 W whose epochs last a second each; it says when an epoch has begun.
PROGRAM = """
import sys, time
from fitprint import Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter
import os

clock = FakeClock()
make = lambda **options: Tracker(
    region="FR", counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ=dict(os.environ)), **options
)
"""


@pytest.fixture
def tracker(clock):
    """Makes trackers on one scripted GPU of 100 W, recorded."""
    gpu = ScriptedCounter(clock, watts=WATTS)

    def make(environ=None, **options):
        around = Surroundings(clock=clock, environ=environ or {})
        return Tracker(counters=[gpu], around=around, **{"region": "FR", **options})

    return make


@pytest.fixture
def train(tracker, clock):
    """Runs epochs of a second each and returns the record."""

    def run(epochs=2, *, of=None, state=None, seconds=1.0, **options):
        t = of or tracker(**options)
        t.start()
        if state is not None:
            t.resume(state)
        for _ in t.epochs(range(epochs)):
            clock.advance(seconds)
        t.close()
        return t.footprint

    return run


def holds(f: Footprint):
    """Whether a record's sums are one."""
    sums = [
        math.fsum([*(e.energy_j for e in f.epochs), f.outside_epochs_j]),
        math.fsum(f.by_part.values()),
        math.fsum(f.phases.values()),
        math.fsum(s["energy_j"] for s in f.segments),
        math.fsum(s["energy_j"] for s in f.sensors),
    ]
    return all(abs(s - f.energy_j) < 1e-6 for s in sums)


def start(program: str, **environ: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + program], stdout=subprocess.PIPE, text=True, env={**os.environ, **environ}
    )


def killed(program: str, **environ: str) -> None:
    """Run a program until it says `now`, and kill it."""
    process = start(program, **environ)
    for line in process.stdout:
        if line.strip() == "now":
            break
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    process.stdout.close()


def done(program: str, **environ: str) -> str:
    process = start(program, **environ)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out


# ---- the same run id


def test_a_run_id_that_is_used_again_goes_on_and_its_first_epochs_stay(train, caplog):
    train(run_id="mine")
    whole = train(3, run_id="mine")
    assert (whole.run_id, whole.energy_j, len(whole.epochs), len(whole.segments)) == ("mine", 500.0, 5, 2)
    assert holds(whole)
    assert Ledger(LEDGER).footprint("mine").to_dict() == whole.to_dict()
    assert [row["run_id"] for row in Ledger(LEDGER).runs()] == ["mine"]
    assert "was completed before" in caplog.text


def test_a_run_id_from_the_environment_does_the_same(train, monkeypatch, tracker):
    environ = {"FITPRINT_RUN_ID": "mine"}
    train(of=tracker(environ))
    assert train(of=tracker(environ)).energy_j == 400.0


def test_a_budget_on_resume_is_the_total(train):
    train(5, run_id="mine")
    whole = train(100, run_id="mine", budget="900 J")
    assert 700.0 <= whole.energy_j <= 900.0
    assert whole.budget[0]["used"] == pytest.approx(whole.energy_j / 900.0)
    assert [s["budget"] for s in whole.segments] == [[], ["900 J"]]


def test_a_spent_budget_trains_nothing_and_a_greater_one_goes_on(train):
    train(6, run_id="mine")
    assert len(train(100, run_id="mine", budget="600 J").epochs) == 6
    assert len(train(100, run_id="mine", budget="1000 J").epochs) in (8, 9)


def test_a_run_that_a_budget_stopped_and_that_went_on_to_its_end_is_recorded_as_stopped_by_nothing(train):
    assert train(100, run_id="mine", budget="600 J").stop_reason
    whole = train(2, run_id="mine", budget="2 kJ")
    recorded = Ledger(LEDGER).footprint("mine")
    assert (recorded.status, recorded.stop_reason) == (whole.status, whole.stop_reason) == ("completed", None)


def test_min_epochs_counts_the_epochs_before(train):
    train(3, run_id="mine")
    assert len(train(10, run_id="mine", budget=Budget("100 J", min_epochs=4)).epochs) == 4


def test_a_run_that_failed_goes_on_without_a_warning(tracker, train, clock, caplog):
    with pytest.raises(MemoryError), tracker(run_id="mine") as t:
        for _ in t.epochs(range(5)):
            clock.advance(1.0)
            if len(t.footprint.epochs) == 2:
                raise MemoryError
    whole = train(run_id="mine")
    assert [(e.energy_j, e.complete) for e in whole.epochs] == [(100.0, True), (100.0, False), (100.0, True), (100.0, True)]
    assert "completed before" not in caplog.text


def test_another_kind_of_run_is_not_gone_on_with(train, caplog):
    train(run_id="mine")
    other = train(run_id="mine", kind="test")
    assert (other.run_id != "mine", other.energy_j) == (True, 200.0)
    assert "a run of kind 'fit'" in caplog.text


def test_with_the_ledger_off_it_is_said_once_that_resuming_is_off(train, caplog):
    caplog.set_level("INFO", "fitprint")
    train(run_id="mine", ledger="off")
    assert train(run_id="mine", ledger="off").energy_j == 200.0
    assert sum("resuming is off" in record.getMessage() for record in caplog.records) == 2  # once a run


def test_a_run_without_an_id_reads_nothing_and_is_new(train):
    assert train().run_id != train().run_id


def test_what_a_run_knows_of_itself_is_kept_when_the_next_process_does_not_say_it(train):
    train(run_id="mine", project="p", name="n", config=Config(tags=["a"]))
    whole = train(run_id="mine", config=Config(tags=["b"]))
    assert (whole.project, whole.name, whole.tags) == ("p", "n", ("a", "b"))


def test_blocks_go_on_with_their_numbers(tracker, clock):
    from fitprint.pace import Schedule

    for _ in range(2):
        with tracker(run_id="mine", config=Config(block=2)) as t:
            look = t.begin_epoch(0, Schedule(batches=6))
            for batch in range(1, 7):
                clock.advance(1.0)
                if batch >= look:
                    look, _ = t.look(batch)
            t.end_epoch()
    recorded = Ledger(LEDGER).footprint("mine")
    assert [b.index for b in recorded.blocks] == [0, 1, 2, 3, 4, 5]
    assert recorded.to_dict() == t.footprint.to_dict()


def test_energy_over_time_spans_both_stretches(train, clock):
    train(run_id="mine")
    clock.advance(1000.0)
    series = train(run_id="mine").energy_series
    assert series["energy_j"][-1] == pytest.approx(400.0)
    assert series["time_s"][-1] == pytest.approx(1004.0, abs=0.01)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stretches=st.lists(st.lists(st.floats(0.01, 50.0), max_size=4), min_size=1, max_size=4), ledger=st.sampled_from(["on", "off"])
)
def test_sums_hold_over_any_number_of_segments(tracker, clock, stretches, ledger):
    run_id = f"run-{time.monotonic_ns()}"
    state, began = None, 0
    for epochs in stretches:
        t = tracker(run_id=run_id, **({"ledger": "off"} if ledger == "off" else {})).start()
        if state is not None and ledger == "off":
            t.resume(state)
        clock.advance(0.5)
        for index, seconds in enumerate(epochs):
            with t.epoch(index):
                clock.advance(seconds)
        t.close()
        state = json.loads(json.dumps(t.state()))
        began += len(epochs)
    f = t.footprint
    true_j = WATTS * math.fsum([0.5 * len(stretches), *(s for epochs in stretches for s in epochs)])
    assert f.energy_j == pytest.approx(true_j, abs=0.05)  # the counter counts whole millijoules
    assert (len(f.epochs), len(f.segments)) == (began, len(stretches))
    assert holds(f)


# ---- killed


KILLED_AFTER_THREE = """
with make(run_id="mine") as t:
    for index in t.epochs(range(100)):
        clock.advance(1.0)
        if index == 3:
            t._guard.run._books.meter.snapshot(); t._guard.run._tick()
            time.sleep(0.5)  # the clerk writes
            print("now", flush=True)
            time.sleep(60)
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("lost", ["nothing", "the database"])
def test_what_a_killed_process_used_is_spent(lost):
    killed(KILLED_AFTER_THREE)
    if lost == "the database":
        LEDGER.unlink()
    dead = Ledger(LEDGER).footprint("mine")
    assert (dead.status, len(dead.epochs), dead.energy_j) == ("lost", 3, 400.0)
    assert math.fsum([*(e.energy_j for e in dead.epochs), dead.outside_epochs_j]) == pytest.approx(dead.energy_j, abs=1e-6)
    out = done("""
with make(run_id="mine", budget="650 J") as t:
    for _ in t.epochs(range(3, 100)):
        clock.advance(1.0)
print(t.footprint.to_json())
""")
    whole = Footprint.from_json(out)
    assert (whole.run_id, whole.status, whole.energy_j, len(whole.epochs)) == ("mine", "stopped", 600.0, 5)
    assert [(s["host"], s["energy_j"]) for s in whole.segments] == [("host-1", 400.0), ("host-1", 200.0)]
    assert holds(whole)
    assert Ledger(LEDGER).footprint("mine").to_dict() == whole.to_dict()


@pytest.mark.timeout(120)
def test_what_is_in_the_journal_alone_is_spent_too():
    blocked = """
import sqlite3
with make(run_id="mine") as t:
    for index in t.epochs(range(100)):
        clock.advance(1.0)
        if index == 1:
            time.sleep(0.5)  # the clerk writes
            db = sqlite3.connect("fitprint.db", isolation_level=None)
            db.execute("BEGIN IMMEDIATE")
        if index == 5:
            time.sleep(0.5)
            print("now", flush=True)
            time.sleep(60)
"""
    killed(blocked)
    assert len(Ledger(LEDGER).footprint("mine").epochs) == 5


@pytest.mark.timeout(120)
def test_a_state_of_a_killed_run_goes_on_with_what_came_after_it(train):
    killed("""
import json
with make() as t:
    for index in t.epochs(range(100)):
        if index == 2:
            json.dump(t.state(), open("state.json", "w"))
        clock.advance(1.0)
        if index == 4:
            time.sleep(0.5)
            print("now", flush=True)
            time.sleep(60)
""")
    state = json.loads(Path("state.json").read_text())
    assert state["footprint"]["energy_j"] == 200.0
    whole = train(1, state=state)
    assert whole.run_id == state["footprint"]["run_id"]
    assert whole.energy_j == 500.0, "four epochs of the first process and one of this"
    assert holds(whole)


@pytest.mark.timeout(120)
def test_a_run_that_is_killed_twice_after_one_checkpoint_is_one_run(train):
    again = """
import json
with make() as t:
    if len(sys.argv) > 1 or os.path.exists("state.json"):
        t.resume(json.load(open("state.json")))
    for index in t.epochs(range(100)):
        if index == 1 and not os.path.exists("state.json"):
            json.dump(t.state(), open("state.json", "w"))
        clock.advance(1.0)
        if index == 3:
            time.sleep(0.5)
            print("now", flush=True)
            time.sleep(60)
"""
    killed(again)
    killed(again)
    whole = train(1, state=json.loads(Path("state.json").read_text()))
    assert (whole.energy_j, whole.forked_from, len(whole.segments)) == (700.0, None, 3)
    assert len(Ledger(LEDGER).runs()) == 1


# ---- one writer for one run


def test_a_run_id_that_is_held_makes_a_run_of_its_own_with_a_warning(tracker, train, clock, caplog):
    first = tracker(run_id="mine").start()
    for _ in first.epochs(range(2)):
        clock.advance(1.0)
    second = train(3, run_id="mine")
    first.close()
    assert second.run_id != "mine"
    assert (first.footprint.energy_j, second.energy_j) == (500.0, 300.0), "the second lies in the time of the first"
    assert {row["run_id"] for row in Ledger(LEDGER).runs()} == {"mine", second.run_id}
    assert "a live process writes for it" in caplog.text


@pytest.mark.timeout(120)
def test_of_many_processes_that_start_at_once_under_one_id_one_has_it():
    program = """
t = make(run_id="mine").start()
print(t.footprint.run_id, flush=True)
for _ in t.epochs(range(1)): clock.advance(1.0)
time.sleep(3)
"""
    processes = [start(program) for _ in range(5)]
    ids = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert ids.count("mine") == 1
    assert len(set(ids)) == 5
    assert {row["energy_j"] for row in Ledger(LEDGER).runs()} == {100.0}


def test_a_command_and_the_run_inside_it_do_not_share_the_id_that_the_environment_gives(train, tracker, caplog):
    inner = tracker({"FITPRINT_RUN_ID": "mine", "FITPRINT_PARENT_RUN": "mine"})
    f = train(of=inner)
    assert f.run_id != "mine"
    assert f.parent_run_id == "mine"
    assert caplog.text == ""


@pytest.fixture
def claim(tmp_path):
    """Makes claims of processes on machines of their own."""

    def make(boot="here", pid=1, job=None):
        proc = tmp_path / f"proc-{boot}"
        (proc / "sys/kernel/random").mkdir(parents=True, exist_ok=True)
        (proc / "sys/kernel/random/boot_id").write_text(boot)
        return Claim(tmp_path / "runs" / "mine", Process(boot, pid, ""), proc, job)

    return make


def test_a_claim_is_numbered_and_free_again_when_it_is_let_go_of(claim):
    first, second = claim(), claim()
    assert first.take()
    assert first.generation == 1
    first.release()
    assert second.held_elsewhere() is False
    assert second.take()
    assert second.taken == 2


def test_of_a_process_on_another_machine_nothing_is_known_until_it_has_been_silent_for_long(claim):
    there, here = claim("there"), claim("here")
    assert there.take()
    assert here.held_elsewhere() is None
    for path in (here._folder).iterdir():
        os.utime(path, (time.time() - 200, time.time() - 200))
    assert here.held_elsewhere() is False


def test_a_requeued_job_does_not_wait_for_the_machine_that_it_was_taken_from(claim):
    assert claim("there", job=Job("SLURM_JOB_ID=7", 0)).take()
    assert claim("here", job=Job("SLURM_JOB_ID=7", 1)).held_elsewhere() is False
    assert claim("here", job=Job("SLURM_JOB_ID=8", 1)).held_elsewhere() is None


def test_a_torn_claim_is_nobodys_after_a_while(claim):
    here = claim()
    here._folder.mkdir(parents=True)
    (here._folder / "1.claim").write_text('{"boot_')
    assert here.held_elsewhere() is None
    os.utime(here._folder / "1.claim", (0, 0))
    assert here.held_elsewhere() is False


def test_where_the_other_process_may_have_died_its_spending_is_not_given_back(train, monkeypatch, caplog):
    first = train(4, run_id="mine")
    ended = next(Path("fitprint.d/mine").glob("*.ended"))
    ended.rename(ended.with_suffix(".claim")).write_text(json.dumps({"boot_id": "elsewhere", "pid": 1, "started": "1"}))
    second = train(100, run_id="mine", budget="750 J")
    assert second.forked_from == first.run_id == "mine"
    assert second.inherited["energy_j"] == 400.0
    assert second.energy_j <= 350.0


# ---- forks


@pytest.fixture
def checkpoint(tracker, clock):
    """The state of a run after two of its four epochs; the run is completed."""
    with tracker() as t:
        for index in t.epochs(range(4)):
            if index == 2:
                state = json.loads(json.dumps(t.state()))
            clock.advance(1.0)
    return replace_state(state)


def replace_state(state):
    """Without the epoch that had just begun when the state was taken."""
    epochs = [e for e in state["footprint"]["epochs"] if e["complete"]]
    return {**state, "footprint": {**state["footprint"], "epochs": epochs}}


def test_a_run_that_was_completed_from_a_checkpoint_is_forked_by_a_second_one(train, checkpoint, caplog):
    f = train(3, state=checkpoint)
    origin = checkpoint["footprint"]["run_id"]
    assert (f.forked_from, f.energy_j, len(f.epochs), len(f.segments)) == (origin, 300.0, 3, 1)
    assert (f.inherited["energy_j"], f.inherited["epochs"]) == (200.0, 2)
    assert f.inherited["co2e_g"] == pytest.approx(checkpoint["footprint"]["co2e_g"])
    assert holds(f)
    assert sum(row["energy_j"] for row in Ledger(LEDGER).runs()) == 700.0, "every joule once"
    assert Ledger(LEDGER).footprint(f.run_id).to_dict() == f.to_dict()
    assert "forked" in str(f)
    assert "count against this one's budget" in caplog.text


def test_what_a_fork_inherits_counts_against_its_budget(train, checkpoint):
    f = train(100, state=checkpoint, budget="650 J")
    assert 300.0 <= f.energy_j <= 450.0
    assert f.budget[0]["used"] == pytest.approx((f.energy_j + 200.0) / 650.0)


def test_a_fork_that_is_resumed_stays_one(train, checkpoint, tracker):
    t = tracker()
    train(2, of=t, state=checkpoint)
    f = train(100, state=t.state(), budget="650 J")
    assert f.run_id == t.footprint.run_id
    assert f.forked_from == checkpoint["footprint"]["run_id"]
    assert 400.0 <= f.energy_j <= 450.0
    assert f.inherited["energy_j"] == 200.0


def test_a_fork_of_a_fork_inherits_what_both_had_spent(train, checkpoint, tracker, clock):
    with tracker() as t:
        t.resume(checkpoint)
        for index in t.epochs(range(3)):
            if index == 1:
                state = replace_state(t.state())
            clock.advance(1.0)
    f = train(1, state=state)
    assert (f.forked_from, f.energy_j) == (t.footprint.run_id, 100.0)
    assert (f.inherited["energy_j"], f.inherited["epochs"]) == (300.0, 3)


def wait_for_claim():
    """The thread that writes claims a run when it comes round to it."""
    until = time.monotonic() + 10.0
    while not list(Path("fitprint.d").glob("*/*.claim")) and time.monotonic() < until:
        time.sleep(0.01)


def test_a_checkpoint_of_a_live_run_is_forked(train, tracker, clock):
    with tracker() as first:
        for index in first.epochs(range(2)):
            clock.advance(1.0)
            if index == 1:
                wait_for_claim()
                f = train(1, state=json.loads(json.dumps(first.state())))
    assert f.forked_from == first.footprint.run_id != f.run_id


def test_of_two_that_go_on_from_the_end_of_a_run_the_first_goes_on_with_it_and_the_second_is_a_fork(train, tracker):
    t = tracker()
    origin = train(2, of=t)
    state = t.state()
    assert train(2, state=state).run_id == origin.run_id
    second = train(2, state=state)
    assert second.forked_from == origin.run_id


def test_trials_that_a_budget_stopped_leave_the_checkpoint_to_the_next(train, tracker):
    t = tracker()
    train(2, of=t)
    trials = [train(100, state=t.state(), budget="500 J") for _ in range(3)]
    assert [f.energy_j + (f.inherited or {"energy_j": 0.0})["energy_j"] for f in trials] == [400.0] * 3
    assert [f.forked_from for f in trials] == [None, t.footprint.run_id, t.footprint.run_id]


def test_a_run_that_its_budget_stopped_goes_on_from_an_older_checkpoint_and_nothing_is_given_back(train, tracker, clock):
    with tracker(budget="600 J") as t:
        for index in t.epochs(range(100)):
            if index == 2:
                state = replace_state(t.state())
            clock.advance(1.0)
    f = train(100, state=state, budget="800 J")
    assert (f.run_id, f.forked_from) == (t.footprint.run_id, None)
    assert t.footprint.energy_j < f.energy_j <= 800.0


def test_an_id_that_was_given_makes_a_run_of_its_own_out_of_anothers_checkpoint(train, tracker, clock):
    with pytest.raises(MemoryError), tracker(run_id="pretraining") as t:
        for _ in t.epochs(range(3)):
            clock.advance(1.0)
            state = t.state()
            raise MemoryError
    f = train(1, state=state, run_id="finetuning")
    assert (f.run_id, f.forked_from, f.energy_j) == ("finetuning", "pretraining", 100.0)
    again = train(1, state=state, run_id="finetuning")
    assert (again.run_id, again.forked_from, again.energy_j) == ("finetuning", "pretraining", 200.0)


def test_the_numbered_runs_of_one_callback_go_on_with_each_others_checkpoints(clock):
    make = partial(Tracker, counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ={}))
    series = Series(Config(region="FR", run_id="mine"), make)
    for epochs in (2, 3):
        state = series.state()
        t = series.begin("fit", awaits_state=True)
        series.resume(state)
        for _ in t.epochs(range(epochs)):
            clock.advance(1.0)
        series.end()
    assert [(f.run_id, len(f.epochs)) for f in series.footprints] == [("mine", 2), ("mine", 5)]


def test_a_state_that_comes_after_the_first_epoch_is_not_taken(tracker, clock, caplog, train):
    t = tracker()
    train(of=t)
    with tracker() as late:
        for _ in late.epochs(range(2)):
            clock.advance(1.0)
        late.resume(t.state())
    assert late.footprint.energy_j == 200.0
    assert "came after the run's first epoch" in caplog.text


def test_with_the_ledger_off_a_state_goes_on_as_the_same_run(train, tracker, caplog):
    caplog.set_level("INFO", "fitprint")
    t = tracker(ledger="off")
    train(2, of=t)
    f = train(1, state=json.loads(json.dumps(t.state())), ledger="off")
    assert (f.run_id, f.energy_j, f.forked_from) == (t.footprint.run_id, 300.0, None)
    assert "the ledger is off" in caplog.text


# ---- jobs of a scheduler


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("environ", "name"),
    [({"TORCHELASTIC_RUN_ID": "my/job"}, "elastic-my-job-"), ({"SLURM_JOB_ID": "77"}, "slurm-77-")],
    ids=["elastic", "slurm"],
)
def test_a_requeued_job_goes_on_with_the_same_command_until_it_is_completed(environ, name):
    program = """
crash = not os.path.exists("crashed")
with make() as t:
    for i in t.epochs(range(4)):
        clock.advance(1.0)
        if i == 2 and crash:
            open("crashed", "w").close()
            t._guard.run._books.meter.snapshot(); t._guard.run._tick()
            time.sleep(0.5)
            print("now", flush=True)
            time.sleep(60)
print(t.footprint.run_id, t.footprint.energy_j)
"""
    killed(program, **environ)
    run_id, energy_j = done(program, **environ).split()
    assert run_id.startswith(name)
    assert float(energy_j) == 600.0 + 100.0, "three epochs of the first process, four of the second"
    another, energy_j = done(program, **environ).split()
    assert (another != run_id, float(energy_j)) == (True, 400.0)


def test_a_job_without_an_id_has_none():
    assert job_run_id({"TORCHELASTIC_RUN_ID": "none"}, 1) is None
    assert job_run_id({}, 1) is None


def test_ranks_and_the_runs_of_one_process_have_ids_of_their_own():
    environ = {"SLURM_JOB_ID": "7"}
    ids = {job_run_id(environ, 1), job_run_id(environ, 2), job_run_id({**environ, "RANK": "1"}, 1)}
    assert len(ids) == 3
    assert job_run_id(environ, 1) == job_run_id({**environ, "RANK": "0"}, 1)


# ---- segments


def moved(tmp_path, boot):
    """The options of a machine of its own."""
    proc = tmp_path / f"proc-{boot}"
    (proc / "sys/kernel/random").mkdir(parents=True)
    (proc / "sys/kernel/random/boot_id").write_text(boot)
    return {"config": Config(proc_root=str(proc), sys_root=str(tmp_path))}


def test_a_run_on_two_machines_in_two_places_shows_both(train, tmp_path):
    a, b = moved(tmp_path, "aaaa"), moved(tmp_path, "bbbb")
    train(2, run_id="mine", region="PL", pue=1.5, **a)
    train(1, run_id="mine", region="SE", pue=1.1, **b)
    whole = train(1, run_id="mine", region="PL", pue=1.5, **a)
    assert [(s["host"], s["region"], s["pue"], s["energy_j"]) for s in whole.segments] == [
        ("host-1", "PL", 1.5, 200.0),
        ("host-2", "SE", 1.1, 100.0),
        ("host-1", "PL", 1.5, 100.0),
    ]
    for name in ("intensity", "pue", "node_factor"):
        mean = math.fsum(s[name] * s["energy_j"] for s in whole.segments) / whole.energy_j
        assert getattr(whole, name) == pytest.approx(mean)
    assert math.fsum(s["co2e_g"] for s in whole.segments) == pytest.approx(whole.co2e_g)
    assert {row["value"] for row in whole.assumptions if row["name"] == "region"} == {"PL", "SE"}
    assert "aaaa" not in whole.to_json()
    text = str(whole)
    assert "host-2 in SE" in text
    assert text.count("segment ") == 3
    page = whole.to_html()
    assert "<h2>Segments</h2>" in page
    assert page.count("host-1") == 2


def test_a_run_that_was_never_resumed_shows_no_segments(train):
    whole = train()
    assert "segment" not in str(whole)
    assert "Segments" not in whole.to_html()


def test_a_hosts_key_is_of_use_inside_its_run_alone(tmp_path):
    proc = moved(tmp_path, "aaaa")["config"].proc_root
    assert host_key(Path(proc), "run-1") == host_key(Path(proc), "run-1") != host_key(Path(proc), "run-2")


def test_segments_of_an_earlier_version_keep_their_host(train, tracker):
    t = tracker(ledger="off")
    train(of=t)
    state = t.state()
    for segment in state["footprint"]["segments"]:
        del segment["host_key"]
    whole = train(state=state, ledger="off")
    assert [s["host"] for s in whole.segments] == ["host-1", "host-2"]


def test_epochs_of_another_machines_ledger_come_along(train, tracker):
    t = tracker(ledger="a/fitprint.db")
    train(3, of=t)
    whole = train(2, state=json.loads(json.dumps(t.state())), ledger="b/fitprint.db")
    assert len(whole.epochs) == 5
    assert Ledger("b/fitprint.db").footprint(whole.run_id).to_dict() == whole.to_dict()


# ---- a ledger that fails


def test_a_ledger_that_cannot_be_read_costs_what_was_spent_before_and_one_line(train, caplog):
    Path("fitprint.db").write_bytes(b"no database" * 100)
    assert train(run_id="mine").energy_j == 200.0
    assert "what run mine had spent before is not known" in caplog.text


def test_a_folder_that_cannot_be_written_costs_the_claim_alone(train):
    Path("fitprint.d").write_text("a file")
    assert train(run_id="mine").energy_j == 200.0


# ---- the sidecar


def test_a_sidecar_that_was_torn_gives_the_state_before(caplog):
    sidecar = Sidecar("backup")
    sidecar.save({"n": 1})
    sidecar.save({"n": 2})
    sidecar.path.write_text('{"n": ')
    assert sidecar.load() == {"n": 1}
    assert "cannot be read" in caplog.text


def test_a_sidecar_of_a_run_that_has_ended_is_of_no_use_without_the_folder():
    sidecar = Sidecar("backup")
    for status, folder, found in (("running", False, True), ("completed", False, False), ("completed", True, True)):
        sidecar.save({"footprint": {"status": status}})
        if folder:
            sidecar.folder.mkdir()
        assert bool(sidecar.load()) == found


@pytest.mark.parametrize("bad", ["", " ", 3, "gs://bucket/backup"])
def test_a_backup_dir_that_is_no_folder_here_is_refused(bad):
    with pytest.raises(ValueError, match=r"^backup_dir="):
        Sidecar(bad)
