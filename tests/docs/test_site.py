"""The documentation builds without a warning, names every option, and no extra that does not exist."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fitprint import Budget, Config
from fitprint.settings import resolve

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTIONS = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def test_the_site_builds_with_warnings_as_errors(tmp_path):
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    assert (tmp_path / "site" / "options" / "index.html").exists()


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Config)])
def test_every_option_has_a_line_with_its_variable_and_its_meaning(name):
    assert re.search(rf"^\| `{name}` \| `FITPRINT_{name.upper()}` \| [\w`(]", OPTIONS, re.MULTILINE)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Budget) if field.name != "_"])
def test_every_field_of_a_budget_has_a_line(name):
    assert re.search(rf"^\| `{name}` \| .", OPTIONS, re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "says", "is_so"),
    [
        ("options.md", "operations of the first training step; on by default", lambda: resolve(Config(), quiet=True).flops is True),
        ("options.md", "is known; not at all by default", lambda: resolve(Config(), quiet=True).calibrate_idle_s == 0),
        ("measuring.md", "`auto` (the default) takes", lambda: resolve(Config(), quiet=True).attribute == "auto"),
        ("budgets.md", '`check="epoch"` (the default)', lambda: Budget("1 g").check == "epoch"),
        ("budgets.md", "at `warn_at` (80 %)", lambda: Budget("1 g").warn_at == 0.8),
    ],
)
def test_the_defaults_that_pages_name_are_those_of_the_code(page, says, is_so):
    assert says in (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert is_so()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_install_extras_that_exist_in_one_way(page):
    text = page.read_text(encoding="utf-8")
    assert "pip install 'fitprint[" not in text
    named = [name for group in re.findall(r"pip install '\.\[([\w,-]+)\]'", text) for name in group.split(",")]
    assert set(named) <= set(EXTRAS)
