"""A plain loop's run as it goes on, at the foot of a terminal."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from fitprint.clock import NS_PER_S
from fitprint.notices import logger
from fitprint.standing import Standing
from fitprint.units import format_alike, format_co2e, format_duration, format_energy, format_quantity, format_used, significant

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

TIMES_A_SECOND = 2
BAR = 30


class Display:
    """Shows where a run stands until it is stopped; nothing where standard error is no terminal.

    rich's own thread draws it. It asks for the run's state and never waits for it: what it cannot have at once stays as it was.

    Args:
        ask: Returns where the run stands, at once; None where it is busy.
    """

    def __init__(self, ask: Callable[[], Standing | None]) -> None:
        self._ask = ask
        self._live: Live | None = None
        self._last: Standing | None = None
        self._began_ns: int | None = None

    def start(self) -> None:
        """Begin to draw."""
        # With a display of somebody else's the terminal is taken.
        if not sys.stderr.isatty() or hasattr(sys.stderr, "rich_proxied_file"):
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        if console.is_dumb_terminal:
            return
        if hasattr(os, "register_at_fork"):
            outside = sys.stdout, sys.stderr
            os.register_at_fork(after_in_child=partial(_give_back, weakref.ref(self), *outside))
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=TIMES_A_SECOND, transient=True)
        self._live.start()

    def stop(self) -> None:
        """Take it away, with its thread; may be called any number of times."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    @property
    def shown(self) -> bool:
        """Whether it is on the terminal."""
        return self._live is not None

    def _table(self) -> Table:
        try:
            self._last = self._ask() or self._last
            return table(self._last, self._time_s())
        except Exception:  # what cannot be shown costs the display, not the thread that draws it
            logger().debug("the live display failed", exc_info=True)
            return table(None, 0.0)

    def _time_s(self) -> float:
        if self._last is None:
            return 0.0
        if self._began_ns is None:
            self._began_ns = self._last.at_ns
        return (self._last.at_ns - self._began_ns) / NS_PER_S


def _give_back(display: weakref.ref[Display], stdout: object, stderr: object) -> None:
    """A forked worker prints where it would without the display, whose lock and thread it does not have."""
    shown = display()
    if shown is not None and shown.shown:
        shown._live = None
        sys.stdout, sys.stderr = stdout, stderr


def table(standing: Standing | None, time_s: float) -> Table:
    """What is drawn: epoch, CO2e so far, power, the budget as a bar, the forecast."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    shown = Table.grid(padding=(0, 2))
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column()
    for label, text in rows(standing, time_s):
        shown.add_row(label, Text(text))
    if standing is not None and standing.nearest is not None:
        shown.add_row("", ProgressBar(total=1.0, completed=min(1.0, standing.nearest[1]), width=BAR))
    return shown


def rows(standing: Standing | None, time_s: float) -> list[tuple[str, str]]:
    """Label and text of each line, all with their units."""
    if standing is None:
        return [("fitprint", "measuring")]
    of = "" if standing.epochs is None else f" of 0-{standing.epochs - 1}"
    used = f"{format_co2e(standing.co2e_g)} CO2e, {format_energy(standing.energy_j)}, {significant(standing.power_w)} W"
    found = [("fitprint", f"epoch {standing.epoch}{of}, {format_duration(time_s)}"), ("so far", used)]
    if standing.forecast_g is not None:
        ahead = standing.forecast_g
        mean, low, high = format_alike((ahead.mean, ahead.low, ahead.high), "g")
        found.append(("forecast", f"{mean} CO2e ({low} to {high}) for the whole run"))
    if standing.nearest is not None:
        budget, share = standing.nearest
        limit = format_quantity(budget.quantity.value, budget.quantity.unit)
        found.append(("budget", f"{format_used(share)} of {limit} used"))
    return found
