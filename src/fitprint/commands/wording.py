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
    f": {IN_A_PROGRAM}": "",
}
_PAIR = re.compile(r"(?<![\w.-])(\w+)=('[^']*'|\"[^\"]*\"|[\w.+-]*[\w])")


def in_flags(message: str, options: argparse.Namespace) -> str:
    """The message with ``--flag value`` where it says ``name=value`` of an option that the command has."""
    for said, flag in PHRASES.items():
        message = message.replace(said, flag)
    return _PAIR.sub(lambda pair: _flag(pair, options), message)


def _flag(pair: re.Match[str], options: argparse.Namespace) -> str:
    name, value = pair.groups()
    if not hasattr(options, name) or name == "command":
        return pair[0]
    return f"--{name.replace('_', '-')}" + ("" if value == "True" else f" {value}")
