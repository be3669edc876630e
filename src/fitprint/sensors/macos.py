"""macOS: the CPU, the memory and the busy time out of sysctl and Mach."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

from fitprint.sensors.machine import US_PER_S, CpuIdentity

# mach/host_info.h and mach/machine.h: the flavor, and the four states in their order.
_HOST_CPU_LOAD_INFO = 3
_STATES = ("user", "system", "idle", "nice")
_IDLE = _STATES.index("idle")
# Ticks last 1/100 s (CLK_TCK) and are counted in 32 bits.
_TICKS_PER_S = 100
_TICKS_MODULUS = 1 << 32


def load() -> MacOS:
    """The interface of the running system, out of the C library that Python is linked to."""
    return MacOS(ctypes.CDLL(None))


class MacOS:
    """What macOS answers; a question that fails raises OSError or AttributeError.

    Args:
        libc: The system's C library, or a stand-in with ``sysctlbyname``, ``mach_host_self`` and ``host_statistics``.
    """

    def __init__(self, libc: Any) -> None:
        self._libc = libc

    def cpu_name(self) -> str:
        return self._sysctl("machdep.cpu.brand_string").rstrip(b"\0").decode(errors="replace").strip()

    def cpu_identity(self) -> CpuIdentity:
        """Only Intel's processors have one here."""
        vendor = self._sysctl("machdep.cpu.vendor").rstrip(b"\0").decode(errors="replace")
        family, model, stepping = (self._number(f"machdep.cpu.{name}") for name in ("family", "model", "stepping"))
        return vendor, family, model, stepping

    def threads(self) -> int:
        return self._number("hw.logicalcpu")

    def sockets(self) -> int:
        return self._number("hw.packages")

    def virtual(self) -> bool:
        return bool(self._number("kern.hv_vmm_present"))

    def memory_bytes(self) -> int:
        return self._number("hw.memsize")

    def machine_clock(self) -> Callable[[], int]:
        host = ctypes.c_uint32(self._libc.mach_host_self())
        return _BusyTicks(lambda: self._cpu_ticks(host))

    def _cpu_ticks(self, host: ctypes.c_uint32) -> list[int]:
        ticks = (ctypes.c_uint32 * len(_STATES))()
        count = ctypes.c_uint32(len(_STATES))
        failure = self._libc.host_statistics(host, _HOST_CPU_LOAD_INFO, ticks, ctypes.byref(count))
        if failure:
            raise OSError(f"host_statistics answers {failure}")
        return list(ticks)

    def _number(self, name: str) -> int:
        """Values of 4 and of 8 bytes alike."""
        return int.from_bytes(self._sysctl(name), sys.byteorder)

    def _sysctl(self, name: str) -> bytes:
        size = ctypes.c_size_t(0)
        self._call_sysctl(name, None, size)
        value = ctypes.create_string_buffer(size.value)
        self._call_sysctl(name, value, size)
        return value.raw[: size.value]

    def _call_sysctl(self, name: str, value: Any, size: ctypes.c_size_t) -> None:
        failure = self._libc.sysctlbyname(name.encode(), value, ctypes.byref(size), None, ctypes.c_size_t(0))
        if failure:
            raise OSError(f"sysctl has no {name}")


class _BusyTicks:
    """Busy microseconds of all processors: each state's 32 bits are followed over their end."""

    def __init__(self, read: Callable[[], list[int]]) -> None:
        self._read = read
        self._last = read()
        self._total = 0

    def __call__(self) -> int:
        now = self._read()
        steps = [(new - old) % _TICKS_MODULUS for new, old in zip(now, self._last, strict=True)]
        self._last = now
        self._total += sum(steps) - steps[_IDLE]
        return self._total * US_PER_S // _TICKS_PER_S
