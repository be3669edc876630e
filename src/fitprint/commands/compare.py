"""``fitprint compare``: runs by what they reached and what they emitted."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fitprint.commands.printing import LONGEST, print_table, shortened
from fitprint.comparison import Comparison, Configuration, compare
from fitprint.notices import printable
from fitprint.report.figure import save_figure
from fitprint.units import format_co2e, format_energy, significant

# A label is a name and the hyperparameters that tell it from others.
LONGEST_LABEL = 3 * LONGEST
# Runs of one kind that are named where they cannot be compared.
MOST_NAMED = 3


def add(commands: Any) -> None:
    """Add the subcommand's parser."""
    parser = commands.add_parser("compare", help="runs by what they reached and what they emitted, with the Pareto front")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="ids, as `fitprint runs` lists them; all runs by default")
    parser.add_argument("--project", metavar="NAME", help="only runs of this project")
    parser.add_argument(
        "--ledger", action="append", metavar="FILE", help="file or URL, fitprint.db here by default; may be repeated"
    )
    parser.add_argument("--metric", metavar="NAME", help="what to compare by; a held-out score or loss by default")
    parser.add_argument("--mode", default="auto", metavar="MODE", help="max or min: which is better; by its name by default")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw them, too: .svg, .png or .pdf")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> int:
    comparison = compare(
        options.runs or None, project=options.project, ledger=options.ledger, metric=options.metric, mode=options.mode
    )
    if options.figure is not None:
        save_figure(options.figure, (7.0, 4.5), comparison.plot)
    if options.json:
        print(json.dumps(comparison.to_dict(), indent=2, allow_nan=False))
        return 0
    _print(comparison)
    return 0


def _print(comparison: Comparison) -> None:
    head = ("", "configuration", "runs", shortened(comparison.metric), "SD", "CO2e a run", "SD", "interval", "energy a run", "")
    print_table(head, [_cells(row) for row in comparison.configurations])
    print("\n* on the Pareto front: none is as good with less CO2e; = no more than chance away from the best")
    print(printable(comparison.verdict))
    if comparison.bargain:
        print(printable(comparison.bargain))
    for note in comparison.notes:
        print(printable(f"note: {note}"), file=sys.stderr)
    for reason in dict.fromkeys(comparison.left_out.values()):
        run_ids = [run_id for run_id, why in comparison.left_out.items() if why == reason]
        print(printable(f"left out: {_named(run_ids)}: {reason}"), file=sys.stderr)


def _named(run_ids: list[str]) -> str:
    """The runs, or their number where they would fill the screen; ``--json`` names all."""
    more = f" and {len(run_ids) - MOST_NAMED} more runs" if len(run_ids) > MOST_NAMED else ""
    return ", ".join(run_ids[:MOST_NAMED]) + more


def _cells(row: Configuration) -> list[str]:
    interval = f"{format_co2e(row.co2e_low_g)} to {format_co2e(row.co2e_high_g)}"
    spread = "" if row.score_sd is None else significant(row.score_sd, 2)
    grams_spread = "" if row.co2e_sd_g is None else format_co2e(row.co2e_sd_g)
    figures = [significant(row.score, 4), spread, format_co2e(row.co2e_g), grams_spread, interval, format_energy(row.energy_j)]
    return ["*" if row.on_front else "", shortened(row.label, LONGEST_LABEL), str(row.n), *figures, "=" if row.among_best else ""]
