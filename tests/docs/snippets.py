"""What the pages' code blocks are, and their execution: ``python tests/docs/snippets.py PAGE`` runs those of a page, in order.

A comment before a block says what it takes as given (``<!-- given: lightning -->``: a file in the folder ``given``), that the
output of a console block is another one each time (``<!-- output varies -->``), or why the block is not executed here
(``<!-- not run: needs two GPUs -->``, ``<!-- run by: tests/optuna/test_study.py -->``).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIVEN = Path(__file__).parent / "given"
PYTHON = ("python", "py")
TERMINAL = ("sh", "bash", "console")
BLOCK = re.compile(r"(?P<before>(?:^<!--[^\n]*-->\n+)*)^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
REASON = re.compile(r"<!-- (?:not run|run by): (\S.*?) -->")
# What sets things up is run by those who read it, and by `make`.
SETUP = re.compile(r"(pip|git|make|tensorboard)\b")
PROMPT = "$ "
ANYTHING = "..."
LIMIT_S = 60


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: Where it stands.
        line: Number of its first line of code.
        language: As the page names it; may be empty.
        text: The code.
        before: The comments right before it.
    """

    page: Path
    line: int
    language: str
    text: str
    before: str

    @property
    def reason(self) -> str:
        """Why it is not executed here; empty where it is."""
        found = REASON.search(self.before)
        return found.group(1) if found else ""

    @property
    def given(self) -> list[Path]:
        found = re.search(r"<!-- given: (.+?) -->", self.before)
        return [GIVEN / f"{name}.py" for name in found.group(1).split(", ")] if found else []

    @property
    def output_varies(self) -> bool:
        return "<!-- output varies -->" in self.before

    @property
    def code(self) -> Any:
        """Compiled, so that an error names page and line."""
        return compile("\n" * (self.line - 1) + self.text, str(self.page), "exec")

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Commands of a terminal with what they print; without prompts all of it is one command."""
        if PROMPT not in self.text:
            lines = [line for line in self.text.splitlines() if not SETUP.match(line)]
            return [("\n".join(lines), "")]
        return [pair for pair in map(_command_and_output, re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]) if pair]


def blocks(page: Path) -> Iterator[Block]:
    """The page's code blocks, in order."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("text")) + 1
        yield Block(page, line, found["language"], found["text"], found["before"])


def _command_and_output(text: str) -> tuple[str, str] | None:
    """A command has as many lines as the shell needs until it is complete; what follows it printed."""
    lines = text.splitlines(keepends=True)
    if SETUP.match(text):
        return None
    for count in range(1, len(lines) + 1):
        command = "".join(lines[:count])
        read = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        goes_on = command.endswith("\\\n")
        if read.returncode == 0 and not read.stderr and not goes_on:  # an open here-document is a mere warning
            return command, "".join(lines[count:])
    raise AssertionError(f"the shell cannot read this: {text}")


def like(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed; a line of dots stands for any lines."""
    patterns = ["(?:.*\n)*" if line.strip() == ANYTHING else re.escape(line.rstrip()) + r" *\n" for line in shown.splitlines()]
    return re.fullmatch("".join(patterns), printed if printed.endswith("\n") else printed + "\n") is not None


def run(page: Path) -> None:
    """Execute the blocks of a page in this folder: one namespace for its Python.

    Raises:
        AssertionError: If a command fails, or prints what the page does not show.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.reason:
            continue
        for path in block.given:
            exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
        if block.language in PYTHON:
            exec(block.code, names)
        elif block.language in TERMINAL:
            _type(block)


def _type(block: Block) -> None:
    where = f"{block.page.name}:{block.line}"
    for command, shown in block.commands:
        ended = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert ended.returncode == 0, f"{where}: {command}\n{ended.stdout}{ended.stderr}"
        alike = not shown or block.output_varies or like(shown, ended.stdout)
        assert alike, f"{where}: {command}\nprinted\n{ended.stdout}\nand the page shows\n{shown}"


if __name__ == "__main__":
    run(Path(sys.argv[1]))
