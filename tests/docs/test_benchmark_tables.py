"""The benchmarks' tables in the docs are what a command has printed, and the command stands beside each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.__main__ import TABLES
from benchmarks.document import block, machine, put
from benchmarks.sheet import Sheet

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
BLOCK = re.compile(r"<!-- table: (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)


def test_every_table_on_the_page_lies_between_the_markers_of_its_command():
    text = PAGE.read_text()
    assert "|" not in BLOCK.sub("", text)
    assert sorted(name for name, _ in BLOCK.findall(text)) == sorted(TABLES)


@pytest.mark.parametrize(("name", "text"), BLOCK.findall(PAGE.read_text()))
def test_a_table_on_the_page_begins_with_its_command_and_the_machine(name, text):
    first, table = text.split("\n", 1)
    assert name in TABLES
    assert f"make bench BENCH={name}` on " in first
    assert re.search(r"\d+ cores, Python 3\.\d+\.\d+", first)
    assert table.count("|---") >= 1


def test_the_costs_in_the_readme_are_those_of_the_table():
    table = dict(BLOCK.findall(PAGE.read_text()))["costs"]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    rows = {what: measured for what, measured, *_ in cells}
    quoted = re.search(r"^cost  +measured .*?^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [re.split(r"  +", line) for line in quoted[0].splitlines()[1:-1]]
    assert {what: rows.get(what) for what, *_ in lines} == {what: measured for what, measured, *_ in lines}


def test_a_table_takes_the_place_of_its_former_self_and_leaves_the_rest(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- table: costs -->\nold\n<!-- end -->\n\nafter\n")
    put(page, "costs", block("costs", machine(), [Sheet("New", ["a", "b"], [["1", "2"]])]))
    text = page.read_text()
    assert text.startswith("before\n\n<!-- table: costs -->\n")
    assert text.endswith("<!-- end -->\n\nafter\n")
    assert "| 1 | 2 |" in text
    assert "old" not in text


def test_a_table_without_a_marker_comes_to_the_end(tmp_path):
    page = tmp_path / "page.md"
    for name in ("costs", "peers"):
        put(page, name, block(name, "a machine", [Sheet(name, ["a"], [["1"]])]))
    assert [name for name, _ in BLOCK.findall(page.read_text())] == ["costs", "peers"]
