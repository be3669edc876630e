"""Every snippet of the README and the docs is executed, or says why not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from snippets import GIVEN, PROMPT, PYTHON, TERMINAL, Block, blocks, like

from board import Board

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXECUTED = [page for page in PAGES if any(b.language in PYTHON + TERMINAL and not b.reason for b in blocks(page))]
FRAMEWORKS = ("torch", "lightning", "keras", "transformers", "optuna", "sklearn", "accelerate", "tensorboard")


def names(page: Path) -> str:
    return page.name


def _frameworks(page: Path) -> list[str]:
    """What has to be installed for its snippets."""
    code = [block.text for block in blocks(page)] + [path.read_text() for block in blocks(page) for path in block.given]
    return [name for name in FRAMEWORKS if re.search(rf"\b(?:import|from) (?:fitprint_)?{name}\b", "\n".join(code))]


@pytest.fixture
def terminal(tmp_path) -> dict[str, str]:
    """An environment in which `fitprint` and `python` are those of this test."""
    for name, arguments in {"fitprint": "-m fitprint ", "python": ""}.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
        program.chmod(0o755)
    own = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "FITPRINT_PARTS": "cpu"}
    quiet = {"KERAS_BACKEND": "torch", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return dict(os.environ) | own | quiet


@pytest.mark.parametrize("page", EXECUTED, ids=names)
@pytest.mark.timeout(200)
def test_the_snippets_of_a_page_run_in_their_order(page, tmp_path, terminal):
    absent = [name for name in _frameworks(page) if find_spec(name) is None]
    if absent:
        pytest.skip(f"not installed: {absent}")
    folder = tmp_path / "work"
    folder.mkdir()
    command = [sys.executable, str(GIVEN.parent / "snippets.py"), str(page)]
    ended = subprocess.run(command, cwd=folder, env=terminal, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert "the measurement" not in ended.stderr, ended.stderr[-4000:]


def test_the_loop_of_the_carbon_tabs_page_gives_a_full_row_and_each_epoch_its_own_grams(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(next(block.code for block in blocks(ROOT / "docs" / "tab.md") if block.language in PYTHON), names)
    board, footprint = Board("logs"), names["tracker"].footprint
    row, columns = board.run("loop"), board.ask("series", run="loop")
    assert (row["place"], row["status"], row["duration_s"]) == ("France", "completed", footprint.duration_s)
    assert row["interval"]
    assert columns["epoch_co2e_g"] == pytest.approx([epoch.co2e_g for epoch in footprint.epochs])


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_no_block_hides_from_being_run(page):
    unnamed = [block.line for block in blocks(page) if not block.language and PROMPT in block.text]
    assert unnamed == [], "a block with a prompt is a console block"
    assert {block.language for block in blocks(page)} <= {"", "text", "toml", *PYTHON, *TERMINAL}
    assert all(path.exists() for block in blocks(page) for path in block.given)


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_what_another_test_runs_names_one_that_is_there(page):
    for block in blocks(page):
        if "run by:" in block.before:
            assert all((ROOT / path).exists() for path in block.reason.split(", ")), block.reason


def test_a_block_is_read_with_its_line_its_reason_and_what_it_takes_as_given(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- not run: needs a GPU -->\n```python\nx\n```\n<!-- given: loop, keras -->\n```sh\nls\n```\n")
    first, second = blocks(page)
    assert (first.line, first.language, first.reason) == (5, "python", "needs a GPU")
    assert (second.reason, [path.stem for path in second.given]) == ("", ["loop", "keras"])


def test_a_command_has_as_many_lines_as_the_shell_needs():
    text = "$ pip install x\n$ cat <<END\na\nEND\na\n$ echo 'b\nc' \\\n  d\nb\nc d\n"
    assert Block(Path("p.md"), 1, "console", text, "").commands == [
        ("cat <<END\na\nEND\n", "a\n"),
        ("echo 'b\nc' \\\n  d\n", "b\nc d\n"),
    ]


def test_output_is_compared_line_by_line_and_dots_stand_for_any_lines():
    assert like("a\n...\nd\n", "a  \nb\nc\nd\n")
    assert like("a\n...\n", "a\n")
    assert not like("a\nb\n", "a\n")
    assert not like("5 g\n", "6 g\n")


@pytest.mark.parametrize("code", ["```python\n1 / 0\n```\n", "```console\n$ false\n```\n", "```console\n$ echo 1\n2\n```\n"])
def test_a_snippet_that_is_wrong_fails_and_is_named(code, tmp_path):
    page = tmp_path / "wrong.md"
    page.write_text(f"# Wrong\n\n{code}")
    ended = subprocess.run(
        [sys.executable, str(GIVEN.parent / "snippets.py"), str(page)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "line 4" in ended.stderr if "python" in code else "wrong.md:4" in ended.stderr
