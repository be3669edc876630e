"""Windows: the CPU, the memory and the busy time out of the registry and kernel32."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from fitprint.sensors.machine import CpuIdentity

_CPU = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
_BIOS = r"HARDWARE\DESCRIPTION\System\BIOS"
# What hypervisors and clouds write into the machine's product name; Windows' own hypervisor also runs
# below Windows on bare metal, so that the processor's flag says nothing here.
_HYPERVISORS = re.compile(
    r"virtual|vmware|kvm|qemu|standard pc|hvm domu|bochs|amazon ec2|google compute|openstack|alibaba cloud", re.IGNORECASE
)
_BARE_METAL = re.compile(r"\.metal|bare metal", re.IGNORECASE)
_RELATION_PACKAGE = 3  # RelationProcessorPackage (winnt.h)
_UNITS_PER_US = 10  # FILETIME counts 100 ns


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX (sysinfoapi.h)."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total_bytes", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 6),
    )


def load() -> Windows:
    """The interface of the running system.

    Raises:
        OSError: Elsewhere.
    """
    if sys.platform != "win32":
        raise OSError("this is not Windows")
    import winreg

    return Windows(ctypes.WinDLL("kernel32"), winreg)


class Windows:
    """What Windows answers; a question that fails raises OSError.

    Args:
        kernel32: The system's library, or a stand-in.
        registry: The module ``winreg``, or a stand-in.
    """

    def __init__(self, kernel32: Any, registry: Any) -> None:
        self._kernel32 = kernel32
        self._registry = registry

    def cpu_name(self) -> str:
        return self._value(_CPU, "ProcessorNameString")

    def cpu_identity(self) -> CpuIdentity:
        """Out of ``Intel64 Family 6 Model 85 Stepping 7``."""
        numbers = re.search(r"Family (\d+) Model (\d+) Stepping (\d+)", self._value(_CPU, "Identifier"))
        if numbers is None:
            raise OSError("the processor has no family")
        family, model, stepping = (int(number) for number in numbers.groups())
        return self._value(_CPU, "VendorIdentifier"), family, model, stepping

    def threads(self) -> int:
        """Of all processor groups."""
        return os.cpu_count() or 1

    def sockets(self) -> int:
        size = ctypes.c_uint32(0)
        self._kernel32.GetLogicalProcessorInformationEx(_RELATION_PACKAGE, None, ctypes.byref(size))
        records = ctypes.create_string_buffer(size.value)
        _check(self._kernel32.GetLogicalProcessorInformationEx(_RELATION_PACKAGE, records, ctypes.byref(size)))
        return _count_records(records.raw[: size.value])

    def virtual(self) -> bool:
        product = self._value(_BIOS, "SystemProductName")
        if _BARE_METAL.search(product):
            return False
        return bool(_HYPERVISORS.search(f"{self._value(_BIOS, 'SystemManufacturer')} {product}"))

    def memory_bytes(self) -> int:
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        _check(self._kernel32.GlobalMemoryStatusEx(ctypes.byref(status)))
        return int(status.total_bytes)

    def machine_clock(self) -> Callable[[], int]:
        latest = self._busy_us()

        def read() -> int:
            nonlocal latest
            latest = max(latest, self._busy_us())  # the three times are not read at one instant
            return latest

        return read

    def _busy_us(self) -> int:
        """Kernel time contains the idle time."""
        idle, kernel, user = ctypes.c_uint64(0), ctypes.c_uint64(0), ctypes.c_uint64(0)
        _check(self._kernel32.GetSystemTimes(ctypes.byref(idle), ctypes.byref(kernel), ctypes.byref(user)))
        return (kernel.value + user.value - idle.value) // _UNITS_PER_US

    def _value(self, key: str, name: str) -> str:
        with self._registry.OpenKey(self._registry.HKEY_LOCAL_MACHINE, key) as opened:
            return str(self._registry.QueryValueEx(opened, name)[0]).strip()


def _check(success: int) -> None:
    if not success:
        raise OSError("kernel32 refuses")


def _count_records(records: bytes) -> int:
    """SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX: each record tells its own size after 4 bytes."""
    count = start = 0
    while start + 8 <= len(records):
        start += max(8, int.from_bytes(records[start + 4 : start + 8], "little"))
        count += 1
    return count
