"""The machine and this job's part of it, as /proc, /sys and SLURM describe them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitprint.sensors.linux import Cgroups, ProcessTree
from fitprint.sensors.machine import Machine, busy_clock, job_clock, machine_clock, own_clock, read_machine

NAME = "AMD EPYC 7763 64-Core Processor"
MEMINFO = "MemTotal:       65536000 kB\nMemFree:        1000 kB\n"  # 67.108864 GB
STAT = "cpu  1000 200 30 50000 7000 4 5 90000 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
STAT_BUSY_TICKS = 1000 + 200 + 30 + 4 + 5
V1_LIMIT = "sys/fs/cgroup/memory/job/memory.limit_in_bytes"
V1_NO_LIMIT = "9223372036854771712"
V2_SELF, V1_SELF = "0::/job", "4:cpuset:/job\n3:memory:/job\n2:cpu,cpuacct:/job"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

SLURM = {"SLURM_JOB_ID": "7"}
V1_JOB = "slurm/uid_1000/job_7"
V1_SLURM = f"3:cpuset:/{V1_JOB}/step_0/task_2\n2:cpu,cpuacct:/{V1_JOB}/step_0/task_2\n1:memory:/{V1_JOB}/step_0"
V2_JOB = "system.slice/slurmstepd.scope/job_7"
V2_SLURM = f"0::/{V2_JOB}/step_0/user/task_2"


def tree(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """Write files below ``sys`` and ``proc`` of a folder and return the two roots."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "sys", root / "proc"


def cpuinfo(*, threads: int, sockets: int = 1, flags: str = "fpu") -> str:
    rest = f"model name\t: {NAME}\nflags\t\t: {flags}\n"
    return "\n".join(f"processor\t: {i}\nphysical id\t: {i % sockets}\n{rest}" for i in range(threads))


def machine_with(root: Path, files: dict[str, str], environ: dict[str, str] | None = None) -> Machine:
    """A machine of 8 threads and 67 GB, with further files."""
    whole = {"proc/cpuinfo": cpuinfo(threads=8), "proc/meminfo": MEMINFO, "proc/stat": STAT}
    return read_machine(*tree(root, whole | files), environ or {})


def affinity(cpus: str) -> dict[str, str]:
    return {"proc/self/status": f"Name:\tpython\nCpus_allowed:\tff\nCpus_allowed_list:\t{cpus}\n"}


def stat_line(pid: int, parent: int, ticks: tuple[int, int, int, int]) -> str:
    """A process's line: user, system and its collected children's two times are the fields from the 14th on."""
    return f"{pid} (py) thon (3) S {parent} {' '.join(['0'] * 9)} {' '.join(map(str, ticks))} 20 0 1 0 5000 0 0\n"


def process(proc_root: Path, pid: int, parent: int, ticks: tuple[int, int, int, int] = (0, 0, 0, 0)) -> None:
    (proc_root / str(pid)).mkdir(parents=True, exist_ok=True)
    (proc_root / str(pid) / "stat").write_text(stat_line(pid, parent, ticks))


def gone(proc_root: Path, pid: int) -> None:
    (proc_root / str(pid) / "stat").unlink()
    (proc_root / str(pid)).rmdir()


# ---- the machine


def test_cpuinfo_gives_name_threads_and_sockets(tmp_path):
    machine = read_machine(*tree(tmp_path, {"proc/cpuinfo": cpuinfo(threads=8, sockets=2)}), {})
    assert (machine.cpu_name, machine.threads, machine.sockets) == (NAME, 8, 2)


@pytest.mark.parametrize(("flags", "virtual"), [("fpu vme hypervisor lm", True), ("fpu vme lm", False)])
def test_a_hypervisor_flag_means_a_virtual_machine(tmp_path, flags, virtual):
    assert read_machine(*tree(tmp_path, {"proc/cpuinfo": cpuinfo(threads=1, flags=flags)}), {}).virtual is virtual


def test_what_cannot_be_read_takes_the_least_presumptuous_value(tmp_path):
    machine = read_machine(tmp_path / "sys", tmp_path / "proc", {})
    assert machine == Machine("", os.cpu_count() or 1, sockets=1, virtual=False, memory_gb=0.0, cpu_limit=None)
    assert machine.owned_share == 1.0


# ---- the job's memory


@pytest.mark.parametrize(
    ("files", "limit_gb"),
    [
        pytest.param({}, None, id="no cgroup"),
        pytest.param({"proc/self/cgroup": V2_SELF, "sys/fs/cgroup/job/memory.max": "8000000000\n"}, 8.0, id="v2"),
        pytest.param({"sys/fs/cgroup/memory.max": "8000000000\n"}, 8.0, id="v2 at the mount"),
        pytest.param({"sys/fs/cgroup/memory.max": "max\n"}, None, id="v2 without limit"),
        pytest.param({"sys/fs/cgroup/memory.max": "99000000000\n"}, None, id="v2 above what is installed"),
        pytest.param({"proc/self/cgroup": V1_SELF, V1_LIMIT: "4000000000\n"}, 4.0, id="v1"),
        pytest.param({"proc/self/cgroup": V1_SELF, V1_LIMIT: V1_NO_LIMIT}, None, id="v1 without limit"),
        pytest.param(
            {
                "proc/self/cgroup": V2_SELF,
                "sys/fs/cgroup/job/memory.max": "2000000000",
                "sys/fs/cgroup/memory.max": "8000000000",
            },
            2.0,
            id="the smallest decides",
        ),
    ],
)
def test_the_jobs_memory_is_the_smallest_cgroup_limit_below_what_is_installed(tmp_path, files, limit_gb):
    machine = machine_with(tmp_path, files)
    assert machine.memory_gb == pytest.approx(67.108864)
    assert machine.memory_limit_gb == limit_gb


@pytest.mark.parametrize("limit", ["8000000000", V1_NO_LIMIT])
def test_a_limit_counts_without_meminfo_unless_it_means_none(tmp_path, limit):
    machine = read_machine(*tree(tmp_path, {"sys/fs/cgroup/memory/memory.limit_in_bytes": limit}), {})
    assert (machine.memory_gb, machine.memory_limit_gb) == (0.0, None if limit == V1_NO_LIMIT else 8.0)


PINNED_BY_SLURM = {"proc/self/cgroup": V2_SLURM, f"sys/fs/cgroup/{V2_JOB}/cpuset.cpus.effective": "0-3\n"}
GRANTED = SLURM | {"SLURM_MEM_PER_NODE": "16000"}


@pytest.mark.parametrize(
    ("files", "environ", "limit_gb"),
    [
        pytest.param(PINNED_BY_SLURM, GRANTED, 16000 * 1024 * 1024 / 1e9, id="granted and not held to it"),
        pytest.param(
            PINNED_BY_SLURM | {f"sys/fs/cgroup/{V2_JOB}/memory.max": "9000000000"}, GRANTED, 9.0, id="a cgroup's limit comes first"
        ),
        pytest.param({"proc/self/cgroup": V2_SLURM}, GRANTED, None, id="the job owns all threads of the node"),
        pytest.param(PINNED_BY_SLURM, {"SLURM_MEM_PER_NODE": "16000"}, None, id="a leftover variable, no job"),
        pytest.param(PINNED_BY_SLURM, SLURM | {"SLURM_MEM_PER_NODE": "0"}, None, id="0 means all of the node"),
        pytest.param(PINNED_BY_SLURM, SLURM | {"SLURM_MEM_PER_NODE": "lots"}, None, id="no number"),
    ],
)
def test_a_slurm_job_on_part_of_a_node_has_the_memory_that_it_was_granted(tmp_path, files, environ, limit_gb):
    assert machine_with(tmp_path, files, environ).memory_limit_gb == limit_gb


# ---- the job's threads


def v1_quota(quota_us: int) -> dict[str, str]:
    folder = "sys/fs/cgroup/cpu,cpuacct/job"
    return {
        "proc/self/cgroup": V1_SELF,
        f"{folder}/cpu.cfs_quota_us": f"{quota_us}\n",
        f"{folder}/cpu.cfs_period_us": "100000\n",
        f"{folder}/cpuacct.usage": "5000000999\n",
    }


def v2_quota(text: str) -> dict[str, str]:
    return {
        "proc/self/cgroup": V2_SELF,
        "sys/fs/cgroup/job/cpu.max": text,
        "sys/fs/cgroup/job/cpu.stat": "usage_usec 123456\nuser_usec 1\nsystem_usec 2\n",
    }


def v1_cpuset(cpus: str, name: str = "cpuset.cpus") -> dict[str, str]:
    usage = {"sys/fs/cgroup/cpu,cpuacct/job/cpuacct.usage": "5000000999\n"}
    return {"proc/self/cgroup": V1_SELF, f"sys/fs/cgroup/cpuset/job/{name}": f"{cpus}\n"} | usage


def v2_cpuset(cpus: str) -> dict[str, str]:
    return v2_quota("max 100000") | {"sys/fs/cgroup/job/cpuset.cpus.effective": f"{cpus}\n"}


@pytest.mark.parametrize(
    ("files", "cpu_limit"),
    [
        pytest.param({}, None, id="no cgroup"),
        pytest.param(v2_quota("250000 100000\n"), 2.5, id="v2 quota"),
        pytest.param(v2_quota("max 100000\n"), None, id="v2 without limit"),
        pytest.param(v2_quota("800000 100000\n"), None, id="v2 all threads is no limit"),
        pytest.param(v2_quota("800000 0\n"), None, id="no period"),
        pytest.param({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5, id="v2 at the mount"),
        pytest.param(v1_quota(300_000), 3.0, id="v1 quota"),
        pytest.param(v1_quota(-1), None, id="v1 without limit"),
        pytest.param(v2_cpuset("0-1,5"), 3, id="v2 cpuset"),
        pytest.param(v2_cpuset("0-7"), None, id="v2 cpuset of all threads"),
        pytest.param(v2_cpuset(""), None, id="v2 cpuset that is empty"),
        pytest.param(v1_cpuset("2,4"), 2, id="v1 cpuset as asked for"),
        pytest.param(v1_cpuset("0-7") | v1_cpuset("2", "cpuset.effective_cpus"), 1, id="v1 cpuset in force"),
        pytest.param(v2_cpuset("0-3") | {"sys/fs/cgroup/job/cpu.max": "150000 100000"}, 1.5, id="the quota is the tighter one"),
        pytest.param(v2_cpuset("0-1") | {"sys/fs/cgroup/job/cpu.max": "300000 100000"}, 2, id="the cpuset is the tighter one"),
        pytest.param(v2_cpuset("0-5,200-300"), None, id="CPUs that could be plugged in"),
        pytest.param(v2_cpuset("6-10"), 2, id="only CPUs that are there count"),
        pytest.param(v2_cpuset("60-63"), 4, id="a container that numbers its CPUs from 0"),
        pytest.param(affinity("0-3"), 4, id="taskset"),
        pytest.param(affinity("0-7"), None, id="not pinned"),
        pytest.param(affinity("5"), None, id="a main thread bound to one CPU says nothing"),
        pytest.param(v2_quota("600000 100000") | affinity("0-3"), 4, id="pinned inside a container"),
    ],
)
def test_the_cpu_limit_is_the_smallest_of_quota_cpuset_and_affinity(tmp_path, files, cpu_limit):
    machine = machine_with(tmp_path, files)
    assert machine.cpu_limit == cpu_limit
    assert machine.owned_threads == (cpu_limit or 8)
    assert machine.owned_share == (cpu_limit or 8) / 8


@pytest.mark.parametrize("name", ["OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"])
def test_where_openmp_places_threads_the_main_threads_affinity_says_nothing(tmp_path, name):
    assert machine_with(tmp_path, affinity("0,4"), {name: "cores"}).cpu_limit is None


def slurm_v2(task: str = "2-3") -> dict[str, str]:
    """A job of four threads; the task of this process is pinned to some of them."""
    job = f"sys/fs/cgroup/{V2_JOB}"
    return {
        "proc/self/cgroup": V2_SLURM,
        f"{job}/cpuset.cpus.effective": "0-3",
        f"{job}/step_0/user/task_2/cpuset.cpus.effective": task,
        f"{job}/memory.max": "8000000000",
        f"{job}/step_0/memory.max": "1000000000",
        f"{job}/cpu.stat": "usage_usec 700\n",
        f"{job}/step_0/user/task_2/cpu.stat": "usage_usec 70\n",
    }


def slurm_v1() -> dict[str, str]:
    group = "sys/fs/cgroup"
    return {
        "proc/self/cgroup": V1_SLURM,
        f"{group}/cpuset/{V1_JOB}/cpuset.cpus": "0-3",
        f"{group}/cpuset/{V1_JOB}/step_0/task_2/cpuset.cpus": "2-3",
        f"{group}/cpu,cpuacct/{V1_JOB}/cpuacct.usage": "700000",
        f"{group}/cpu,cpuacct/{V1_JOB}/step_0/task_2/cpuacct.usage": "70000",
        f"{group}/memory/{V1_JOB}/memory.limit_in_bytes": "8000000000",
    }


@pytest.mark.parametrize("files", [slurm_v2(), slurm_v1()], ids=["v2", "v1"])
def test_the_tasks_of_a_slurm_job_share_the_whole_job(tmp_path, files):
    machine = machine_with(tmp_path, files | affinity("2-3"), SLURM)
    assert (machine.cpu_limit, machine.memory_limit_gb) == (4, 8.0)
    assert job_clock(tmp_path / "sys", tmp_path / "proc", SLURM)() == 700


@pytest.mark.parametrize("environ", [{}, {"SLURM_JOB_ID": "77"}, {"SLURM_JOB_ID": ""}])
def test_a_cgroup_is_only_the_slurm_job_of_this_process(tmp_path, environ):
    assert machine_with(tmp_path, slurm_v2(), environ).cpu_limit == 2
    assert job_clock(tmp_path / "sys", tmp_path / "proc", environ)() == 70


def test_a_slurm_job_that_has_all_threads_is_not_cut_down_to_its_tasks_affinity(tmp_path):
    files = {"proc/self/cgroup": V2_SLURM, f"sys/fs/cgroup/{V2_JOB}/cpuset.cpus.effective": "0-7"}
    assert machine_with(tmp_path, files | affinity("0-1"), SLURM).cpu_limit is None


@pytest.mark.parametrize(("granted", "cpu_limit"), [("6", 6), ("1", 2), ("8", None), ("", 2)])
def test_without_cpusets_a_slurm_task_owns_what_its_job_was_granted_at_least_its_affinity(tmp_path, granted, cpu_limit):
    environ = SLURM | {"SLURM_CPUS_ON_NODE": granted}
    assert machine_with(tmp_path, affinity("0-1"), environ).cpu_limit == cpu_limit


def test_a_limit_on_a_cgroup_further_out_counts_too(tmp_path):
    job = "sys/fs/cgroup/kubepods/pod"
    files = {
        "proc/self/cgroup": "0::/kubepods/pod/container\n\nshort\n",
        f"{job}/memory.max": "1000000000\n",
        f"{job}/cpu.max": "150000 100000\n",
        f"{job}/cpu.stat": "usage_usec 42\n",
        f"{job}/container/memory.max": "max\n",
        f"{job}/container/cpu.max": "max 100000\n",
        f"{job}/container/cpu.stat": "usage_usec 7\n",
    }
    machine = machine_with(tmp_path, files)
    assert (machine.memory_limit_gb, machine.cpu_limit) == (1.0, 1.5)
    assert busy_clock(machine, tmp_path / "sys", tmp_path / "proc", {})() == 42


def test_of_equal_limits_the_innermost_is_the_job(tmp_path):
    job = "sys/fs/cgroup/kubepods/pod"
    files = {
        "proc/self/cgroup": "0::/kubepods/pod/container\n",
        f"{job}/cpuset.cpus.effective": "0-1",
        f"{job}/cpu.stat": "usage_usec 42\n",
        f"{job}/container/cpuset.cpus.effective": "0-1",
        f"{job}/container/cpu.stat": "usage_usec 7\n",
    }
    machine_with(tmp_path, files)
    assert job_clock(tmp_path / "sys", tmp_path / "proc", {})() == 7


# ---- busy time


@pytest.mark.parametrize(
    ("files", "busy_us"),
    [
        pytest.param(v2_quota("250000 100000\n"), 123_456, id="v2"),
        pytest.param(v1_quota(300_000), 5_000_000, id="v1"),
        pytest.param(v2_cpuset("0-1"), 123_456, id="v2 cpuset"),
        pytest.param(v1_cpuset("0-1"), 5_000_000, id="v1 cpuset"),
    ],
)
def test_busy_time_is_the_cgroups_where_it_has_a_limit(tmp_path, files, busy_us):
    machine = machine_with(tmp_path, files)
    assert busy_clock(machine, tmp_path / "sys", tmp_path / "proc", {})() == busy_us


@pytest.mark.parametrize("files", [{}, v2_quota("max 100000\n")], ids=["no cgroup", "no limit"])
def test_busy_time_is_else_the_machines_without_idle_iowait_and_steal(tmp_path, files):
    machine = machine_with(tmp_path, files)
    busy_us = busy_clock(machine, tmp_path / "sys", tmp_path / "proc", {})
    assert busy_us() == STAT_BUSY_TICKS * 1_000_000 // TICKS_PER_S

    (tmp_path / "proc" / "stat").write_text(STAT.replace("1000", f"{1000 + TICKS_PER_S}", 1))
    assert busy_us() == STAT_BUSY_TICKS * 1_000_000 // TICKS_PER_S + 1_000_000


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, id="a limit but no usage"),
        pytest.param(v2_quota("600000 100000") | affinity("0-3"), id="pinned inside a container"),
        pytest.param(affinity("0-3"), id="pinned"),
    ],
)
def test_where_no_cgroup_is_the_job_it_is_this_process_and_its_descendants(tmp_path, files):
    me = {"proc/self/stat": stat_line(40, 1, (10, 20, 3, 4)), "proc/40/stat": stat_line(40, 1, (10, 20, 3, 4))}
    worker, other = {"proc/41/stat": stat_line(41, 40, (5, 5, 0, 0))}, {"proc/39/stat": stat_line(39, 1, (900, 0, 0, 0))}
    machine = machine_with(tmp_path, files | me | worker | other)
    assert busy_clock(machine, tmp_path / "sys", tmp_path / "proc", {})() == 47 * 1_000_000 // TICKS_PER_S


def test_a_job_that_cannot_be_read_is_this_process_itself(tmp_path):
    before = own_clock()
    job = job_clock(tmp_path / "sys", tmp_path / "proc", {})
    assert before <= job() <= own_clock()


@pytest.mark.parametrize("files", [{}, {"proc/stat": "intr 1 2 3\n"}, {"proc/stat": ""}])
def test_the_machines_busy_time_that_cannot_be_read_is_an_error(tmp_path, files):
    with pytest.raises(OSError, match="stat"):
        machine_clock(tree(tmp_path, files)[1])


# ---- the process tree


@pytest.fixture
def proc_root(tmp_path) -> Path:
    """A /proc in which this process is number 10."""
    root = tmp_path / "proc"
    process(root, 1, 0, (5000, 0, 0, 0))
    process(root, 10, 1)
    (root / "self").symlink_to(root / "10")
    (root / "meminfo").write_text(MEMINFO)
    return root


def ticks(tree: ProcessTree) -> int:
    """What it counts in ticks, exactly."""
    return tree() * TICKS_PER_S // 1_000_000


def test_descendants_of_any_generation_count_whatever_their_numbers(proc_root):
    process(proc_root, 30, 20, (4, 0, 0, 0))  # the child of a child
    process(proc_root, 7, 30, (8, 0, 0, 0))  # and its child, numbered after the numbers ran out
    process(proc_root, 20, 10, (1, 2, 0, 0))
    process(proc_root, 50, 1, (1000, 0, 0, 0))
    assert ticks(ProcessTree(proc_root)) == 1 + 2 + 4 + 8


def test_other_processes_of_the_job_count_with_all_that_descend_from_them(proc_root):
    process(proc_root, 40, 1, (16, 0, 0, 0))  # another rank
    process(proc_root, 41, 40, (32, 0, 0, 0))
    process(proc_root, 50, 1, (1000, 0, 0, 0))
    process(proc_root, 10, 1, (1, 0, 0, 0))
    assert ticks(ProcessTree(proc_root, [10, 40])) == 1 + 16 + 32


def test_a_child_that_ends_moves_into_its_parent_and_is_counted_once(proc_root):
    process(proc_root, 20, 10, (60, 0, 0, 0))
    tree = ProcessTree(proc_root)
    assert ticks(tree) == 60
    process(proc_root, 20, 10, (100, 0, 0, 0))
    assert ticks(tree) == 100
    gone(proc_root, 20)
    process(proc_root, 10, 1, (0, 0, 100, 0))
    assert ticks(tree) == 100


def test_a_child_that_ends_while_the_tree_is_read_is_neither_lost_nor_counted_twice(proc_root):
    process(proc_root, 20, 10, (100, 0, 0, 0))
    tree = ProcessTree(proc_root)
    assert ticks(tree) == 100
    (proc_root / "20" / "stat").unlink()  # still listed, and already collected
    process(proc_root, 10, 1, (0, 0, 130, 0))
    assert ticks(tree) == 100
    (proc_root / "20").rmdir()
    assert ticks(tree) == 130


def test_an_orphan_stays_with_the_job_and_its_end_takes_nothing_back(proc_root):
    process(proc_root, 20, 10)
    process(proc_root, 30, 20, (40, 0, 0, 0))
    tree = ProcessTree(proc_root)
    assert ticks(tree) == 40
    gone(proc_root, 20)
    process(proc_root, 30, 1, (70, 0, 0, 0))
    assert ticks(tree) == 70
    gone(proc_root, 30)
    assert ticks(tree) == 70
    process(proc_root, 10, 1, (5, 0, 0, 0))
    assert ticks(tree) == 75


class Family:
    """Process 10 and its descendants in a /proc; parents collect children at once."""

    def __init__(self, proc_root: Path) -> None:
        self.proc_root, self.worked = proc_root, 0
        self._living = {10: (1, 0, 0)}  # parent, own ticks, collected ticks
        self._write(10)
        (proc_root / "self").symlink_to(proc_root / "10")

    def do(self, event: str, number: int) -> None:
        pid = sorted(self._living)[number % len(self._living)]
        parent, own, collected = self._living[pid]
        has_children = any(other == pid for other, _, _ in self._living.values())
        if event == "work":
            self.worked += number
            self._living[pid] = (parent, own + number, collected)
        elif event == "fork":
            child = max(self._living) + 1
            self._living[child], pid = (pid, 0, 0), child
        elif pid != 10 and not has_children:
            del self._living[pid]
            gone(self.proc_root, pid)
            grandparent, parents, before = self._living[parent]
            self._living[parent], pid = (grandparent, parents, before + own + collected), parent
        self._write(pid)

    def _write(self, pid: int) -> None:
        parent, own, collected = self._living[pid]
        process(self.proc_root, pid, parent, (own, 0, collected, 0))


EVENTS = st.lists(st.tuples(st.sampled_from(["work", "fork", "end", "read"]), st.integers(0, 1000)), max_size=40)


@settings(max_examples=40, deadline=None)
@given(events=EVENTS)
def test_whatever_is_forked_and_collected_the_tree_counts_all_its_work_exactly(events):
    with tempfile.TemporaryDirectory() as folder:
        family = Family(Path(folder))
        tree = ProcessTree(family.proc_root)
        for event, number in [*events, ("read", 0)]:
            if event == "read":
                assert ticks(tree) == family.worked
            else:
                family.do(event, number)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs a real /proc")
def test_the_real_tree_counts_a_child_that_works_and_keeps_it_when_it_is_gone():
    tree = ProcessTree(Path("/proc"))
    before = tree()
    code = "import time\nwhile time.process_time() < 0.2: pass\nprint('done', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    living = tree()
    child.communicate(b"\n", timeout=20)
    assert living - before >= 150_000
    assert tree() >= living


def test_where_only_sys_is_another_the_cgroups_are_still_this_processs_own(tmp_path):
    """As in a container that was given its host's /sys to read the zones there."""
    assert Cgroups.of_this_process(tmp_path, Path("/proc"), {}).mount == Path("/sys/fs/cgroup")
    assert Cgroups.of_this_process(tmp_path, tmp_path / "proc", {}).mount == tmp_path / "fs" / "cgroup"
