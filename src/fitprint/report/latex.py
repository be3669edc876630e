r"""A report for a paper: a paragraph and a table, with what to cite.

The text is made for ``\input``: it ends with ``\endinput``, and the BibTeX entries that it cites follow. LaTeX reads
no further than there. Base LaTeX compiles it, without any package.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

from fitprint.report.document import Document, Table
from fitprint.report.facts import Fact
from fitprint.report.references import Reference, cited, references
from fitprint.report.templating import Verbatim, render

END = "\\endinput\n"
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",  # BibTeX would count those of \{
    "}": r"\textbraceright{}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "@": r"{\char64}",  # BibTeX takes a bare one for the start of an entry
    "`": r"{\char96}",
}
# What a paper has no room for.
MOST_ROWS = 40
COLUMNS = ("run", "time", "energy", "CO2e", "95 % interval")
ASIDE = ("that is", "last part", "note")
# What every LaTeX since 2018 sets without a package: Latin letters with their accents.
LATIN = 0x180
_CO2E = re.compile(r"\bCO2e\b")


def latex(document: Document) -> str:
    r"""Render a report: a paragraph, a table, ``\endinput`` and BibTeX entries.

    Raises:
        MissingExtraError: If jinja2 is not installed.
    """
    values = {"d": document, "facts": _for_paper(document), "cite": _cite, "tables": _paper_tables(document)}
    text = render("statement.tex.j2", "A LaTeX report", values, escaped)
    return f"{text}{END}{bibliography(document)}"


def bibliography(document: Document) -> str:
    """The BibTeX entries alone."""
    return "\n".join(_entry(reference) for reference in references(document.sources))


def escaped(text: str) -> str:
    r"""Text that LaTeX sets as it is, on one line; a letter that it may not know is told by its number.

    Example:
        >>> escaped("50 % of a_b \\input{x}")
        '50 \\% of a\\_b \\textbackslash{}input\\textbraceleft{}x\\textbraceright{}'
    """
    line = unicodedata.normalize("NFC", " ".join(text.split()))
    return _CO2E.sub(lambda _: r"CO\textsubscript{2}e", "".join(_letter(char) for char in line if char.isprintable()))


def _letter(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    return char if ord(char) < LATIN and (char.isascii() or char.isalpha()) else f"[U+{ord(char):04X}]"


def _for_paper(document: Document) -> list[Fact]:
    return [fact for fact in document.facts if fact.label not in ASIDE]


def _paper_tables(document: Document) -> list[Table]:
    """Those that fit on a page; of figures only the columns that fit on a line."""
    return [_narrow(table) if table.numbers else table for table in document.tables if len(table.rows) <= MOST_ROWS]


def _narrow(table: Table) -> Table:
    kept = [i for i, name in enumerate(table.head) if name in COLUMNS]
    rows = tuple(tuple(row[i] for i in kept) for row in (table.head, *table.rows))
    return replace(table, rows=rows)


def _cite(fact: Fact) -> Verbatim:
    keys = dict.fromkeys(entry.key for source in fact.sources for entry in cited(source))
    return Verbatim(f"~\\cite{{{','.join(keys)}}}" if keys else "")


def _entry(reference: Reference) -> str:
    by = ("author", reference.author) if reference.author else ("key", reference.title)
    fields = dict([by, ("title", reference.title), ("year", reference.year), ("howpublished", reference.published)])
    told = {name: _value(name, text) for name, text in fields.items() if text}
    lines = "".join(f"  {name} = {{{text}}},\n" for name, text in told.items())
    return f"@misc{{{reference.key},\n{lines}}}\n"


def _value(name: str, text: str) -> str:
    """Capitals of a title stay by a second pair of braces; those around an organisation are BibTeX's."""
    inner = escaped(text.strip("{}"))
    return f"{{{inner}}}" if name == "title" or text.startswith("{") else inner
