"""Stand-ins for clocks and hardware whose truth is known exactly."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from fitprint.clock import NS_PER_S
from fitprint.ranks import Member
from fitprint.sensors.counter import Method, Role, Sensor
from fitprint.sensors.trace import Recorded as Recorded
from fitprint.sensors.trace import Trace as Trace


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, start_s: float = 1_000.0, wall_s: float = 1_800_000_000.0) -> None:
        self._ns = round(start_s * NS_PER_S)
        self._wall_offset_s = wall_s - start_s
        self._asleep_ns = 0

    def monotonic_ns(self) -> int:
        return self._ns

    def time(self) -> float:
        return self._ns / NS_PER_S + self._wall_offset_s

    def asleep_ns(self) -> int:
        return self._asleep_ns

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep: the wall clock goes on, the monotonic one stands still."""
        self._asleep_ns += round(seconds * NS_PER_S)
        self._wall_offset_s += seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._ns += round(seconds * NS_PER_S)

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as NTP does."""
        self._wall_offset_s += seconds


class ScriptedCounter:
    """A counter in millijoules whose power the test sets.

    Args:
        clock: A FakeClock, or any clock.
        watts: Power from now on; assign ``counter.watts`` to change it.
        part: The part that it measures.
        sensor_id: Its id; made from the part by default.
        method: How it claims to measure.
        error: Relative half-width of its interval.
        modulus: Native units after which it wraps.
        p_max_w: Power above which a reading counts as nonsense.
        min_interval_s: Shortest useful time between readings.
        role: What becomes of its joules, for example ``node`` for a whole machine's power.
        tick_s: How often it says that it is brought up to date.

    Attributes:
        fails: While True every read raises OSError.
        reads: How often it was read.
    """

    def __init__(
        self,
        clock: FakeClock,
        *,
        watts: float = 100.0,
        part: str = "gpu",
        sensor_id: str | None = None,
        method: Method = "counter",
        error: float = 0.05,
        modulus: int | None = None,
        p_max_w: float = 10_000.0,
        min_interval_s: float = 0.0,
        role: Role = "counted",
        tick_s: float = 0.0,
    ) -> None:
        name, source = sensor_id or f"{part}:scripted", "scripted counter"
        self.sensor = Sensor(name, part, method, 1e-3, error, error, source, tick_s=tick_s, role=role)
        self.modulus = modulus
        self.p_max_w = p_max_w
        self.min_interval_s = min_interval_s
        self.fails = False
        self.reads = 0
        self._clock = clock
        self._watts = watts
        self._since_ns = clock.monotonic_ns()
        self._mj = 0

    @property
    def watts(self) -> float:
        return self._watts

    @watts.setter
    def watts(self, watts: float) -> None:
        self._mj, self._since_ns = self._total_mj(), self._clock.monotonic_ns()
        self._watts = watts

    @property
    def joules(self) -> float:
        """The truth."""
        return self._total_mj() * 1e-3

    def add(self, joules: float) -> None:
        """Let the hardware draw an amount at once."""
        self._mj += round(joules * 1000)

    def read(self) -> int:
        self.reads += 1
        if self.fails:
            raise OSError("scripted failure")
        total = self._total_mj()
        return total if self.modulus is None else total % self.modulus

    def close(self) -> None:
        """Nothing is held."""

    def _total_mj(self) -> int:
        return self._mj + round(self._watts * (self._clock.monotonic_ns() - self._since_ns) * 1000 / NS_PER_S)


class FakePowercap:
    """A powercap tree under a folder that serves as FITPRINT_SYS_ROOT.

    Args:
        sys_root: An empty folder.
        range_uj: Value after which each zone's counter starts again at 0.
    """

    def __init__(self, sys_root: Path, range_uj: int = 262_143_328_850) -> None:
        self._root = sys_root / "class" / "powercap"
        self.range_uj = range_uj

    def add_zone(self, zone: str, name: str, energy_uj: int = 0) -> Path:
        """Create a zone such as ``intel-rapl:0`` (name ``package-0``) or ``intel-rapl:0:0`` (name ``dram``)."""
        folder = self._root / zone
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "max_energy_range_uj").write_text(f"{self.range_uj}\n")
        self.write(zone, energy_uj)
        return folder

    def write(self, zone: str, energy_uj: int) -> None:
        """Set a zone's counter to a true total; it is stored wrapped, in place, like the kernel shows it."""
        text = f"{energy_uj % (self.range_uj + 1)}\n".ljust(32).encode()
        path = self._root / zone / "energy_uj"
        with path.open("r+b" if path.exists() else "wb") as file:
            file.write(text)


class FakeDriver:
    """A stand-in for NVIDIA's management library whose watts the test sets, loaded into this process.

    The dynamic linker hands out a library that is already loaded under the same name, so that
    nvidia-ml-py's own look-up of ``libnvidia-ml.so.1`` finds it; load it before anything asks for the
    real one. For another process, put ``path.parent`` on its LD_LIBRARY_PATH and the boards into
    FAKE_NVML_WATTS (the head of ``data/fake_nvml.c`` lists the variables).

    Args:
        path: What ``build_fake_driver`` returned.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lib = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        self._lib.fake_nvml_true_mj.restype = ctypes.c_double
        self._lib.fake_nvml_set_boards.argtypes = [ctypes.c_uint, ctypes.c_double]
        self._lib.fake_nvml_set_watts.argtypes = [ctypes.c_uint, ctypes.c_double]

    def set_boards(self, count: int, watts: float = 0.0) -> None:
        """Put in so many boards; none makes the driver answer that it is not loaded."""
        self._lib.fake_nvml_set_boards(count, watts)

    def set_watts(self, watts: float, board: int = 0) -> None:
        """Let a board draw another power from now on."""
        self._lib.fake_nvml_set_watts(board, watts)

    def lose(self, board: int = 0, *, lost: bool = True) -> None:
        """Let a board answer that it is lost, or answer again."""
        self._lib.fake_nvml_lose(board, int(lost))

    def reset(self, board: int = 0) -> None:
        """Let a board's counter begin again at 0, as when the driver is loaded anew."""
        self._lib.fake_nvml_reset(board)

    def freeze(self, board: int = 0, *, frozen: bool = True) -> None:
        """Let a board's counter stand still while power is drawn, or show all that was drawn again."""
        self._lib.fake_nvml_freeze(board, int(frozen))

    def cut(self, slices: Sequence[int], board: int = 0) -> list[str]:
        """Cut a board into MIG devices of so many of its 7 compute slices; returns their UUIDs, in order."""
        numbers = [self._lib.fake_nvml_add_part(board, count) for count in slices]
        return [f"MIG-{0xB0 + number:08x}-0000-0000-0000-000000000000" for number in numbers]

    def set_processes(self, percent: Mapping[int, int | None], board: int = 0) -> None:
        """Let these processes compute on a board and keep it busy so many percent of the time; None: the driver cannot tell."""
        self._lib.fake_nvml_clear_processes(board)
        for pid, busy in percent.items():
            self._lib.fake_nvml_add_process(board, pid, -1 if busy is None else busy)

    def joules(self, board: int = 0) -> float:
        """The exact truth now."""
        return float(self._lib.fake_nvml_true_mj(board)) / 1000


class FakeRanks:
    """The ranks of a job as threads of one process: give each thread's Tracker its ``peers[rank]``.

    Args:
        size: How many there are.
        per_host: How many of them are on one machine; all by default.
        within_s: How long an exchange waits for a rank that does not come.
        alike: One thread stands for all: the others tell what it tells, at once.

    Example:
        >>> ranks = FakeRanks(1)
        >>> ranks.peers[0].gather([1, 2])
        [[1, 2]]
    """

    def __init__(self, size: int, *, per_host: int | None = None, within_s: float = 10.0, alike: bool = False) -> None:
        self.within_s = within_s
        self.alike = alike
        self.members = [Member(f"host {rank // (per_host or size)}", os.getpid()) for rank in range(size)]
        self.barrier = threading.Barrier(size, timeout=within_s)
        self.rows: list[list[int]] = [[]] * size
        self.words: dict[int, str] = {}
        self.told = threading.Condition()
        self.peers = [FakePeers(self, rank) for rank in range(size)]


class FakePeers:
    """What one of FakeRanks sees of them.

    Args:
        ranks: All of them.
        rank: This one's number.
    """

    def __init__(self, ranks: FakeRanks, rank: int) -> None:
        self.rank, self.size, self.members = rank, len(ranks.members), ranks.members
        self._ranks = ranks

    def gather(self, row: Sequence[int]) -> list[list[int]]:
        """Everybody's row, as ``ranks.Peers`` has it; a rank that has left breaks it for all."""
        if self._ranks.alike:
            return [list(row) for _ in range(self.size)]
        self._ranks.rows[self.rank] = list(row)
        self._ranks.barrier.wait()
        rows = list(self._ranks.rows)
        self._ranks.barrier.wait()
        return rows

    def last_words(self, text: str) -> list[str | None]:
        """Everybody's last word, as far as it comes in time."""
        ranks = self._ranks
        if ranks.alike:
            return [text] * self.size
        with ranks.told:
            ranks.words[self.rank] = text
            ranks.told.notify_all()
            ranks.told.wait_for(lambda: len(ranks.words) == self.size, ranks.within_s)
            return [ranks.words.get(rank) for rank in range(self.size)]

    def leave(self) -> None:
        """Nobody waits for this one any more."""
        self._ranks.barrier.abort()


def build_fake_driver(folder: Path) -> Path | None:
    """Compile the stand-in library into a folder; None where there is no C compiler.

    Raises:
        subprocess.CalledProcessError: If the compiler fails.
    """
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        return None
    path = folder / "libnvidia-ml.so.1"
    with resources.as_file(resources.files("fitprint.data") / "fake_nvml.c") as source:
        command = [compiler, "-shared", "-fPIC", "-pthread", "-Wl,-soname,libnvidia-ml.so.1", "-o", str(path), str(source)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    return path
