"""Every row of docs/faults.md names tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
RULE = re.compile(r"\|[-|]+\|")


def rows() -> list[str]:
    """Rows of the tables, without their headings."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    heads = {i - 1 for i, line in enumerate(lines) if RULE.fullmatch(line)}
    return [line for i, line in enumerate(lines) if line.startswith("|") and not RULE.fullmatch(line) and i not in heads]


@cache
def named_in(path: str) -> frozenset[str]:
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def what(row: str) -> str:
    return row.strip("| ").partition("|")[0].strip()[:60]


@pytest.mark.parametrize("row", rows(), ids=what)
def test_a_row_names_tests_that_are_there(row):
    named = NAMED.findall(row)
    assert named, "no test is named"
    assert [f"{path}::{name}" for path, name in named if name not in named_in(path)] == []


def test_there_are_rows_for_all_kinds_of_faults():
    titles = [line.removeprefix("## ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
    assert len(titles) == 6
    assert len(rows()) > 60
