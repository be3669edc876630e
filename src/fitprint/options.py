"""The single options: what each one's value may be, and how it is read from text."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fitprint.budget import Budget
from fitprint.carbon.beside import check_currency, check_market_intensity, check_price, check_water, parse_water
from fitprint.carbon.embodied import check_embodied, parse_embodied
from fitprint.carbon.facility import check_node_factor, check_pue
from fitprint.carbon.grid import EXPECTED, find_region
from fitprint.carbon.intensity import IntensitySource, check_intensity
from fitprint.carbon.intensity_option import check_text, is_source
from fitprint.carbon.sci import check_functional_unit
from fitprint.errors import refusal
from fitprint.files import home_path
from fitprint.location import EXPECTED as LEDGER_EXPECTED
from fitprint.location import check_url
from fitprint.sensors.counter import PARTS
from fitprint.sinks.names import check_sinks

# What switches something on or off in text.
OFF = ("off", "none", "no", "0", "false")
ON = ("on", "yes", "1", "true")
ATTRIBUTE = ("auto", "all", "share")
LONGEST_CALIBRATION_S = 3600.0


def _check_number(what: str, check: Callable[[float], float]) -> Callable[[Any], float]:
    def checked(value: Any) -> float:
        try:
            number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
        except OverflowError:
            number = math.nan
        if not math.isfinite(number):
            raise refusal(what, expected="a number", came=value)
        return check(number)

    return checked


def _check_intensity(value: Any) -> float | str | IntensitySource:
    if isinstance(value, str | Path):
        return check_text(value)
    if is_source(value):
        return value  # type: ignore[no-any-return]
    return _check_number("intensity", check_intensity)(value)


def _check_text(what: str) -> Callable[[Any], str]:
    def checked(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise refusal(what, expected="a text that is not empty", came=value)
        return value

    return checked


def _check_label(what: str) -> Callable[[Any], str]:
    def checked(value: Any) -> str:
        return _storable(_check_text(what)(value))

    return checked


def _storable(text: str) -> str:
    """The text as any database can hold it: what came as bytes in another encoding than UTF-8 is shown as such bytes."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "backslashreplace")
    return raw.decode("utf-8", "backslashreplace").replace("\0", r"\x00")


def _check_token_file(value: Any) -> str:
    text = _check_text("token_file")(os.fspath(value) if isinstance(value, Path) else value)
    home_path("token_file", text, expected="a file's path")
    return text


def _check_region(value: Any) -> str:
    if not isinstance(value, str):
        raise refusal("region", expected=EXPECTED, came=value)
    find_region(value)
    return value


def check_run_id(value: Any) -> str:
    """Return the id if it can name a folder: nothing in it leads out.

    Raises:
        ConfigError: If it could.
    """
    allowed = isinstance(value, str) and value.replace("-", "").replace("_", "").replace(".", "").isalnum()
    if not allowed or value.startswith(".") or len(value) > 128:
        raise refusal("run_id", expected="letters, digits, '-', '_' and '.', 128 at most", came=value)
    return str(value)


def _check_parts(value: Any) -> tuple[str, ...]:
    names = _texts("parts", value)
    if not names:
        raise refusal("parts", expected=f"some of {', '.join(PARTS)}", came=value)
    for name in names:
        if name not in PARTS:
            raise refusal("parts", expected=f"some of {', '.join(PARTS)}", came=name, near=PARTS)
    return tuple(dict.fromkeys(names))


def _check_block(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise refusal("block", expected="a number of optimizer steps from 1 up", came=value)
    return int(value)


def _check_attribute(value: Any) -> str:
    if value not in ATTRIBUTE:
        raise refusal("attribute", expected=f"one of {', '.join(ATTRIBUTE)}", came=value, near=ATTRIBUTE)
    return str(value)


def _check_calibration(seconds: float) -> float:
    if not 0 <= seconds <= LONGEST_CALIBRATION_S:
        raise refusal("calibrate_idle", expected=f"seconds from 0 to {LONGEST_CALIBRATION_S:g}", came=seconds)
    return seconds


def _check_switch(what: str) -> Callable[[Any], bool]:
    def checked(value: Any) -> bool:
        if not isinstance(value, bool):
            raise refusal(what, expected="True or False", came=value)
        return value

    return checked


def _check_tags(value: Any) -> tuple[str, ...]:
    return _texts("tags", value)


def _texts(what: str, value: Any) -> tuple[str, ...]:
    items = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(item, str) for item in items):
        raise refusal(what, expected="a text or a list of texts", came=value)
    return items


def _check_ledger(value: Any) -> str:
    text = os.fspath(value) if isinstance(value, str | Path) else ""
    if not text.strip():
        raise refusal("ledger", expected=LEDGER_EXPECTED, came=value)
    if "://" in text:
        return check_url(text)
    home_path("ledger", text, expected=LEDGER_EXPECTED)
    return text


def _parse_list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _parse_switch(text: str) -> bool:
    word = text.strip().casefold()
    if word not in ON + OFF:
        raise ValueError(word)
    return word in ON


CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "budget": Budget.several,
    "region": _check_region,
    "intensity": _check_intensity,
    "allow_network": _check_switch("allow_network"),
    "token_file": _check_token_file,
    "pue": _check_number("pue", check_pue),
    "node_factor": _check_number("node_factor", check_node_factor),
    "project": _check_label("project"),
    "name": _check_label("name"),
    "run_id": check_run_id,
    "ledger": _check_ledger,
    "parts": _check_parts,
    "attribute": _check_attribute,
    "calibrate_idle": _check_number("calibrate_idle", _check_calibration),
    "sync": _check_switch("sync"),
    "embodied": check_embodied,
    "water": check_water,
    "market_intensity": check_market_intensity,
    "price": check_price,
    "price_per_hour": partial(check_price, what="price_per_hour"),
    "currency": check_currency,
    "functional_unit": check_functional_unit,
    "flops": _check_switch("flops"),
    "block": _check_block,
    "tags": _check_tags,
    "save_on_stop": _check_switch("save_on_stop"),
    "sinks": check_sinks,
    "sys_root": _check_text("sys_root"),
    "proc_root": _check_text("proc_root"),
}
PARSERS: Mapping[str, Callable[[str], Any]] = {
    "budget": _parse_list,
    "allow_network": _parse_switch,
    "pue": float,
    "node_factor": float,
    "parts": _parse_list,
    "calibrate_idle": float,
    "embodied": parse_embodied,
    "water": parse_water,
    "market_intensity": float,
    "price": float,
    "price_per_hour": float,
    "sync": _parse_switch,
    "flops": _parse_switch,
    "block": int,
    "tags": _parse_list,
    "save_on_stop": _parse_switch,
    "sinks": _parse_list,
}
