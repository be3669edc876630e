"""Can a counter that ticks be read better than it is? Estimators that use only readings which happen anyway.

A counter shows the energy at its last tick; what was drawn since then is missing at both ends of a window. If
the instant of the last tick were known, power x age would make up for it. Readings happen at boundaries and,
by the keeper, at most once a second. An estimator ships only if no load gets worse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.sheet import QUICK, Sheet
from benchmarks.simulated import TICK_S, Power, loads, reading_times, tick_times

WARM_UP = 12  # boundaries that are not judged: the learning ones have to learn

# Learning: so many readings are fitted, by trying these ticks and phases.
READINGS = 40
TICKS_S = TICK_S * (1 + np.linspace(-0.002, 0.002, 41))
PHASES = np.arange(24) / 24
# Sure: so many boundaries in a row at which ticks explained all but this share of the misfit of a straight
# line, and the reading was foretold to within this share of a tick's energy.
IN_A_ROW, UNEXPLAINED, FORETOLD = 8, 0.15, 0.3

TOLERANCE = 1.02  # by chance, a ratio of two errors over some hundred windows may be this far above 1


@dataclass(frozen=True)
class Fit:
    """Readings as a straight line over the instants of their ticks, seen from the newest reading."""

    tick_s: float
    phase_s: float
    watts: float
    joules: float
    unexplained: float

    @property
    def age_s(self) -> float:
        return (-self.phase_s) % self.tick_s

    def foretold(self, later_s: float) -> float:
        return self.joules + self.watts * (later_s - (later_s - self.phase_s) % self.tick_s)


def fit(t: np.ndarray, joules: np.ndarray) -> Fit:
    """The tick and the phase under which power was steadiest; least squares over all that are tried."""
    ticks = TICKS_S[:, None, None]
    phases = PHASES[None, :, None] * ticks
    at = t - np.mod(t - phases, ticks)
    across, up = at - at.mean(-1, keepdims=True), joules - joules.mean()
    product, square = across @ up, (across * across).sum(-1)
    misfit = up @ up - product**2 / square
    best = np.unravel_index(np.argmin(misfit), misfit.shape)
    watts = product[best] / square[best]
    line = t - t.mean()
    straight = up @ up - (line @ up) ** 2 / (line @ line)
    start = joules.mean() - watts * at[best].mean()
    return Fit(ticks[best[0], 0, 0], phases[best[0], best[1], 0], watts, start, misfit[best] / max(straight, 1e-9))


def learn(t: np.ndarray, joules: np.ndarray, is_end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At each reading: the age of the last tick, as learned from the readings up to then, and whether it is sure."""
    ages, sure, good, last = np.zeros(len(t)), np.zeros(len(t), bool), 0, None
    for i in range(8, len(t)):
        some = slice(max(0, i - READINGS + 1), i + 1)
        now = fit(t[some] - t[i], joules[some] - joules[i])
        if is_end[i] and last is not None:
            missed = joules[i] - joules[i - 1] - last.foretold(t[i] - t[i - 1])
            good = good + 1 if now.unexplained < UNEXPLAINED and abs(missed) < FORETOLD * abs(last.watts) * TICK_S else 0
        ages[i], sure[i], last = now.age_s, good >= IN_A_ROW, now
    return ages, sure


def recent_power(t: np.ndarray, joules: np.ndarray) -> np.ndarray:
    """Mean over the last second or more, from the readings themselves."""
    since = np.maximum(0, np.searchsorted(t, t - 1.0, side="right") - 1)
    return np.divide(joules - joules[since], t - t[since], out=np.zeros(len(t)), where=t > t[since])


def estimates(power: Power, ticks_s: np.ndarray, t: np.ndarray, is_end: np.ndarray) -> Mapping[str, np.ndarray]:
    """What each estimator takes the energy at each reading to be."""
    edge = ticks_s[np.searchsorted(ticks_s, t, side="right") - 1]
    shown = power.joules(edge)
    updated = np.floor(t / 0.1) * 0.1  # the power reading is brought up to date ten times a second
    mean_w = power.joules(updated) - power.joules(np.maximum(updated - 1.0, 0.0))
    instant_w = (power.joules(updated) - power.joules(updated - 0.025)) / 0.025
    recent_w, (age_s, sure) = recent_power(t, shown), learn(t, shown, is_end)
    return {
        "as it is": shown,
        "b, 1 s mean": shown + mean_w * TICK_S / 2,
        "b, instant": shown + instant_w * TICK_S / 2,
        "a": shown + recent_w * age_s,
        "a, if sure": shown + np.where(sure, recent_w * age_s, 0.0),
        "c": shown + instant_w * age_s,
        "c, if sure": shown + np.where(sure, instant_w * age_s, 0.0),
        "oracle a": shown + recent_w * (t - edge),
        "oracle c": shown + instant_w * (t - edge),
    }


def errors(power: Power, ticks_s: np.ndarray, t: np.ndarray, is_end: np.ndarray) -> Mapping[str, float]:
    """Root mean square error of an epoch, in % of the mean epoch."""
    ends = np.flatnonzero(is_end)[WARM_UP:]
    truth = np.diff(power.joules(t[ends]))
    found = estimates(power, ticks_s, t, is_end)
    return {name: 100 * np.sqrt(np.mean((np.diff(it[ends]) - truth) ** 2)) / truth.mean() for name, it in found.items()}


TICKING = {"regular": (0.0, False), "2 %": (0.02, False), "10 %": (0.1, False), "2 % adding up": (0.02, True)}


def study(epoch_s: float, windows: int) -> dict[tuple[str, str], Mapping[str, float]]:
    found = {}
    for name, (jitter, adds_up) in TICKING.items():
        draw = np.random.default_rng(7)
        ends_s = 2.0 + np.cumsum(draw.uniform(epoch_s - 0.05, epoch_s + 0.05, windows + WARM_UP))
        ticks_s = tick_times(draw, ends_s[-1] + 5, jitter, adds_up=adds_up)
        t, is_end = reading_times(draw, ends_s)
        for load, power in loads(draw, ends_s):
            found[load, name] = errors(power, ticks_s, t, is_end)
    return found


def verdict(name: str, ratios: Mapping[tuple, float]) -> list[str]:
    """What an estimator is good for: its ratios to the error as it is, over all loads, ticks and lengths."""
    mean = {load: float(np.mean([r for key, r in ratios.items() if key[0] == load])) for load, *_ in ratios}
    where, worst = max(ratios.items(), key=lambda item: item[1])
    trained = mean["steps, whole ones"]
    if name.startswith("oracle"):
        answer = "makes some worse even so" if worst > TOLERANCE else "nobody knows the ticks"
    elif worst > TOLERANCE:
        answer = "not shipped: makes some worse"
    else:
        answer = "shipped" if trained < 0.95 else "not shipped: no better in training"
    cells = [f"{mean[load]:.2f}" for load in ("steady", "steps, free", "steps, whole ones")]
    return [name, *cells, f"{worst:.2f}", f"{where[0]}, {where[2]:g} s", answer]


def sheets() -> Iterator[Sheet]:
    ratios: dict[str, dict[tuple, float]] = {}
    for epoch_s, windows in ((1.0, 60), (10.0, 15)) if QUICK else ((1.0, 500), (10.0, 120)):
        found, rows = study(epoch_s, windows), []
        for (load, ticking), by_name in found.items():
            rows.append([load, ticking, f"{by_name['as it is']:.2f} %"])
            for name in list(by_name)[1:]:
                ratio = by_name[name] / by_name["as it is"]
                ratios.setdefault(name, {})[load, ticking, epoch_s] = ratio
                rows[-1].append(f"{ratio:.2f}")
        columns = ["load", "tick's jitter", *found["steady", "regular"]]
        note = (
            f"{windows} epochs of {epoch_s:g} s. As it is: rms error in % of an epoch; the others: their error over that. a: the "
            "tick's phase, learned from past readings, and the recent power. b: NVML power and half a tick. c: NVML instant power "
            f"and the learned phase. If sure: only after {IN_A_ROW} boundaries that were foretold. Oracle: knows the last tick."
        )
        yield Sheet(f"Beating the tick of 100 ms, epochs of {epoch_s:g} s", columns, rows, note)
    columns = ["estimator", "steady", "steps, free", "steps, whole ones", "worst", "on", "verdict"]
    rows = [verdict(name, by_case) for name, by_case in ratios.items()]
    note = (
        f"Mean of the ratios above by load, and the worst of all. An estimator ships if no load gets worse (worst <= {TOLERANCE}) "
        "and epochs of whole training steps, which real ones are, get better."
    )
    yield Sheet("Beating the tick: verdict", columns, rows, note)
