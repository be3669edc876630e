"""A BMC behind the kernel's IPMI device: its power, and every way in which it fails to tell it."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.errors import SensorError
from fitprint.sensors import ipmi
from fitprint.sensors.finding import Absent, Found

DEVICE = Path("/dev/ipmi0")
# What linux/ipmi.h gives on 64 bits: ioctls, struct ipmi_req and struct ipmi_recv.
SEND_COMMAND, RECEIVE_MSG_TRUNC = 0x8028690D, 0xC030690B
REQUEST, RECEIVED = struct.Struct("@PIlBBHP"), struct.Struct("@iPIlBBHP")
PATIENCE_S = 0.02


def reading(watts: int, *, code: int = 0, group: int = 0xDC, state: int = 0x40) -> bytes:
    """A BMC's answer; only the power now is to be believed."""
    return bytes([code, group]) + struct.pack("<HHHHIIB", watts, 1, 65_535, 7, 1_800_000_000, 1000, state)


class FakeBmc:
    """The kernel's side of an IPMI device.

    Attributes:
        watts: What a question is answered with at once; None leaves it open.
        questions: Message ids that were asked.
        failure: Raised by every ioctl while it is set.
    """

    def __init__(self, watts: int | None = 500) -> None:
        self.watts = watts
        self.questions: list[int] = []
        self.asked: list[tuple[int, int, bytes, bytes]] = []
        self.failure: OSError | None = None
        self.fd = -1
        self._queue: list[tuple[int, int, int, int, bytes]] = []
        self._kernel, self._user = socket.socketpair()

    def open(self, path: Path, flags: int) -> int:
        assert path == DEVICE
        self.fd = os.dup(self._user.fileno())
        return self.fd

    def answer(self, msgid: int, data: bytes, *, kind: int = 1, netfn: int = 0x2D, cmd: int = 0x02) -> None:
        """Put an answer into the queue, which wakes up whoever polls."""
        self._queue.append((kind, msgid, netfn, cmd, data))
        self._kernel.send(b"!")

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure, mutate: bool) -> int:
        os.fstat(fd)  # a closed descriptor is an error
        assert mutate
        if self.failure is not None:
            raise self.failure
        if request == SEND_COMMAND:
            return self._send(*REQUEST.unpack_from(argument))
        assert request == RECEIVE_MSG_TRUNC
        return self._receive(argument)

    def _send(self, address: int, address_bytes: int, msgid: int, netfn: int, cmd: int, data_bytes: int, data: int) -> int:
        self.questions.append(msgid)
        self.asked.append((netfn, cmd, ctypes.string_at(data, data_bytes), ctypes.string_at(address, address_bytes)))
        if self.watts is not None:
            self.answer(msgid, reading(self.watts))
        return 0

    def _receive(self, argument: ctypes.Structure) -> int:
        if not self._queue:
            raise BlockingIOError(errno.EAGAIN, "nothing there")
        self._user.recv(1)
        kind, msgid, netfn, cmd, data = self._queue.pop(0)
        _, address, _, _, _, _, room, buffer = RECEIVED.unpack_from(argument)
        ctypes.memmove(buffer, data, min(len(data), room))
        RECEIVED.pack_into(argument, 0, kind, address, 8, msgid, netfn, cmd, min(len(data), room), buffer)
        return 0

    def is_open(self) -> bool:
        try:
            os.fstat(self.fd)
        except OSError:
            return False
        return True

    def hang_up(self) -> None:
        self._kernel.close()
        self._user.close()


@pytest.fixture
def bmc():
    fake = FakeBmc()
    yield fake
    fake.hang_up()


@pytest.fixture
def counter(bmc, clock):
    """The BMC's counter; it has answered 500 W once."""
    (finding,) = probe(bmc, clock)
    assert isinstance(finding, Found)
    (found,) = finding.counters
    yield found
    found.close()


def probe(bmc: FakeBmc, clock) -> list:
    return ipmi.probe(DEVICE, clock, bmc.open, bmc.ioctl, PATIENCE_S)


def absent(bmc: FakeBmc, clock) -> Absent:
    """The only finding, an absence that leaves nothing out and nothing open."""
    (finding,) = probe(bmc, clock)
    assert isinstance(finding, Absent)
    assert finding.uncounted == ""
    assert not bmc.is_open()
    return finding


def joules(counter, clock, seconds: int) -> float:
    """The energy of some seconds, read once a second."""
    before = counter.read()
    for _ in range(seconds):
        clock.advance(1.0)
        after = counter.read()
    return (after - before) * counter.sensor.unit_j


def test_a_machine_of_500_watts_draws_30_kilojoules_in_a_minute(counter, clock):
    assert joules(counter, clock, 60) == pytest.approx(30_000.0)


def test_the_bmc_is_shown_beside_the_parts_and_never_added(counter):
    assert (counter.sensor.id, counter.sensor.part, counter.sensor.role) == ("node:bmc", "node", "node")
    assert counter.sensor.method == "integrated"


def test_the_interval_holds_the_published_gap_between_a_bmc_and_the_plug(counter):
    bmc_of_plug = 0.88  # idle GPU node, Jay et al. 2023
    assert bmc_of_plug * (1 + counter.sensor.high) >= 1.0


def test_the_question_is_dcmis_and_goes_to_the_bmc_itself(bmc, counter):
    system_interface = struct.pack("@ihBx", 0x0C, 0x0F, 0)
    assert bmc.asked == [(0x2C, 0x02, bytes([0xDC, 0x01, 0x00, 0x00]), system_interface)]


def test_an_answer_is_used_at_the_next_reading(bmc, counter, clock):
    clock.advance(1.0)
    bmc.watts = 900
    before = counter.read()  # asks, and still knows 500 W
    clock.advance(1.0)
    assert (counter.read() - before) * counter.sensor.unit_j == pytest.approx((500 + 900) / 2)


def test_while_a_bmc_thinks_the_power_that_is_known_goes_on(bmc, counter, clock):
    bmc.watts = None
    assert joules(counter, clock, 4) == pytest.approx(2000.0)
    assert len(bmc.questions) == 2  # one at the start, one that waits for its answer


def test_a_bmc_that_falls_silent_is_an_error_once_its_last_answer_is_old(bmc, counter, clock):
    bmc.watts = None
    clock.advance(9.0)
    assert counter.read() == pytest.approx(9 * 500e6)
    clock.advance(2.0)
    with pytest.raises(SensorError, match="does not answer any more"):
        counter.read()


def test_a_silent_bmc_is_asked_again_only_every_few_seconds(bmc, counter, clock):
    bmc.watts = None
    for _ in range(200):
        clock.advance(0.1)
        try:
            counter.read()
        except SensorError:
            continue
    assert 3 <= len(bmc.questions) - 1 <= 5


def test_what_a_silent_bmc_did_not_tell_is_not_made_up(bmc, counter, clock):
    bmc.watts = None
    clock.advance(60.0)
    with pytest.raises(SensorError):
        counter.read()
    bmc.answer(bmc.questions[-1], reading(700))
    assert counter.read() <= 0
    bmc.watts = 700
    clock.advance(1.0)
    assert counter.read() * counter.sensor.unit_j == pytest.approx(700.0, abs=1.0)


def test_readings_in_a_burst_ask_at_most_twice_a_second(bmc, counter, clock):
    for _ in range(100):
        clock.advance(0.01)
        counter.read()
    assert len(bmc.questions) - 1 <= 2


def test_an_answer_that_was_overtaken_is_not_taken_for_news(bmc, counter, clock):
    bmc.watts = None
    for _ in range(2):
        clock.advance(6.0)
        try:
            counter.read()
        except SensorError:
            continue
    first, second = bmc.questions[-2:]
    bmc.answer(second, reading(800))
    bmc.answer(first, reading(100))
    before = counter.read()
    clock.advance(1.0)
    assert (counter.read() - before) * counter.sensor.unit_j == pytest.approx(800.0)


@pytest.mark.parametrize(
    "foreign",
    [{"kind": 2}, {"kind": 3}, {"netfn": 0x07}, {"cmd": 0x01}],
    ids=["event", "command", "network function", "command code"],
)
def test_messages_that_answer_something_else_are_ignored(bmc, counter, clock, foreign):
    bmc.watts = None
    clock.advance(1.0)
    counter.read()
    bmc.answer(bmc.questions[-1], reading(9000), **foreign)
    assert joules(counter, clock, 2) == pytest.approx(1000.0)


def test_an_answer_behind_other_messages_is_found_at_once(bmc, counter, clock):
    bmc.watts = None
    clock.advance(1.0)
    counter.read()
    bmc.answer(bmc.questions[-1], b"", kind=2)
    bmc.answer(bmc.questions[-1], reading(800))
    clock.advance(10.0)
    assert counter.read() > 0  # the answer before this one is too old by now


@pytest.mark.parametrize("error", [errno.ENODEV, errno.EIO, errno.EBADF])
def test_a_device_that_vanishes_is_an_error_and_a_gap(bmc, counter, clock, error):
    bmc.failure = OSError(error, os.strerror(error))
    clock.advance(1.0)
    with pytest.raises(OSError, match=os.strerror(error)):
        counter.read()
    bmc.failure = None
    assert counter.read() < 0


def test_an_inactive_measurement_in_the_run_is_said_once_the_power_is_old(bmc, counter, clock):
    bmc.watts = None
    clock.advance(1.0)
    counter.read()
    bmc.answer(bmc.questions[-1], reading(500, state=0))
    assert joules(counter, clock, 5) == pytest.approx(2500.0)
    clock.advance(6.0)
    with pytest.raises(SensorError, match="not active"):
        counter.read()


def test_a_closed_counter_stays_closed(bmc, counter):
    counter.close()
    counter.close()
    assert not bmc.is_open()
    with pytest.raises(OSError, match="Bad file descriptor"):
        counter.read()


def test_of_a_machine_without_the_device_nothing_is_said(tmp_path, clock):
    assert ipmi.probe(tmp_path / "ipmi0", clock) == []


def test_permission_denied_comes_with_the_command_for_this_user_alone(clock):
    def refuse(path, flags):
        raise PermissionError(13, "Permission denied", str(path))

    (finding,) = ipmi.probe(DEVICE, clock, refuse)
    assert (finding.reason, finding.uncounted) == ("permission denied", "")
    assert finding.remedy == "sudo setfacl -m u:$USER:rw /dev/ipmi0"


def test_a_driver_without_a_bmc_is_absent(clock):
    def refuse(path, flags):
        raise OSError(errno.ENXIO, "No such device or address")

    (finding,) = ipmi.probe(DEVICE, clock, refuse)
    assert "No such device or address" in finding.reason


def test_a_bmc_that_takes_a_moment_to_answer_is_waited_for(bmc, clock):
    bmc.watts = None
    late = threading.Timer(0.02, bmc.answer, (1, reading(500)))
    late.start()
    (finding,) = ipmi.probe(DEVICE, clock, bmc.open, bmc.ioctl)
    late.join()
    assert isinstance(finding, Found)
    finding.counters[0].close()


def test_a_bmc_that_never_answers_is_absent_after_a_moment(bmc, clock):
    bmc.watts = None
    assert "does not answer" in absent(bmc, clock).reason


def test_a_device_that_takes_no_question_is_absent(bmc, clock):
    bmc.failure = OSError(errno.ENOTTY, "Inappropriate ioctl for device")
    assert "Inappropriate ioctl" in absent(bmc, clock).reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xc1", "0xc1"),
        (reading(500, code=0xD4), "0xd4"),
        (b"", "completion code"),
        (reading(500, group=0x00), "no DCMI"),
        (reading(500)[:-1], "no DCMI"),
        (reading(500, state=0xFF & ~0x40), "not active"),
        (reading(0), "0 W"),
    ],
    ids=["no DCMI", "refused", "empty", "another group", "cut short", "inactive", "zero"],
)
def test_an_answer_without_a_power_is_absent_with_the_reason(bmc, clock, data, reason):
    bmc.watts = None
    bmc.answer(1, data)
    assert reason in absent(bmc, clock).reason


@given(st.binary(max_size=80))
def test_any_bytes_are_a_power_of_a_machine_or_an_error(data):
    try:
        watts = ipmi.power_w(data)
    except SensorError:
        return
    assert 0 < watts <= 65_535


@given(st.integers(1, 65_535), st.binary(max_size=20))
def test_the_power_now_is_read_whatever_follows_the_answer(watts, more):
    assert ipmi.power_w(reading(watts) + more) == watts
