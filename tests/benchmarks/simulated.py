"""Power, ticks and readings on paper: what the estimators of ``phase.py`` are tried on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

TICK_S = 0.1
TRUE_TICK_S = TICK_S * 1.0007  # no estimator knows the board's own clock; the nominal tick is given to them
HIGH_W, LOW_W, IDLE_W = 650.0, 200.0, 80.0


@dataclass(frozen=True)
class Power:
    """Power in steps, and its exact integral."""

    since_s: np.ndarray
    watts: np.ndarray

    def joules(self, t: np.ndarray) -> np.ndarray:
        until = np.concatenate([[0.0], np.cumsum(self.watts[:-1] * np.diff(self.since_s))])
        i = np.searchsorted(self.since_s, t, side="right") - 1
        return until[i] + self.watts[i] * (t - self.since_s[i])


def steps(lengths_s: np.ndarray, watts: np.ndarray) -> Power:
    return Power(np.concatenate([[0.0], np.cumsum(lengths_s)[:-1]]), watts)


def waves(draw: np.random.Generator, until_s: float, high_s: float, low_s: float, spread: float = 0.0) -> Power:
    n = 2 * int(until_s / (high_s + low_s) + 10)
    lengths_s = np.where(np.arange(n) % 2, low_s, high_s) * (1 + spread * draw.standard_normal(n))
    return steps(lengths_s, np.where(np.arange(n) % 2, LOW_W, HIGH_W))


def locked_steps(ends_s: np.ndarray) -> Power:
    """Training steps of about 330 ms, a whole number of them in each epoch, as in any training loop."""
    since_s, watts = [0.0], [HIGH_W]
    for began, ended in itertools.pairwise(ends_s):
        count = max(1, round((ended - began) / 0.33))
        edges = began + (ended - began) * np.arange(count) / count
        since_s += np.stack([edges, edges + 0.6 * (ended - began) / count], axis=1).ravel().tolist()
        watts += [HIGH_W, LOW_W] * count
    return Power(np.array(since_s), np.array(watts))


def idle_before(ends_s: np.ndarray, idle_s: float) -> Power:
    """The GPU has nothing to do just before a boundary: metrics, a checkpoint, the end of the data."""
    since_s = np.concatenate([[0.0], np.stack([ends_s - idle_s, ends_s], axis=1).ravel()])
    return Power(since_s, np.concatenate([[HIGH_W], np.tile([IDLE_W, HIGH_W], len(ends_s))]))


def wandering(draw: np.random.Generator, until_s: float) -> Power:
    """Power that drifts by some 10 % within seconds."""
    n, drift = int(until_s / 0.05) + 10, 0.0
    watts = np.empty(n)
    for i, push in enumerate(draw.standard_normal(n)):
        drift += 0.067 * push - 0.025 * drift
        watts[i] = 500.0 * (1 + 0.2 * np.tanh(drift))
    return steps(np.full(n, 0.05), watts)


def loads(draw: np.random.Generator, ends_s: np.ndarray) -> Iterator[tuple[str, Power]]:
    until_s = ends_s[-1] + 10
    yield "steady", steps(np.ones(1), np.array([500.0]))
    yield "steps, free", waves(draw, until_s, 0.2, 0.13, spread=0.05)
    yield "steps, whole ones", locked_steps(ends_s)
    yield "105 ms wave", waves(draw, until_s, 0.0525, 0.0525)
    yield "idle 150 ms before", idle_before(ends_s, 0.15)
    yield "train, validate", Power(np.concatenate([[0.0], ends_s]), np.where(np.arange(len(ends_s) + 1) % 2, LOW_W, HIGH_W))
    yield "wandering", wandering(draw, until_s)


def tick_times(draw: np.random.Generator, until_s: float, jitter: float, *, adds_up: bool) -> np.ndarray:
    """When the counter is brought up to date: on time but for a jitter, which may add up from tick to tick."""
    n = int(until_s / TICK_S) + 200
    off_s = jitter * TICK_S * draw.standard_normal(n)
    regular = draw.uniform(-2, -1) * TICK_S + TRUE_TICK_S * np.arange(n)
    return np.sort(regular + (np.cumsum(off_s) if adds_up else off_s))


def reading_times(draw: np.random.Generator, ends_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All boundaries, and the keeper where nothing was read for a second; it varies its pause, which helps to learn."""
    times, is_end, keeper_s = [0.5], [False], 1.5
    for end_s in ends_s:
        while keeper_s < end_s:
            if keeper_s - times[-1] >= 1.0:
                times.append(keeper_s)
                is_end.append(False)
            keeper_s += draw.uniform(1.0, 1.4)
        times.append(end_s)
        is_end.append(True)
    return np.array(times), np.array(is_end)
