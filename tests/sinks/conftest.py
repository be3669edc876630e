"""What sinks are tested with."""

from __future__ import annotations

import functools
import socket

import known_loop
import pytest


@pytest.fixture
def train(clock):
    """Trains the loop whose joules are known with such sinks, and returns the record."""
    return functools.partial(known_loop.train, clock)


@pytest.fixture
def free_port():
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
