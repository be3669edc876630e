"""What the best reading of a ticking counter can give: the limit that other tables are held against."""

from __future__ import annotations

import math
import random

from benchmarks.rig import Load

SPREAD_S = 0.05  # epochs' lengths vary by this much either way, so that no tick is met twice in the same place
DRAWS = 20_000


def two_edges(tick_s: float, epoch_s: float) -> float:
    """Steady power: each end falls anywhere into a tick, sigma = P x tick / sqrt(6) = 0.41 tick / length, in %."""
    return 100 * tick_s / math.sqrt(6) / epoch_s


def limit(load: Load, tick_s: float, epoch_s: float) -> float:
    """An exact counter, read once at each end of windows that begin anywhere in a tick and in a wave: rms error in %."""
    draw = random.Random(1)
    squares = 0.0
    for _ in range(DRAWS):
        began, wave_s = draw.uniform(0, tick_s), draw.uniform(0, load.period_s)
        ended = began + draw.uniform(epoch_s - SPREAD_S, epoch_s + SPREAD_S)
        edge = math.floor(ended / tick_s) * tick_s
        counted = load.joules(edge + wave_s) - load.joules(wave_s)
        squares += (counted / (load.joules(ended + wave_s) - load.joules(began + wave_s)) - 1) ** 2
    return 100 * math.sqrt(squares / DRAWS)
