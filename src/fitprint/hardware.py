"""Accelerators and CPUs by name: as their drivers print it and as people write it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

from fitprint.data import table
from fitprint.errors import ConfigError, did_you_mean, refusal
from fitprint.sensors.modelled import APPLE, APPLE_HIGH, APPLE_LOW, bare_cpu_name
from fitprint.units import significant

# Mean power of boards that trained over their TDP: 0.43 (BERT) and 0.92 (ViT-Huge) of V100, 0.70 of A100 (Dodge et al.
# 2022, Table 2), 0.86 of H100 (Morrison et al. 2025). No mean lies above the limit.
LOWEST_SHARE, HIGHEST_SHARE = 0.43, 1.0
SHARE_BASIS = "boards that trained drew 0.43 to 0.92 of it on average (Dodge et al. 2022, Morrison et al. 2025)"
# Accelerators of which no maker has published a TDP.
WITHOUT_TDP = ("TPU v5e", "TPU v5p", "TPU v5 Lite", "TPU v6e", "TPU v6 Lite", "Trillium", "TPU v7", "Ironwood")
# Drivers leave the form out of these names, people write it.
ALSO = {
    "NVIDIA B200": "B200 SXM6 180GB",
    "NVIDIA H100 80GB HBM3": "H100 SXM5 80GB",
    "NVIDIA H100 PCIe": "H100 PCIe 80GB",
    "NVIDIA H100 NVL": "H100 NVL 94GB",
    "NVIDIA H200": "H200 SXM5 141GB",
    "NVIDIA H200 NVL": "H200 NVL 141GB",
    "NVIDIA H800": "H800 SXM5 80GB",
}
# Words that tell no two devices apart.
EMPTY_WORDS = {"nvidia", "amd", "intel", "google", "cloud", "tesla", "geforce", "instinct", "radeon", "gpu", "chip", "graphics"}
# Words for the form of one device: plug, memory, cooling, market.
FORM = re.compile(r"sxm\d*|pcie|nvl|\d+gb|hbm\d\w*|active|ac|d")
SHOWN = 6
EXPECTED = "an accelerator or a CPU by name, such as 'A100-SXM4-80GB', 'RTX 4090', 'TPU v3' or 'EPYC 7742'"

Row = Mapping[str, str]
Kind = Literal["accelerator", "cpu"]


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a name stands for.

    Attributes:
        kind: ``accelerator`` or ``cpu``.
        name: Name in our tables; for a family (``A100``) the variant with the largest TDP.
        tdp_w: Thermal design power in watts.
        low_w: Lower end of what it draws on average at work, in watts.
        high_w: Upper end of it, in watts.
        source: Where the TDP is from.
        year: Year of the figure.
        basis: What it counts, which other variants it may be, and where the ends are from.
    """

    kind: Kind
    name: str
    tdp_w: float
    low_w: float
    high_w: float
    source: str
    year: int
    basis: str


@lru_cache(maxsize=256)
def find_hardware(text: str) -> Hardware:
    """Look up an accelerator or, if there is none, a CPU, without regard to case, vendor or punctuation.

    A name of several variants that differ in form alone stands for the one with the largest TDP, and its
    interval covers all of them.

    Raises:
        ConfigError: If there is none, or if the name fits different ones; those are offered.
    """
    wanted = _words(text)
    accelerators = _accelerators_like(wanted)
    if accelerators:
        return _accelerator(text, accelerators)
    cpus = _cpus_like(bare_cpu_name(text))
    if cpus:
        return _cpu(text, cpus)
    raise _unknown(text)


def _accelerators_like(wanted: frozenset[str]) -> list[Row]:
    """Accelerators of exactly these words, else those that have all of them."""
    exact = [row for words, row in _accelerator_words() if words == wanted]
    return exact or [row for words, row in _accelerator_words() if wanted and all(_has(words, word) for word in wanted)]


def _has(words: frozenset[str], word: str) -> bool:
    return word in words or (word == "sxm" and any(other.startswith("sxm") for other in words))


@cache
def _accelerator_words() -> list[tuple[frozenset[str], Row]]:
    """The words of each accelerator's name, and of the fuller name that it also has."""
    names = [(name, row) for row in table("accelerators") for name in (row["name"], ALSO.get(row["name"])) if name]
    return [(_words(name), row) for name, row in names]


def _words(text: str) -> frozenset[str]:
    """``NVIDIA A100-SXM4-80GB`` -> a100, sxm4, 80gb; ``rtx4090`` -> rtx, 4090; ``TPUv3`` -> tpu, v3."""
    text = re.sub(r"(\d+)[\s-]?gi?b?\b", r"\1gb", text.casefold())
    text = re.sub(r"\b(rtx|gtx|rx|tpu|epyc|quadro)(?=v?\d)", r"\1 ", text)
    text = re.sub(r"\b(\d{4})(?=(?:ti|super|d|xtx?)\b)", r"\1 ", text)
    return frozenset(re.findall(r"[a-z0-9]+", text)) - EMPTY_WORDS


def _accelerator(text: str, rows: Sequence[Row]) -> Hardware:
    rows = list({row["name"]: row for row in rows}.values())
    if len({_words(row["name"]) - _form(row) for row in rows}) > 1 and len({row["tdp_w"] for row in rows}) > 1:
        raise _ambiguous(text, rows)
    row = max(rows, key=_watts)
    low_w, high_w = LOWEST_SHARE * min(map(_watts, rows)), HIGHEST_SHARE * _watts(row)
    return _hardware("accelerator", row, (low_w, high_w), f"{_basis(row, rows)}; {SHARE_BASIS}")


def _form(row: Row) -> frozenset[str]:
    return frozenset(word for word in _words(row["name"]) if FORM.fullmatch(word))


def _cpus_like(name: str) -> list[Row]:
    """The CPU of this name, with or without its vendor, else those whose names have all of its words."""
    same = _cpus_by_name().get(_plain(name), [])
    if same:
        return [row for row in same if row["name"].casefold() == name.casefold()] or same
    words = _cpu_words(name)
    return [row for row in table("cpu_tdp") if words and words <= _cpu_words(row["name"])]


def _cpu_words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9.]+", name.casefold()))


@cache
def _cpus_by_name() -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in table("cpu_tdp"):
        found.setdefault(_plain(row["name"]), []).append(row)
    return found


def _plain(name: str) -> str:
    """Letters and digits alone, without the vendor: how two writings of one CPU are the same."""
    return re.sub(r"[^a-z0-9+]+|^(?:intel|amd)\b", "", name.casefold())


def _cpu(text: str, rows: Sequence[Row]) -> Hardware:
    if len({row["tdp_w"] for row in rows}) > 1:
        raise _ambiguous(text, rows)
    row = rows[0]
    share = next(row for row in table("cpu_model") if row["name"] == "full_share_of_tdp")
    low, high, source = float(share["low"]), float(share["high"]), share["source"]
    if row["name"].startswith(APPLE):
        low, high, source = APPLE_LOW, APPLE_HIGH, "assumed: Apple publishes no TDP"
    basis = f"{_basis(row, rows)}; at full load a CPU draws {low:g} to {high:g} of it ({source})"
    return _hardware("cpu", row, (low * _watts(row), high * _watts(row)), basis)


def _hardware(kind: Kind, row: Row, ends_w: tuple[float, float], basis: str) -> Hardware:
    return Hardware(kind, row["name"], _watts(row), *ends_w, row["source"], int(row["year"]), basis)


def _watts(row: Row) -> float:
    return float(row["tdp_w"])


def _basis(row: Row, rows: Sequence[Row]) -> str:
    others = [other for other in rows if other is not row]
    return f"{row['basis']} of {row['name']}" + (f"; it may also be {_offer(others)}" if others else "")


def _offer(rows: Sequence[Row]) -> str:
    """The first names with their watts, and how many more there are."""
    shown = ", ".join(f"{row['name']} ({significant(_watts(row))} W)" for row in rows[:SHOWN])
    return shown + (f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else "")


def _ambiguous(text: str, rows: Sequence[Row]) -> ConfigError:
    return refusal("hardware", expected=EXPECTED, came=text, hint=f"It may be {_offer(rows)}. Write one of these names.")


def _unknown(text: str) -> ConfigError:
    if any(_words(name) <= _words(text) for name in WITHOUT_TDP):
        hint = "No TDP of it has been published. Give the power that it draws with power_w."
        return refusal("hardware", expected=EXPECTED, came=text, hint=hint)
    near = next((names for names in (_short("accelerators"), _short("cpu_tdp")) if did_you_mean(text, names)), [])
    return refusal("hardware", expected=f"{EXPECTED}; for any other give power_w", came=text, near=near)


def _short(name: str) -> list[str]:
    """The names of a table as people write them, without the vendor."""
    return [re.sub(r"^(?:NVIDIA|AMD|Intel|Google)(?: GeForce)? ", "", row["name"]) for row in table(name)]
