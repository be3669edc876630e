"""Many runs against each other: how good each configuration is, and what it emitted for that."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fitprint.configurations import grouped, known_metric, metric_names, scored, telling_metric
from fitprint.errors import ConfigError, FitprintError
from fitprint.footprint import Footprint
from fitprint.ledger.selection import Ledgers, recorded
from fitprint.metrics import Mode, chosen_mode
from fitprint.noise import Scatter, scatter
from fitprint.report.pareto import draw_front
from fitprint.units import significant

# "As good" is said of configurations that reach so much of the best, the first of these that one reaches ...
NEARLY = (0.99, 0.95, 0.9)
# ... with at most this share of its CO2e.
MUCH_CHEAPER = 0.5


@dataclass(frozen=True, slots=True)
class Configuration:
    """Repeats of one configuration: the same name, tags, batch size and hyperparameters, the seed left out.

    Attributes:
        label: Its name and the hyperparameters that tell it from the others.
        run_ids: Its runs.
        score: Mean over the runs of each run's best value of the metric.
        score_sd: Standard deviation of these; None for a single run.
        co2e_g: Mean grams of a run.
        co2e_sd_g: Standard deviation of these; None for a single run.
        co2e_low_g: Mean lower end of the 95 % intervals of its runs' grams.
        co2e_high_g: Mean upper end of them.
        energy_j: Mean joules of a run.
        on_front: No other one is at least as good with no more CO2e.
        among_best: Its difference from the best is no more than chance.
    """

    label: str
    run_ids: tuple[str, ...]
    score: float
    score_sd: float | None
    co2e_g: float
    co2e_sd_g: float | None
    co2e_low_g: float
    co2e_high_g: float
    energy_j: float
    on_front: bool = False
    among_best: bool = False

    @property
    def n(self) -> int:
        """Number of its runs."""
        return len(self.run_ids)


@dataclass(frozen=True)
class Comparison:
    """Configurations, least CO2e first.

    Attributes:
        metric: The metric's name.
        mode: ``max`` or ``min``.
        configurations: All that could be compared.
        scatter: How much repeats differ; None where nothing was repeated.
        left_out: Runs that could not be compared, each with the reason.
        notes: What a reader has to know.
    """

    metric: str
    mode: Mode
    configurations: tuple[Configuration, ...]
    scatter: Scatter | None
    left_out: Mapping[str, str]
    notes: tuple[str, ...]

    @cached_property
    def best(self) -> Configuration:
        """The one with the best mean; ``winner`` says whether that is more than chance."""
        return _best(self.configurations, self.mode)

    @property
    def winner(self) -> Configuration | None:
        """The best one, if it is better than each other one by more than chance; else None."""
        alone = len(self.configurations) > 1 and not any(c.among_best for c in self.configurations if c is not self.best)
        return self.best if alone and self.scatter is not None else None

    @property
    def verdict(self) -> str:
        """Which configuration is the best, and how sure that is, in one sentence."""
        best, word = self.best, "highest" if self.mode == "max" else "lowest"
        has = f"{best.label} has the {word} {self.metric} ({significant(best.score, 4)})"
        if len(self.configurations) == 1:
            return f"{has}: there is no other configuration"
        if self.scatter is None:
            return f"no winner: {has}, but nothing was repeated, so it is not known how much of a difference is chance"
        if self.winner is not None:
            return f"{has}, by more than chance"
        others = [c.label for c in self.configurations if c.among_best and c is not best]
        names = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        return f"no winner: {has}, but {names} differ{'s' if len(others) == 1 else ''} from it by no more than chance"

    @property
    def bargain(self) -> str | None:
        """Which configuration is nearly as good for much less CO2e, in one sentence; None if there is none."""
        best = self.best
        if not all(c.score > 0 for c in self.configurations) or best.co2e_g <= 0:
            return None
        for least in NEARLY:
            near = [c for c in self.configurations if self._reached(c) >= least and c.co2e_g <= MUCH_CHEAPER * best.co2e_g]
            if near:
                cheap = min(near, key=lambda c: c.co2e_g)
                price = f"with {significant(100 * cheap.co2e_g / best.co2e_g, 2)} % of the CO2e of {best.label}"
                return f"{cheap.label} {self._nearness(cheap)} {price}"
        return None

    def plot(self, axes: Any) -> None:
        """Draw the configurations into matplotlib's axes: score over grams, with intervals, scatter and the Pareto front."""
        draw_front(axes, self.configurations, self.metric)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        rows = [{**dataclasses.asdict(c), "run_ids": list(c.run_ids), "n": c.n} for c in self.configurations]
        return {
            "metric": self.metric,
            "mode": self.mode,
            "winner": self.winner.label if self.winner else None,
            "verdict": self.verdict,
            "bargain": self.bargain,
            "repeats_sd": self.scatter.sd if self.scatter else None,
            "configurations": rows,
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }

    def _reached(self, configuration: Configuration) -> float:
        """Share of the best that is reached; of a loss the reverse."""
        score, best = configuration.score, self.best.score
        return score / best if self.mode == "max" else best / score

    def _nearness(self, configuration: Configuration) -> str:
        share = self._reached(configuration)
        if share >= 1:
            return f"reaches the best {self.metric}"
        if self.mode == "max":
            return f"reaches {math.floor(100 * share)} % of the best {self.metric}"
        return f"comes within {math.ceil(100 * (1 / share - 1))} % of the best {self.metric}"


def compare(
    runs: Iterable[Footprint | str] | None = None,
    *,
    project: str | None = None,
    ledger: Ledgers = None,
    metric: str | None = None,
    mode: str = "auto",
) -> Comparison:
    """Compare runs by what they reached and what they emitted.

    Args:
        runs: Footprints, or ids of recorded runs; by default all of the ledger.
        project: Only recorded runs of this project.
        ledger: The ledger's file, or several; by default the one that a run started here would use.
        metric: The metric to compare by; by default a held-out score or loss that most of the runs have.
        mode: ``max`` where a larger metric is better, ``min`` where a smaller one is, ``auto`` by its name.

    Raises:
        ConfigError: If an option makes no sense.
        FitprintError: If there is nothing to compare; the message says why.

    Example:
        >>> from fitprint.footprint import EpochFootprint
        >>> def run(name, acc, grams):
        ...     epoch = EpochFootprint(index=0, started_at="", duration_s=1.0, metrics={"val_acc": acc})
        ...     return Footprint(run_id=name, name=name, status="completed", epochs=(epoch,), co2e_g=grams, energy_j=1.0)
        >>> compare([run("large", 0.92, 900.0), run("small", 0.915, 27.0)]).bargain
        'small reaches 99 % of the best val_acc with 3 % of the CO2e of large'
    """
    given = None if runs is None else list(runs)
    ids = [run for run in given or () if isinstance(run, str)]
    footprints = [run for run in given or () if isinstance(run, Footprint)]
    if given is None or ids:
        footprints += recorded(ledger, project=project, run_ids=ids)
    if not footprints:
        raise FitprintError("nothing to compare: there are no runs.")
    metric = known_metric(metric, footprints) if metric else _metric(footprints)
    direction = chosen_mode(mode, metric)
    comparable, left_out = scored(footprints, metric, direction)
    if not comparable:
        reasons = "; ".join(f"{run_id} {reason}" for run_id, reason in list(left_out.items())[:3])
        raise FitprintError(f"nothing to compare by {metric!r}. Left out: {reasons}.")
    groups = grouped(comparable)
    spread = scatter([[score for _, score in group] for group in groups.values()])
    rows = _marked([_configuration(label, group) for label, group in groups.items()], direction, spread)
    return Comparison(metric, direction, rows, spread, left_out, _notes([run for run, _ in comparable], metric))


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points (cost, score) no other one beats: at least as good a score for no more cost, and one of them better."""
    on_front = [False] * len(points)
    last: tuple[float, float] | None = None
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if last is None or points[i] == last or points[i][1] > last[1]:
            on_front[i], last = True, points[i]
    return on_front


def _metric(footprints: Sequence[Footprint]) -> str:
    found = telling_metric(footprints)
    if found is None:
        there = ", ".join(metric_names(footprints))
        if not there:
            raise FitprintError(
                "nothing to compare by: no run recorded a metric. Record one in the runs to come: "
                "tracker.annotate({'val_acc': 0.91}) inside an epoch, or let the framework log one under a callback."
            )
        raise ConfigError(
            f"the names of the runs' metrics do not say which tells how good a model is ({there}). "
            "Say which one, and whether more of it is better: metric='...' and mode='max' or 'min' (--metric and --mode)."
        )
    return found


def _configuration(label: str, group: Sequence[tuple[Footprint, float]]) -> Configuration:
    scores = [score for _, score in group]
    grams = [run.co2e_g or 0.0 for run, _ in group]
    ends = [(run.co2e_low_g, run.co2e_high_g) for run, _ in group]
    lows = [central if low is None else low for (low, _), central in zip(ends, grams, strict=True)]
    highs = [central if high is None else high for (_, high), central in zip(ends, grams, strict=True)]
    return Configuration(
        label=label,
        run_ids=tuple(run.run_id for run, _ in group),
        score=statistics.fmean(scores),
        score_sd=_sd(scores),
        co2e_g=statistics.fmean(grams),
        co2e_sd_g=_sd(grams),
        co2e_low_g=statistics.fmean(lows),
        co2e_high_g=statistics.fmean(highs),
        energy_j=statistics.fmean(run.energy_j or 0.0 for run, _ in group),
    )


def _sd(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _best(configurations: Sequence[Configuration], mode: Mode) -> Configuration:
    """The best mean; of equal ones the one with least CO2e."""
    sign = 1.0 if mode == "max" else -1.0
    return max(configurations, key=lambda c: (sign * c.score, -c.co2e_g))


def _marked(configurations: Sequence[Configuration], mode: Mode, spread: Scatter | None) -> tuple[Configuration, ...]:
    """Least CO2e first, with the front and those that only chance tells from the best."""
    sign, best = 1.0 if mode == "max" else -1.0, _best(configurations, mode)
    front = pareto([(c.co2e_g, sign * c.score) for c in configurations])
    looks = len(configurations) - 1
    rows = []
    for configuration, on_front in zip(configurations, front, strict=True):
        chance = spread.least_difference(best.n, configuration.n, looks=looks) if spread else 0.0
        among = configuration is best or abs(best.score - configuration.score) <= chance
        rows.append(dataclasses.replace(configuration, on_front=on_front, among_best=among))
    return tuple(sorted(rows, key=lambda c: (c.co2e_g, c.label)))


def _notes(runs: Sequence[Footprint], metric: str) -> tuple[str, ...]:
    notes = [f"the score of a run is the best {metric} of its epochs"]
    places = {str(segment["region"]) for run in runs for segment in run.segments if segment.get("region")}
    if len(places) > 1:
        where = ", ".join(sorted(places))
        notes.append(f"the runs were in several places ({where}): their CO2e differs by the electricity too, their energy does not")
    return tuple(notes)
