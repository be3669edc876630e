"""The command line. Data goes to stdout, messages to stderr; exit 0 done, 1 failed, 2 bad usage.

`run` has its command's exit status, `runs pot` has 3 where a pot is spent.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from fitprint.commands import advise, compare, demo, detect, estimate, regions, report, run, runs, when
from fitprint.commands.wording import in_flags
from fitprint.errors import CommandError, ConfigError, FitprintError
from fitprint.report.references import package_version

COMMANDS = (detect, run, estimate, regions, when, runs, report, advise, compare, demo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    _write_any_letter()
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except ConfigError as error:
        print(f"fitprint: {in_flags(str(error), options)}", file=sys.stderr)
        return 2
    except FitprintError as error:
        print(f"fitprint: {in_flags(str(error), options)}", file=sys.stderr)
        return error.status if isinstance(error, CommandError) else 1
    except BrokenPipeError:  # the reader of our output went away, as with `| head`
        sys.stderr.close()
        return 1
    except OSError as error:
        print(f"fitprint: {error}", file=sys.stderr)
        return 1
    return status


def _write_any_letter() -> None:
    """A letter that the terminal's encoding does not have is written as its number, as on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fitprint", description="The energy and CO2e of every training epoch.")
    parser.add_argument("--version", action="version", version=f"fitprint {package_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
