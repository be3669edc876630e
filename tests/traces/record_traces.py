"""Makes the traces of this folder that are not a board's: ``python tests/traces/record_traces.py [NAME...]``.

Beside each trace stands what it has to come to, ``<name>.golden.json``: the truth of the scenario, never a replay's own answer.
"""

from __future__ import annotations

import bisect
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fitprint import Config, Meter, Tracker
from fitprint.sensors import rapl
from fitprint.sensors.finding import Found
from fitprint.sensors.machine import read_machine
from fitprint.sensors.probe import Surroundings, probe
from fitprint.sensors.trace import Recorded, head
from fitprint.testing import FakeClock, FakeDriver, FakePowercap, build_fake_driver

HERE = Path(__file__).resolve().parent
NS_PER_S = 1_000_000_000
Rows = list[dict[str, Any]]
Golden = dict[str, Any]


def write(name: str, rows: Sequence[Mapping[str, Any]], golden: Golden) -> None:
    (HERE / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (HERE / f"{name}.golden.json").write_text(json.dumps(golden, indent=1) + "\n")


# ---- a virtual machine without any sensor: the model

VM_S = 60.0
WORK = f"""
import time
end = time.monotonic() + {VM_S}
while time.monotonic() < end:
    pause = time.monotonic() + 2
    while time.monotonic() < pause:
        sum(range(1000))
    time.sleep(1)
"""


def virtual_machine() -> tuple[Rows, Golden]:
    """``fitprint run --record`` around a command that is busy on one thread for two seconds of three."""
    busy: list[tuple[int, float]] = []
    done = threading.Event()
    clock = threading.Thread(target=_note_busy_time, args=(busy, done))
    clock.start()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl"
        options = ["--quiet", "--record", str(path), "--region", "FR", "--ledger", "off"]
        command = [sys.executable, "-m", "fitprint", "run", *options, "--", sys.executable, "-c", WORK]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    done.set()
    clock.join()
    return rows, _golden_of_the_model(rows, busy)


def _note_busy_time(busy: list[tuple[int, float]], done: threading.Event) -> None:
    """Seconds that all threads were busy, twenty times a second, straight from the kernel."""
    while not done.wait(0.05):
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]]
        busy.append((time.monotonic_ns(), (sum(fields[:3]) + sum(fields[5:7])) / os.sysconf("SC_CLK_TCK")))


def _golden_of_the_model(rows: Rows, busy: list[tuple[int, float]]) -> Golden:
    """The model's formula, worked out from the published figures and from busy time that was noted beside the run."""
    figures = {row.name: float(row.value or 0) for row in probe(("cpu", "dram")).assumptions}
    machine = read_machine(Path("/sys"), Path("/proc"))
    idle_w, full_w = (value for name, value in figures.items() if name.endswith("_per_vcpu"))
    spans = {row["id"]: _span_ns(rows, row["id"]) for row in rows[0]["sensors"]}
    cpu, dram = spans["cpu:modelled"], spans["dram:modelled"]
    busy_s = _at(busy, cpu[1]) - _at(busy, cpu[0])
    cpu_j = idle_w * machine.threads * _seconds(cpu) + (full_w - idle_w) * busy_s
    dram_j = figures["dram_w_per_gb"] * machine.memory_gb * _seconds(dram)
    noted_late_s = 0.05 * machine.threads
    return {
        "what": f"a virtual machine of {machine.threads} threads and {machine.memory_gb:.3g} GB without a sensor: all is modelled",
        "hardware": True,
        "truth": {
            "cpu:modelled": _truth(cpu_j, 2 * (full_w - idle_w) * noted_late_s),
            "dram:modelled": _truth(dram_j, 0.001),
        },
    }


def _truth(joules: float, within_j: float) -> Golden:
    return {"joules": round(joules, 3), "within_j": round(within_j, 6)}


def _span_ns(rows: Rows, sensor_id: str) -> tuple[int, int]:
    times = [row["t_ns"] for row in rows[1:] if row["sensor"] == sensor_id]
    return times[0], times[-1]


def _seconds(span_ns: tuple[int, int]) -> float:
    return (span_ns[1] - span_ns[0]) / NS_PER_S


def _at(points: list[tuple[int, float]], t_ns: int) -> float:
    """What was noted at a time, between two notes in a straight line."""
    i = min(max(1, bisect.bisect(points, (t_ns, 0.0))), len(points) - 1)
    (before_ns, before), (after_ns, after) = points[i - 1], points[i]
    return before + (after - before) * (t_ns - before_ns) / (after_ns - before_ns)


# ---- two packages with the counters of AMD's, which start again every 164 s at 400 W

AMD_RANGE_UJ = 65_532_610_987
EPOCHS, EPOCH_S, KEEPER_S = 24, 60.0, 30.0
# The unit of the counters: one that is off by a unit at each wrap is off by more.
EXACTLY_J = 1e-6
# The second package works in every other epoch only.
WATTS: dict[str, Callable[[int], int]] = {"package-0": lambda epoch: 400, "package-1": lambda epoch: (400, 120)[epoch % 2]}


def amd_packages() -> tuple[Rows, Golden]:
    """The powercap driver's files, read at the keeper's pace through simulated time."""
    clock, rows, epochs = FakeClock(), [], []
    with tempfile.TemporaryDirectory() as folder:
        tree = FakePowercap(Path(folder), AMD_RANGE_UJ)
        true_uj = dict.fromkeys(WATTS, 50_000_000_000)
        true_uj["package-1"] += 7_000_000_000
        for number, (package, energy_uj) in enumerate(true_uj.items()):
            tree.add_zone(f"intel-rapl:{number}", package, energy_uj)
        zones = [zone for finding in rapl.probe(Path(folder)) if isinstance(finding, Found) for zone in finding.counters]
        rows.append(head(zones))
        with Meter([Recorded(zone, rows.append, clock) for zone in zones], clock=clock) as meter:
            for epoch in range(EPOCHS):
                from_ns = clock.monotonic_ns()
                for _ in range(int(EPOCH_S / KEEPER_S)):
                    clock.advance(KEEPER_S)
                    for number, (package, watts) in enumerate(WATTS.items()):
                        true_uj[package] += round(watts(epoch) * KEEPER_S * 1e6)
                        tree.write(f"intel-rapl:{number}", true_uj[package])
                    meter.snapshot()
                joules = sum(watts(epoch) for watts in WATTS.values()) * EPOCH_S
                epochs.append({"from_ns": from_ns, "until_ns": clock.monotonic_ns(), **_truth(joules, EXACTLY_J)})
    truth = {
        f"cpu:{name}": _truth(sum(watts(epoch) for epoch in range(EPOCHS)) * EPOCH_S, EXACTLY_J) for name, watts in WATTS.items()
    }
    what = "two packages whose counters have the range of AMD's: 400 W, and 400 W and 120 W in turn; simulated time"
    return rows, {"what": what, "hardware": False, "truth": truth, "epochs": epochs}


# ---- a training on a board that is lost for a while and whose counter begins again

TICK_S, MOST_W = 0.1, 650.0
STEP = ((MOST_W, 0.2), (200.0, 0.13))
STEPS, VALIDATE_W, VALIDATE_S, IDLE_W, IDLE_S = 30, 400.0, 2.0, 90.0, 1.5
LOST_FROM, LOST_TO, RESET_AT = (1, 9), (1, 18), (2, 15)


class Training:
    """Three epochs on the stand-in driver, in real time: steps of two powers, a validation, a pause."""

    def __init__(self, driver: FakeDriver) -> None:
        self.driver = driver
        self.rows: Rows = []
        # The truth at each reading, by the reading's place among the rows.
        self.truth_j: list[float] = []
        self.epochs: list[tuple[int, int]] = []
        self.reset_before = 0

    def keep(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self.truth_j.append(self.driver.joules())

    def run(self) -> None:
        config = Config(parts=("gpu",), ledger="off", region="FR")
        with Tracker(config=config, around=Surroundings(environ={}, keep=self.keep)) as tracker:
            for epoch in range(3):
                with tracker.epoch(epoch):
                    begin = len(self.rows) - 1
                    for step in range(STEPS):
                        self._befall((epoch, step))
                        self._draw(*STEP)
                        tracker.check(ahead_s=1.0)
                    with tracker.phase("validate"):
                        self._draw((VALIDATE_W, VALIDATE_S))
                self.epochs.append((begin, len(self.rows) - 1))
                with tracker.phase("checkpoint"):
                    self._draw((IDLE_W, IDLE_S))

    def _befall(self, now: tuple[int, int]) -> None:
        if now in (LOST_FROM, LOST_TO):
            self.driver.lose(lost=now == LOST_FROM)
        if now == RESET_AT:
            self.driver.reset()
            self.reset_before = len(self.rows)

    def _draw(self, *stretches: tuple[float, float]) -> None:
        for watts, seconds in stretches:
            self.driver.set_watts(watts)
            time.sleep(seconds)

    def golden(self) -> Golden:
        """The driver's own truth, less what was drawn between the two readings around the reset, which nobody can know."""
        sensor_id = self.rows[0]["sensors"][0]["id"]
        lost = (self.reset_before - 1, self.reset_before)
        truth = self._truth((1, len(self.rows) - 1), lost)
        epochs = [self._span(epoch) | self._truth(epoch, lost) for epoch in self.epochs]
        unseen = self._span(lost)
        unseen_s = (unseen["until_ns"] - unseen["from_ns"]) / NS_PER_S
        what = "the stand-in driver: a training of 650 W and 200 W, a stretch without the board, a counter that begins again"
        return {"what": what, "hardware": False, "truth": {sensor_id: truth | {"unseen_s": unseen_s}}, "epochs": epochs}

    def _span(self, readings: tuple[int, int]) -> Golden:
        begin, end = readings
        return {"from_ns": self.rows[begin]["t_ns"], "until_ns": self.rows[end]["t_ns"]}

    def _truth(self, readings: tuple[int, int], lost: tuple[int, int]) -> Golden:
        """Each end of what was seen may be a tick old, and so may each end of what was not."""
        edge_j = MOST_W * TICK_S
        if readings[0] <= lost[0] and lost[1] <= readings[1]:
            return _truth(self._between(*readings) - self._between(*lost), 4 * edge_j)
        return _truth(self._between(*readings), 2 * edge_j)

    def _between(self, before: int, after: int) -> float:
        return self.truth_j[after] - self.truth_j[before]


@contextmanager
def stand_in_driver() -> Iterator[FakeDriver]:
    with tempfile.TemporaryDirectory() as folder:
        path = build_fake_driver(Path(folder))
        if path is None:
            raise SystemExit("the stand-in driver needs a C compiler")
        driver = FakeDriver(path)
        driver.set_boards(1, IDLE_W)
        yield driver


def training() -> tuple[Rows, Golden]:
    """A Tracker in a training loop, its readings kept with the driver's truth at each."""
    with stand_in_driver() as driver:
        scenario = Training(driver)
        scenario.run()
    return scenario.rows, scenario.golden()


TRACES: dict[str, Callable[[], tuple[Rows, Golden]]] = {
    "virtual-machine-modelled": virtual_machine,
    "amd-range-powercap-simulated": amd_packages,
    "stand-in-nvidia-training": training,
}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or TRACES:
        write(chosen, *TRACES[chosen]())
