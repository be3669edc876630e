"""Runs that overlap on one machine: their parts are the machine, not several machines."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest

from fitprint.meter import Meter
from fitprint.sensors.divided import Device
from fitprint.sensors.overlap import Overlap
from fitprint.sensors.siblings import Registry, Seat
from fitprint.testing import FakeClock, ScriptedCounter

pytestmark = pytest.mark.timeout(120)

DEVICES = {"cpu:0": Device("cpu", evenly=False), "gpu:0": Device("gpu", evenly=True)}


class Host:
    """A machine of one package of 100 W and one board of 300 W, on which runs of several processes come and go."""

    def __init__(self, folder) -> None:
        self.clock = FakeClock()
        self.proc = folder / "proc"
        self.folder = folder / "shm"
        self.runs: list[Beside] = []

    def start(self, pid: int, **options) -> Beside:
        run = Beside(self, pid, **options)
        self.runs.append(run)
        return run

    def kill(self, run: Beside) -> None:
        """It takes no leave, and does nothing any more."""
        (self.proc / str(run.pid) / "stat").unlink()
        self.runs.remove(run)

    def go(self, seconds: float, **busy: float) -> None:
        """Let time pass in steps of a second, in which each run looks around; ``p7=2`` keeps process 7 busy on 2 threads."""
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            for run in self.runs:
                run.busy_us += round(busy.get(f"p{run.pid}", 0.0) * 1e6)
            for run in self.runs:
                run.tick()


class Beside:
    """A run in a process of its own, as far as others can tell."""

    def __init__(self, host: Host, pid: int, *, unit: str = "", run: str = "", parent: str = "", above=(), devices=DEVICES) -> None:
        self.pid, self.busy_us, self._host = pid, 5_000_000, host
        (host.proc / str(pid)).mkdir(parents=True, exist_ok=True)
        (host.proc / str(pid) / "stat").write_text(f"{pid} (python) S 1 {' '.join(['0'] * 17)} 77{pid}")
        keys = frozenset(device.key for device in devices.values())
        seat = Seat(run or f"run-{pid}", parent, unit or str(pid), pid, f"77{pid}", tuple(above), keys, 0)
        registry = Registry(host.folder / "fitprint", host.proc)
        self.overlap = Overlap(registry, seat, lambda: seat.run, host.clock, lambda: lambda: self.busy_us)
        parts = {"cpu:0": 100.0, "gpu:0": 300.0}
        counters = [ScriptedCounter(host.clock, watts=w, part=name[:3], sensor_id=name) for name, w in parts.items()]
        self.meter = Meter(counters, clock=host.clock, overlap=self.overlap, devices=devices)
        self.first = self.meter.start()
        self.begun_s = host.clock.time()

    def tick(self) -> None:
        self.overlap.due_ns = 0
        self.meter.snapshot()

    @property
    def energy(self):
        return self.meter.between(self.first, self.meter.snapshot())

    def close(self):
        energy = self.energy
        self.meter.close()
        self._host.runs.remove(self)
        return energy


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr("fitprint.meter.LOOK_S", 1e9)  # the test looks around, not the keeper
    (tmp_path / "shm").mkdir()
    host = Host(tmp_path)
    yield host
    for run in list(host.runs):
        run.close()


def test_a_run_that_is_alone_is_charged_everything_and_its_record_has_no_further_row(host):
    run = host.start(7)
    host.go(10, p7=1)
    assert run.energy.by_part == pytest.approx({"cpu": 1000.0, "gpu": 3000.0})
    assert [sensor.id for sensor in run.energy.sensors] == ["cpu:0", "gpu:0"]
    assert run.energy.gross_j is None


def test_two_runs_share_the_package_by_cpu_time_and_the_board_evenly(host):
    a, b = host.start(7), host.start(8)
    host.go(100, p7=3, p8=1)
    one, other = a.energy, b.energy
    assert one.joules + other.joules == pytest.approx(40_000, rel=0.005)
    assert one.by_part == pytest.approx({"cpu": 7500, "gpu": 15_000}, rel=0.01)
    assert other.by_part == pytest.approx({"cpu": 2500, "gpu": 15_000}, rel=0.02)


def test_runs_that_come_and_go_sum_to_the_machine_over_the_time_in_which_one_was_there(host):
    ended = []
    a = host.start(1)
    host.go(30, p1=1)
    b = host.start(2)
    host.go(30, p1=1, p2=3)
    c = host.start(3)
    host.go(30, p1=1, p2=3, p3=4)
    ended.append(a.close())
    host.go(30, p2=3, p3=4)
    ended += [b.close()]
    host.go(30, p3=4)
    ended += [c.close()]
    by_part = [energy.by_part for energy in ended]
    assert sum(parts["cpu"] for parts in by_part) == pytest.approx(150 * 100, rel=0.01)
    assert sum(parts["gpu"] for parts in by_part) == pytest.approx(150 * 300, rel=0.01)
    assert by_part[0]["cpu"] == pytest.approx(3000 + 3000 / 4 + 3000 / 8, rel=0.03)
    assert by_part[2]["cpu"] == pytest.approx(3000 / 2 + 3000 * 4 / 7 + 3000, rel=0.03)
    assert by_part[1]["gpu"] == pytest.approx(9000 / 2 + 9000 / 3 + 9000 / 2, rel=0.02)


def test_the_first_that_comes_brings_rows_of_its_own_and_what_was_counted_alone_stays_measured_as_before(host):
    a = host.start(1)
    host.go(50, p1=1)
    alone = a.energy
    host.start(2)
    host.go(50, p1=1, p2=1)
    energy = a.energy
    rows = {sensor.id: sensor for sensor in energy.sensors}
    assert set(rows) == {"cpu:0", "gpu:0"} | {f"{name}:overlap{gross}" for name in ("cpu:0", "gpu:0") for gross in ("", ":gross")}
    assert rows["cpu:0:overlap"].role == "overlap"
    assert "divided by CPU time, evenly within a process, among overlapping runs" in rows["cpu:0:overlap"].source
    assert "divided evenly among overlapping runs" in rows["gpu:0:overlap"].source
    assert energy.gross_j == pytest.approx(100 * 400)
    assert energy.coverage == pytest.approx(1.0)
    assert (alone.high_j - alone.joules) / alone.joules < 0.05
    assert energy.high_j - energy.joules > 0.3 * energy.by_sensor["gpu:0:overlap"]


def test_windows_with_and_without_others_add_up_to_the_run(host):
    a = host.start(1)
    marks = [a.meter.snapshot()]
    for _ in range(3):
        host.go(5, p1=1)
        marks.append(a.meter.snapshot())
    host.start(2)
    for _ in range(5):
        host.go(5, p1=1, p2=1)
        marks.append(a.meter.snapshot())
    windows = [a.meter.between(x, y) for x, y in pairwise(marks)]
    total = windows[0]
    for window in windows[1:]:
        total = total + window
        assert all(count >= 0 for count in window.counts)
    assert total.sensors is a.meter.sensors
    assert total.joules == pytest.approx(a.meter.between(marks[0], marks[-1]).joules, abs=1e-6)


def test_a_run_whose_process_was_killed_has_no_share_from_then_on(host):
    a, b = host.start(1), host.start(2)
    host.go(50, p1=1, p2=1)
    host.kill(b)
    before = a.energy.joules
    host.go(50, p1=1)
    assert a.energy.joules - before == pytest.approx(50 * 400, rel=0.05)
    left = {path.name.split("-")[1] for path in (host.folder / "fitprint").iterdir()}
    assert len(left) == 1, "only its own place is left"


def test_a_pid_that_was_used_again_is_nobody_that_measures(host):
    a, b = host.start(1), host.start(2)
    host.go(20, p1=1, p2=1)
    host.runs.remove(b)
    (host.proc / "2" / "stat").write_text(f"2 (other) S 1 {' '.join(['0'] * 17)} 999")
    host.go(5, p1=1)
    before = a.energy.joules
    host.go(50, p1=1)
    assert a.energy.joules - before == pytest.approx(50 * 400)


def test_who_was_alone_for_long_shares_with_the_next_that_comes_from_then_on(host):
    a, b = host.start(1), host.start(2)
    host.go(50, p1=1, p2=1)
    b.close()
    host.go(100, p1=1)
    before = a.energy.joules
    host.start(3)
    host.go(50, p1=1, p3=1)
    assert before == pytest.approx(50 * 200 + 100 * 400, rel=0.01)
    assert a.energy.joules - before == pytest.approx(50 * 200, rel=0.05)


def test_two_runs_in_threads_of_one_process_share_it_evenly_and_another_process_by_its_time(host):
    a, b, c = host.start(1, unit="1-1"), host.start(1, unit="1-2"), host.start(3)
    host.go(100, p1=2, p3=2)
    shares = [run.energy.by_part["cpu"] for run in (a, b, c)]
    assert shares == pytest.approx([2500, 2500, 5000], rel=0.03)
    assert sum(run.energy.joules for run in (a, b, c)) == pytest.approx(40_000, rel=0.01)


def test_two_runs_of_one_thread_see_the_same_work_and_each_counts_it(host):
    a, b = host.start(1, unit="1-1"), host.start(1, unit="1-1")
    host.go(20, p1=2)
    assert (a.energy.joules, b.energy.joules) == pytest.approx((8000, 8000))
    assert not a.energy.overlapped


def test_the_ranks_of_one_job_each_count_what_the_job_is_charged(host):
    ranks = [host.start(pid, unit="job") for pid in (1, 2)]
    other = host.start(3)
    host.go(100, p1=1, p2=1, p3=2)
    assert [rank.energy.by_part["cpu"] for rank in ranks] == pytest.approx([5000, 5000], rel=0.03)
    assert other.energy.by_part == pytest.approx({"cpu": 5000, "gpu": 15_000}, rel=0.03)


def test_a_run_inside_another_is_counted_inside_it_and_takes_nothing_from_it(host):
    outer, inner, other = host.start(1), host.start(2, parent="run-1", above=(1,)), host.start(3)
    host.go(100, p1=2, p2=2, p3=2)  # the outer one's processes hold the inner one's
    assert outer.energy.by_part == pytest.approx({"cpu": 5000, "gpu": 15_000}, rel=0.03)
    assert inner.energy.by_part == pytest.approx({"cpu": 5000, "gpu": 15_000}, rel=0.03)
    assert other.energy.by_part == pytest.approx({"cpu": 5000, "gpu": 15_000}, rel=0.03)


def test_runs_inside_one_and_the_same_share_what_that_is_charged(host):
    outer = host.start(1)
    trials = [host.start(pid, parent="run-1", above=(1,)) for pid in (2, 3)]
    host.go(100, p1=4, p2=3, p3=1)
    assert outer.energy.joules == pytest.approx(40_000)
    assert [trial.energy.by_part["cpu"] for trial in trials] == pytest.approx([7500, 2500], rel=0.03)


def test_the_time_of_a_process_below_another_that_measures_is_its_own(host):
    above, below = host.start(1), host.start(2, above=(1,))
    host.go(100, p1=4, p2=3)  # 3 of the 4 are those of the process below
    assert (above.energy.by_part["cpu"], below.energy.by_part["cpu"]) == pytest.approx((2500, 7500), rel=0.03)


def test_runs_on_different_boards_share_the_processor_only(host):
    mine, other = ({"cpu:0": DEVICES["cpu:0"], "gpu:0": Device(key, evenly=True)} for key in ("gpu a", "gpu b"))
    a, b = host.start(1, devices=mine), host.start(2, devices=other)
    host.go(50, p1=1, p2=1)
    assert a.energy.by_part == pytest.approx({"cpu": 2500, "gpu": 15_000}, rel=0.03)
    assert b.energy.by_part == pytest.approx({"cpu": 2500, "gpu": 15_000}, rel=0.03)


def test_where_all_only_wait_each_bears_the_same(host):
    runs = [host.start(pid) for pid in (1, 2, 3, 4)]
    host.go(40)
    assert [run.energy.by_part["cpu"] for run in runs] == pytest.approx([1000] * 4, rel=0.05)


def test_a_load_that_moves_from_one_to_the_other_is_followed(host):
    a, b = host.start(1), host.start(2)
    host.go(150, p1=4)
    host.go(150, p2=4)
    one, other = a.energy.by_part["cpu"], b.energy.by_part["cpu"]
    assert (one, other) == pytest.approx((15_000, 15_000), abs=300)  # three looks


def test_what_somebody_else_left_in_the_folder_disturbs_nobody(host):
    folder = host.folder / "fitprint"
    a = host.start(1)
    (folder / "garbage").write_bytes(b"\xff\x00 not a seat")
    (folder / "half").write_text('00000000 {"run":"x"}')
    (folder / "elsewhere").symlink_to("/proc/self/environ")
    os.mkfifo(folder / "pipe")
    host.go(10, p1=1)
    assert a.energy.joules == pytest.approx(4000)


def test_without_a_place_that_can_be_written_a_run_is_measured_all_the_same(host):
    host.folder.chmod(0o500)
    try:
        host.folder = host.folder / "missing" / "deeper"
        run = host.start(1)
        host.go(10, p1=1)
        assert run.energy.joules == pytest.approx(4000)
    finally:
        (host.folder.parent.parent).chmod(0o700)


def test_a_memory_that_is_full_costs_the_others_their_view_and_the_run_nothing(host, monkeypatch):
    a, b = host.start(1), host.start(2)
    host.go(10, p1=1, p2=1)
    monkeypatch.setattr("fitprint.sensors.siblings.os.write", lambda file, data: (_ for _ in ()).throw(OSError(28, "full")))
    host.go(10, p1=1, p2=1)
    assert a.energy.joules + b.energy.joules > 19 * 200
    assert a.energy.coverage == pytest.approx(1.0)


def test_the_last_who_leaves_leaves_nothing_behind(host):
    a, b = host.start(1), host.start(2)
    host.go(10, p1=1, p2=1)
    b.close()
    host.go(10, p1=1)
    a.close()
    assert list(host.folder.iterdir()) == []
