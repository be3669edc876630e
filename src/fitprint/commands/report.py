"""``fitprint report``: recorded runs or a project, as text, for a paper, a pull request, a model card or a spreadsheet."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fitprint.advice import NOTHING, OVERLAP, advise
from fitprint.carbon.hourly import HourlySeries
from fitprint.carbon.provider_names import find_provider
from fitprint.carbon.series_file import read_series
from fitprint.commands.advise import of_project
from fitprint.commands.chosen import last_run
from fitprint.commands.live_series import add_network, fetched
from fitprint.commands.project import print_project
from fitprint.errors import FitprintError, refusal
from fitprint.files import replace_file
from fitprint.footprint import TRAINING_KINDS, Footprint
from fitprint.ledger.ledger import Ledger
from fitprint.ledger.selection import recorded
from fitprint.notices import printable
from fitprint.project import ProjectTotal, project_total
from fitprint.regrams import regrams
from fitprint.report.card import KEY, TRAINING_TYPES, card, card_rows
from fitprint.report.document import MOST_RUNS, Amounts, Document, Table, of_runs, pairs_table
from fitprint.report.front_matter import write_into
from fitprint.report.html import page_of
from fitprint.report.latex import bibliography, latex
from fitprint.report.markdown import markdown
from fitprint.report.rows import to_csv
from fitprint.report.total import total_details, total_headline
from fitprint.timeline import Timeline
from fitprint.union import union

DOCUMENTS: dict[str, Callable[[Document], str]] = {"md": markdown, "latex": latex, "html": page_of}
FORMATS = ("text", *DOCUMENTS, "json", "csv", "card")


def add(commands: Any) -> None:
    """Add the subcommand's parser."""
    parser = commands.add_parser("report", help="recorded runs or a project: for a paper, a pull request, a model card")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="ids, as `fitprint runs` lists them; by default the last training")
    parser.add_argument("--run", action="append", default=[], metavar="ID", help="the same; may be repeated")
    parser.add_argument("--project", metavar="NAME", help="all runs of a project: their total, failed and repeated runs included")
    parser.add_argument("--ledger", help="the ledger's file or URL; fitprint.db in this folder by default")
    parser.add_argument("--format", choices=FORMATS, default="text", help="text by default; latex has BibTeX entries at its end")
    parser.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write a file instead of printing (latex: a .bib file, too)")
    parser.add_argument("--all", action="store_true", help=f"md, html: list all runs, not the {MOST_RUNS} of most energy")
    parser.add_argument("--rd", action="store_true", help="with the total of the run's project: research and development")
    _add_intensity(parser)
    _add_card(parser)
    of_project = parser.add_argument_group("of a project")
    of_project.add_argument("--final", metavar="ID", help="the run that came of it; the last that ended well by default")
    of_project.add_argument("--metric", metavar="NAME", help="judges hyperparameters; a held-out score or loss by default")
    of_project.add_argument("--mode", default="auto", metavar="MODE", help="max or min: which is better; by its name by default")
    parser.set_defaults(command=_report)


def _add_intensity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--intensity", metavar="FILE", help="CSV of g/kWh over time, or a service such as electricitymaps:FR")
    add_network(parser)
    parser.add_argument("--tz", help="zone of times without one in that file, for example Europe/Paris")
    parser.add_argument("--column", help="its column of figures, where it has several")
    parser.add_argument("--unit", help="their unit, for example lb/MWh")


def _add_card(parser: argparse.ArgumentParser) -> None:
    of_card = parser.add_argument_group("of a model card")
    of_card.add_argument("--into", type=Path, metavar="README.md", help="set it in the front matter of this file")
    of_card.add_argument("--training-type", choices=TRAINING_TYPES, help="what the card says of the training")


def _report(options: argparse.Namespace) -> int:
    _check(options)
    runs = _chosen(options)
    _check_training_type(options, runs)
    total = _total(options, runs)
    if options.into is not None:
        write_into(options.into, KEY, card_rows(_document(options, runs, total), options.training_type))
        return 0
    if options.format == "text":
        _print(options, runs, total)
        return 0
    text = _text(options, runs, total)
    if options.output is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return 0
    _write(options.output, text)
    if options.format == "latex":
        _write(options.output.with_suffix(".bib"), bibliography(_document(options, runs, total)))
    return 0


def _check(options: argparse.Namespace) -> None:
    """What does not go together is refused before anything is read."""
    options.run = [*options.run, *options.runs]
    if options.project is not None and options.run:
        raise refusal("project", expected="either a project or runs", came=options.project, hint="Leave one of them out.")
    if options.project is not None and options.intensity is not None:
        raise refusal("intensity", expected="runs", came=options.intensity, hint="Name them instead of the project.")
    _check_final(options)
    if options.into is not None and options.format not in ("text", "card"):
        raise refusal("into", expected="--format card", came=str(options.into))
    if options.output is not None and options.format == "text":
        hint = "Say what to write, for example --format html."
        raise refusal("output", expected="a format other than text", came=str(options.output), hint=hint)
    if options.output is not None and options.into is not None:
        raise refusal("output", expected="nothing beside --into", came=str(options.output), hint="Leave one of them out.")


def _check_final(options: argparse.Namespace) -> None:
    """Of a project's total alone."""
    told = options.final or options.metric or (options.mode if options.mode != "auto" else None)
    if options.project is None and not options.rd and told is not None:
        what = "final" if options.final else "metric" if options.metric else "mode"
        raise refusal(what, expected="it beside --project NAME or --rd", came=told, hint="Add one of them, or leave it out.")


def _check_training_type(options: argparse.Namespace, runs: Sequence[Footprint]) -> None:
    """A run beside a training was none, and its grams are not those of the model."""
    other = next((run for run in runs if run.kind not in TRAINING_KINDS), None)
    if options.training_type is not None and other is not None and options.project is None:
        hint = f"{other.run_id} is of kind {other.kind}. Name the training, or leave the option out."
        raise refusal("training_type", expected="runs that train", came=options.training_type, hint=hint)


# ---- what it is about


def _chosen(options: argparse.Namespace) -> list[Footprint]:
    if options.project is not None or options.run:
        chosen = recorded(options.ledger, project=options.project, run_ids=options.run)
    else:
        chosen = [last_run(Ledger(options.ledger))]
    return chosen if options.intensity is None else [regrams(run, _series(options, run)) for run in chosen]


def _series(options: argparse.Namespace, footprint: Footprint) -> HourlySeries:
    """What grams are worked out again from."""
    if find_provider(options.intensity) is None or footprint.energy_series is None:
        return read_series(options.intensity, tz=options.tz, column=options.column, unit=options.unit)
    timeline = Timeline.from_dict(footprint.energy_series)
    return fetched(options.intensity, options, timeline.start_s, timeline.end_s)


def _total(options: argparse.Namespace, runs: Sequence[Footprint]) -> ProjectTotal | None:
    """Of the project that was asked for, or that the runs belong to where their R&D is to be told."""
    if options.project is None and not options.rd:
        return None
    projects = {run.project for run in runs} if options.project is None else {options.project}
    name = projects.pop() if len(projects) == 1 else None
    if name is None:
        raise refusal("rd", expected="runs of one project", came=True, hint="Runs get one by project='...', before they start.")
    return project_total(name, ledger=options.ledger, final=options.final, metric=options.metric, mode=options.mode)


# ---- what is said


def _print(options: argparse.Namespace, runs: Sequence[Footprint], total: ProjectTotal | None) -> None:
    for run in runs if options.project is None else ():
        print("\n".join(printable(line) for line in str(run).split("\n")))
    if total is not None:
        print_project(total)


def _text(options: argparse.Namespace, runs: Sequence[Footprint], total: ProjectTotal | None) -> str:
    if options.format == "json":
        return _json(options, runs, total)
    if options.format == "csv":
        return to_csv(runs)
    document = _document(options, runs, total)
    return card(document, options.training_type) if options.format == "card" else DOCUMENTS[options.format](document)


def _json(options: argparse.Namespace, runs: Sequence[Footprint], total: ProjectTotal | None) -> str:
    """A project's total; else the records, each as it is, one by itself or several in a list."""
    if options.project is not None and total is not None:
        return json.dumps(total.to_dict(), indent=2, allow_nan=False)
    records = [run.to_dict() | ({} if total is None else {"rd_total": total.to_dict()}) for run in runs]
    return json.dumps(records[0] if len(records) == 1 else records, allow_nan=False)


def _document(options: argparse.Namespace, runs: Sequence[Footprint], total: ProjectTotal | None) -> Document:
    sums = union(runs)
    shown = [run for run in runs if run.run_id not in sums.inside]
    amounts = Amounts.of(shown[0] if len(shown) == 1 else sums)
    tables = () if total is None else (_rd(total),)
    advice = _advice(options, shown) if options.format in ("md", "html") else ()
    return of_runs(shown, amounts, tables=tables, advice=advice, every_run=options.all)


def _rd(total: ProjectTotal) -> Table:
    rows = [("total", total_headline(total)), *total_details(total), *(("note", note) for note in total.notes)]
    return pairs_table(f"Research and development: all of {total.project}", rows)


def _advice(options: argparse.Namespace, runs: Sequence[Footprint]) -> list[str]:
    """Of a single run all that there is to say, else the largest saving of each kind."""
    if len(runs) == 1:
        others = of_project(Ledger(options.ledger), runs[0])
        found = [advice.text for advice in advise(runs[0], runs=others)]
        return [*found, *([OVERLAP] if len(found) > 1 else [])] or [NOTHING]
    pairs = sorted(((advice, run) for run in runs for advice in advise(run)), key=lambda pair: pair[0].saved_g)
    largest = {advice.kind: (advice, run) for advice, run in pairs}.values()
    said = [f"{run.name or run.run_id}: {advice.text}" for advice, run in sorted(largest, key=lambda pair: -pair[0].saved_g)]
    return [*said, *([OVERLAP] if len(said) > 1 else [])]


def _write(file: Path, text: str) -> None:
    try:
        replace_file(file, text.encode())
    except OSError as error:
        raise FitprintError(f"cannot write {str(file)!r}: {error.strerror or error}. Name another file.") from error
