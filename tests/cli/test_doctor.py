"""The doctor: what sensors answer, how often and how fast, in a report that a stranger may be sent."""

from __future__ import annotations

import functools
import json
import platform
import socket
import time
from itertools import pairwise
from pathlib import Path

import pytest

from fitprint import Config, Meter, cli, doctor
from fitprint.commands import detect as command
from fitprint.sensors.probe import Surroundings
from fitprint.sensors.trace import Trace
from fitprint.testing import FakeClock, FakePowercap

CPUINFO = "processor\t: {0}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz\nphysical id\t: 0\n"
BUSY_ZONE, IDLE_ZONE = "intel-rapl:0", "intel-rapl:1"
START_UJ = 12_345_678


class Kernel(FakeClock):
    """Brings a zone's counter up to date at every tick of its own, while the clock runs.

    Args:
        tree: Where the zone is.
        watts: What it draws.
        tick_s: How often its counter moves.
    """

    def __init__(self, tree: FakePowercap, watts: float, tick_s: float) -> None:
        super().__init__()
        self._tree, self._watts, self._tick_ns = tree, watts, round(tick_s * 1e9)
        self._began_ns = self.monotonic_ns()

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        ticks = (self.monotonic_ns() - self._began_ns) // self._tick_ns
        self._tree.write(BUSY_ZONE, START_UJ + round(self._watts * ticks * self._tick_ns / 1000))


class Board:
    """A driver with one board of 300 W whose counter moves every ``tick_s``; ``failing`` fails from the third reading on.

    Args:
        clock: The time.
        tick_s: How often its counter moves.
        failing: What it raises then.
        call_s: How long each answer really takes.
    """

    def __init__(self, clock: FakeClock, tick_s: float = 0.1, failing: Exception | None = None, call_s: float = 0.0) -> None:
        self._clock, self._tick_s, self._failing, self._call_s = clock, tick_s, failing, call_s
        self.reads = 0

    def nvmlInit(self) -> None:  # noqa: N802
        """The driver answers."""

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, board: int) -> str:  # noqa: N802
        return "GPU-7"

    def nvmlDeviceGetName(self, board: int) -> str:  # noqa: N802
        return "NVIDIA H100 80GB HBM3"

    def nvmlDeviceGetTotalEnergyConsumption(self, board: int) -> int:  # noqa: N802
        self.reads += 1
        if self._failing is not None and self.reads > 3:
            raise self._failing
        time.sleep(self._call_s)
        ticks = self._clock.monotonic_ns() // round(self._tick_s * 1e9)
        return round(300.0 * self._tick_s * ticks * 1000)


@pytest.fixture
def machine(tmp_path) -> FakePowercap:
    """Two packages, one of which stands still; the rest is modelled."""
    for number in range(4):
        (tmp_path / "proc" / "self").mkdir(parents=True, exist_ok=True)
        with (tmp_path / "proc" / "cpuinfo").open("a") as file:
            file.write(CPUINFO.format(number) + "\n")
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 16000000 kB\n")
    (tmp_path / "proc" / "stat").write_text("cpu  100 0 0 0 0 0 0 0 0 0\n")
    tree = FakePowercap(tmp_path / "sys")
    tree.add_zone(BUSY_ZONE, "package-0", START_UJ)
    tree.add_zone(IDLE_ZONE, "package-1", 5)
    return tree


@pytest.fixture
def examined(tmp_path, machine):
    """A function that examines the machine for fake seconds and returns the report as its reader gets it, and the clock."""

    def run(*, watts=100.0, tick_s=0.02, board=None, environ=None, parts=None, **durations):
        clock = Kernel(machine, watts, tick_s)
        driver = functools.partial(board, clock) if board else lambda: None
        nvml = driver()
        roots = {"sys_root": tmp_path / "sys", "proc_root": tmp_path / "proc", "dev_root": tmp_path / "dev"}
        around = Surroundings(environ=environ or {}, clock=clock, nvml=lambda: nvml, library=no_library, **roots)
        return json.loads(json.dumps(doctor.examine(Config(region="FR", parts=parts), around, **durations))), clock

    return run


def no_library(name):
    raise ImportError(name)


def of(report, sensor_id):
    (row,) = [row for row in report["sensors"] if row["id"] == sensor_id]
    return row


def replayed(report):
    """The energy of a report's trace, through the whole core."""
    trace = Trace.of(report["trace"])
    with Meter(trace.counters, clock=trace.clock) as meter:
        before = meter.snapshot()
        for _ in trace.play():
            after = meter.snapshot()
    return meter.between(before, after)


# ---- what is measured


@pytest.mark.parametrize("tick_s", [0.02, 0.1])
def test_the_period_of_a_counter_is_found(examined, tick_s):
    report, _ = examined(tick_s=tick_s)
    assert of(report, "cpu:package-0")["period_s"] == pytest.approx(tick_s)


@pytest.mark.parametrize("tick_s", [0.02, 0.1])
def test_the_period_of_a_boards_counter_is_found(examined, tick_s):
    report, _ = examined(board=functools.partial(Board, tick_s=tick_s))
    assert of(report, "gpu:GPU-7")["period_s"] == pytest.approx(tick_s)


def test_a_counter_that_is_quicker_than_the_readings_seems_as_quick_as_they_are(examined):
    report, _ = examined(tick_s=0.001)
    assert of(report, "cpu:package-0")["period_s"] == pytest.approx(doctor.DENSE_PERIOD_S)


def test_a_counter_that_stands_still_has_no_period(examined):
    report, _ = examined()
    assert of(report, "cpu:package-1")["period_s"] is None


def test_readings_are_calm_first_and_dense_after(examined):
    report, clock = examined()
    times = [row["t_ns"] for row in report["trace"] if row.get("sensor") == "cpu:package-0"]
    steps_s = [(b - a) / 1e9 for a, b in pairwise(times)]
    assert steps_s == pytest.approx([1.0] * 15 + [0.005] * 999)
    assert of(report, "cpu:package-0")["readings"] == 15 + 1000
    assert clock.monotonic_ns() / 1e9 == pytest.approx(1000.0 + 20.0)


def test_every_sensor_is_examined_and_named_in_the_detection_too(examined):
    report, _ = examined(board=Board, dense_s=0.0)
    ids = [row["id"] for row in report["sensors"]]
    assert ids == ["gpu:GPU-7", "cpu:package-0", "cpu:package-1", "dram:modelled"]
    assert ids == [row["id"] for row in report["detection"]["found"]]
    assert report["machine"]["threads"] == 4


def test_a_shared_machine_is_examined_whole(examined, tmp_path):
    (tmp_path / "proc" / "self" / "cgroup").write_text("0::/\n")
    (tmp_path / "sys" / "fs" / "cgroup").mkdir(parents=True)
    (tmp_path / "sys" / "fs" / "cgroup" / "cpu.max").write_text("200000 100000\n")
    report, _ = examined(dense_s=0.0)
    assert "cpu:package-0" in [row["id"] for row in report["sensors"]]
    assert "cpu:package-0:share" in [row["id"] for row in report["detection"]["found"]]
    assert replayed(report).by_sensor["cpu:package-0"] == pytest.approx(100.0 * 14)


def test_failures_are_counted_and_kept_with_their_reasons(examined):
    report, _ = examined(board=functools.partial(Board, failing=RuntimeError("GPU is lost")), calm_s=5.0, dense_s=0.0)
    row = of(report, "gpu:GPU-7")
    reasons = [reading["error"] for reading in report["trace"] if "error" in reading]
    assert (row["readings"], row["failures"]) == (5, len(reasons))
    assert 0 < len(reasons) < 5
    assert all("GPU is lost" in reason for reason in reasons)
    assert of(report, "cpu:package-0")["failures"] == 0


def test_how_long_a_call_takes_is_measured(examined):
    report, _ = examined(board=functools.partial(Board, call_s=0.005), calm_s=5.0, dense_s=0.0)
    slow, quick = of(report, "gpu:GPU-7"), of(report, "cpu:package-0")
    assert slow["call_p99_us"] >= slow["call_p50_us"] >= 5000.0
    assert 0.0 < quick["call_p50_us"] < 5000.0


def test_a_machine_without_sensors_has_a_report_all_the_same(examined):
    report, _ = examined(parts=["gpu"])
    assert report["sensors"] == []
    assert report["detection"]["absent"]


def test_a_sensor_that_fails_in_a_way_of_its_own_costs_its_readings_and_not_the_report(examined, monkeypatch):
    answers = iter([5, 6, 7])
    monkeypatch.setattr(Board, "nvmlDeviceGetTotalEnergyConsumption", lambda self, board: next(answers, None))
    report, _ = examined(board=Board, calm_s=5.0, dense_s=0.0)
    assert of(report, "gpu:GPU-7")["failures"] > 0


def test_the_machine_in_the_report_is_that_of_the_surroundings(examined, tmp_path):
    (tmp_path / "proc" / "self" / "status").write_text("Cpus_allowed_list:\t0-1\n")
    report, _ = examined(calm_s=1.0, dense_s=0.0, environ={"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "3"})
    assert report["machine"]["cpu_limit"] == 3


# ---- the trace


def test_the_trace_replays_to_the_joules_that_were_drawn(examined):
    report, _ = examined(watts=87.0, tick_s=0.02, board=functools.partial(Board, tick_s=0.02))
    energy = replayed(report)
    assert energy.duration_s == pytest.approx(20.0 - doctor.DENSE_PERIOD_S)
    seen_s = energy.duration_s // 0.02 * 0.02
    assert energy.by_sensor["cpu:package-0"] == pytest.approx(87.0 * seen_s)
    assert energy.by_sensor["gpu:GPU-7"] == pytest.approx(300.0 * seen_s)


def test_a_counter_that_wraps_while_it_is_examined_replays_whole(examined, machine, tmp_path):
    machine.range_uj = 300_000_000
    (tmp_path / "sys" / "class" / "powercap" / BUSY_ZONE / "max_energy_range_uj").write_text(f"{machine.range_uj}\n")
    report, _ = examined(watts=100.0, dense_s=0.0)
    raws = [row["raw"] for row in report["trace"] if row.get("sensor") == "cpu:package-0"]
    assert raws != sorted(raws)
    assert replayed(report).by_sensor["cpu:package-0"] == pytest.approx(100.0 * 14)


def test_failures_are_gaps_of_the_replay(examined):
    report, _ = examined(board=functools.partial(Board, failing=RuntimeError("GPU is lost")), calm_s=5.0, dense_s=0.0)
    energy = replayed(report)
    assert energy.coverage < 1.0
    assert energy.by_sensor["cpu:package-0"] == pytest.approx(400.0)


# ---- what is not in it

PRIVATE = {"USER": "ludmilla", "LOGNAME": "ludmilla", "USERNAME": "ludmilla", "HOME": "/home/ludmilla"}


@pytest.fixture
def private(tmp_path, monkeypatch) -> list[str]:
    """What must not be in a report: names of the user, of the host and of folders."""
    for name, value in PRIVATE.items():
        monkeypatch.setenv(name, value)
    here = platform.uname()
    named = platform.uname_result(here.system, "host-of-mine", here.release, here.version, here.machine)
    monkeypatch.setattr(platform, "uname", lambda: named)
    monkeypatch.setattr(platform, "node", lambda: "host-of-mine")
    real = [name for name in (socket.gethostname(), str(Path.cwd())) if len(name) > 7]
    return ["ludmilla", "host-of-mine", "/home", str(tmp_path), *real]


def test_no_name_and_no_path_is_in_the_report(examined, private):
    report, _ = examined(board=Board)
    text = json.dumps(report)
    assert [word for word in private if word in text] == []
    assert report["system"].startswith(platform.uname().system)


def test_no_path_is_in_the_report_where_a_sensor_cannot_be_read(examined, private, tmp_path):
    (tmp_path / "sys" / "class" / "powercap" / IDLE_ZONE / "energy_uj").unlink()
    report, _ = examined(calm_s=1.0, dense_s=0.0)
    text = json.dumps(report)
    assert [word for word in private if word in text] == []


# ---- the command


@pytest.fixture
def quick(tmp_path, machine, monkeypatch):
    """The command on the machine, over in a moment."""
    monkeypatch.setattr(command, "examine", functools.partial(doctor.examine, calm_s=0.0, dense_s=0.05))
    monkeypatch.setenv("FITPRINT_SYS_ROOT", str(tmp_path / "sys"))
    monkeypatch.setenv("FITPRINT_PROC_ROOT", str(tmp_path / "proc"))
    monkeypatch.setenv("FITPRINT_PARTS", "cpu,dram")


@pytest.mark.usefixtures("quick")
def test_the_command_writes_the_report_and_shows_its_table(tmp_path, capsys, private):
    assert cli.main(["detect", "--region", "FR", "--doctor", str(tmp_path / "report.json")]) == 0
    captured = capsys.readouterr()
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert {"detection", "machine", "sensors", "trace"} <= json.loads(text).keys()
    assert Trace.of(json.loads(text)["trace"]).counters
    assert [word for word in private if word in text] == []
    rows = [line for line in captured.out.splitlines() if line.startswith(("cpu:", "dram:"))]
    assert [row.split()[0] for row in rows] == ["cpu:package-0", "cpu:package-1", "dram:modelled"]
    assert "reading all sensors" in captured.err


@pytest.mark.usefixtures("quick")
def test_without_a_name_the_report_is_in_the_working_folder(tmp_path, capsys):
    assert cli.main(["detect", "--doctor"]) == 0
    assert (tmp_path / "fitprint-doctor.json").is_file()


@pytest.mark.usefixtures("quick")
def test_with_json_all_but_the_trace_is_printed_and_nothing_else(tmp_path, capsys):
    assert cli.main(["detect", "--json", "--doctor", str(tmp_path / "report.json")]) == 0
    printed = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert printed == {key: value for key, value in written.items() if key != "trace"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("name", "reason"), [("no/such/folder.json", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_written_is_refused_with_a_sentence(tmp_path, capsys, name, reason):
    assert cli.main(["detect", "--doctor", str(tmp_path / name)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("fitprint: cannot write ")
    assert captured.err.rstrip().endswith(f"{reason}. Name another file.")


def test_a_file_that_cannot_be_written_is_refused_before_anybody_waits_for_it(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(command, "examine", lambda config: waited.append(config) or {"sensors": []})
    assert cli.main(["detect", "--doctor", str(tmp_path / "no/such/folder.json")]) == 1
    assert waited == []
