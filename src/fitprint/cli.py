"""The command line. Data goes to stdout, messages to stderr; exit 0 done, 1 failed, 2 bad usage."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from fitprint.command import run_command
from fitprint.config import Config, resolve
from fitprint.detection import detect
from fitprint.doctor import examine
from fitprint.errors import ConfigError, FitprintError, MissingExtraError
from fitprint.footprint import Footprint
from fitprint.ledger.store import Ledger
from fitprint.units import format_co2e, format_duration, format_energy, significant

DEMO_BUDGET = "1 g"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except ConfigError as error:
        print(f"fitprint: {error}", file=sys.stderr)
        return 2
    except FitprintError as error:
        print(f"fitprint: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output went away, as with `| head`
        sys.stderr.close()
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fitprint", description="The energy and CO2e of every training epoch.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    found = commands.add_parser("detect", help="what is measured here, what is modelled, what is absent and why")
    found.add_argument("--region", help="country, as a run would get it")
    found.add_argument(
        "--doctor",
        type=Path,
        nargs="?",
        const=Path("fitprint-doctor.json"),
        metavar="FILE",
        help="read all sensors for 20 s and write a report that you can send to us",
    )
    found.set_defaults(command=_detect)
    runs = commands.add_parser("runs", help="list the recorded runs, those that died included")
    runs.add_argument("--ledger", help="the ledger's file; fitprint.db in this folder by default")
    runs.set_defaults(command=_runs)
    run = commands.add_parser("run", help="measure any command: fitprint run [options] -- CMD...")
    for option in ("region", "budget", "project", "name", "ledger"):
        run.add_argument(f"--{option}", help=f"as the option {option} of a run")
    run.add_argument("--pue", type=float, help="facility power over IT power")
    run.add_argument("--intensity", type=float, help="g CO2e per kWh")
    run.add_argument("--record", type=Path, metavar="FILE", help="keep the raw readings of all counters as JSON lines")
    run.add_argument("--quiet", action="store_true", help="no live line on the terminal")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="-- CMD...", help="the command and its arguments")
    run.set_defaults(command=_run)
    demo = commands.add_parser("demo", help="train a small network on handwritten digits, measured")
    demo.add_argument("--framework", choices=("lightning", "keras"), default="lightning")
    demo.add_argument("--out", type=Path, default=Path("fitprint_demo"), help="folder for what it leaves")
    demo.add_argument("--epochs", type=_positive, default=8)
    demo.add_argument("--budget", help=f"for example '1 g' or '100 J'; {DEMO_BUDGET} by default")
    demo.add_argument("--region", help="country; guessed from the time zone by default")
    demo.set_defaults(command=_demo)
    for command in (found, runs, demo):
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 up, got {text}")
    return number


def _detect(options: argparse.Namespace) -> int:
    if options.doctor is not None:
        return _doctor(options)
    found = detect(Config(region=options.region))
    print(json.dumps(found.to_dict(), indent=2) if options.json else found)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    print("reading all sensors for 20 s", file=sys.stderr)
    report = examine(Config(region=options.region))
    try:
        options.doctor.write_text(json.dumps(report, indent=1), encoding="utf-8")
    except OSError as error:
        raise FitprintError(f"cannot write {str(options.doctor)!r}: {error.strerror or error}. Name another file.") from error
    if options.json:
        print(json.dumps({key: value for key, value in report.items() if key != "trace"}, indent=2))
        return 0
    _print_table(
        ("sensor", "readings", "failed", "call p50", "call p99", "period"), [_behaviour_cells(row) for row in report["sensors"]]
    )
    print(f"{options.doctor} holds all of it: no host name, no user name, no path.")
    return 0


def _behaviour_cells(row: dict[str, Any]) -> list[str]:
    calls = ["" if row[key] is None else f"{significant(row[key])} µs" for key in ("call_p50_us", "call_p99_us")]
    period = "" if row["period_s"] is None else f"{significant(1000 * row['period_s'])} ms"
    return [row["id"], str(row["readings"]), str(row["failures"]), *calls, period]


def _runs(options: argparse.Namespace) -> int:
    ledger = Ledger(options.ledger)
    rows = ledger.runs()
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    if not rows:
        print(f"no runs in {ledger.path}{'' if ledger.path.is_file() else ' (there is no such file)'}", file=sys.stderr)
        return 0
    head = ("run", "project", "name", "status", "started (UTC)", "time", "energy", "CO2e", "epochs")
    _print_table(head, [_run_cells(row) for row in rows])
    return 0


def _run(options: argparse.Namespace) -> int:
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not words:
        print("fitprint: run needs a command, for example: fitprint run --region FR -- python train.py", file=sys.stderr)
        return 2
    names = ("region", "budget", "project", "name", "ledger", "pue", "intensity")
    config = Config(**{name: getattr(options, name) for name in names})
    return run_command(words, config, record=options.record, quiet=options.quiet)


def _run_cells(row: dict[str, Any]) -> list[str]:
    return [
        row["run_id"],
        row["project"] or "",
        row["name"] or "",
        row["status"] or "",
        (row["started_at"] or "")[:19].replace("T", " "),
        format_duration(row["duration_s"] or 0.0),
        format_energy(row["energy_j"]),
        format_co2e(row["co2e_g"]),
        str(row["epochs"]),
    ]


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
    report.write_text(footprint.to_html(), encoding="utf-8")
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
    _print_table(("epoch", "time", "energy", "CO2e", metric or ""), rows)


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in head:
        table.add_column(title, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    wide = max(console.width, sum(max(len(cell) for cell in column) + 2 for column in zip(head, *rows, strict=True)))
    Console(width=wide).print(table)
