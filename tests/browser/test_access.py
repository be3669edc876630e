"""Everyone can read the tab: axe's rules, contrast, and labels that leave each other room, wide and narrow, light and dark."""

from __future__ import annotations

from importlib.resources import files

import pytest
from written import write_run

pytestmark = pytest.mark.timeout(120)

SIZES = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]

# Pairs of texts of one chart whose boxes meet, and texts that leave it.
OVERLAPS = """
() => [...document.querySelectorAll("svg.canvas")].flatMap((chart) => {
  const texts = [...chart.querySelectorAll("text")].map((node) => ({ text: node.textContent, box: node.getBoundingClientRect() }));
  const outer = chart.getBoundingClientRect();
  const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const all = texts.flatMap((one, i) => texts.slice(i + 1).map((other) => [one, other]));
  const pairs = all.filter(([one, other]) => meets(one.box, other.box));
  const cut = texts.filter(({ box }) => box.left < outer.left - 1 || box.right > outer.right + 1);
  return [...pairs.map(([one, other]) => `${one.text} / ${other.text}`), ...cut.map(({ text }) => `${text} is cut`)];
})
"""

# Contrast of each text of the charts with what is behind it, as WCAG 2 reckons it.
CONTRASTS = """
() => {
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = light(getComputedStyle(document.querySelector("section")).backgroundColor);
  return [...document.querySelectorAll("svg.canvas text")].map((node) => {
    const [low, high] = [light(getComputedStyle(node).fill), behind].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  });
}
"""


@pytest.fixture(scope="module")
def url(serve, tmp_path_factory):
    logs = tmp_path_factory.mktemp("access") / "logs"
    write_run(logs / "paris", region="FR", budget="5 g", name="small", epochs=12)
    write_run(logs / "a_run_with_a_name_that_is_longer_than_any_column" / "version_0", region="PL", budget="1 kg", epochs=300)
    return serve(logs)


@pytest.fixture(scope="module")
def axe():
    """axe-core, as its Python package brings it."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed: pip install axe-playwright-python")
    return files(package).joinpath("axe.min.js").read_text()


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}-{size[1]}")
def tab(request, url, look):
    width, scheme = request.param
    opened = look(url, width=width, scheme=scheme)
    opened.chart("Mean power at the sensors")
    opened.frame.get_by_role("region", name="Table of places").get_by_role("table").wait_for()
    opened.frame.get_by_role("region", name="Advice for").first.wait_for()
    return opened


def test_axe_finds_nothing_wrong(tab, axe):
    for summary in tab.frame.get_by_text("Values as a table").all():
        summary.click()
    tab.page.evaluate(axe)
    found = tab.page.evaluate("axe.run({ resultTypes: ['violations'] })")
    assert [(rule["id"], [node["html"][:200] for node in rule["nodes"][:3]]) for rule in found["violations"]] == []


def test_texts_of_charts_have_contrast_and_room(tab):
    assert min(tab.page.evaluate(CONTRASTS)) >= 4.5
    assert tab.page.evaluate(OVERLAPS) == []


def test_the_page_is_no_wider_than_the_window(tab):
    wide, window = tab.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= window


def test_axe_finds_nothing_wrong_in_the_empty_tab(serve, look, axe, tmp_path):
    tab = look(serve(tmp_path / "empty"))
    tab.page.evaluate(axe)
    assert tab.page.evaluate("axe.run().then((found) => found.violations.map((rule) => rule.id))") == []
