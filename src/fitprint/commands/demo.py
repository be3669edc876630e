"""``fitprint demo``: trains a small network on handwritten digits, measured."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from fitprint.commands.printing import print_table
from fitprint.config import Config
from fitprint.errors import FitprintError, MissingExtraError
from fitprint.files import replace_file
from fitprint.footprint import Footprint
from fitprint.settings import resolve
from fitprint.units import format_co2e, format_duration, format_energy, significant

DEMO_BUDGET = "1 g"


def add(commands: Any) -> None:
    """Add the subcommand's parser."""
    parser = commands.add_parser("demo", help="train a small network on handwritten digits, measured")
    parser.add_argument("--framework", choices=("lightning", "keras"), default="lightning")
    parser.add_argument("--out", type=Path, default=Path("fitprint_demo"), help="folder for what it leaves")
    parser.add_argument("--epochs", type=_positive, default=8)
    parser.add_argument("--budget", help=f"for example '1 g' or '100 J'; {DEMO_BUDGET} by default")
    parser.add_argument("--region", help="place; guessed from the time zone by default")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_demo)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 up, got {text}")
    return number


def _demo(options: argparse.Namespace) -> int:
    budget = options.budget or resolve().config.budget or DEMO_BUDGET
    config = Config(region=options.region, budget=budget, name=f"demo-{options.framework}")
    train = _demo_of(options.framework)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot make the folder {options.out} ({error.strerror or error}). Choose another with --out."
        raise FitprintError(reason) from error
    config = config.overridden(ledger=str(options.out / "fitprint.db"))
    # With --json the frameworks' own output must not be between the data.
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        footprint, logs = train(options.out, options.epochs, config)
    report = options.out / "report.html"
    replace_file(report, footprint.to_html().encode())
    if options.json:
        print(footprint.to_json())
        return 0
    print(f"\n{footprint}\n")
    _print_epochs(footprint)
    print(f"\nReport:      {report}")
    print(f"All runs:    {_program('fitprint')} runs --ledger {options.out / 'fitprint.db'}")
    print(f"TensorBoard: {_program('tensorboard')} --logdir {logs}")
    return 0


def _program(name: str) -> str:
    """The name by which a program of this environment can be called from here."""
    beside = Path(sys.executable).with_name(name)
    if shutil.which(name) == str(beside) or not beside.exists():
        return name
    return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)


def _demo_of(framework: str) -> Any:
    demos: dict[str, EntryPoint] = {point.name: point for point in entry_points(group="fitprint.demos")}
    try:
        return demos[framework].load()
    except (ImportError, KeyError) as error:
        raise MissingExtraError(f"fitprint demo --framework {framework}", "demo") from error


def _print_epochs(footprint: Footprint) -> None:
    metric = next((name for name in ("val_acc", "val_accuracy") if any(name in e.metrics for e in footprint.epochs)), None)
    rows = []
    for epoch in footprint.epochs:
        accuracy = epoch.metrics.get(metric) if metric else None
        cells = [str(epoch.index), format_duration(epoch.duration_s), format_energy(epoch.energy_j), format_co2e(epoch.co2e_g)]
        rows.append([*cells, "" if accuracy is None else f"{significant(100 * accuracy)} %"])
    print_table(("epoch", "time", "energy", "CO2e", metric or ""), rows)
