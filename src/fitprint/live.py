"""One line on the terminal about a run that lasts."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from fitprint.footprint import Footprint
from fitprint.units import format_co2e, format_duration, format_energy, format_quantity, significant

if TYPE_CHECKING:
    from rich.console import Console

# A command that is done by then needs no line.
AFTER_S = 5.0


class LiveLine:
    """Shows how far a run is, on the last line of a terminal; nothing where the output is none.

    Args:
        console: Where it is shown; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def show(self, footprint: Footprint) -> None:
        """Bring the line up to date."""
        from rich.text import Text

        if not self._console.is_terminal or footprint.duration_s < AFTER_S:
            return
        self._live.start()
        self._live.update(Text(line(footprint), overflow="ellipsis", no_wrap=True), refresh=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()


def line(footprint: Footprint) -> str:
    """``fitprint: 12 min 03 s, 310 Wh, 17.6 g CO2e, 1,540 W, 34 % of 50 g``."""
    power_w = (footprint.energy_j or 0.0) / footprint.duration_s
    parts = [
        format_duration(footprint.duration_s),
        format_energy(footprint.energy_j),
        f"{format_co2e(footprint.co2e_g)} CO2e",
        f"{significant(power_w)} W",
        *(f"{100 * row['used']:.0f} % of {format_quantity(row['limit'], row['unit'])}" for row in footprint.budget),
    ]
    return "fitprint: " + ", ".join(parts)
