"""What to cite: the works behind the figures of a report."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from fitprint.data import table

PREFIX = "fitprint-"


@dataclass(frozen=True, slots=True)
class Reference:
    r"""One entry of a bibliography.

    Attributes:
        key: For ``\cite``.
        author: As BibTeX wants them, joined by ``and``; in braces where it is an organisation; empty where unknown.
        title: Plain text.
        year: Of publication; empty where unknown.
        published: Where; empty where the title says it.
    """

    key: str
    author: str
    title: str
    year: str
    published: str

    def __str__(self) -> str:
        authors = self.author.strip("{}").replace(" and others", " et al.").replace(" and ", ", ")
        return ", ".join(part for part in (authors, self.title, self.published, self.year) if part)


def package_version() -> str:
    """The version that is installed; ``unknown`` where it is not installed as a package."""
    try:
        return version("fitprint")
    except PackageNotFoundError:
        return "unknown"


def tool() -> Reference:
    """The entry of fitprint itself."""
    return Reference("fitprint", "{The fitprint authors}", "fitprint", "", f"version {package_version()}, software")


def references(sources: Iterable[str]) -> tuple[Reference, ...]:
    """The works behind sources, as assumptions name them, each once; fitprint comes first."""
    found = {entry.key: entry for source in sources for entry in cited(source)}
    return (tool(), *found.values())


def cited(source: str) -> tuple[Reference, ...]:
    """The works that a source names; where none is known, the source as it stands."""
    known = tuple(
        Reference(PREFIX + row["key"], row["author"], row["title"], row["year"], row["published"])
        for row in table("references")
        if row["match"] in source
    )
    return known or (Reference(f"{PREFIX}{zlib.crc32(source.encode()):08x}", "", source, "", ""),)
