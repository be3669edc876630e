"""The whole machine's power from its BMC: DCMI "Get Power Reading" through the kernel's IPMI device.

A BMC answers after milliseconds or seconds and nobody may wait for it, so a question and its answer
are two readings apart: each reading takes what has arrived, asks again and gives the newest power.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from fitprint.clock import NS_PER_S, Clock
from fitprint.errors import SensorError
from fitprint.sensors.counter import NODE, UJ_IN_J, Integrated, Sensor
from fitprint.sensors.finding import Absent, Finding, Found

SOURCE = "BMC (IPMI DCMI power reading)"
# Jay et al. 2023: a GPU node's BMC read 8.6 % (load) to 12 % (idle) below the wattmeter at its plug,
# so that the truth is up to 14 % above; readings are whole watts, which is less than that.
WALL_LOW, WALL_HIGH = 0.05, 0.14
# Most BMCs renew the figure about once a second (documentation of the Green Metrics Tool).
TICK_S = 1.0
# A field of 16 bits could say 65 kW; a server of eight accelerators draws 10 to 15 kW.
P_MAX_W = 30_000.0
# More often is useless, and a driver without interrupts keeps a core busy while a BMC thinks.
ASK_EVERY_S = 0.5
# The kernel's drivers give up on a BMC after 5 s (ipmi_kcs_sm.c); later answers are taken for lost.
GIVE_UP_S = 5.0
# Power that is older than this is not the power now.
FRESH_S = 10.0
# How long the search for sensors waits for the first answer.
PATIENCE_S = 1.0

# DCMI 1.5, Get Power Reading: group extension DCh, command 02h, mode 01h (system power statistics).
NETFN_GROUP, NETFN_GROUP_ANSWER, GET_POWER_READING = 0x2C, 0x2D, 0x02
GROUP_DCMI = 0xDC
QUESTION = bytes([GROUP_DCMI, 0x01, 0x00, 0x00])
# Completion code, group, watts now, least, most and mean, time stamp, period, state.
ANSWER = struct.Struct("<BBHHHHIIB")
STATE_ACTIVE = 1 << 6

# linux/ipmi.h
SYSTEM_INTERFACE, BMC_CHANNEL, RESPONSE = 0x0C, 0x0F, 1
MAX_ADDRESS_BYTES = 40
MAX_ANSWER_BYTES = 64
MOST_ANSWERS = 8


class _Address(ctypes.Structure):
    _fields_: ClassVar = [("addr_type", ctypes.c_int), ("channel", ctypes.c_short), ("lun", ctypes.c_ubyte)]


class _Message(ctypes.Structure):
    _fields_: ClassVar = [
        ("netfn", ctypes.c_ubyte),
        ("cmd", ctypes.c_ubyte),
        ("data_len", ctypes.c_ushort),
        ("data", ctypes.c_void_p),
    ]


class _Request(ctypes.Structure):
    _fields_: ClassVar = [
        ("addr", ctypes.c_void_p),
        ("addr_len", ctypes.c_uint),
        ("msgid", ctypes.c_long),
        ("msg", _Message),
    ]


class _Received(ctypes.Structure):
    _fields_: ClassVar = [("recv_type", ctypes.c_int), *_Request._fields_]


# asm-generic/ioctl.h: direction, size, magic, number; IPMICTL_SEND_COMMAND is _IOR, the other _IOWR.
SEND_COMMAND = 2 << 30 | ctypes.sizeof(_Request) << 16 | ord("i") << 8 | 13
RECEIVE_MSG_TRUNC = 3 << 30 | ctypes.sizeof(_Received) << 16 | ord("i") << 8 | 11


class BmcPower:
    """The machine's power in watts, as its BMC last said; never waits.

    Args:
        fd: The open IPMI device; closed with this.
        ioctl: As ``fcntl.ioctl``.
        clock: How old an answer is.
    """

    p_max_w = P_MAX_W
    sensor = Sensor("node:bmc", "node", "integrated", UJ_IN_J, WALL_LOW, WALL_HIGH, SOURCE, tick_s=TICK_S, role="node")

    def __init__(self, fd: int, ioctl: Callable[..., Any], clock: Clock) -> None:
        self._fd = fd
        self._ioctl = ioctl
        self._clock = clock
        self._asked = self._heard = 0
        self._asked_ns: int | None = None
        self._known: tuple[int, float] | None = None
        self._why = "it does not answer"

    def watts(self) -> float:
        self._take_answers()
        self.ask()
        if self._known is None or self._age_s(self._known[0]) > FRESH_S:
            raise SensorError(f"{SOURCE}: {self._why}")
        return self._known[1]

    def ask(self) -> None:
        """Send the question, unless one is under way or was answered just now."""
        patience_s = GIVE_UP_S if self._asked > self._heard else ASK_EVERY_S
        if self._asked_ns is not None and self._age_s(self._asked_ns) < patience_s:
            return
        address = _Address(SYSTEM_INTERFACE, BMC_CHANNEL, 0)
        data = ctypes.create_string_buffer(QUESTION, len(QUESTION))
        message = _Message(NETFN_GROUP, GET_POWER_READING, len(QUESTION), ctypes.addressof(data))
        request = _Request(ctypes.addressof(address), ctypes.sizeof(address), self._asked + 1, message)
        self._ioctl(self._fd, SEND_COMMAND, request, True)
        self._asked, self._asked_ns = self._asked + 1, self._clock.monotonic_ns()

    def wait(self, patience_s: float) -> None:
        """Wait until something has arrived; for the search for sensors only."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.poll(patience_s * 1000)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _take_answers(self) -> None:
        """Empty the queue; the kernel says at once when nothing is left."""
        for _ in range(MOST_ANSWERS):
            address = ctypes.create_string_buffer(MAX_ADDRESS_BYTES)
            data = ctypes.create_string_buffer(MAX_ANSWER_BYTES)
            message = _Message(0, 0, MAX_ANSWER_BYTES, ctypes.addressof(data))
            received = _Received(0, ctypes.addressof(address), MAX_ADDRESS_BYTES, 0, message)
            try:
                self._ioctl(self._fd, RECEIVE_MSG_TRUNC, received, True)
            except BlockingIOError:
                return
            self._take(received, data.raw[: received.msg.data_len])

    def _take(self, received: _Received, data: bytes) -> None:
        """Keep an answer, unless it is no answer of ours or was overtaken by a newer one."""
        kind = (received.recv_type, received.msg.netfn, received.msg.cmd)
        if kind != (RESPONSE, NETFN_GROUP_ANSWER, GET_POWER_READING) or received.msgid <= self._heard:
            return
        self._heard = received.msgid
        try:
            self._known, self._why = (self._clock.monotonic_ns(), power_w(data)), "it does not answer any more"
        except SensorError as error:
            self._why = str(error)

    def _age_s(self, since_ns: int) -> float:
        return (self._clock.monotonic_ns() - since_ns) / NS_PER_S


def power_w(data: bytes) -> float:
    """Read the power in watts out of an answer.

    Args:
        data: The answer from its completion code on.

    Raises:
        SensorError: If the BMC refuses, answers something else or does not measure now.
    """
    if data[:1] != b"\0":
        raise SensorError(f"it refuses with completion code 0x{data[:1].hex()}")
    if len(data) < ANSWER.size or data[1] != GROUP_DCMI:
        raise SensorError("its answer is no DCMI power reading")
    _, _, watts, *_, state = ANSWER.unpack_from(data)
    if not state & STATE_ACTIVE:
        raise SensorError("its power measurement is not active")
    if watts == 0:
        raise SensorError("it says 0 W, which no running machine draws")
    return float(watts)


def _ioctl(fd: int, request: int, *rest: Any) -> Any:
    import fcntl  # Windows has neither this nor the device

    return fcntl.ioctl(fd, request, *rest)


def probe(
    device: Path,
    clock: Clock,
    open_device: Callable[[Path, int], int] = os.open,
    ioctl: Callable[..., Any] | None = None,
    patience_s: float = PATIENCE_S,
) -> list[Finding]:
    """Ask the BMC once, where there is one; wait for its first answer at most ``patience_s`` seconds.

    Args:
        device: Normally ``/dev/ipmi0``.
        clock: What power is integrated over.
        open_device: As ``os.open``.
        ioctl: As ``fcntl.ioctl``, which it is by default.
        patience_s: Seconds.
    """
    try:
        fd = open_device(device, os.O_RDWR)
    except FileNotFoundError:
        return []
    except PermissionError:
        # The device also lets its user switch the machine off: one user, not all.
        return [Absent(SOURCE, "permission denied", f"sudo setfacl -m u:$USER:rw {device}", part=NODE)]
    except OSError as error:
        return [Absent(SOURCE, f"{device} cannot be opened ({error})", part=NODE)]
    gauge = BmcPower(fd, ioctl or _ioctl, clock)
    counter = Integrated(gauge, clock)
    try:
        gauge.ask()
        gauge.wait(patience_s)
        counter.read()
    except (OSError, SensorError) as error:
        counter.close()
        return [Absent(SOURCE, str(error), part=NODE)]
    return [Found((counter,))]
