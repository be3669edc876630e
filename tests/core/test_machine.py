"""The machine as /proc and /sys describe it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fitprint.sensors.machine import Machine, busy_clock, read_machine

NAME = "AMD EPYC 7763 64-Core Processor"
MEMINFO = "MemTotal:       65536000 kB\nMemFree:        1000 kB\n"  # 67.108864 GB
STAT = "cpu  1000 200 30 50000 7000 4 5 90000 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
STAT_BUSY_TICKS = 1000 + 200 + 30 + 4 + 5
V1_LIMIT = "sys/fs/cgroup/memory/job/memory.limit_in_bytes"
V1_NO_LIMIT = "9223372036854771712"
V2_SELF, V1_SELF = "0::/job", "3:memory:/job\n2:cpu,cpuacct:/job"


def tree(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """Write files below ``sys`` and ``proc`` of a folder and return the two roots."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "sys", root / "proc"


def cpuinfo(*, threads: int, sockets: int = 1, flags: str = "fpu") -> str:
    rest = f"model name\t: {NAME}\nflags\t\t: {flags}\n"
    return "\n".join(f"processor\t: {i}\nphysical id\t: {i % sockets}\n{rest}" for i in range(threads))


def machine_with(root: Path, files: dict[str, str], threads: int = 8) -> Machine:
    return read_machine(*tree(root, {"proc/cpuinfo": cpuinfo(threads=threads), "proc/meminfo": MEMINFO, **files}))


def test_cpuinfo_gives_name_threads_and_sockets(tmp_path):
    machine = read_machine(*tree(tmp_path, {"proc/cpuinfo": cpuinfo(threads=8, sockets=2)}))
    assert (machine.cpu_name, machine.threads, machine.sockets) == (NAME, 8, 2)


@pytest.mark.parametrize(("flags", "virtual"), [("fpu vme hypervisor lm", True), ("fpu vme lm", False)])
def test_a_hypervisor_flag_means_a_virtual_machine(tmp_path, flags, virtual):
    assert read_machine(*tree(tmp_path, {"proc/cpuinfo": cpuinfo(threads=1, flags=flags)})).virtual is virtual


def test_what_cannot_be_read_takes_the_least_presumptuous_value(tmp_path):
    machine = read_machine(tmp_path / "sys", tmp_path / "proc")
    assert machine == Machine("", os.cpu_count() or 1, sockets=1, virtual=False, memory_gb=0.0, cpu_limit=None)


@pytest.mark.parametrize(
    ("files", "memory_gb"),
    [
        pytest.param({}, 67.108864, id="no cgroup"),
        pytest.param({"proc/self/cgroup": V2_SELF, "sys/fs/cgroup/job/memory.max": "8000000000\n"}, 8.0, id="v2"),
        pytest.param({"sys/fs/cgroup/memory.max": "8000000000\n"}, 8.0, id="v2 at the mount"),
        pytest.param({"sys/fs/cgroup/memory.max": "max\n"}, 67.108864, id="v2 without limit"),
        pytest.param({"sys/fs/cgroup/memory.max": "99000000000\n"}, 67.108864, id="v2 above what is installed"),
        pytest.param({"proc/self/cgroup": V1_SELF, V1_LIMIT: "4000000000\n"}, 4.0, id="v1"),
        pytest.param({"proc/self/cgroup": V1_SELF, V1_LIMIT: V1_NO_LIMIT}, 67.108864, id="v1 without limit"),
        pytest.param(
            {
                "proc/self/cgroup": V2_SELF,
                "sys/fs/cgroup/job/memory.max": "2000000000",
                "sys/fs/cgroup/memory.max": "8000000000",
            },
            2.0,
            id="the most specific folder decides",
        ),
    ],
)
def test_memory_is_what_is_installed_or_the_cgroups_limit(tmp_path, files, memory_gb):
    assert machine_with(tmp_path, files).memory_gb == pytest.approx(memory_gb)


@pytest.mark.parametrize("limit", ["8000000000", V1_NO_LIMIT])
def test_a_limit_counts_without_meminfo_unless_it_means_none(tmp_path, limit):
    machine = read_machine(*tree(tmp_path, {"sys/fs/cgroup/memory/memory.limit_in_bytes": limit}))
    assert machine.memory_gb == (0.0 if limit == V1_NO_LIMIT else 8.0)


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


@pytest.mark.parametrize(
    ("files", "cpu_limit"),
    [
        pytest.param({}, None, id="no cgroup"),
        pytest.param(v2_quota("250000 100000\n"), 2.5, id="v2"),
        pytest.param(v2_quota("max 100000\n"), None, id="v2 without limit"),
        pytest.param(v2_quota("800000 100000\n"), None, id="v2 all threads is no limit"),
        pytest.param({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5, id="v2 at the mount"),
        pytest.param(v1_quota(300_000), 3.0, id="v1"),
        pytest.param(v1_quota(-1), None, id="v1 without limit"),
    ],
)
def test_the_cpu_limit_is_the_cgroups_quota_over_its_period(tmp_path, files, cpu_limit):
    assert machine_with(tmp_path, files).cpu_limit == cpu_limit


@pytest.mark.parametrize(
    ("files", "busy_us"),
    [
        pytest.param(v2_quota("250000 100000\n"), 123_456, id="v2"),
        pytest.param(v1_quota(300_000), 5_000_000, id="v1"),
    ],
)
def test_busy_time_is_the_cgroups_where_it_has_a_limit(tmp_path, files, busy_us):
    machine = machine_with(tmp_path, {"proc/stat": STAT, **files})
    assert busy_clock(machine, tmp_path / "sys", tmp_path / "proc")() == busy_us


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({}, id="no cgroup"),
        pytest.param(v2_quota("max 100000\n"), id="no limit"),
        pytest.param({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, id="a limit but no usage"),
    ],
)
def test_busy_time_is_else_the_machines_without_idle_iowait_and_steal(tmp_path, files):
    machine = machine_with(tmp_path, {"proc/stat": STAT, **files})
    busy_us = busy_clock(machine, tmp_path / "sys", tmp_path / "proc")
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    assert busy_us() == STAT_BUSY_TICKS * 1_000_000 // ticks_per_s

    (tmp_path / "proc" / "stat").write_text(STAT.replace("1000", f"{1000 + ticks_per_s}", 1))
    assert busy_us() == STAT_BUSY_TICKS * 1_000_000 // ticks_per_s + 1_000_000


@pytest.mark.parametrize("files", [{}, {"proc/stat": "intr 1 2 3\n"}, {"proc/stat": ""}])
def test_busy_time_that_cannot_be_read_is_an_error(tmp_path, files):
    machine = machine_with(tmp_path, files)
    with pytest.raises(OSError, match="stat"):
        busy_clock(machine, tmp_path / "sys", tmp_path / "proc")


def test_a_limit_on_a_cgroup_further_out_counts_too(tmp_path):
    sys_root, proc_root = tmp_path / "sys", tmp_path / "proc"
    job = sys_root / "fs" / "cgroup" / "slurm" / "job"
    (job / "task").mkdir(parents=True)
    (proc_root / "self").mkdir(parents=True)
    (proc_root / "self" / "cgroup").write_text("0::/slurm/job/task\n\nshort\n")
    (proc_root / "cpuinfo").write_text("processor : 0\nprocessor : 1\nprocessor : 2\nprocessor : 3\n")
    (proc_root / "meminfo").write_text("MemTotal: 8000000 kB\n")
    (job / "memory.max").write_text("1000000000\n")
    (job / "cpu.max").write_text("150000 100000\n")
    (job / "cpu.stat").write_text("usage_usec 42\n")
    (job / "task" / "memory.max").write_text("max\n")
    (job / "task" / "cpu.max").write_text("max 100000\n")
    machine = read_machine(sys_root, proc_root)
    assert (machine.memory_gb, machine.cpu_limit) == (1.0, 1.5)
    assert busy_clock(machine, sys_root, proc_root)() == 42
