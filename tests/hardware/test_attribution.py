"""Whose joules they are, on whole machines over which time passes: the truth is the scenario's own arithmetic."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import machines
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import GIB, SLURM_JOB, SLURM_V1, SLURM_V2, TICKS_PER_S, Machine

from fitprint import Config, Tracker
from fitprint.sensors.probe import probe
from fitprint.testing import FakeClock

# A thread's idle power over what it adds when busy: TDP curve of Teads, 0.12 of the TDP at rest, 1.02 at full load.
RHO = 0.12 / (1.02 - 0.12)
PACKAGES = {"intel-rapl:0": 100.0, "intel-rapl:1": 90.0}
DRAM = {"intel-rapl:0:0": 25.0, "intel-rapl:1:0": 15.0}
# The joules of ten seconds.
PACKAGES_J, DRAM_J = 1900.0, 400.0


class Running:
    """A machine on which time passes.

    Args:
        machine: The machine.
        own: Writes down the CPU microseconds that the job has used.
    """

    def __init__(self, machine: Machine, own: Callable[[int], None] = lambda us: None) -> None:
        self.clock = FakeClock()
        self.machine = machine
        self._own = own
        self._own_s, self._busy_s = 5.0, 12_345.0
        own(5_000_000)

    def go(self, seconds: float = 10.0, *, own: float = 0.0, busy: float = 0.0) -> None:
        """So many threads are busy for so long, ``own`` of them with the job, and the zones draw their watts."""
        self.clock.advance(seconds)
        self._own_s += own * seconds
        self._busy_s += busy * seconds
        self._own(round(self._own_s * 1e6))
        self.machine.busy(self._busy_s)
        for zone, watts in (PACKAGES | DRAM).items():
            self.machine.draw(zone, watts * seconds)

    def track(self, *, attribute: str | None = None, budget: str | None = None, **others) -> Tracker:
        config = Config(attribute=attribute, ledger="off", region="FR")
        return Tracker(config=config, budget=budget, around=self.machine.around(self.clock, **others))


def slurm_v2(machine: Machine) -> Running:
    """8 of 64 threads, 48 of 192 GiB; the job's CPU time stands in its own cgroup, above those of its steps."""
    machines.in_slurm_job(machine)
    return Running(machine, lambda us: machine.cgroup(SLURM_V2, {"cpu.stat": f"usage_usec {us}\nuser_usec {us}\nsystem_usec 0"}))


def slurm_v1(machine: Machine) -> Running:
    """The same in the older hierarchies, one for each controller."""
    machines.in_slurm_job(machine)
    task = f"{SLURM_V1}/step_0/task_1"
    lines = [f"{number}:{name}:/{task}" for number, name in enumerate(("cpu,cpuacct", "cpuset", "memory"), start=2)]
    machine.process("\n".join([*lines, "1:name=systemd:/system.slice/slurmd.service"]), "2-3,34-35")
    machine.cgroup(f"cpuset/{SLURM_V1}", {"cpuset.cpus": "0-3,32-35"})
    machine.cgroup(f"cpuset/{task}", {"cpuset.cpus": "2-3,34-35"})
    machine.cgroup(f"memory/{SLURM_V1}", {"memory.limit_in_bytes": 48 * GIB})
    machine.cgroup(f"cpu,cpuacct/{task}", {"cpuacct.usage": 1_000_000_000})
    return Running(machine, lambda us: machine.cgroup(f"cpu,cpuacct/{SLURM_V1}", {"cpuacct.usage": us * 1000}))


def slurm_without_limits(machine: Machine) -> Running:
    """A cluster that only pins, and writes what it granted into the environment."""
    running = slurm_v2(machine)
    machine.environ["SLURM_MEM_PER_NODE"] = "49152"
    for path in (SLURM_V2, f"{SLURM_V2}/step_0/user"):
        machine.cgroup(path, {"memory.max": "max"})
    return running


@pytest.fixture
def node(tmp_path) -> Machine:
    return machines.cluster_node(tmp_path)


def roles(footprint) -> dict[str, set[str]]:
    by_role: dict[str, set[str]] = {}
    for row in footprint.sensors:
        by_role.setdefault(row["role"], set()).add(row["id"])
    return by_role


ZONES = {"cpu:package-0", "cpu:package-1", "dram:package-0", "dram:package-1"}

# Own 8 of 32 busy threads: (RHO x 8 x 10 + 80) / (RHO x 64 x 10 + 320) s = 17 / 76.
FULLY_BUSY = 17 / 76
# Own none of 24 busy threads: RHO x 8 x 10 / (RHO x 64 x 10 + 240) s = 2 / 61.
ONLY_WAITING = 2 / 61


@pytest.mark.parametrize("job", [slurm_v2, slurm_v1, slurm_without_limits], ids=lambda job: job.__name__)
def test_a_slurm_job_is_charged_by_cpu_time_and_memory_and_the_node_is_shown_beside_it(node, job):
    running = job(node)
    with running.track() as tracker:
        for epoch in tracker.epochs(range(2)):
            running.go(own=8 if epoch == 0 else 0, busy=32 if epoch == 0 else 24)
    busy, waiting = tracker.footprint.epochs
    assert busy.by_part == pytest.approx({"cpu": PACKAGES_J * FULLY_BUSY, "dram": DRAM_J / 4})
    assert waiting.by_part == pytest.approx({"cpu": PACKAGES_J * ONLY_WAITING, "dram": DRAM_J / 4})
    footprint = tracker.footprint
    assert footprint.energy_j == pytest.approx(425.0 + 100.0 + PACKAGES_J * ONLY_WAITING + 100.0)
    assert footprint.gross_energy_j == pytest.approx(2 * (PACKAGES_J + DRAM_J))
    assert roles(footprint) == {"gross": ZONES, "share": {f"{zone}:share" for zone in ZONES}}
    assert footprint.coverage == pytest.approx(1.0)


@given(loads=st.tuples(st.floats(0, 8), st.floats(0, 56)), seconds=st.floats(1, 1000))
@settings(max_examples=15, deadline=None)
def test_what_all_jobs_of_a_node_are_charged_is_what_it_drew(tmp_path_factory, loads, seconds):
    charged = []
    for own, cpus, memory in zip(loads, ("0-3,32-35", "4-31,36-63"), (48 * GIB, 144 * GIB), strict=True):
        running = slurm_v2(machines.cluster_node(tmp_path_factory.mktemp("node")))
        running.machine.cgroup(SLURM_V2, {"cpuset.cpus.effective": cpus, "memory.max": memory})
        with running.track() as tracker:
            running.go(seconds, own=own, busy=sum(loads))
        charged.append(tracker.footprint.by_part)
    # The node's CPU time is told in steps of 10 ms.
    assert sum(by_part["cpu"] for by_part in charged) == pytest.approx(PACKAGES_J / 10 * seconds, rel=0.005)
    assert sum(by_part["dram"] for by_part in charged) == pytest.approx(DRAM_J / 10 * seconds, rel=1e-6)


def test_without_a_memory_limit_a_job_is_charged_for_memory_by_its_threads(node):
    running = slurm_without_limits(node)
    del node.environ["SLURM_MEM_PER_NODE"]
    with running.track() as tracker:
        running.go(own=8, busy=32)
    assert tracker.footprint.by_part["dram"] == pytest.approx(DRAM_J * 8 / 64)


def test_without_the_nodes_cpu_time_a_job_is_charged_by_its_threads(node):
    running = slurm_v2(node)
    (node.root / "proc" / "stat").unlink()
    with running.track() as tracker:
        running.go(own=8, busy=32)
    assert tracker.footprint.by_part["cpu"] == pytest.approx(PACKAGES_J * 8 / 64)
    assert "this job's share by threads" in next(row["source"] for row in tracker.footprint.sensors if row["role"] == "share")


def test_memory_without_a_counter_is_modelled_for_the_jobs_part_and_not_shared_once_more(tmp_path):
    node = machines.cluster_node(tmp_path)
    for zone in DRAM:
        node.write(f"sys/class/powercap/{zone}/name", "core")
    running = slurm_v2(node)
    with running.track() as tracker:
        running.go(own=8, busy=32)
    modelled_j = 48 * GIB / 1e9 * 0.3725 * 10
    assert tracker.footprint.by_part == pytest.approx({"cpu": PACKAGES_J * FULLY_BUSY, "dram": modelled_j})
    assert tracker.footprint.gross_energy_j == pytest.approx(PACKAGES_J + modelled_j)


def test_the_whole_machines_meter_is_nobodys_share(node):
    node.hwmon(2, "power_meter", "ACPI000D:00", power1_average=400_000_000, power1_average_interval=1000)
    running = slurm_v2(node)
    with running.track() as tracker:
        running.go(own=8, busy=32)
    footprint = tracker.footprint
    assert footprint.node_energy_j == pytest.approx(4000.0)
    assert footprint.energy_j == pytest.approx(425.0 + 100.0)
    assert footprint.gross_energy_j == pytest.approx(PACKAGES_J + DRAM_J), "the meter contains them, and is not added to them"


def test_a_slurm_job_whose_cgroup_has_another_name_is_a_job_all_the_same(node):
    """Since SLURM 26.05 a job's cgroup is named by its SLUID (cgroup.conf, CgroupJobIdPaths, which is off by default)."""
    job = SLURM_V2.replace(f"job_{SLURM_JOB}", "sEKNKTV3WPV500")
    machines.in_slurm_job(node)
    node.process(f"0::/{job}/step_0/user/task_1", "2-3,34-35")
    node.cgroup(job, {"cpuset.cpus.effective": "0-3,32-35", "memory.max": 48 * GIB})
    node.cgroup(f"{job}/step_0/user/task_1", {"cpuset.cpus.effective": "2-3,34-35", "cpu.stat": "usage_usec 7"})
    running = Running(node, lambda us: node.cgroup(job, {"cpu.stat": f"usage_usec {us}"}))
    with running.track() as tracker:
        running.go(own=8, busy=32)
    assert tracker.footprint.by_part == pytest.approx({"cpu": PACKAGES_J * FULLY_BUSY, "dram": DRAM_J / 4})


# ---- what is asked for


def test_all_counts_devices_whole_whoever_else_uses_them(node):
    running = slurm_v2(node)
    with running.track(attribute="all") as tracker:
        running.go(own=8, busy=32)
    footprint = tracker.footprint
    assert footprint.by_part == pytest.approx({"cpu": PACKAGES_J, "dram": DRAM_J})
    assert (footprint.gross_energy_j, roles(footprint)) == (None, {"counted": ZONES})


def test_of_a_machine_of_its_own_a_run_is_charged_all(node):
    running = Running(node)
    with running.track() as tracker:
        running.go(own=4, busy=32)
    footprint = tracker.footprint
    assert footprint.by_part == pytest.approx({"cpu": PACKAGES_J, "dram": DRAM_J})
    assert (footprint.gross_energy_j, roles(footprint)) == (None, {"counted": ZONES})


ME, CHILD, STRANGER = 7000, 7001, 6000


def process(machine: Machine, pid: int, parent: int, seconds: float) -> str:
    """A process that has used so much CPU time."""
    line = f"{pid} (python) R {parent} {' '.join(['0'] * 9)} {round(seconds * TICKS_PER_S)} 0 0 0 20 0 1 0 5000 0 0"
    machine.write(f"proc/{pid}/stat", line)
    return line


def with_process_tree(machine: Machine) -> Running:
    """This process, its child, which does all the job's work, and someone else's process."""
    machine.write("proc/self/stat", process(machine, ME, 1, 1.0))
    process(machine, STRANGER, 1, 9999.0)
    return Running(machine, lambda us: process(machine, CHILD, ME, us / 1e6))


def test_a_share_that_is_asked_for_goes_by_the_process_and_its_children(node):
    running = with_process_tree(node)
    with running.track(attribute="share") as tracker:
        running.go(own=16, busy=32)
    footprint = tracker.footprint
    # All 64 threads are this job's: (RHO x 640 + 160) / (RHO x 640 + 320) s. Nothing limits its memory.
    share = (RHO * 640 + 160) / (RHO * 640 + 320)
    assert share == pytest.approx(23 / 38)
    assert footprint.by_part == pytest.approx({"cpu": PACKAGES_J * share, "dram": DRAM_J})
    assert footprint.gross_energy_j == pytest.approx(PACKAGES_J + DRAM_J)
    assert roles(footprint) == {"gross": ZONES, "share": {f"{zone}:share" for zone in ZONES}}


def test_a_process_that_has_the_machine_to_itself_is_charged_all_either_way(node):
    running = with_process_tree(node)
    with running.track(attribute="share") as tracker:
        running.go(own=32, busy=32)
    assert tracker.footprint.by_part == pytest.approx({"cpu": PACKAGES_J, "dram": DRAM_J})


# ---- boards


OTHER = 4_000_001


class Nvml:
    """A driver with boards of 300 W; ``percent`` says which processes keep the first one how busy."""

    def __init__(self, clock: FakeClock, percent: dict[int, int], boards: int = 1) -> None:
        self._clock = clock
        self.percent = percent
        self._boards = boards

    def nvmlInit(self) -> None:  # noqa: N802
        """The driver answers."""

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self._boards

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, board: int) -> str:  # noqa: N802
        return f"GPU-{board}"

    def nvmlDeviceGetName(self, board: int) -> str:  # noqa: N802
        return "NVIDIA H100 80GB HBM3"

    def nvmlDeviceGetTotalEnergyConsumption(self, board: int) -> int:  # noqa: N802
        return self._clock.monotonic_ns() * 300 // 1_000_000

    def nvmlDeviceGetComputeRunningProcesses(self, board: int) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=pid) for pid in self.percent] if board == 0 else []

    def nvmlDeviceGetProcessUtilization(self, board: int, since: int) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=pid, smUtil=busy, timeStamp=since + 1) for pid, busy in self.percent.items()]


GPU_J = 3000.0


def test_a_board_that_others_compute_on_is_divided_by_use_and_the_rest_is_whole(node):
    running = Running(node)
    nvml = Nvml(running.clock, {os.getpid(): 30, OTHER: 60}, boards=2)
    with running.track(nvml=lambda: nvml) as tracker:
        running.go(busy=32)
    footprint = tracker.footprint
    assert footprint.by_part == pytest.approx({"gpu": GPU_J / 3 + GPU_J, "cpu": PACKAGES_J, "dram": DRAM_J})
    assert footprint.gross_energy_j == pytest.approx(2 * GPU_J + PACKAGES_J + DRAM_J)
    assert roles(footprint) == {"gross": {"gpu:GPU-0"}, "share": {"gpu:GPU-0:share"}, "counted": {"gpu:GPU-1", *ZONES}}


def test_a_board_of_its_own_is_whole_in_a_job_that_shares_the_node(node):
    running = slurm_v2(node)
    nvml = Nvml(running.clock, {os.getpid(): 90})
    with running.track(nvml=lambda: nvml) as tracker:
        running.go(own=8, busy=32)
    footprint = tracker.footprint
    assert footprint.by_part == pytest.approx({"gpu": GPU_J, "cpu": 425.0, "dram": 100.0})
    assert footprint.gross_energy_j == pytest.approx(GPU_J + PACKAGES_J + DRAM_J)


def test_all_counts_a_shared_board_whole(node):
    running = Running(node)
    nvml = Nvml(running.clock, {os.getpid(): 30, OTHER: 60})
    with running.track(attribute="all", nvml=lambda: nvml) as tracker:
        running.go(busy=32)
    assert tracker.footprint.by_part["gpu"] == pytest.approx(GPU_J)
    assert tracker.footprint.gross_energy_j is None


# ---- budgets


def test_a_budget_counts_what_is_attributed(node):
    running = slurm_v2(node)
    with running.track(budget="2 kJ") as tracker:
        for _ in tracker.epochs(range(100)):
            running.go(own=8, busy=32)
    footprint = tracker.footprint
    assert footprint.status == "stopped"
    assert len(footprint.epochs) == 3, "three epochs of 525 J fit into 2000 J, and not one of 2300 J"
    assert footprint.stop_reason["spent"] == pytest.approx(1575.0)
    assert footprint.budget[0]["used"] == pytest.approx(1575 / 2000)


def test_a_closed_run_leaves_no_file_of_the_machine_open(node):
    running = slurm_v2(node)
    with running.track():
        running.go(own=8, busy=32)
    sensors = probe(around=node.around(running.clock))
    sensors.close()
    assert not any(fd.resolve().is_relative_to(node.root) for fd in Path("/proc/self/fd").iterdir())
