"""What would have made a run smaller: each piece with its grams and the evidence from the run's own record.

Nothing general is said. Where the record has no number for it, there is no advice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from fitprint.carbon.grid import GridRow, find_region
from fitprint.carbon.hourly import HOUR_S, HourlySeries
from fitprint.comparison import Configuration, compare
from fitprint.configurations import telling_metric
from fitprint.elsewhere import Elsewhere, rank_places
from fitprint.errors import ConfigError, FitprintError
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.gains import last_stretch
from fitprint.metrics import mode_of
from fitprint.timing import when
from fitprint.units import format_co2e, format_duration, format_share, significant
from fitprint.waiting import waiting

# What would save less than this share of the grams is not worth a sentence.
LEAST_SHARE = 0.01
# Another place has to be this much cleaner: figures of neighbours are no better than that.
LEAST_CLEANER = 0.1
NEARBY_KM = 1500.0
# Nobody waits longer for a cleaner hour, and no forecast reaches further.
LONGEST_WAIT_H = 7 * 24.0
# A smaller model is as good where it reaches so much of the metric, and smaller with at most this share of the energy.
AS_GOOD, MUCH_SMALLER = 0.99, 0.8
NOTHING = "nothing in this run's record shows how it could have been smaller by 1 % of its CO2e or more"
OVERLAP = "savings overlap: they do not add up"


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that would have made a run smaller.

    Attributes:
        kind: ``validation``, ``checkpoint``, ``waiting``, ``stood_still``, ``region``, ``hour`` or ``smaller_model``.
        saved_g: Grams of CO2e that it would have saved.
        saved_share: Their share of the run's.
        text: The advice with its figures, one sentence.
        evidence: The figures of the run behind it, with their units in their names.
    """

    kind: str
    saved_g: float
    saved_share: float
    text: str
    evidence: Mapping[str, float | int | str]

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return asdict(self)


def advise(footprint: Footprint, *, runs: Sequence[Footprint] = (), series: HourlySeries | None = None) -> tuple[Advice, ...]:
    """Find what would have made a run smaller, what saves most first.

    Args:
        footprint: The run.
        runs: The other runs of its project, among which there may be a smaller model that is as good.
        series: Intensities over time that begin no later than the run and go on after it; a start up to a week
            later is looked at.

    Returns:
        Empty where there is nothing to say. The savings overlap: they do not add up.

    Raises:
        ConfigError: If the series does not cover the run's time.

    Example:
        >>> half = {"energy_j": 50.0, "co2e_g": 50.0, "phases": {"train": 30.0, "validate": 20.0}}
        >>> epochs = tuple(EpochFootprint(index=i, started_at="", duration_s=1.0, **half) for i in range(2))
        >>> run = Footprint(run_id="a", epochs=epochs, energy_j=100.0, co2e_g=100.0)
        >>> print(advise(run)[0].text)
        validation cost 40 g (40 %); validating after every second epoch would have saved 20 g (20 %)
    """
    if not footprint.co2e_g or not footprint.energy_j:
        return ()
    found = (
        *_every_second(footprint, "validate"),
        *_every_second(footprint, "checkpoint"),
        *_waiting(footprint),
        *_stood_still(footprint),
        *_region(footprint),
        *(_hour(footprint, series) if series is not None else ()),
        *_smaller_model(footprint, runs),
    )
    return tuple(sorted((a for a in found if a.saved_share >= LEAST_SHARE), key=lambda advice: -advice.saved_g))


def _advice(run: Footprint, kind: str, saved_g: float, text: str, **evidence: float | int | str) -> Advice:
    return Advice(kind, saved_g, saved_g / (run.co2e_g or math.inf), text, evidence)


def _amount(run: Footprint, grams: float) -> str:
    share = grams / (run.co2e_g or math.inf)
    told = format_share(share) if share >= 0.1 else f"{significant(100 * share, 2)} %"
    return f"{format_co2e(grams)} ({told})"


# ---- phases


def _every_second(run: Footprint, phase: str) -> Iterable[Advice]:
    """The phase after every second epoch, the last one kept."""
    having = [epoch for epoch in run.epochs if epoch.phases.get(phase)]
    if len(having) < 2:
        return
    cost_g = math.fsum(_grams(epoch, phase) for epoch in having)
    saved_g = math.fsum(_grams(epoch, phase) for epoch in having[-2::-2])
    what, doing = {"validate": ("validation", "validating"), "checkpoint": ("writing checkpoints", "writing them")}[phase]
    text = f"{what} cost {_amount(run, cost_g)}; {doing} after every second epoch would have saved {_amount(run, saved_g)}"
    kind = "validation" if phase == "validate" else phase
    yield _advice(run, kind, saved_g, text, phase=phase, cost_g=cost_g, times=len(having))


def _grams(epoch: EpochFootprint, phase: str) -> float:
    """Of a phase, at the epoch's own grams a joule."""
    return epoch.phases[phase] * (epoch.co2e_g or 0.0) / epoch.energy_j if epoch.energy_j else 0.0


def _waiting(run: Footprint) -> Iterable[Advice]:
    found = waiting(run)
    if found is None:
        return
    saved_g = found.energy_j * (run.co2e_g or 0.0) / (run.energy_j or math.inf)
    level = f"{'idle' if found.measured else 'little'} power ({significant(found.limit_w)} W or less; {found.how})"
    time = f"for {format_duration(found.time_s)} ({format_share(found.time_s / found.observed_s)} of the time)"
    device = "the GPU" if found.part == "gpu" else "the hardware"
    text = f"{time} {device} drew {level}, as where it waits; without that time {_amount(run, saved_g)} would have been saved"
    yield _advice(run, "waiting", saved_g, text, **found.evidence())


# ---- epochs


def _stood_still(run: Footprint) -> Iterable[Advice]:
    stretch = last_stretch(run)
    if stretch is not None:
        evidence: dict[str, float | int | str] = {"metric": stretch.metric, "stop_at_epoch": stretch.stop_at, "gain": stretch.gain}
        yield _advice(run, "stood_still", stretch.co2e_g, str(stretch), **evidence)


# ---- place and time


def _here(run: Footprint) -> GridRow | None:
    """The one place of the run; None where it is unknown or there were several."""
    codes = {str(row["value"]) for row in run.assumptions if row["name"] == "region"}
    try:
        return find_region(codes.pop()) if len(codes) == 1 else None
    except ConfigError:
        return None


def _region(run: Footprint) -> Iterable[Advice]:
    """Yearly averages of one kind on both sides: what the run's own hours were is not known of other places."""
    here = _here(run)
    if here is None or here.level == "world" or here.g_per_kwh <= 0 or not run.facility_energy_kwh:
        return
    found = _cleanest(here, run.facility_energy_kwh)
    share = 1 - found[0].g_per_kwh / here.g_per_kwh if found else 0.0
    if found is None or share < LEAST_CLEANER:
        return
    place, where = found
    saved_g = share * (run.co2e_g or 0.0)
    far = "" if place.distance_km is None else f", {place.distance_km:,.0f} km away"
    work = f"the same work in {place.name} ({place.code}{far}), {where},"
    figures = f"{significant(place.g_per_kwh)} instead of {significant(here.g_per_kwh)} g CO2e/kWh"
    averages = f"by {place.basis_kind} yearly averages of {place.year}: {place.source}"
    text = f"{work} would have saved {_amount(run, saved_g)}: {figures} {averages}"
    there: dict[str, float | int | str] = {"there": place.code, "g_per_kwh_there": place.g_per_kwh, "source": place.source}
    yield _advice(run, "region", saved_g, text, here=here.code, g_per_kwh_here=here.g_per_kwh, year=place.year, **there)


def _cleanest(here: GridRow, energy_kwh: float) -> tuple[Elsewhere, str] | None:
    """Another region of the same cloud, else what is cleanest nearby."""
    cloud = here.code.partition(":")[0] if ":" in here.code else None
    options: dict[str, Any] = {"provider": cloud} if cloud else {"within_km": NEARBY_KM}
    near = here.code if here.latitude is not None else None
    if near is None and not cloud:
        return None
    try:
        places = rank_places(energy_kwh, near=near, basis=here.basis_kind, **options)
    except ConfigError:
        return None
    where = f"the cleanest region of {cloud}" if cloud else f"the cleanest place within {NEARBY_KM:,.0f} km"
    return next(((place, where) for place in places if place.rank is not None and place.code != here.code), None)


def _hour(run: Footprint, series: HourlySeries) -> Iterable[Advice]:
    """A later start within the series, for a run of the same length."""
    start, hours = datetime.fromisoformat(run.started_at), run.duration_s / HOUR_S
    patience_h = hours + LONGEST_WAIT_H
    within_h = patience_h if start.timestamp() + patience_h * HOUR_S < series.end_s else None
    answer = when(series, hours, start=start, within_h=within_h)
    share = answer.saved_share(answer.start)
    saved_g = share * (run.co2e_g or 0.0)
    later_s = answer.start.runs[0][0] - answer.window[0]
    figures = f"{significant(answer.start.g_per_kwh)} instead of {significant(answer.now.g_per_kwh)} g CO2e/kWh ({series.source})"
    text = f"starting {format_duration(later_s)} later would have saved {_amount(run, saved_g)}: {figures}"
    yield _advice(run, "hour", saved_g, text, later_s=later_s, g_per_kwh=answer.start.g_per_kwh, source=series.source)


# ---- other models


def _smaller_model(run: Footprint, runs: Sequence[Footprint]) -> Iterable[Advice]:
    """The smallest configuration on the project's Pareto front that is as good."""
    others = [other for other in runs if other.run_id != run.run_id]
    metric = telling_metric([run, *others]) if others else None
    if metric is None or mode_of(metric) is None:
        return
    try:
        comparison = compare([run, *others], metric=metric)
    except FitprintError:
        return
    mine = next((c for c in comparison.configurations if run.run_id in c.run_ids), None)
    if mine is None or mine.score <= 0:
        return
    sign = comparison.mode == "max"
    for other in comparison.configurations:
        share = other.energy_j / (run.energy_j or math.inf)  # of the energy: other electricity makes no model smaller
        if other.on_front and share <= MUCH_SMALLER and _reached(other, mine, sign) >= AS_GOOD:
            saved_g = (1 - share) * (run.co2e_g or 0.0)
            scores = f"{metric} {significant(other.score, 4)} instead of {significant(mine.score, 4)}"
            reached = f"{other.label}, on the project's Pareto front, reaches {scores}"
            text = f"{reached} and would have saved {_amount(run, saved_g)} ({_count(other)})"
            yield _advice(run, "smaller_model", saved_g, text, metric=metric, score=other.score, own_score=mine.score, runs=other.n)
            return


def _count(other: Configuration) -> str:
    return f"mean of {other.n} runs" if other.n > 1 else "a single run"


def _reached(other: Configuration, mine: Configuration, larger_is_better: bool) -> float:
    if other.score <= 0:
        return 0.0 if larger_is_better else 1.0
    return other.score / mine.score if larger_is_better else mine.score / other.score
