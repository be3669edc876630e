"""Writing a block into the YAML at the head of a README.md, and nothing else in it.

The text is not parsed and written anew: lines that are not ours stay byte for byte, comments among them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fitprint.errors import FitprintError
from fitprint.files import replace_file

FENCE = "---"
_SUBKEY = re.compile(r"(\s+)[\"']?([\w-]+)[\"']?\s*:(?:\s|$)")


def write_into(file: Path, key: str, rows: Mapping[str, str]) -> None:
    """Set a block in a file's front matter; the file is replaced at once, or not at all.

    Args:
        file: An existing Markdown file.
        key: The block's name.
        rows: Names and values of its lines, the values as YAML. Other lines of the block stay.

    Raises:
        FitprintError: If the file cannot be read or written, or its front matter has no end.
    """
    target = Path(os.path.realpath(file))
    try:
        text = target.read_bytes().decode("utf-8")
        replace_file(target, merged(text, key, rows).encode("utf-8"))
    except UnicodeDecodeError as error:
        raise FitprintError(f"{str(file)!r} is not UTF-8 text. Name a Markdown file.") from error
    except OSError as error:
        raise FitprintError(f"cannot merge into {str(file)!r}: {error.strerror or error}. Name an existing README.md.") from error


def merged(text: str, key: str, rows: Mapping[str, str]) -> str:
    r"""The text with the block set.

    Raises:
        FitprintError: If the front matter has no end.

    Example:
        >>> print(merged("---\nlicense: mit # ours\n---\n# Model\n", "co2", {"emissions": "1.5"}))
        ---
        license: mit # ours
        co2:
          emissions: 1.5
        ---
        # Model
        <BLANKLINE>
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    lines = text.removeprefix(mark).splitlines(keepends=True)
    end_of_line = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if not lines or lines[0].rstrip() != FENCE:
        block = _block([], key, rows, end_of_line)
        return mark + "".join([FENCE + end_of_line, *block, FENCE + end_of_line, *([end_of_line] if lines else []), *lines])
    end = next((i for i, line in enumerate(lines) if i and line.rstrip() == FENCE), None)
    if end is None:
        raise FitprintError(f"the front matter has no end: expected a second line {FENCE!r}. Close it, or take the first away.")
    begin, after = _span(lines[:end], key)
    block = _block(lines[begin:after], key, rows, end_of_line)
    return mark + "".join([*lines[:begin], *block, *lines[after:]])


def _span(lines: Sequence[str], key: str) -> tuple[int, int]:
    """Where the block stands; where it is to stand, if there is none."""
    head = re.compile(rf"[\"']?{re.escape(key)}[\"']?\s*:(\s|$)")
    begin = next((i for i, line in enumerate(lines) if i and head.match(line)), None)
    if begin is None:
        return len(lines), len(lines)
    after = begin + 1
    while after < len(lines) and (lines[after][0].isspace() or lines[after][0] in "}]"):
        after += 1
    while not lines[after - 1].strip():  # an empty line belongs to what follows
        after -= 1
    return begin, after


def _block(old: Sequence[str], key: str, rows: Mapping[str, str], end_of_line: str) -> list[str]:
    """The block with our lines set and its other lines kept, in their order."""
    entries = _entries(old)
    indent = next((match.group(1) for name, lines in entries if name and (match := _SUBKEY.match(lines[0]))), "  ")
    ours = {name: f"{indent}{name}: {value}{end_of_line}" for name, value in rows.items()}
    kept = [line for name, lines in entries for line in ([ours.pop(name)] if name in ours else lines)]
    new = [ours.pop("emissions")] if "emissions" in ours else []
    return [_head(old, key, end_of_line), *new, *kept, *ours.values()]


def _head(old: Sequence[str], key: str, end_of_line: str) -> str:
    """The block's first line with its comment, if it has one; a value in it is what is replaced."""
    bare = old and re.fullmatch(r"[^:]+:\s*(#.*)?", old[0].strip())
    return old[0] if bare else f"{key}:{end_of_line}"


def _entries(old: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The block's lines, by the name that they belong to; none where it was no mapping of lines."""
    if not old or not re.fullmatch(r"[^:]+:\s*(#.*)?", old[0].strip()):
        return []
    first = next((match for line in old[1:] if (match := _SUBKEY.match(line))), None)
    entries: list[tuple[str, list[str]]] = []
    for line in old[1:]:
        match = _SUBKEY.match(line)
        if line.lstrip().startswith("#") or not line.strip():
            entries.append(("", [line]))
        elif match and first and match.group(1) == first.group(1):
            entries.append((match.group(2), [line]))
        elif entries:
            entries[-1][1].append(line)
    return entries
