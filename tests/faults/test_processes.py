"""Forks, spawns, signals and exits in mid-run: one process measures, and every process ends as it would."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from fitprint import Config, Ledger, Tracker
from fitprint.pace import Schedule
from fitprint.sensors.probe import Surroundings
from fitprint.series import Series
from fitprint.testing import FakeClock, FakePowercap, ScriptedCounter
from terminal import shown_by

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

ZONE = "intel-rapl:0"

# A program on a machine of one package of 100 W; `work` lets a second pass.
PRELUDE = """
import json, os, signal, sys, threading, time
from pathlib import Path
from fitprint import Config, Tracker
from fitprint.pace import Schedule
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, FakePowercap

clock, powercap, seconds = FakeClock(), FakePowercap(Path("sys").absolute()), 0
powercap.add_zone("intel-rapl:0", "package-0")

def work():
    global seconds
    seconds += 1
    clock.advance(1.0)
    powercap.write("intel-rapl:0", seconds * 100_000_000)

def make(**options):
    # Each process has a clock of its own here, so none may see the runs of another.
    memory = Path(f"dev-{os.getpid()}", "shm").absolute()
    memory.mkdir(parents=True, exist_ok=True)
    around = Surroundings(sys_root=Path("sys").absolute(), dev_root=memory.parent, environ={}, clock=clock)
    return Tracker(region="FR", config=Config(parts=["cpu"], attribute="all"), around=around, **options)

def target(name):
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:  # the clerk's files come and go
        return ""

def held():
    return [name for name in os.listdir("/proc/self/fd") if target(name).endswith("energy_uj")]
"""


def start(code: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def ended(program: subprocess.Popen, within_s: float = 60.0) -> tuple[int, str]:
    """Exit status and output of a program that has to end by itself."""
    try:
        out, err = program.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        pytest.fail(f"it hung: {program.communicate()}")
    sys.stderr.write(err)  # shown where a test fails
    assert "training goes on" not in err, "nothing of ours failed"
    return program.returncode, out


def recorded() -> list[tuple[str, int, float]]:
    """Status, epochs and joules of all runs in the ledger."""
    return [(row["status"], row["epochs"], pytest.approx(row["energy_j"])) for row in Ledger().runs()]


# ---- fork


HOW_A_CHILD_ENDS = {
    "goes on to the end of the program": ("pass", 0),
    "leaves at once": ("os._exit(0)", 0),
    "exits": ("sys.exit(5)", 5),
    "fails": ("raise ZeroDivisionError", 1),
    "closes the run and exits": ("t.close('failed'); sys.exit(0)", 0),
    "drops the run and collects": ("del t; import gc; gc.collect(); os._exit(0)", 0),
    "trains on": ("t.begin_epoch(9, Schedule()); t.enter('test'); t.end_epoch(); t.footprint; t.scalars(); sys.exit(0)", 0),
}


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("ending", "status"), HOW_A_CHILD_ENDS.values(), ids=HOW_A_CHILD_ENDS)
def test_a_forked_child_however_it_ends_writes_nothing_and_takes_nothing_from_its_parent(ending, status):
    code = f"""
parent = os.getpid()
with make() as t:
    for index in t.epochs(range(6)):
        work()
        if index in (1, 3):
            before = held()
            pid = os.fork()
            if pid == 0:
                if t.alive:
                    os._exit(99)
                powercap.write = lambda zone, energy_uj: None  # the hardware is the parent's
                {ending}
            if os.getpid() == parent:
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == {status}
                assert held() == before != []
if os.getpid() == parent:
    print(t.footprint.status, t.footprint.energy_j, t.footprint.coverage)
"""
    assert ended(start(code)) == (0, "completed 600.0 1.0\n")
    assert recorded() == [("completed", 6, 600.0)]
    assert len(list(Path("fitprint.d").glob("*/*.jsonl"))) == 1


@pytest.mark.timeout(90)
@pytest.mark.parametrize("ending", ["os._exit(0)", "sys.exit(0)"])
def test_a_child_forked_in_the_middle_of_a_transaction_leaves_the_ledger_whole(ending):
    """A database handle that a child closes would roll its parent's transaction back."""
    code = f"""
from fitprint.ledger.store import Store
apply, inside, go = Store.apply, threading.Event(), threading.Event()

def applying(events):
    yield from events
    if not go.is_set():
        inside.set()
        go.wait(30)

Store.apply = lambda self, events: apply(self, applying(events))
with make() as t:
    for index in t.epochs(range(4)):
        work()
        if index == 1:
            assert inside.wait(30) and Path("fitprint.db-journal").exists()
            pid = os.fork()
            if pid == 0:
                {ending}
            assert os.waitpid(pid, 0)[1] == 0
            assert Path("fitprint.db-journal").exists()
            go.set()
"""
    assert ended(start(code))[0] == 0
    shutil.rmtree("fitprint.d")  # the database alone has to know it all
    assert recorded() == [("completed", 4, 400.0)]


@pytest.mark.timeout(90)
def test_a_forked_child_may_measure_a_run_of_its_own():
    code = """
with make(name="parent") as t:
    for index in t.epochs(range(4)):
        work()
        if index == 1:
            pid = os.fork()
            if pid == 0:
                with make(name="child") as mine:
                    for _ in mine.epochs(range(3)):
                        work()
                assert mine.footprint.parent_run_id is None
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            powercap.write("intel-rapl:0", seconds * 100_000_000)
"""
    assert ended(start(code))[0] == 0
    rows = {row["name"]: (row["status"], row["epochs"], row["energy_j"]) for row in Ledger().runs()}
    assert rows == {"parent": ("completed", 4, 400.0), "child": ("completed", 3, pytest.approx(300.0))}


@pytest.fixture
def machine(tmp_path):
    """A clock, what lets a second pass at 100 W, and trackers of that."""
    clock, powercap = FakeClock(), FakePowercap(tmp_path / "sys")
    powercap.add_zone(ZONE, "package-0")
    began_ns = clock.monotonic_ns()

    class Machine:
        around = Surroundings(sys_root=tmp_path / "sys", environ={}, clock=clock)
        config = Config(parts=["cpu"], attribute="all", region="FR")

        def work(self, seconds: float = 1.0) -> None:
            clock.advance(seconds)
            powercap.write(ZONE, (clock.monotonic_ns() - began_ns) // 10)

        def tracker(self, **options) -> Tracker:
            return Tracker(config=self.config, around=self.around, **options)

    return Machine()


class Meddling:
    """A data set that tries, in the worker that reads it, all that a tracker can do; an item tells whether it took effect."""

    def __init__(self, tracker) -> None:
        self._tracker = tracker

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> float:
        tracker = self._tracker()
        tracker.end_epoch()
        tracker.begin_epoch(99, Schedule())
        with tracker.phase("test"):
            tracker.close("failed")
        return float(tracker.alive or tracker.scalars()["carbon/total_energy_wh"] != self.known)

    known = 0.0


@pytest.mark.timeout(120)
def test_workers_of_a_data_loader_can_do_nothing_to_the_run_and_its_joules_are_right(machine):
    torch = pytest.importorskip("torch")
    trained = 0
    with machine.tracker() as tracker:
        for _ in tracker.epochs(range(2)):
            data = Meddling(lambda: tracker)
            data.known = tracker.scalars()["carbon/total_energy_wh"]
            for batch in torch.utils.data.DataLoader(data, batch_size=4, num_workers=2, multiprocessing_context="fork"):
                assert batch.sum() == 0
                machine.work()
                trained += 1
    assert trained == 16
    assert tracker.footprint.status == "completed"
    assert [epoch.energy_j for epoch in tracker.footprint.epochs] == [800.0, 800.0]
    assert tracker.footprint.coverage == 1.0
    assert recorded() == [("completed", 2, 1600.0)]
    assert len(list(Path("fitprint.d").glob("*/*.jsonl"))) == 1


@pytest.fixture
def small():
    """A Trainer's options for a quick and silent fit."""
    pytest.importorskip("lightning")
    return {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
    }


@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("persistent", [False, True])
def test_a_lightning_fit_with_workers_is_measured_by_its_main_process_alone(machine, small, persistent):
    from lightning.pytorch import LightningModule, Trainer
    from torch import nn, optim
    from torch.utils.data import DataLoader

    from fitprint_lightning import CarbonCallback

    callback = CarbonCallback()
    callback.series = Series(None, partial(Tracker, around=machine.around), **machine.config.given())

    class Model(LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def training_step(self, batch, batch_idx):
            assert batch.sum() == 0
            machine.work()
            return self.layer(batch.float().unsqueeze(1)).mean()

        def configure_optimizers(self):
            return optim.SGD(self.parameters(), lr=0.1)

    class Data(Meddling):
        def __getitem__(self, index):
            tracker = callback.series.tracker
            tracker.end_epoch()
            callback.series.end("failed")
            return float(tracker.alive)

    loader = DataLoader(Data(None), batch_size=4, num_workers=2, multiprocessing_context="fork", persistent_workers=persistent)
    trainer = Trainer(max_epochs=2, callbacks=[callback], **small)
    trainer.fit(Model(), loader)
    assert trainer.global_step == 16
    assert [epoch.energy_j for epoch in callback.footprint.epochs] == [800.0, 800.0]
    assert recorded() == [("completed", 2, pytest.approx(1600.0))]


# ---- spawn and pickles


def inert(tracker, folder) -> None:
    os.chdir(folder)
    tracker.begin_epoch(0, Schedule())
    tracker.close("failed")
    (Path(folder) / "seen").write_text(json.dumps([tracker.alive, tracker.footprint.energy_j]))


@pytest.mark.timeout(90)
def test_an_open_tracker_that_is_sent_to_a_spawned_process_is_inert_there(tmp_path):
    with Tracker(region="FR", config=Config(parts=["cpu"])) as tracker:
        child = multiprocessing.get_context("spawn").Process(target=inert, args=(tracker, str(tmp_path)))
        child.start()
        child.join(timeout=60)
        list(tracker.epochs(range(2)))
    assert child.exitcode == 0
    assert json.loads((tmp_path / "seen").read_text()) == [False, None]
    assert tracker.footprint.status == "completed"
    assert [(row["status"], row["epochs"]) for row in Ledger().runs()] == [("completed", 2)]


def fit_in_rank(rank: int, callback, folder: str) -> None:
    """What a launcher that spawns does: the callback comes as a pickle, the fit is here."""
    import warnings

    from lightning.pytorch import Trainer
    from lightning.pytorch.demos.boring_classes import BoringModel

    warnings.simplefilter("ignore")
    os.chdir(folder)
    trainer = Trainer(
        max_epochs=2,
        limit_train_batches=3,
        limit_val_batches=0,
        callbacks=[callback],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(BoringModel())
    (Path(folder) / f"rank-{rank}.json").write_text(callback.footprint.to_json())


@pytest.mark.timeout(180)
def test_a_callback_that_is_sent_to_a_spawned_rank_measures_there(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    pytest.importorskip("lightning")
    from fitprint_lightning import CarbonCallback

    callback = CarbonCallback(budget="1 kg", region="FR", config=Config(parts=["cpu", "dram"]))
    callback = pickle.loads(pickle.dumps(callback))
    torch.multiprocessing.spawn(fit_in_rank, args=(callback, str(tmp_path)), nprocs=1)
    record = json.loads((tmp_path / "rank-0.json").read_text())
    assert (record["status"], len(record["epochs"])) == ("completed", 2)
    assert record["energy_j"] > 0
    assert callback.footprint.run_id == record["run_id"], "nothing was measured here, but the ledger has the rank's record"
    assert [(row["run_id"], row["status"], row["epochs"]) for row in Ledger().runs()] == [(record["run_id"], "completed", 2)]


# ---- exits


EXITS = [
    pytest.param("sys.exit(3)", 3, "failed", id="sys.exit(3)"),
    pytest.param("sys.exit(0)", 0, "completed", id="sys.exit(0)"),
    pytest.param("raise ZeroDivisionError", 1, "failed", id="an exception"),
    pytest.param("raise KeyboardInterrupt", -signal.SIGINT, "interrupted", id="ctrl-c"),
    pytest.param("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", -signal.SIGINT, "interrupted", id="SIGINT"),
]


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("how", "code", "status"), EXITS)
def test_an_exit_in_mid_epoch_has_its_own_code_and_leaves_the_epoch_incomplete(how, code, status):
    program = f"""
with make() as t:
    for index in t.epochs(range(5)):
        work()
        if index == 2:
            {how}
"""
    assert ended(start(program))[0] == code
    assert recorded() == [(status, 3, 300.0)]
    assert [epoch.complete for epoch in Ledger().footprint(Ledger().runs()[0]["run_id"]).epochs] == [True, True, False]


@pytest.mark.timeout(90)
def test_ctrl_c_on_a_terminal_ends_a_program_that_closes_nothing_by_its_signal():
    """The summary is drawn at exit; what that imports makes the interpreter forget the interrupt."""
    code = (
        "t = make().start()\nfor _ in t.epochs(range(5)):\n    work()\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(9)\n"
    )
    shown, status = shown_by([sys.executable, "-c", PRELUDE + code])
    assert status == -signal.SIGINT
    assert "interrupted" in shown
    assert "┌" in shown, "the table"
    assert recorded() == [("interrupted", 1, 100.0)]


@pytest.mark.timeout(90)
def test_a_program_that_ends_without_closing_leaves_a_completed_run():
    assert ended(start("t = make().start()\nfor _ in t.epochs(range(5)): work()\n"))[0] == 0
    assert recorded() == [("completed", 5, 500.0)]


@pytest.mark.timeout(90)
def test_sys_exit_inside_an_epoch_of_a_tracker_that_was_only_started_leaves_a_failed_run():
    program = """
t = make().start()
for index in range(5):
    with t.epoch(index):
        work()
        if index == 2:
            sys.exit(3)
"""
    assert ended(start(program))[0] == 3
    assert recorded() == [("failed", 3, 300.0)]


def until(condition, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


TRAINS_UNTIL_KILLED = """
with make() as t:
    for index in t.epochs(range(5)):
        work()
        if index == 2:
            time.sleep(60)
"""


@pytest.mark.timeout(90)
def test_sigterm_without_a_handler_kills_as_ever_and_the_finished_epochs_stay():
    program = start(TRAINS_UNTIL_KILLED)
    until(lambda: [row["epochs"] for row in Ledger().runs()] == [2])
    program.terminate()
    began = time.monotonic()
    assert ended(program)[0] == -signal.SIGTERM
    assert time.monotonic() - began < 1.0
    assert recorded() == [("lost", 2, 200.0)]


@pytest.mark.timeout(90)
def test_sigterm_with_a_handler_that_exits_leaves_an_interrupted_run():
    program = start("signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n" + TRAINS_UNTIL_KILLED)
    until(lambda: [row["epochs"] for row in Ledger().runs()] == [2])
    program.terminate()
    assert ended(program)[0] == 143
    assert recorded() == [("interrupted", 3, 300.0)]


STUCK = """
from fitprint.testing import ScriptedCounter

class Stuck(ScriptedCounter):
    hangs = threading.Event()
    def read(self):
        if threading.current_thread().name == "fitprint-keeper":
            self.hangs.set()
            time.sleep(600)
        return super().read()

t = Tracker(region="FR", around=Surroundings(environ={}), counters=[Stuck(clock, modulus=100_000)]).start()
"""
HOW_IT_ENDS = {
    "closed": "t.close()",
    "left open": "pass",
    "sys.exit": "sys.exit(3)",
    "an exception": "raise ZeroDivisionError",
}


@pytest.mark.timeout(90)
@pytest.mark.parametrize("ending", HOW_IT_ENDS.values(), ids=HOW_IT_ENDS)
def test_a_program_ends_within_two_seconds_although_the_keeper_hangs_in_a_driver(ending):
    code = f"""{STUCK}
assert Stuck.hangs.wait(20)
for _ in t.epochs(range(3)):
    pass
print(time.time(), flush=True)
{ending}
"""
    status, out = ended(start(code))
    assert time.time() - float(out) < 2.5, "two seconds and the interpreter's own end"
    assert status == {"sys.exit(3)": 3, "raise ZeroDivisionError": 1}.get(ending, 0)
    (row,) = Ledger().runs()
    assert (row["status"], row["epochs"]) == ("failed" if "Zero" in ending else "completed", 3)


# ---- threads and several trackers


def test_a_tracker_whose_thread_has_ended_goes_on_in_another(machine):
    tracker = machine.tracker(ledger="off")
    thread = threading.Thread(target=lambda: (tracker.start(), tracker.begin_epoch(0, Schedule()), machine.work()))
    thread.start()
    thread.join(timeout=10)
    machine.work()
    tracker.end_epoch()
    for _ in tracker.epochs(range(1, 3)):
        machine.work()
    tracker.close()
    assert [epoch.energy_j for epoch in tracker.footprint.epochs] == [200.0, 100.0, 100.0]
    assert tracker.footprint.coverage == 1.0


def test_a_thread_that_dies_inside_a_run_closes_it_and_no_other(machine, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    inner = machine.tracker(ledger="off")

    def die() -> None:
        with inner:
            for _ in inner.epochs(range(3)):
                machine.work()
                raise ZeroDivisionError

    with machine.tracker(ledger="off") as outer:
        thread = threading.Thread(target=die)
        thread.start()
        thread.join(timeout=10)
        for _ in outer.epochs(range(2)):
            machine.work()
    assert (inner.footprint.status, inner.footprint.energy_j) == ("failed", 50.0)  # the other thread's run has the other half
    assert (outer.footprint.status, outer.footprint.coverage) == ("completed", 1.0)
    assert 250.0 <= outer.footprint.energy_j <= 300.0


def test_trackers_over_the_same_zones_hold_files_of_their_own(machine):
    with machine.tracker(ledger="off") as outer:
        machine.work()
        for _ in range(3):
            with machine.tracker(ledger="off") as inner:
                for _ in inner.epochs(range(2)):
                    machine.work()
            assert inner.footprint.energy_j == pytest.approx(200.0)
        machine.work()
    assert outer.footprint.energy_j == pytest.approx(800.0)
    assert outer.footprint.coverage == 1.0
    held = [fd.resolve() for fd in Path("/proc/self/fd").iterdir()]
    assert not any(path.is_relative_to(machine.around.sys_root) for path in held), "all are given back"


def test_a_working_folder_that_is_gone_does_not_end_the_training(tmp_path, monkeypatch):
    clock = FakeClock()
    make = partial(Tracker, counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ={}))
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    series = Series(Config(ledger="off", region="FR"), make)
    series.begin("fit")
    series.end()
    gone.rmdir()
    series.begin("test")
    series.end()
