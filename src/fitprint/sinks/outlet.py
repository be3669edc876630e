"""The way to one sink: calls wait in a queue, and a thread makes them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from fitprint.notices import logger
from fitprint.sinks.sink import Sink

# Calls kept for a sink that hangs; older ones are dropped.
MOST_WAITING = 1000

Call = Callable[[Sink], object]


class Outlet:
    """Feeds a sink. Each has a thread of its own: one that hangs keeps neither the training nor other sinks waiting.

    The clerk is not used for it: a server that does not answer must not keep records from the ledger.

    Args:
        sink: Where to.
        name: What it is called in messages.
    """

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink = sink
        self._name = name
        self._calls: deque[Call] = deque(maxlen=MOST_WAITING)
        self._wake = threading.Event()
        self._closing = self._failed = False
        self._thread = threading.Thread(target=self._work, name=f"fitprint-sink-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, call: Call) -> None:
        """Have the sink called; returns at once."""
        self._calls.append(call)
        self._wake.set()

    def close(self) -> None:
        """Nothing comes any more: the sink is closed after what waits; returns at once."""
        self._closing = True
        self._wake.set()

    def wait(self, seconds: float) -> None:
        """Until the sink is closed, but no longer than that."""
        if self._thread is threading.current_thread():  # the garbage collector may come by on this thread
            return
        self._thread.join(timeout=max(0.0, seconds))
        if self._thread.is_alive():
            self._warn("has not taken everything in time")

    def _work(self) -> None:
        closing = False
        while not closing:
            self._wake.wait()
            self._wake.clear()
            closing = self._closing
            while self._calls:
                self._make(self._calls.popleft())
        self._make(lambda sink: sink.close())

    def _make(self, call: Call) -> None:
        try:
            call(self._sink)
        except Exception as error:
            self._warn(f"failed ({error!r})")

    def _warn(self, what: str) -> None:
        if self._failed:
            return
        self._failed = True
        logger().warning("the sink %s %s; training goes on, and the ledger has everything", self._name, what)
