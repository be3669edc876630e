"""What one NVIDIA board can tell of its energy, best first: a counter, a history of its power, its power."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from fitprint.clock import Clock
from fitprint.errors import SensorError
from fitprint.sensors.counter import UJ_IN_J, Counter, Integrated, Method, Sensor
from fitprint.sensors.visible import Identity

SOURCE = "NVML total energy counter"
MJ_IN_J = 1e-3
MW_PER_W = 1000.0
NS_PER_US = 1000
US_PER_S = 1e6
# More than any board on the market draws (GB300: 1,400 W); only catches nonsense.
P_MAX_W = 3000.0
# The board's own gain error: about +-5 %, proportional, differs between identical boards
# (Yang, Adamek, Armour, "Part-time power measurements", SC'24, over 70 boards).
BOARD_GAIN = 0.05
# Reading the counter faster than about once a second can make it fall short
# (Dauner et al., HotCarbon '26: 1.6 % at 1 s, 13 % at 100 ms on one RTX 4090; an H200 lost nothing at
# 5 ms, but each reading took 3 ms of CPU time, tests/traces/nvidia-h200).
MIN_INTERVAL_S = 1.0
# The counter is brought up to date every 20 to 100 ms, by model (100 ms on an H200); no vendor says which.
TICK_S = 0.1
# Board gain as above, and what the board does between two of its readings.
POWER_ERROR = 0.10

# nvml.h: numbers of fields, the scope that leaves out the rest of a module, and a kind of samples.
TOTAL_ENERGY_FIELD, ENERGY_FIELD = 83, 191
GPU_SCOPE = 0
POWER_SAMPLES = 0
# Its total counts the CPU and the memory of the module too (zeus, pull request 172, on that board);
# the scope GPU of the newer field leaves them out. The scope MODULE is never asked for.
MODULE = "GH200"
# The members of nvmlValue_t in the order of nvmlValueType_t.
VALUES = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")

# A hole in the history is bridged like the second between two readings of the power, or as many of
# its own periods (20 ms: 120 samples are 2.4 s); over a longer one power is not made up.
BRIDGED_S, BRIDGED_PERIODS = 1.0, 10
# The wall clock was set, not slewed, if it has moved by this against the monotonic one (ntpd slews
# what is less than 128 ms).
CLOCK_STEP_US = 100_000


class Driver:
    """NVML, all of whose errors are SensorErrors.

    Args:
        nvml: The module ``pynvml`` of the package nvidia-ml-py, or a stand-in.
    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def ask(self, function: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, function)(*arguments)
        except Exception as error:  # NVMLError, or a function that this driver or this binding does not have
            raise SensorError(str(error) or type(error).__name__) from error


def code_of(error: SensorError) -> int | None:
    """The number that NVML gave an error of the driver."""
    return getattr(error.__cause__, "value", None)


@dataclass(frozen=True)
class Board:
    """One board of the driver.

    Attributes:
        driver: Its driver. The handle is shared with frameworks in this process and stays open.
        handle: What the driver calls it.
        identity: Its UUID, name and place.
        fault: Why it does not answer; empty if it does.
    """

    driver: Driver
    handle: Any
    identity: Identity
    fault: str = ""

    @property
    def sensor_id(self) -> str:
        return f"gpu:{self.identity.uuid}"

    def ask(self, function: str, *arguments: Any) -> Any:
        try:
            return self.driver.ask(function, self.handle, *arguments)
        except SensorError as error:
            raise SensorError(f"{self.sensor_id}: {error}") from error.__cause__

    def sensor(self, method: Method, source: str, tick_s: float = 0.0) -> Sensor:
        unit_j, error = (MJ_IN_J, BOARD_GAIN) if method == "counter" else (UJ_IN_J, POWER_ERROR)
        return Sensor(self.sensor_id, "gpu", method, unit_j, error, error, f"{source}, {self.identity.name}", tick_s=tick_s)


class EnergyCounter:
    """Energy of one board in millijoules since the driver was loaded (Volta and newer).

    Args:
        board: The board.
        field: Read through this field of NVML instead of the function of its own.
    """

    modulus = None
    min_interval_s = MIN_INTERVAL_S
    p_max_w = P_MAX_W

    def __init__(self, board: Board, field: int | None = None) -> None:
        self.sensor = board.sensor("counter", SOURCE if field is None else f"{SOURCE} (field {field})", TICK_S)
        self.field = field
        self._board = board

    def read(self) -> int:
        if self.field is None:
            return int(self._board.ask("nvmlDeviceGetTotalEnergyConsumption"))
        answer = self._board.ask("nvmlDeviceGetFieldValues", [(self.field, GPU_SCOPE)])[0]
        if answer.nvmlReturn:  # each field succeeds or fails for itself
            raise SensorError(f"{self.sensor.id}: field {self.field} answers with error {answer.nvmlReturn}")
        return int(getattr(answer.value, VALUES[answer.valueType]))

    def close(self) -> None:
        """The driver stays open for frameworks in this process."""


class PowerGauge:
    """Power of one board in watts: on Ampere (but GA100) and newer the mean of the last second, before that of this moment."""

    p_max_w = P_MAX_W

    def __init__(self, board: Board) -> None:
        self.sensor = board.sensor("integrated", "NVML power")
        self._board = board

    def watts(self) -> float:
        return float(self._board.ask("nvmlDeviceGetPowerUsage")) / MW_PER_W

    def close(self) -> None:
        """The driver stays open for frameworks in this process."""


class _Sample(NamedTuple):
    """A board's power at a moment, in microseconds of the wall clock."""

    wall_us: int
    watts: float


class PowerHistory:
    """The driver's own samples of a board's power as a counter of microjoules: trapezoids between them (Kepler and newer).

    What comes after the newest sample is taken to be as strong as that, and set right by the next
    reading. Samples that were overwritten before they were read are not made up: the count begins
    again below 0, which everyone who reads it takes for what it is, a gap.

    Samples carry the time of the wall clock, of which only differences are used; where that clock
    was set in between, the step is taken out again.

    Args:
        board: The board.
        clock: Tells how old the newest sample is, and of steps of the wall clock.
    """

    modulus = None
    min_interval_s = 0.0
    p_max_w = P_MAX_W

    def __init__(self, board: Board, clock: Clock) -> None:
        self.sensor = board.sensor("integrated", "NVML power samples", TICK_S)
        self._board = board
        self._clock = clock
        self._begun = False
        self._last, self._last_us = _Sample(0, 0.0), 0
        # How far the samples' clock, and the wall clock then, is ahead of the monotonic one.
        self._ahead_us, self._wall_ahead_us = 0, 0
        self._bridged_us = BRIDGED_S * US_PER_S
        self._start_uj, self._uj, self._told_uj = 1, 0.0, 0

    def read(self) -> int:
        now_us = self._clock.monotonic_ns() // NS_PER_US
        wall_ahead_us = round(self._clock.time() * US_PER_S) - now_us
        step_us = wall_ahead_us - self._wall_ahead_us
        ahead_us = self._ahead_us + (step_us if abs(step_us) >= CLOCK_STEP_US else 0)
        samples = self._new_samples(stepped=ahead_us != self._ahead_us)
        for sample in samples if self._begun else ():
            self._add(sample, now_us, ahead_us)
        if not self._begun or now_us - self._last_us > self._bridged_us:
            self._begin(samples, now_us, wall_ahead_us)
        self._told_uj = max(self._told_uj, round(self._uj + self._held_uj(now_us)))
        return self._told_uj

    def close(self) -> None:
        """The driver stays open for frameworks in this process."""

    def _new_samples(self, *, stepped: bool) -> list[_Sample]:
        """Those that follow the last one that was seen, which after a step of the clock need not be later ones."""
        since_us = 0 if stepped or not self._begun else self._last.wall_us - 1
        kind, raw = self._board.ask("nvmlDeviceGetSamples", POWER_SAMPLES, since_us)
        samples = [_Sample(sample.timeStamp, getattr(sample.sampleValue, VALUES[kind]) / MW_PER_W) for sample in raw]
        seen = [i for i, sample in enumerate(samples) if sample.wall_us == self._last.wall_us]
        return samples[seen[-1] + 1 :] if seen else samples

    def _add(self, sample: _Sample, now_us: int, ahead_us: int) -> None:
        """Add the stretch up to a sample, unless that lies beyond a hole, in the future, or before the last one."""
        stretches_us = [sample.wall_us - ahead - self._last_us for ahead in sorted({self._ahead_us, ahead_us}, reverse=True)]
        latest_us = min(self._bridged_us, now_us - self._last_us)
        stretch_us = next((us for us in stretches_us if 0 < us <= latest_us), None)
        if stretch_us is None:
            return
        self._uj += (self._last.watts + sample.watts) / 2 * stretch_us
        self._last, self._last_us = sample, self._last_us + stretch_us
        self._wall_ahead_us += sample.wall_us - self._last_us - self._ahead_us
        self._ahead_us = sample.wall_us - self._last_us

    def _begin(self, samples: list[_Sample], now_us: int, wall_ahead_us: int) -> None:
        """Count from now on, below all that was told before."""
        if not samples:
            raise SensorError(f"{self.sensor.id}: the driver has stopped sampling")
        if len(samples) > 1:
            from statistics import median  # milliseconds that a run without a sampling driver does not need

            period_us = median(after.wall_us - before.wall_us for before, after in pairwise(samples))
            self._bridged_us = max(BRIDGED_S * US_PER_S, BRIDGED_PERIODS * period_us)
        age_us = now_us - (samples[-1].wall_us - wall_ahead_us)
        self._last, self._last_us = samples[-1], now_us - (age_us if 0 <= age_us <= self._bridged_us else 0)
        self._ahead_us, self._wall_ahead_us = self._last.wall_us - self._last_us, wall_ahead_us
        self._begun = True
        self._start_uj -= 1
        self._uj, self._told_uj = self._start_uj - self._held_uj(now_us), self._start_uj

    def _held_uj(self, now_us: int) -> float:
        return max(0, now_us - self._last_us) * self._last.watts


def sources(board: Board, clock: Clock) -> tuple[Counter, ...]:
    """All that a board may have, best first; which of them it has is found out by reading."""
    total, field, scoped = EnergyCounter(board), EnergyCounter(board, TOTAL_ENERGY_FIELD), EnergyCounter(board, ENERGY_FIELD)
    counters = (scoped, total, field) if MODULE in board.identity.name else (total, field, scoped)
    return (*counters, PowerHistory(board, clock), Integrated(PowerGauge(board), clock))


def covered(board: Board, counter: Counter) -> tuple[str, ...]:
    """The parts that are in a board's counter beside the GPU."""
    of_module = MODULE in board.identity.name and isinstance(counter, EnergyCounter) and counter.field != ENERGY_FIELD
    return ("cpu", "dram") if of_module else ()
