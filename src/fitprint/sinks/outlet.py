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
        self._given = self._taken = 0
        self._thread = threading.Thread(target=self._work, name=f"fitprint-sink-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, call: Call) -> None:
        """Have the sink called; returns at once."""
        self._given += 1
        self._calls.append(call)
        self._wake.set()

    def close(self) -> None:
        """Nothing comes any more: the sink is closed after what waits; returns at once."""
        self._closing = True
        self._wake.set()

    def wait(self, seconds: float) -> None:
        """Until the sink is closed, but no longer than that; says how much it has not taken."""
        if self._thread is threading.current_thread():  # the garbage collector may come by on this thread
            return
        self._thread.join(timeout=max(0.0, seconds))
        lost, late = self._given - self._taken, " in time" if self._thread.is_alive() else ""
        if lost:
            what = "the sink %s has not taken %d of %d records%s; the run's Footprint has them all"
            logger().warning(what, self._name, lost, self._given, late)
        elif late:
            logger().warning("the sink %s has taken all records, but was not closed in time", self._name)

    def _work(self) -> None:
        closing = False
        while not closing:
            self._wake.wait()
            self._wake.clear()
            closing = self._closing
            while self._calls:
                self._taken += self._made(self._calls.popleft())
        self._made(lambda sink: sink.close())

    def _made(self, call: Call) -> bool:
        """Whether the call went well; the first that does not is told."""
        try:
            call(self._sink)
        except Exception as error:
            if not self._failed:
                logger().warning("the sink %s failed (%r); training goes on", self._name, error)
            self._failed = True
            return False
        return True
