"""Errors in the words of the command line: what is an argument in Python is a flag here."""

from __future__ import annotations

import argparse
import re

from fitprint.carbon.series_file import IN_A_PROGRAM

# What Python's messages say of options that have a flag of another form.
PHRASES = {
    "Config(allow_network=True)": "--allow-network",
    "Name one as column": "Name one with --column",
    "Give one as tz, for example tz=": "Give one, for example --tz ",
    "power_w or hardware": "--power-w or --hardware",
    "Say where you are with near.": "Say where you are with --near.",
    f": {IN_A_PROGRAM}": "",
}
# Arguments whose flag has another name, and the option that the command then has.
OTHERWISE = {"from": ("start", "--from"), "series": ("intensity", "--intensity")}
_PAIR = re.compile(r"(?<![\w.-])(\w+)=('[^']*'|\"[^\"]*\"|[\w.+-]*[\w])")
# An argument alone is told from a word by the underscore in it.
_NAME = re.compile(r"(?<![\w.'\"/=-])[a-z]+(?:_[a-z]+)+(?![\w.'\"/=(-]*[\w'\"/=(])")


def in_flags(message: str, options: argparse.Namespace) -> str:
    """The message with ``--flag value`` where it says ``name=value`` of an option that the command has."""
    for said, flag in PHRASES.items():
        message = message.replace(said, flag)
    message = _PAIR.sub(lambda pair: _pair(pair, options), message)
    return _NAME.sub(lambda name: _flag(name[0], options) or name[0], message)


def _pair(pair: re.Match[str], options: argparse.Namespace) -> str:
    name, value = pair.groups()
    flag = _flag(name, options)
    return pair[0] if flag is None else flag if value == "True" else f"{flag} {value}"


def _flag(name: str, options: argparse.Namespace) -> str | None:
    """The flag of an argument; None where the command has none for it."""
    if hasattr(options, name):
        return None if name == "command" else f"--{name.replace('_', '-')}"
    dest, flag = OTHERWISE.get(name, ("", None))
    return flag if hasattr(options, dest) else None
