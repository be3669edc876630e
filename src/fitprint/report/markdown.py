"""A report in GitHub's Markdown, as for a pull request."""

from __future__ import annotations

import re

from fitprint.report.document import Document
from fitprint.report.references import references
from fitprint.report.templating import render

_MARKUP = re.compile(r"([\\`*_\[\]#!|~$])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
# Addresses would become links by themselves.
_LINKS = re.compile(r"(?i)(:(?=//)|\.(?<=www\.))")


def markdown(document: Document) -> str:
    """Render a report.

    Raises:
        MissingExtraError: If jinja2 is not installed.
    """
    return render("report.md.j2", "A Markdown report", {"d": document, "references": references(document.sources)}, escaped)


def escaped(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line.

    Example:
        >>> escaped("a|b <i> *c*")
        'a\\|b &lt;i&gt; \\*c\\*'
    """
    line = "".join(char for char in " ".join(text.split()) if char.isprintable())
    return "".join(_HTML.get(char, char) for char in _LINKS.sub(r"\\\1", _MARKUP.sub(r"\\\1", line)))
