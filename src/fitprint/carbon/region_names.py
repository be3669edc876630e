"""What people call places, and what they may have meant."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from fitprint.carbon.clouds import ALIASES as CLOUD_ALIASES
from fitprint.carbon.clouds import PROVIDERS, cloud_regions, folded_code

if TYPE_CHECKING:
    from fitprint.carbon.grid import GridRow

SHORTEST_TO_CORRECT = 4
# How alike a word and a cloud region must be (1: equal) before anybody is sent to a cloud.
CERTAIN = 0.85
# Levels whose names people write; the others are known by their codes.
NAMED = ("country", "state", "province")
# Names that people write and the table does not have; territories under the code of their country (ISO 3166-2).
ALIASES: Mapping[str, tuple[str, ...]] = {
    "AE": ("UAE",),
    "AS": ("US-AS",),
    "BN": ("Brunei",),
    "CD": ("DRC", "DR Congo", "Democratic Republic of the Congo"),
    "CG": ("Republic of the Congo", "Congo-Brazzaville"),
    "CI": ("Ivory Coast",),
    "CV": ("Cape Verde",),
    "CZ": ("Czech Republic",),
    "FK": ("Falkland Islands",),
    "GB": ("UK", "Britain", "Great Britain", "England", "Scotland", "Wales", "Northern Ireland"),
    "GR": ("EL",),
    "GU": ("US-GU",),
    "HK": ("CN-HK",),
    "KP": ("DPRK",),
    "KR": ("Republic of Korea",),
    "MK": ("Macedonia",),
    "MM": ("Burma",),
    "MO": ("Macau", "CN-MO"),
    "NL": ("Holland", "The Netherlands"),
    "PR": ("US-PR",),
    "PS": ("Palestine",),
    "RU": ("Russia",),
    "SZ": ("Swaziland",),
    "TL": ("East Timor",),
    "TR": ("Turkey",),
    "TW": ("CN-TW",),
    "US": ("United States of America",),
    "VG": ("British Virgin Islands",),
    "VI": ("US Virgin Islands", "US-VI"),
    "VN": ("Viet Nam",),
}


def folded(text: str) -> str:
    """In lower case, with single blanks, without accents: how names are compared."""
    plain = unicodedata.normalize("NFKD", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    return " ".join("".join(letter for letter in plain if not unicodedata.combining(letter)).casefold().split())


def fix(text: str, places: Mapping[str, tuple[GridRow, ...]]) -> str:
    """What to write instead, as a sentence; empty where nothing is near.

    Args:
        text: What was written.
        places: By their folded names; two where they share one.
    """
    found = places.get(folded(text), ())
    if found:
        return _did_you_mean(f"{row.code!r} ({row.level})" for row in found)
    if ":" in text:
        return _fix_cloud(text)
    return _fix_bare_cloud(text) or _fix_part(text, places) or _fix_name(text, places)


def _fix_cloud(text: str) -> str:
    provider, _, region = folded_code(text).partition(":")
    known = sorted({cloud.provider for cloud in cloud_regions()})
    provider = CLOUD_ALIASES.get(provider, provider)
    if provider not in known:
        return f"Clouds with a table of regions: {', '.join(known)}."
    near = _nearest(region, (cloud.region for cloud in cloud_regions() if cloud.provider == provider))
    return _did_you_mean(repr(f"{provider}:{guess}") for guess in near) or f"{PROVIDERS[provider]} has no such region in the table."


def _fix_bare_cloud(text: str) -> str:
    """A cloud region without its cloud, such as ``europe-west1`` or ``West Europe``."""
    codes = {cloud.region: cloud.code for cloud in cloud_regions()}
    return _did_you_mean(repr(codes[region]) for region in _nearest(folded_code(text), codes, CERTAIN))


def _fix_part(text: str, places: Mapping[str, tuple[GridRow, ...]]) -> str:
    """A part of a country that the table does not have: the part by its name, else the whole country."""
    head, _, rest = text.strip().partition("-")
    whole = [row.code for row in places.get(folded(head), ()) if row.level == "country"]
    if not whole:
        return ""
    named = [row.code for row in places.get(folded(rest), ()) if row.parent == whole[0]]
    if named:
        return _did_you_mean([repr(named[0])])
    part = min((row.code for rows in places.values() for row in rows if row.parent == whole[0]), default="")
    like = f"its parts are written like {part!r}" if part else "there are no figures for parts of it"
    return f"Did you mean {whole[0]!r}? (the whole country; {like})"


def _fix_name(text: str, places: Mapping[str, tuple[GridRow, ...]]) -> str:
    """A name that was mistyped. Short codes are near to everything."""
    if len(text.strip()) < SHORTEST_TO_CORRECT:
        return ""
    names = {folded(row.name): row.name for rows in places.values() for row in rows if row.level in NAMED}
    return _did_you_mean(repr(names[name]) for name in _nearest(folded(text), names))


def _nearest(text: str, words: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """The words nearest to a text: one, or several that are equally near."""
    import difflib  # only where a name is unknown

    near = difflib.get_close_matches(text, list(words), n=3, cutoff=cutoff)
    ratios = [difflib.SequenceMatcher(None, word, text).ratio() for word in near]
    return sorted(word for word, ratio in zip(near, ratios, strict=True) if ratio == max(ratios))


def _did_you_mean(answers: Iterable[str]) -> str:
    either = " or ".join(answers)
    return f"Did you mean {either}?" if either else ""
