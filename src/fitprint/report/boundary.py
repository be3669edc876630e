"""What a run's grams count and what they leave out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fitprint.footprint import TRAINING_KINDS, Footprint


def basis(runs: Sequence[Footprint]) -> str:
    """The accounting basis in one sentence."""
    parts = ", ".join(dict.fromkeys(part for run in runs for part in run.by_part)) or "nothing that was measured or modelled"
    kinds = "; ".join(dict.fromkeys(str(row["basis"]) for run in runs for row in run.assumptions if row["name"] == "intensity"))
    electricity = f" ({kinds})" if kinds else ""
    return (
        f"Operational and location-based: energy of {parts}, times node factor, PUE and the carbon intensity "
        f"of the electricity{electricity}."
    )


def not_counted(runs: Sequence[Footprint]) -> tuple[str, ...]:
    """What is left out, as far as these runs leave it out."""
    return tuple(_left_out(runs))


def _left_out(runs: Sequence[Footprint]) -> Iterable[str]:
    missing = dict.fromkeys(note for run in runs for note in run.notes if note.startswith("NOT COUNTED"))
    yield from (note.removeprefix("NOT COUNTED: ") for note in missing)
    yield "storage and network outside the machine"
    yield "cooling and losses of the building beyond the PUE"
    yield _embodied(runs)
    yield "what other people's work on the same machine used"
    yield "the machine's time before and after the run"
    yield "preparing data, other runs, and use of the model after the training" if _trainings(runs) else "training the model"
    if any(run.market_based_g is not None for run in runs):
        yield "contracts for electricity: the market-based figure stands beside the grams, not in them"
    else:
        yield "contracts for electricity (no market-based figure)"


def _embodied(runs: Sequence[Footprint]) -> str:
    if any(run.embodied_g is not None for run in runs):
        return "embodied emissions of the hardware: they stand beside the grams, not in them"
    return "embodied emissions of the hardware"


def _trainings(runs: Sequence[Footprint]) -> bool:
    return any(run.kind in TRAINING_KINDS for run in runs)
