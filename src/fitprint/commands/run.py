"""``fitprint run``: measures any command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from fitprint.budget import Budget
from fitprint.command import run_command
from fitprint.commands.live_series import add_network
from fitprint.config import Config

TEXTS = ("region", "budget", "project", "name", "ledger")


def add(commands: Any) -> None:
    """Add the subcommand's parser."""
    parser = commands.add_parser("run", help="measure any command: fitprint run [options] -- CMD...")
    for option in TEXTS:
        parser.add_argument(f"--{option}", help=f"as the option {option} of a run")
    parser.add_argument("--project-budget", metavar="BUDGET", help="what all runs of the project may use together")
    parser.add_argument("--pue", type=float, help="facility power over IT power")
    parser.add_argument("--intensity", help="g CO2e per kWh, a CSV file of them over time, or a service: electricitymaps:FR")
    add_network(parser)
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep the raw readings of all counters as JSON lines")
    parser.add_argument("--quiet", action="store_true", help="no live line on the terminal")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- CMD...", help="the command and its arguments")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not words:
        print("fitprint: run needs a command, for example: fitprint run --region FR -- python train.py", file=sys.stderr)
        return 2
    given = {name: getattr(options, name) for name in (*TEXTS, "pue", "intensity", "allow_network", "token_file")}
    config = Config(**{**given, "budget": _budgets(options)})
    return run_command(words, config, record=options.record, quiet=options.quiet)


def _budgets(options: argparse.Namespace) -> list[str | Budget] | None:
    """The run's own budget and its project's; None where neither is given."""
    own = [options.budget] if options.budget is not None else []
    shared = [Budget(options.project_budget, scope="project")] if options.project_budget is not None else []
    return [*own, *shared] or None
