"""Sensors that fail in mid-run: the training ends as it would, and the record says what was lost."""

from __future__ import annotations

import gc
import json
import math
import os
import shutil
import tempfile
import threading
import time
import tracemalloc
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitprint import Config, Tracker, detect
from fitprint.clock import SystemClock
from fitprint.errors import SensorError
from fitprint.meter import Meter
from fitprint.pace import Schedule
from fitprint.sensors import rapl
from fitprint.sensors.counter import Integrated, Sensor
from fitprint.sensors.probe import Surroundings
from fitprint.sensors.share import Shared
from fitprint.testing import FakeClock, FakePowercap, ScriptedCounter

WATTS = 100.0
ZONE = "intel-rapl:0"
# Reading it at offset 0, which no process maps, is a real EIO.
ALWAYS_EIO = "/proc/self/mem"
YEAR_S = 365.25 * 86_400
# 100 J / (2 x 10 kW): the keeper ticks every 5 ms of real time.
FAST = {"modulus": 100_000, "p_max_w": 10_000.0}


class Host:
    """A package of 100 W whose counter shows what it is told to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.powercap = FakePowercap(root / "sys")
        self.shown_uj = 50_000_000_000
        self.powercap.add_zone(ZONE, "package-0", energy_uj=self.shown_uj)
        self.frozen = False

    @property
    def file(self) -> Path:
        return self.root / "sys" / "class" / "powercap" / ZONE / "energy_uj"

    def work(self, seconds: float = 1.0) -> None:
        """Training draws power for some time."""
        self.clock.advance(seconds)
        if not self.frozen:
            self.shown_uj += round(WATTS * seconds * 1e6)
            self.show(f"{self.shown_uj % (self.powercap.range_uj + 1)}\n")

    def show(self, text: str) -> None:
        """Let the file say this, until work is done again."""
        with self.file.open("r+b") as file:
            file.truncate(0)
            file.write(text.encode())

    def begin_again(self, at_uj: int = 0) -> None:
        """Let the count go on from another value."""
        self.shown_uj = at_uj

    @contextmanager
    def eio(self):
        """Let the file that a run holds open answer EIO."""
        (held,) = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if fd.resolve().is_relative_to(self.root)]
        good, bad = os.dup(held), os.open(ALWAYS_EIO, os.O_RDONLY)
        os.dup2(bad, held)
        yield
        os.dup2(good, held)
        os.close(good)
        os.close(bad)

    def around(self, **options) -> Surroundings:
        return Surroundings(**{"sys_root": self.root / "sys", "environ": {}, "clock": self.clock, **options})

    def tracker(self, **options) -> Tracker:
        return Tracker(ledger="off", region="FR", config=Config(parts=["cpu"], attribute="all"), around=self.around(**options))

    def train(self, epochs: int, befall=lambda index: None):
        """Train epochs of a second each, ``befall`` called at the beginning of each; returns the record."""
        trained = []
        with self.tracker() as tracker:
            for index in tracker.epochs(range(epochs)):
                befall(index)
                self.work()
                trained.append(index)
        assert trained == list(range(epochs)), "training went on to its end"
        return sound(tracker.footprint)


def sound(footprint):
    """What holds of every record, whatever befell the sensors."""
    assert footprint.status == "completed"
    assert all(epoch.energy_j >= 0 for epoch in footprint.epochs)
    assert footprint.outside_epochs_j >= 0
    assert sum(epoch.energy_j for epoch in footprint.epochs) + footprint.outside_epochs_j == pytest.approx(footprint.energy_j)
    assert sum(footprint.by_part.values()) == pytest.approx(footprint.energy_j)
    assert sum(footprint.phases.values()) == pytest.approx(footprint.energy_j)
    assert footprint.coverage is None or 0 <= footprint.coverage <= 1
    return footprint


@pytest.fixture
def host(tmp_path) -> Host:
    return Host(tmp_path)


# ---- a zone that may not be read


def as_nobody(action, folder: Path) -> dict:
    """What an action answers a user who owns nothing; where we are such a user, it is asked directly."""
    if os.geteuid() != 0:
        return action()
    action()  # an interpreter in root's home could import nothing more later on
    incoming, outgoing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(folder)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(outgoing, json.dumps(action()).encode())
        except BaseException as error:
            os.write(outgoing, json.dumps({"error": repr(error)}).encode())
        finally:
            os._exit(0)
    os.close(outgoing)
    with open(incoming, "rb") as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(pid, 0)
    assert "error" not in answer, answer
    return answer


@pytest.fixture
def denied():
    """A machine of two packages whose counters only root may read, in a folder that everyone may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    powercap = FakePowercap(folder / "sys")
    for zone, name in ((ZONE, "package-0"), (f"{ZONE}:0", "dram"), ("intel-rapl:1", "package-1"), ("intel-rapl:1:0", "dram")):
        (powercap.add_zone(zone, name) / "energy_uj").chmod(0o400 if os.geteuid() == 0 else 0)
    yield folder
    shutil.rmtree(folder)


def look_and_train(folder: Path) -> dict:
    around, config = Surroundings(sys_root=folder / "sys", environ={}), Config(parts=["cpu", "dram"], region="FR", ledger="off")
    trained = []
    with Tracker(config=config, around=around) as tracker:
        for index in tracker.epochs(range(2)):
            time.sleep(0.05)
            trained.append(index)
    footprint = tracker.footprint
    return {
        "trained": trained,
        "detection": str(detect(config, around)),
        "methods": [(sensor["part"], sensor["method"]) for sensor in footprint.sensors],
        **{name: getattr(footprint, name) for name in ("energy_j", "coverage", "measured_fraction", "status")},
        "notes": list(footprint.notes),
    }


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_zones_that_this_user_may_not_read_are_modelled_and_nothing_is_left_out(denied):
    answer = as_nobody(lambda: look_and_train(denied), denied)
    assert answer["trained"] == [0, 1]
    assert answer["status"] == "completed"
    assert answer["methods"] == [["cpu", "modelled"], ["dram", "modelled"]]
    assert answer["energy_j"] > 0
    assert (answer["measured_fraction"], answer["coverage"]) == (0.0, pytest.approx(1.0, abs=0.01))
    assert answer["notes"] == [
        f"RAPL (powercap), {part} of package-{number}: permission denied" for number in (0, 1) for part in ("cpu", "dram")
    ]
    assert "NOT COUNTED" not in answer["detection"]
    assert f"remedy: sudo chmod a+r {denied}/sys/class/powercap/intel-rapl*/energy_uj" in answer["detection"]


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_remedy_of_several_zones_is_said_once(denied):
    answer = as_nobody(lambda: look_and_train(denied), denied)
    assert answer["detection"].count("remedy: sudo chmod a+r") == 1


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_one_package_that_may_not_be_read_beside_one_that_may_is_named_as_left_out(denied):
    if os.geteuid() == 0:
        (denied / "sys" / "class" / "powercap" / ZONE / "energy_uj").chmod(0o444)
    else:
        (denied / "sys" / "class" / "powercap" / ZONE / "energy_uj").chmod(0o400)
    answer = as_nobody(lambda: look_and_train(denied), denied)
    assert answer["trained"] == [0, 1]
    assert answer["methods"][0] == ["cpu", "counter"]
    assert answer["notes"][0] == "NOT COUNTED: cpu of package-1"


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_working_folder_that_this_user_may_not_search_costs_its_settings_only(denied):
    closed = denied / "closed"
    closed.mkdir(mode=0o700)
    if os.geteuid() != 0:
        pytest.skip("only root can enter a folder and then lose the right to it")
    answer = as_nobody(lambda: look_and_train(denied), closed)
    assert answer["trained"] == [0, 1]
    assert answer["energy_j"] > 0


# ---- a zone that fails in mid-run


def test_a_zone_that_answers_eio_for_a_while_is_caught_up_with(host):
    with_eio = host.eio()

    def befall(index):
        if index == 3:
            with_eio.__enter__()
        if index == 6:
            with_eio.__exit__(None, None, None)

    footprint = host.train(10, befall)
    assert (footprint.energy_j, footprint.coverage) == (pytest.approx(1000.0), 1.0)
    assert [epoch.energy_j for epoch in footprint.epochs[2:7]] == pytest.approx([100.0, 0.0, 0.0, 0.0, 400.0])


def test_a_zone_that_answers_eio_from_then_on_costs_the_rest_of_the_coverage(host):
    with_eio = host.eio()
    footprint = host.train(10, lambda index: with_eio.__enter__() if index == 4 else None)
    with_eio.__exit__(None, None, None)
    assert (footprint.energy_j, footprint.coverage) == (pytest.approx(400.0), pytest.approx(0.4))


def lose_the_folder(host):
    shutil.rmtree(host.file.parent)
    host.frozen = True


def replace_the_file(host):
    host.file.unlink()
    host.powercap.write(ZONE, 0)


@pytest.mark.parametrize("fault", [lose_the_folder, replace_the_file])
def test_a_zone_whose_file_is_gone_is_a_gap_once_it_stands_still_for_long(host, fault):
    footprint = host.train(40, lambda index: fault(host) if index == 10 else None)
    assert footprint.energy_j == pytest.approx(1000.0)
    assert footprint.coverage == pytest.approx(10 / 40)


GARBAGE = ["", "\0\0\0\0", "nonsense\n", "0x1f\n", "12 34\n", "1e9\n", "-\n"]


@pytest.mark.parametrize("text", GARBAGE, ids=lambda text: repr(text[:10]))
def test_a_reading_that_is_no_number_costs_nothing_once_numbers_come_back(host, text):
    trained = []
    with host.tracker() as tracker:
        for index in tracker.epochs(range(10)):
            host.work()
            if index in (4, 5):
                host.show(text)
            trained.append(index)
    footprint = sound(tracker.footprint)
    assert len(trained) == 10
    assert footprint.epochs[4].energy_j == 0.0
    assert (footprint.energy_j, footprint.coverage) == (pytest.approx(1000.0), 1.0)


@pytest.mark.parametrize("text", [f"{10**21}\n", "9" * 5000, f"-{10**21}\n"], ids=["petajoules", "a screen full", "negative"])
def test_a_count_that_jumps_for_one_reading_costs_the_two_windows_around_it(host, text):
    trained = []
    with host.tracker() as tracker:
        for index in tracker.epochs(range(10)):
            host.work()
            if index == 4:
                host.show(text)
            trained.append(index)
    footprint = sound(tracker.footprint)
    assert len(trained) == 10
    assert (footprint.energy_j, footprint.coverage) == (pytest.approx(800.0), pytest.approx(0.8))


def test_a_count_that_begins_again_costs_one_window(host):
    footprint = host.train(10, lambda index: host.begin_again() if index == 5 else None)
    assert (footprint.energy_j, footprint.coverage) == (pytest.approx(900.0), pytest.approx(0.9))
    assert footprint.epochs[5].energy_j == 0.0


@pytest.mark.parametrize(("seconds", "coverage"), [(8, 1.0), (14, 25 / 40)])
def test_a_count_that_stands_still_and_goes_on_has_the_joules_that_it_shows(host, seconds, coverage):
    """For less than 10 s nothing tells it from a counter that is late."""

    def befall(index):
        host.frozen = 10 <= index < 10 + seconds

    footprint = host.train(40, befall)
    assert (footprint.energy_j, footprint.coverage) == (pytest.approx(100.0 * (40 - seconds)), pytest.approx(coverage))


def test_without_a_range_a_wrap_costs_one_window(host):
    (host.file.parent / "max_energy_range_uj").write_text("unknown\n")
    host.shown_uj = host.powercap.range_uj - 450_000_000
    host.powercap.write(ZONE, host.shown_uj)
    footprint = host.train(10)
    assert (footprint.energy_j, footprint.coverage) == (pytest.approx(900.0), pytest.approx(0.9))


@pytest.mark.parametrize("text", ["0", "-1", "7", "1000000"])
def test_a_range_that_cannot_be_does_not_drive_the_keeper(host, text):
    (host.file.parent / "max_energy_range_uj").write_text(f"{text}\n")
    counters = [counter for finding in rapl.probe(host.root / "sys") for counter in finding.counters]
    period_s = Meter(counters, clock=host.clock).period_s
    for counter in counters:
        counter.close()
    assert period_s >= 0.005


def nothing(host, number):
    """A good reading."""


def nonsense(host, number):
    host.show("nonsense\n")


def jump(host, number):
    host.show(f"{10**15 * (number + 1)}\n")


def reset(host, number):
    host.begin_again(at_uj=(40_000 - 1000 * number) * 10**6)
    host.show(f"{host.shown_uj}\n")


@settings(max_examples=25, deadline=None)
@given(faults=st.lists(st.sampled_from([nothing, nothing, nonsense, jump, reset]), min_size=1, max_size=25))
def test_of_steady_power_the_joules_are_those_of_the_time_that_is_covered(faults):
    with tempfile.TemporaryDirectory() as folder:
        host = Host(Path(folder))
        with host.tracker() as tracker:
            for index in tracker.epochs(range(len(faults))):
                host.work()
                faults[index](host, index)
    footprint = sound(tracker.footprint)
    assert len(footprint.epochs) == len(faults)
    assert footprint.energy_j == pytest.approx(WATTS * footprint.coverage * footprint.duration_s)


# ---- clocks


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 10 * YEAR_S, -10 * YEAR_S], ids=["1 h", "-1 h", "10 years", "-10 years"])
def test_a_step_of_the_wall_clock_moves_labels_and_nothing_else(tmp_path, step_s):
    def epochs(step_s):
        host = Host(tmp_path / str(step_s))
        footprint = host.train(6, lambda index: host.clock.step_wall(step_s) if index == 3 else None)
        return footprint, [(epoch.duration_s, epoch.energy_j, epoch.steps) for epoch in footprint.epochs]

    stepped, values = epochs(step_s)
    steady, expected = epochs(0.0)
    assert values == expected
    assert (stepped.duration_s, stepped.energy_j, stepped.coverage) == (6.0, 600.0, 1.0)
    labels = [a.started_at != b.started_at for a, b in zip(stepped.epochs, steady.epochs, strict=True)]
    assert labels == [False, False, False, False, True, True], "the fourth had begun before the step"


def test_a_suspend_in_mid_run_is_a_gap_of_the_stretch_it_fell_into(host):
    def befall(index):
        if index == 5:
            host.clock.suspend(8 * 3600.0)

    footprint = host.train(10, befall)
    assert footprint.duration_s == 10.0
    assert (footprint.energy_j, footprint.coverage) == (pytest.approx(900.0), pytest.approx(0.9))


def test_a_suspend_that_clears_the_counter_invents_nothing(host):
    def befall(index):
        if index == 5:
            host.clock.suspend(8 * 3600.0)
            host.begin_again()

    footprint = host.train(10, befall)
    assert (footprint.energy_j, footprint.coverage) == (pytest.approx(900.0), pytest.approx(0.9))


@pytest.mark.parametrize("joules", [0.0, 1.0, 900.0])
def test_a_monotonic_clock_that_stalls_divides_by_nothing_and_keeps_what_can_be(joules):
    clock = FakeClock()
    gpu = ScriptedCounter(clock, watts=WATTS, p_max_w=1000.0)
    trained = []
    with Tracker(ledger="off", region="FR", counters=[gpu], around=Surroundings(clock=clock, environ={})) as tracker:
        for index in tracker.epochs(range(10)):
            clock.advance(0.0 if index in (4, 5) else 1.0)
            gpu.add(joules if index in (4, 5) else 0.0)
            assert all(math.isfinite(value) for value in tracker.scalars().values())
            trained.append(index)
    footprint = sound(tracker.footprint)
    assert len(trained) == 10
    assert footprint.duration_s == 8.0
    assert footprint.energy_j == pytest.approx(800.0 + 2 * joules)


# ---- a reading that hangs


class Stuck(ScriptedCounter):
    """Hangs in the thread that is named, until it is let go."""

    def __init__(self, clock, thread: str, **options) -> None:
        super().__init__(clock, **options)
        self._thread = thread
        self.armed = False
        self.hangs, self.go = threading.Event(), threading.Event()

    def read(self) -> int:
        if self.armed and threading.current_thread().name == self._thread:
            self.hangs.set()
            self.go.wait(30.0)
        return super().read()

    def hang(self) -> None:
        self.armed = True
        assert self.hangs.wait(10.0)

    def let_go(self) -> None:
        self.armed = False
        self.go.set()


@pytest.fixture
def stuck():
    """A GPU of 100 W whose next reading by the keeper hangs once ``hang`` is called."""
    counter = Stuck(SystemClock(), "fitprint-keeper", watts=WATTS, **FAST)
    yield counter
    counter.let_go()


def on(counter, **options) -> Tracker:
    return Tracker(ledger="off", region="FR", counters=[counter], around=Surroundings(environ={}), **options)


@pytest.mark.timeout(60)
def test_boundaries_wait_once_and_briefly_for_a_keeper_that_hangs_in_a_driver(stuck):
    with on(stuck) as tracker:
        stuck.hang()
        began = time.monotonic()
        for _ in tracker.epochs(range(20)):
            with tracker.phase("validate"):
                tracker.scalars()
        assert tracker.footprint.energy_j >= 0
        assert time.monotonic() - began < 1.0
        stuck.let_go()
    sound(tracker.footprint)
    assert len(tracker.footprint.epochs) == 20


@pytest.mark.timeout(60)
def test_batches_under_a_budget_do_not_wait_for_a_keeper_that_hangs(stuck):
    with on(stuck, budget="1 kWh", config=Config(block=10)) as tracker:
        tracker.begin_epoch(0, Schedule(epochs=1, batches=1000))
        stuck.hang()
        began = time.monotonic()
        for batch in range(1, 1001):
            tracker.look(batch)
        assert time.monotonic() - began < 3.0, "1,000 waits would take minutes"
        tracker.end_epoch()
        stuck.let_go()
    sound(tracker.footprint)


@pytest.mark.timeout(60)
def test_what_was_drawn_while_a_reading_hung_comes_with_the_next(stuck):
    with on(stuck) as tracker:
        before_j = stuck.joules
        for index in tracker.epochs(range(4)):
            if index == 1:
                stuck.hang()
            time.sleep(0.2)
            if index == 2:
                stuck.let_go()
                time.sleep(0.1)
        truth_j = stuck.joules - before_j
    footprint = sound(tracker.footprint)
    assert footprint.epochs[1].energy_j == pytest.approx(0.0, abs=2.0)
    assert footprint.energy_j == pytest.approx(truth_j, abs=5.0)
    assert footprint.coverage == pytest.approx(1.0, abs=0.05)


@pytest.mark.timeout(60)
def test_a_run_whose_keeper_hangs_for_good_ends_within_two_seconds_with_what_it_knew(stuck):
    with on(stuck) as tracker:
        for index in tracker.epochs(range(4)):
            time.sleep(0.2)
            if index == 1:
                stuck.hang()
        began = time.monotonic()
    assert time.monotonic() - began < 2.0
    footprint = sound(tracker.footprint)
    assert 0 < footprint.energy_j < 0.8 * WATTS * footprint.duration_s
    assert footprint.energy_j == pytest.approx(WATTS * footprint.coverage * footprint.duration_s, abs=5.0)


class Sluggish(ScriptedCounter):
    """Takes a third of a second for every reading, as a driver does that waits for a controller."""

    def read(self) -> int:
        if self.reads > 0:
            time.sleep(0.3)
        return super().read()


@pytest.mark.timeout(60)
def test_a_driver_that_takes_long_every_time_holds_the_training_up_once_at_most():
    gpu = Sluggish(SystemClock(), watts=WATTS)
    with on(gpu) as tracker:
        began = time.monotonic()
        for _ in range(6):
            tracker.enter("validate")
        waited_s = time.monotonic() - began
    assert waited_s < 0.9


class Late(ScriptedCounter):
    """A driver that takes its time."""

    takes_s = 0.0

    def read(self) -> int:
        self._clock.advance(self.takes_s)
        return super().read()


def test_a_reading_that_took_half_a_minute_loses_neither_joules_nor_the_truth_about_them():
    clock = FakeClock()
    gpu = Late(clock, watts=700.0, p_max_w=3000.0)
    with Meter([gpu], clock=clock) as meter:
        before = meter.snapshot()
        for index in range(100):
            clock.advance(1.0)
            gpu.takes_s = 30.0 if index == 50 else 0.0
            after = meter.snapshot()
        energy = meter.between(before, after)
    assert energy.joules == pytest.approx(700.0 * energy.coverage * energy.duration_s, rel=0.01)


# ---- a keeper that dies, readings that are recorded


class Exits(ScriptedCounter):
    """Asks the interpreter to exit in its next reading by the keeper."""

    armed = False

    def __init__(self, clock, **options) -> None:
        super().__init__(clock, **options)
        self.left = threading.Event()

    def read(self) -> int:
        if self.armed and threading.current_thread().name == "fitprint-keeper":
            self.armed = False
            self.left.set()
            raise SystemExit(3)
        return super().read()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.timeout(60)
def test_a_sensor_that_exits_in_the_keeper_leaves_the_training_and_its_boundaries_alone():
    gpu = Exits(SystemClock(), watts=WATTS, **FAST)
    with on(gpu) as tracker:
        gpu.armed = True
        assert gpu.left.wait(10.0)
        for _ in tracker.epochs(range(3)):
            time.sleep(0.05)
    footprint = sound(tracker.footprint)
    assert footprint.energy_j == pytest.approx(WATTS * footprint.duration_s, rel=0.2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.timeout(60)
def test_the_keeper_outlives_a_sensor_that_asks_the_interpreter_to_exit():
    gpu = Exits(SystemClock(), watts=WATTS, **FAST)
    with on(gpu):
        gpu.armed = True
        assert gpu.left.wait(10.0)
        reads, deadline = gpu.reads, time.monotonic() + 1.0
        while gpu.reads < reads + 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert gpu.reads >= reads + 3


def test_ctrl_c_in_the_middle_of_a_reading_ends_the_training_and_the_run_as_interrupted():
    class Interrupted(ScriptedCounter):
        armed = False

        def read(self) -> int:
            if self.armed:
                self.armed = False
                raise KeyboardInterrupt
            return super().read()

    clock = FakeClock()
    gpu = Interrupted(clock, watts=WATTS)
    tracker = Tracker(ledger="off", region="FR", counters=[gpu], around=Surroundings(clock=clock, environ={}))
    with pytest.raises(KeyboardInterrupt), tracker:
        for index in tracker.epochs(range(5)):
            clock.advance(1.0)
            gpu.armed = index == 2
    assert tracker.footprint.status == "interrupted"
    assert tracker.footprint.energy_j == pytest.approx(300.0)


class Refusing:
    """Takes the first lines of a trace and then fails, as a full disk may."""

    def __init__(self, lines: int) -> None:
        self.left = lines

    def __call__(self, row) -> None:
        if self.left <= 0:
            raise OSError("No space left on device")
        self.left -= 1


@pytest.mark.parametrize("lines", [0, 1, 5], ids=["from the start", "after the head", "in mid-run"])
def test_a_trace_that_cannot_be_kept_costs_the_trace_and_no_coverage(host, lines):
    trained = []
    with host.tracker(keep=Refusing(lines)) as tracker:
        for index in tracker.epochs(range(5)):
            host.work()
            trained.append(index)
    assert trained == list(range(5))
    footprint = sound(tracker.footprint)
    assert (footprint.energy_j, footprint.coverage) == (pytest.approx(500.0), 1.0)


@pytest.mark.parametrize("lines", [0, 1, 5], ids=["from the start", "after the head", "in mid-run"])
def test_a_trace_that_cannot_be_kept_does_not_stop_the_training(host, lines):
    with host.tracker(keep=Refusing(lines)) as tracker:
        assert list(tracker.epochs(range(5))) == list(range(5))
    assert tracker.footprint.status == "completed"


# ---- gauges and shares that say what cannot be


class Gauge:
    sensor = Sensor("gpu:gauge", "gpu", "integrated", 1e-6, 0.1, 0.1, "scripted gauge")
    p_max_w = 1000.0
    now: object = WATTS

    def watts(self):
        if self.now is None:
            raise SensorError("scripted failure")
        return self.now

    def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(math.nan),
        pytest.param(math.inf),
        pytest.param(-math.inf),
        pytest.param(1e30),
        pytest.param(-50.0),
        -500.0,
        1e9,
        "N/A",
        None,
    ],
)
def test_power_that_cannot_be_costs_the_stretches_around_it_and_no_more(said):
    clock, gauge = FakeClock(), Gauge()
    trained = []
    counters = [Integrated(gauge, clock)]
    with Tracker(ledger="off", region="FR", counters=counters, around=Surroundings(clock=clock, environ={})) as tracker:
        for index in tracker.epochs(range(30)):
            clock.advance(1.0)
            gauge.now = said if index == 10 else WATTS
            trained.append(index)
    assert len(trained) == 30
    footprint = sound(tracker.footprint)
    assert footprint.coverage >= 28 / 30 - 1e-9
    assert footprint.energy_j == pytest.approx(WATTS * footprint.coverage * 30)


def undefined() -> float:
    return 1 / 0


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda: math.nan, id="nan"),
        pytest.param(lambda: math.inf, id="inf"),
        pytest.param(lambda: -math.inf, id="-inf"),
        pytest.param(lambda: None, id="None"),
        pytest.param(undefined, id="raises"),
    ],
)
def test_a_share_that_is_no_number_is_the_last_known(answer):
    clock = FakeClock()
    ask = [lambda: 0.5]
    shared = Shared(ScriptedCounter(clock, watts=WATTS, part="cpu"), lambda: ask[0](), "CPU time")
    trained = []
    with Tracker(ledger="off", region="FR", counters=[shared], around=Surroundings(clock=clock, environ={})) as tracker:
        for index in tracker.epochs(range(10)):
            ask[0] = answer if index in (3, 4) else lambda: 0.5
            clock.advance(1.0)
            trained.append(index)
    assert len(trained) == 10
    footprint = sound(tracker.footprint)
    assert footprint.energy_j == pytest.approx(500.0)
    assert footprint.gross_energy_j == pytest.approx(1000.0)


# ---- many epochs


def test_memory_grows_by_the_epochs_records_and_by_nothing_else():
    clock = FakeClock()
    failing = ScriptedCounter(clock, part="cpu")
    counters = [ScriptedCounter(clock), failing, ScriptedCounter(clock, part="dram")]
    sizes = []
    with Tracker(ledger="off", region="FR", counters=counters, around=Surroundings(clock=clock, environ={})) as tracker:
        for index in tracker.epochs(range(1501)):
            clock.advance(0.1)
            failing.fails = index % 2 == 0
            if index == 100:
                tracemalloc.start()
            if index in (500, 1000, 1500):
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    per_epoch = [(after - before) / 500 for before, after in pairwise(sizes)]
    assert max(per_epoch) < 2048, "a record and less than a kilobyte beside it"
    assert per_epoch[1] < 1.2 * per_epoch[0], "and no more for later ones"


def test_a_late_epoch_takes_no_longer_than_an_early_one():
    clock, took = FakeClock(), []
    with Tracker(
        ledger="off", region="FR", counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ={})
    ) as tracker:
        for index in tracker.epochs(range(4501)):
            clock.advance(0.1)
            if index % 1500 == 0:
                took.append(time.thread_time())
    first, _, last = (after - before for before, after in pairwise(took))
    assert last < 1.5 * first
