"""macOS and Windows: their own interfaces behind compiled stand-ins, and the package without POSIX's and Linux's names."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.process import Process, is_alive, this_process
from fitprint.sensors.finding import Found
from fitprint.sensors.machine import Machine, busy_clock, job_clock, machine_clock, own_clock, read_machine
from fitprint.sensors.macos import MacOS
from fitprint.sensors.modelled import probe_cpu, probe_dram
from fitprint.sensors.windows import Windows
from fitprint.testing import FakeClock

NOWHERE = Path("no-such-folder")
MAC = Machine("Apple M2 Pro", 12, sockets=1, virtual=False, memory_gb=34.359738368, cpu_limit=None)
XEON = "Intel(R) Xeon(R) Platinum 8272CL CPU @ 2.60GHz"
CLOUD = Machine(XEON, os.cpu_count() or 1, 2, True, 68.719476736, None, ("GenuineIntel", 6, 85, 7))

# The functions as the systems' headers declare them; ``ticks`` and ``units`` are set by the tests.
LIBRARY = r"""
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int answer(const void *value, size_t size, void *to, size_t *room) {
    if (to != NULL && *room < size) return -1;
    if (to != NULL) memcpy(to, value, size);
    *room = size;
    return 0;
}

int sysctlbyname(const char *name, void *old, size_t *room, void *new, size_t new_size) {
    int32_t threads = 12, one = 1, zero = 0;
    uint64_t bytes = 34359738368u;
    const char *brand = "Apple M2 Pro";
    if (new != NULL || new_size != 0) return -1;
    if (!strcmp(name, "machdep.cpu.brand_string")) return answer(brand, strlen(brand) + 1, old, room);
    if (!strcmp(name, "hw.logicalcpu")) return answer(&threads, sizeof threads, old, room);
    if (!strcmp(name, "hw.packages")) return answer(&one, sizeof one, old, room);
    if (!strcmp(name, "kern.hv_vmm_present")) return answer(&zero, sizeof zero, old, room);
    if (!strcmp(name, "hw.memsize")) return answer(&bytes, sizeof bytes, old, room);
    return -1;
}

uint32_t ticks[4];
uint32_t mach_host_self(void) { return 0xF0000103u; }
int host_statistics(uint32_t host, int flavor, uint32_t *info, uint32_t *count) {
    if (host != 0xF0000103u || flavor != 3 || *count < 4) return 4;
    memcpy(info, ticks, sizeof ticks);
    *count = 4;
    return 0;
}

uint64_t units[3];
int GetSystemTimes(uint64_t *idle, uint64_t *kernel, uint64_t *user) {
    *idle = units[0], *kernel = units[1], *user = units[2];
    return 1;
}

struct status { uint32_t length, load; uint64_t total, rest[6]; };
int GlobalMemoryStatusEx(struct status *status) {
    if (status->length != 64) return 0;
    status->total = 68719476736u;
    return 1;
}

int GetLogicalProcessorInformationEx(int relation, uint8_t *records, uint32_t *room) {
    uint32_t sizes[2] = {48, 80};
    if (relation != 3) return 0;
    if (*room < 128) { *room = 128; return 0; }
    memset(records, 0, *room = 128);
    memcpy(records + 4, sizes, 4);
    memcpy(records + 52, sizes + 1, 4);
    return 1;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Both systems' functions, compiled, so that what is passed to them goes through a real call."""
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("systems")
    (folder / "systems.c").write_text(LIBRARY)
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / "systems.so"), str(folder / "systems.c")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return ctypes.CDLL(str(folder / "systems.so"))


class Registry:
    """The part of ``winreg`` that is used, over a mapping."""

    HKEY_LOCAL_MACHINE = object()
    CPU, BIOS = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0", r"HARDWARE\DESCRIPTION\System\BIOS"

    def __init__(self, manufacturer: str = "Microsoft Corporation", product: str = "Virtual Machine") -> None:
        self._values = {
            (self.CPU, "ProcessorNameString"): f"{XEON}   ",
            (self.CPU, "VendorIdentifier"): "GenuineIntel",
            (self.CPU, "Identifier"): "Intel64 Family 6 Model 85 Stepping 7",
            (self.BIOS, "SystemManufacturer"): manufacturer,
            (self.BIOS, "SystemProductName"): product,
        }

    @contextmanager
    def OpenKey(self, root, key):  # noqa: N802
        assert root is self.HKEY_LOCAL_MACHINE
        yield key

    def QueryValueEx(self, key, name):  # noqa: N802
        if (key, name) not in self._values:
            raise FileNotFoundError(2, "The system cannot find the file specified")
        return self._values[key, name], 1


class Broken:
    """A library in which every function raises, or is missing."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error

    def __getattr__(self, name):
        raise self._error(name)


# ---- macOS


def test_macos_tells_name_threads_packages_memory_and_hypervisor(library):
    assert read_machine(NOWHERE, NOWHERE, {}, platform="darwin", native=MacOS(library)) == MAC


def test_macos_busy_time_is_user_system_and_nice(library):
    ticks = (ctypes.c_uint32 * 4).in_dll(library, "ticks")
    ticks[:] = [100, 50, 9000, 7]
    busy_us = machine_clock(NOWHERE, platform="darwin", native=MacOS(library))
    before = busy_us()
    ticks[:] = [200, 80, 99_000, 27]
    assert busy_us() - before == (100 + 30 + 20) * 10_000


class Mach:
    """Four states whose true ticks never wrap; what is handed out does."""

    def __init__(self) -> None:
        self.true = [2**32 - 5, 3, 2**31, 0]

    def mach_host_self(self) -> int:
        return 1

    def host_statistics(self, host, flavor, ticks, count) -> int:
        ticks[:] = [value % 2**32 for value in self.true]
        return 0


@given(st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 4), max_size=20))
def test_macos_busy_time_goes_on_over_the_end_of_its_32_bits(steps):
    mach = Mach()
    busy_us = machine_clock(NOWHERE, platform="darwin", native=MacOS(mach))
    before = busy_us()
    for step in steps:
        mach.true = [value + more for value, more in zip(mach.true, step, strict=True)]
        busy_us()
    assert busy_us() - before == sum(user + system + nice for user, system, _, nice in steps) * 10_000


# ---- Windows


def test_windows_tells_name_packages_memory_hypervisor_and_microarchitecture(library):
    native = Windows(library, Registry())
    assert read_machine(NOWHERE, NOWHERE, {}, platform="win32", native=native) == CLOUD


@pytest.mark.parametrize(
    ("manufacturer", "product", "virtual"),
    [
        ("Microsoft Corporation", "Virtual Machine", True),
        ("Amazon EC2", "g5.xlarge", True),
        ("Amazon EC2", "m5.metal", False),
        ("Google", "Google Compute Engine", True),
        ("VMware, Inc.", "VMware7,1", True),
        ("QEMU", "Standard PC (Q35 + ICH9, 2009)", True),
        ("innotek GmbH", "VirtualBox", True),
        ("Microsoft Corporation", "Surface Laptop Studio", False),
        ("Dell Inc.", "Precision 7920 Tower", False),
        ("ECS", "H110H4-C2D", False),
    ],
)
def test_windows_below_a_hypervisor_is_known_by_the_machines_product_name(library, manufacturer, product, virtual):
    native = Windows(library, Registry(manufacturer, product))
    assert read_machine(NOWHERE, NOWHERE, {}, platform="win32", native=native).virtual is virtual


def test_windows_busy_time_is_user_and_kernel_without_idle(library):
    units = (ctypes.c_uint64 * 3).in_dll(library, "units")
    units[:] = [9_000_000_000, 10_000_000_000, 500_000_000]
    busy_us = machine_clock(NOWHERE, platform="win32", native=Windows(library, Registry()))
    before = busy_us()
    units[:] = [19_000_000_000, 20_400_000_000, 600_000_000]
    assert busy_us() - before == (400_000_000 + 100_000_000) // 10


def test_windows_busy_time_never_falls(library):
    units = (ctypes.c_uint64 * 3).in_dll(library, "units")
    units[:] = [1000, 5000, 3000]
    busy_us = machine_clock(NOWHERE, platform="win32", native=Windows(library, Registry()))
    before = busy_us()
    units[:] = [1900, 5000, 3000]
    assert busy_us() == before


# ---- where the interface fails

BROKEN = [OSError, AttributeError, ValueError, ctypes.ArgumentError]


@pytest.mark.parametrize("error", BROKEN)
@pytest.mark.parametrize("make", [MacOS, lambda library: Windows(library, library)], ids=["macOS", "Windows"])
def test_whatever_fails_the_machine_is_described_and_the_clock_runs(make, error):
    native = make(Broken(error))
    machine = read_machine(NOWHERE, NOWHERE, {}, platform="other", native=native)
    assert (machine.cpu_name, machine.threads, machine.sockets, machine.virtual) == ("", os.cpu_count() or 1, 1, False)
    assert machine.memory_gb == pytest.approx(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    assert machine_clock(NOWHERE, platform="other", native=native) is own_clock


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_a_system_without_its_own_interface_is_modelled_from_what_python_knows(platform):
    machine = read_machine(NOWHERE, NOWHERE, {}, platform=platform)
    busy = busy_clock(machine, NOWHERE, NOWHERE, {}, platform=platform)
    assert isinstance(probe_cpu(machine, FakeClock(), lambda: busy), Found)
    assert isinstance(probe_dram(machine, FakeClock()), Found)


def test_a_system_without_sysconf_has_memory_of_unknown_size(monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    assert read_machine(NOWHERE, NOWHERE, {}, platform="win32").memory_gb == 0.0


def test_the_own_clock_counts_this_processs_work():
    before = own_clock()
    while own_clock() == before:
        sum(range(10_000))
    assert own_clock() > before
    assert job_clock(NOWHERE, NOWHERE, {}, platform="win32") is own_clock


def test_where_nothing_tells_processes_apart_none_is_taken_for_dead():
    assert this_process(NOWHERE).boot_id == ""
    assert is_alive(Process("", 1, ""), NOWHERE) is None


# ---- the package without their names

# What macOS does not have, and what Windows does not have beyond that. The standard library and the packages
# that we depend on are this system's, and are loaded first: they need them.
NOT_ON_MACOS = {
    "os": "sched_getaffinity sched_setaffinity sched_yield pidfd_open posix_fadvise memfd_create eventfd",
    "time": "CLOCK_BOOTTIME CLOCK_TAI",
    "signal": "SIGPWR SIGPOLL SIGRTMIN SIGRTMAX SIGSTKFLT",
}
NOT_ON_WINDOWS = {
    "os": "fork forkpty register_at_fork pread preadv pwrite pwritev getuid geteuid getgid getegid getpgid getpgrp getsid setsid "
    "killpg nice sysconf sysconf_names uname getloadavg fchmod fchown chown lchown mkfifo mknod wait wait3 wait4 waitid statvfs "
    "fstatvfs posix_spawn getpriority setpriority ctermid confstr initgroups sync fdatasync getgroups openpty ttyname major minor "
    "O_CLOEXEC O_NONBLOCK O_DIRECTORY O_SYNC O_DSYNC O_NOFOLLOW O_NOCTTY",
    "time": "clock_gettime clock_gettime_ns clock_settime clock_getres tzset CLOCK_MONOTONIC CLOCK_MONOTONIC_RAW CLOCK_REALTIME "
    "CLOCK_PROCESS_CPUTIME_ID CLOCK_THREAD_CPUTIME_ID",
    "signal": "SIGHUP SIGUSR1 SIGUSR2 SIGKILL SIGQUIT SIGCHLD SIGALRM SIGTSTP SIGCONT SIGSTOP SIGPIPE alarm setitimer pause "
    "pthread_kill pthread_sigmask sigwait siginterrupt",
}
NEITHER = {module: f"{names} {NOT_ON_MACOS[module]}" for module, names in NOT_ON_WINDOWS.items()}
MODULES_NOT_ON_WINDOWS = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline", "crypt", "nis")
SYSTEMS = {"darwin": (NOT_ON_MACOS, ()), "win32": (NEITHER, MODULES_NOT_ON_WINDOWS)}
PREPARE = """
import argparse, ctypes, zoneinfo, importlib.metadata, json, logging, os, random, shutil, signal, sqlite3, subprocess, sys, tempfile
import threading, time, uuid
import platformdirs, pynvml, rich.console, rich.table
platform, names, modules = json.loads(sys.argv.pop())
sys.modules.update(dict.fromkeys(modules))
for module, missing in names.items():
    for name in missing.split():
        vars(sys.modules[module]).pop(name, None)
sys.platform = platform
assert not any(name.partition(".")[0] == "fitprint" for name in sys.modules)
"""


@pytest.fixture(params=SYSTEMS)
def elsewhere(request, tmp_path):
    """Runs code on what looks like another system to it and returns the JSON that it prints last."""
    folders = {name: str(tmp_path / name) for name in ("APPDATA", "LOCALAPPDATA", "USERPROFILE", "WINDIR")}
    roots = {f"FITPRINT_{root}_ROOT": str(tmp_path / "nothing") for root in ("SYS", "PROC")}
    names, modules = SYSTEMS[request.param]

    def run(code: str):
        command = [sys.executable, "-c", PREPARE + code, json.dumps([request.param, names, modules])]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env={**os.environ, **folders, **roots}, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_every_module_can_be_imported(elsewhere):
    code = """
import importlib, pkgutil, fitprint
names = [module.name for module in pkgutil.walk_packages(fitprint.__path__, "fitprint.") if not module.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(json.dumps(names))
"""
    assert {"fitprint.sensors.macos", "fitprint.sensors.windows", "fitprint.command", "fitprint.tracker"} <= set(elsewhere(code))


def test_detect_finds_the_model_and_gives_reasons_for_the_rest(elsewhere):
    found = elsewhere("from fitprint.cli import main\nsys.exit(main(['detect', '--json', '--region', 'FR']))")
    assert "cpu" in [row["part"] for row in found["found"] if row["method"] == "modelled"]
    assert all(row["reason"] for row in found["absent"])


def test_a_run_of_two_epochs_is_measured_and_recorded(elsewhere):
    code = """
from fitprint import Ledger, Tracker
with Tracker(region="FR", budget="1 kg") as tracker:
    for epoch in tracker.epochs(range(2)):
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
(run,) = Ledger().runs()
print(json.dumps([run, tracker.footprint.to_dict()]))
"""
    run, footprint = elsewhere(code)
    assert (run["status"], run["epochs"]) == ("completed", 2)
    assert footprint["by_part"]["cpu"] > 0
    assert footprint["measured_fraction"] == 0.0
    assert run["energy_j"] == pytest.approx(footprint["energy_j"])


def test_a_command_runs_under_the_signals_that_there_are(elsewhere):
    code = """
from fitprint import command
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with command._signals_passed_on(child):
    signal.raise_signal(signal.SIGTERM)
    status = child.wait(20)
print(json.dumps([status, [number.name for number in command.PASSED_ON]]))
"""
    status, passed_on = elsewhere(code)
    assert status == -15
    assert passed_on[:2] == ["SIGINT", "SIGTERM"]
