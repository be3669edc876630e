"""No view shows a number without its unit: each figure is followed by one, or its label says what it counts."""

from __future__ import annotations

import re

import pytest
from test_reports import Text, run

from fitprint.budget import Budget
from fitprint.display import rows
from fitprint.drift import Range
from fitprint.ending import plain, totals
from fitprint.report.card import card
from fitprint.report.document import of_runs
from fitprint.report.html import fragment, report_page, table_of
from fitprint.report.latex import END
from fitprint.report.listing import Runs
from fitprint.standing import Standing

NUMBER = re.compile(r"(?<![\w.,:#/-])[+-]?\d[\d,]*(?:\.\d+)?(?![\w.,:-]*\d)")
UNIT = (
    r"(?:g CO2e/kWh|g/kWh|[kmµ]?g|t|[kMG]?J|m?J|[kM]?Wh|[kM]?W|m?s|min|h|%|km|GB|l|[EPTGM]?FLOP|points?"
    r"|epochs?|parameters|samples|runs|machines?|threads|smartphone|x NVIDIA)\b|%"
)
FOLLOWED = re.compile(rf"\s?(?:{UNIT})")
# Both ends of an interval stand behind a figure that has the unit, or have it themselves.
ENDS = re.compile(rf" to [\d.,]+(?: ?(?:{UNIT})|\))|\)")
# What has no unit, or is counted by the words before it.
COUNTED = re.compile(
    r"(?:PUE:?|node factor(?: \(the machine over its sensors\):)?|epochs?:?|batches of|parameters|batch size|version|for|run-|of"
    r"|PUE \||node factor \||epoch \||epochs \||parameters \||batch size \|) $"
)
YEAR = re.compile(r"(?:19|20)\d\d")
RUN = run(
    budget=({"limit": 25.0, "unit": "g", "scope": "run", "used": 0.54},), samples=1000, stop_reason={"sentence": "Stopped: 24 g."}
)
STANDING = Standing(0, 3, 12, 3600.0, 1.5, 250.0, (Budget("25 g"), 0.06), Range(6.0, 5.0, 7.0))


def bare(text):
    """The numbers of a text that say neither their unit nor what they count, with what is around them."""
    found = []
    for match in NUMBER.finditer(text):
        before, after = text[: match.start()], text[match.end() :]
        in_ends = re.search(r"\((?:[\d.,]+ to )?$", before[-20:]) is not None and ENDS.match(after) is not None
        in_date = YEAR.fullmatch(match[0].rstrip(",")) is not None
        if not (FOLLOWED.match(after) or COUNTED.search(before[-50:]) or in_ends or in_date):
            found.append(f"{before[-30:]}[{match[0]}]{after[:15]}")
    return found


def latex_text():
    body = RUN.to_latex().partition(END)[0]
    plainer = re.sub(r"\\(?:textsubscript|cite|begin|end|caption|label)\{([^}]*)\}", lambda m: m[1] if m[1] == "2" else "", body)
    plainer = re.sub(r"\{p\{.*?\}\}|\[htbp\]|~|\\raggedright|\\tabularnewline|\\hline|\\centering|\\small|\\endinput", "", plainer)
    return re.sub(r" +", " ", plainer.replace("\\%", "%").replace("&", "|"))


def words(page):
    """A page's text, a cell after the other; figures, style and sources left out."""
    body = re.sub(r"<(style|svg|head|figure).*?</\1>|<h2>Sources.*", "", page, flags=re.S)
    return " | ".join(word.strip() for word in Text(body).words if word.strip())


VIEWS = {
    "summary": lambda: str(RUN),
    "plain lines at the end": lambda: plain(RUN),
    "table at the end": lambda: "\n".join(f"{label} | {text}" for label, text in totals(RUN)),
    "live display": lambda: "\n".join(f"{label} | {text}" for label, text in rows(STANDING, 61.0)),
    "Markdown": lambda: RUN.to_markdown().partition("<details><summary>Sources")[0],
    "LaTeX": latex_text,
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_each_number_of_a_text_has_its_unit_or_says_what_it_counts(view):
    text = view()
    assert len(NUMBER.findall(text)) >= 5
    assert bare(text) == []


def test_the_check_itself_finds_a_bare_number():
    assert len(bare("used 3.1 and 4 g in 12")) == 2
    assert bare("CO2e 3.1 g (2.5 g to 4 g), PUE 1.2, epoch 3 of 12") == []


# Columns whose heads say what their numbers are; a metric has the unit that its name gives it.
FACTORS = ("pue", "node_factor")
BARE = re.compile(r"[\d.,]+(?: to [\d.,]+)?")
HEADS = {"epoch", "epochs", "rank", "year", "val_acc", "g CO2e/kWh", "PUE", "node factor", "run", "sensor", "source", "basis"}


def tables(page):
    """Head and rows of each table, as texts."""
    for table in re.findall(r"<table.*?</table>", page, flags=re.S):
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.S) for row in re.findall(r"<tr.*?</tr>", table, flags=re.S)]
        yield [[re.sub("<[^>]+>", "", cell) for cell in row] for row in cells]


@pytest.mark.parametrize(
    "page", [report_page, fragment, lambda shown: Runs([shown])._repr_html_()], ids=["report", "notebook", "runs"]
)
def test_each_column_of_numbers_in_a_page_has_units_in_its_cells_or_a_head_that_says_what_they_are(page):
    seen = 0
    for head, *body in tables(page(RUN)):
        columns = zip(head, *body, strict=True) if len(head) > 2 else ()  # of two, the first says what the second is
        for name, *column in columns:
            seen += len(column)
            without = [cell for cell, row in zip(column, body, strict=True) if BARE.fullmatch(cell) and row[0] not in FACTORS]
            assert not without or name in HEADS, (name, without)
    assert seen > 5


def test_each_number_of_a_page_has_its_unit_or_says_what_it_counts():
    page = report_page(RUN)
    text = words(page[: page.index("<h2>Epochs")])
    assert len(NUMBER.findall(text)) >= 20
    assert bare(text) == []


def test_the_card_is_in_grams_as_the_hub_defines_it_and_says_so():
    assert "emissions: 13.57" in card(of_runs([RUN]))


def test_a_table_of_bare_numbers_would_be_found():
    (found,) = tables(table_of(["energy"], [["3"]]))
    assert found == [["energy"], ["3"]]
