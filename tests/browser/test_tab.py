"""The Carbon tab in a real browser: what two runs have used, and what it bought."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from written import TRAIN_S, VALIDATE_S, WATTS, write_run

from fitprint.advice import advise
from fitprint.units import format_co2e, format_energy

pytestmark = pytest.mark.timeout(120)
IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder, and the true footprints of what is in it."""
    logs = tmp_path_factory.mktemp("two") / "logs"
    paris = write_run(logs / "paris", region="FR", budget="5 g", name="small", epochs=12, waits_s=300.0)
    warsaw = write_run(logs / "warsaw", region="PL", budget="5 g", epochs=6)
    return logs, paris, warsaw


@pytest.fixture(scope="module")
def url(serve, runs):
    return serve(runs[0], tensorflow=True)


CELLS = "table => [...table.rows].map((row) => [...row.cells].map((cell) => cell.innerText))"


def read(figure, key="ArrowRight"):
    """What a chart says when an arrow key is pressed in it."""
    figure.get_by_role("group", name="Chart").press(key)
    return figure.get_by_role("status").inner_text()


def test_the_table_has_the_totals_of_each_run_with_interval_place_and_share(url, runs, look):
    tab = look(url, whole=True)
    for footprint, name, place in ((runs[1], "paris (small)", "France"), (runs[2], "warsaw", "Poland")):
        row = tab.frame.get_by_role("row", name=name).inner_text()
        interval = f"{format_co2e(footprint.co2e_low_g)} to {format_co2e(footprint.co2e_high_g)}"
        for text in (format_co2e(footprint.co2e_g), interval, format_energy(footprint.energy_j), place, "100 %", footprint.status):
            assert text in row
    assert "smartphone charges" in tab.frame.get_by_role("row", name="warsaw").inner_text()
    assert tab.said == []


def test_an_epochs_grams_are_drawn_and_read_out_with_their_interval(url, runs, look):
    epoch = runs[1].epochs[0]
    said = read(look(url).chart("paris (small)"))
    interval = f"({format_co2e(epoch.co2e_low_g)} to {format_co2e(epoch.co2e_high_g)})"
    assert said == f"epoch 0: {format_co2e(epoch.co2e_g)} {interval}: gpu {format_co2e(epoch.co2e_g)}"


def test_energy_is_stacked_by_phase_when_that_is_asked_for(url, look):
    tab = look(url)
    tab.frame.get_by_role("radio", name="energy").check()
    tab.frame.get_by_role("radio", name="phase").check()
    figure = tab.chart("paris (small)")
    assert figure.get_by_role("listitem").all_inner_texts() == ["train", "validate"]
    whole, train, validate = (format_energy(seconds * WATTS) for seconds in (TRAIN_S + VALIDATE_S, TRAIN_S, VALIDATE_S))
    assert read(figure) == f"epoch 0: {whole}: train {train}, validate {validate}"
    assert figure.locator(".band").count() == 0
    assert "energy (Wh)" in figure.locator("svg.canvas").text_content()


def test_the_budget_is_a_line_and_the_forecast_runs_towards_it(url, look):
    figure = look(url).chart("CO2e so far")
    shown = figure.get_by_role("listitem").all_inner_texts()
    assert "budget 5 g of paris (small), warsaw" in shown
    assert "warsaw, forecast of the whole run" in shown
    assert figure.locator("svg.canvas line.budget").count() == 1
    note = figure.locator(".note").inner_text()
    assert "warsaw: Stopped before epoch 2: 3.93 g of the budget of 5 g are used" in note
    assert re.search(r"paris \(small\): \S+ g of the budget of 5 g used so far, .* within the budget\.", note)


def test_ticks_that_lie_close_together_have_the_digits_that_tell_them_apart(url, look):
    units = f"import('{url}data/plugin/fitprint/static/units.js')"
    told = look(url).page.evaluate(f"{units}.then(({{ labels }}) => [labels([0, 5, 10]), labels([0.69312, 0.69314])])")
    assert told == [["0", "5", "10"], ["0.69312", "0.69314"]]


def test_a_metric_is_drawn_over_the_grams_that_it_took(url, runs, look):
    grams = runs[2].epochs[0].co2e_g
    figure = look(url).chart("val_acc over CO2e so far")
    said = [read(figure) for _ in range(14)]
    assert f"CO2e so far {format_co2e(grams)}: warsaw 0.5" in said


def test_mean_power_is_that_of_the_sensors(url, look):
    assert read(look(url).chart("Mean power at the sensors")) == "epoch 0: paris (small) 100 W; warsaw 100 W"


def test_the_same_run_is_shown_elsewhere_the_cleanest_first(url, look):
    tab = look(url)
    tab.frame.get_by_role("combobox", name="Run").select_option("warsaw")
    region = tab.frame.get_by_role("region", name="Table of places").get_by_role("table")
    region.get_by_role("row", name="Poland (here)").wait_for()
    rows = [row.inner_text().split("\t") for row in region.get_by_role("row").all()[1:]]
    ranks = [int(row[0]) for row in rows]
    assert ranks[0] == 1
    assert ranks == sorted(ranks)
    assert rows[-1][2] == "3.93 g"


def test_each_chosen_run_is_told_what_would_have_made_it_smaller_with_its_grams_and_the_evidence(url, runs, look):
    tab = look(url, whole=True)
    table = tab.frame.get_by_role("region", name="Advice for warsaw").get_by_role("table")
    table.wait_for()
    head, *rows = [row.inner_text().split("\t") for row in table.get_by_role("row").all()]
    assert head == ["would have saved", "of the run", "how, and what shows it"]
    assert [row[2] for row in rows] == [advice.text for advice in advise(runs[2])]
    assert all(row[0].split()[1] in ("g", "mg") and row[1].endswith(" %") for row in rows)
    tab.frame.get_by_role("checkbox", name="show warsaw").uncheck()
    table.wait_for(state="detached")
    other = tab.frame.get_by_role("region", name="Advice for paris (small)")
    (waited,) = [advice for advice in advise(runs[1]) if advice.kind == "waiting"]
    cells = other.get_by_role("row").filter(has_text="for 5 min 00 s (29 % of the time)").get_by_role("cell").all_inner_texts()
    assert cells == [format_co2e(waited.saved_g), "4 %", waited.text]
    assert tab.said == []


def test_each_column_of_the_tables_has_units_in_its_cells_or_counts_what_its_head_says(url, look):
    tab = look(url)
    tab.chart("Mean power at the sensors")
    tab.frame.get_by_role("region", name="Table of places").get_by_role("table").wait_for()
    for summary in tab.frame.get_by_text("Values as a table").all():
        summary.click()
    bare, seen = set(), 0
    for table in tab.frame.locator("table").all():
        head, *rows = [[cell.strip() for cell in row] for row in table.evaluate(CELLS)]
        for name, *column in zip(head, *rows, strict=True):
            seen += len(column)
            bare |= {name for cell in column if re.fullmatch(r"[\d.,]+", cell)}
    assert bare <= {"epoch", "rank", "year", "val_acc"}
    assert seen > 100


def test_a_run_that_is_taken_out_leaves_the_charts(url, look):
    tab = look(url)
    tab.chart("warsaw")
    tab.frame.get_by_role("checkbox", name="show warsaw").uncheck()
    tab.frame.locator("figcaption", has_text="warsaw").wait_for(state="detached")
    assert tab.chart("Mean power at the sensors").get_by_role("listitem").all_inner_texts() == ["paris (small)"]


def test_the_values_of_a_chart_are_a_table_too(url, look):
    figure = look(url).chart("warsaw")
    figure.get_by_text("Values as a table").click()
    rows = figure.get_by_role("table").get_by_role("row").all_inner_texts()
    assert rows[0].split("\t") == ["epoch", "CO2e", "95 % interval", "gpu"]
    assert len(rows) == 3
    assert all(" g" in cell or " mg" in cell for cell in rows[1].split("\t")[1:])


def test_the_table_of_runs_is_sorted_and_filtered(url, look):
    tab = look(url)
    names = tab.frame.get_by_role("region", name="Table of runs").locator("tbody th")
    tab.frame.get_by_role("button", name="CO2e").click()
    assert names.all_inner_texts() == ["warsaw", "paris (small)"]
    assert tab.frame.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    tab.frame.get_by_role("button", name="CO2e").click()
    assert names.all_inner_texts() == ["paris (small)", "warsaw"]
    tab.frame.get_by_label("Filter").fill("pol")
    assert names.all_inner_texts() == ["warsaw"]


def test_the_theme_is_tensorboards(url, look):
    tab = look(url, whole=True, scheme="dark")
    body = tab.frame.locator("body")
    assert body.evaluate("body => getComputedStyle(body).backgroundColor") == "rgb(48, 48, 48)"
    tab.page.evaluate("document.body.classList.remove('dark-mode')")
    tab.frame.locator("html[data-theme=light]").wait_for(state="attached")
    assert body.evaluate("body => getComputedStyle(body).backgroundColor") == "rgb(245, 245, 245)"


def test_all_can_be_reached_with_the_keyboard_and_the_focus_is_seen(url, look):
    tab = look(url)
    tab.chart("Mean power at the sensors")
    tab.frame.get_by_label("Filter").focus()
    reached = []
    for _ in range(40):
        tab.page.keyboard.press("Tab")
        node = tab.frame.locator(":focus")
        if not node.count():
            break
        assert node.evaluate("node => getComputedStyle(node).outlineStyle") != "none"
        reached.append(
            node.evaluate("node => node.getAttribute('aria-label') || node.closest('label')?.innerText || node.innerText")
        )
    for name in ("show warsaw", "CO2e", "Chart: CO2e so far. Arrow keys read the values.", "Table of places"):
        assert any(name in text for text in reached)


def test_what_was_opened_stays_open_when_the_charts_are_drawn_again(url, look):
    tab = look(url)
    tab.chart("CO2e so far").get_by_text("Values as a table").click()
    tab.frame.get_by_role("checkbox", name="show warsaw").uncheck()
    tab.frame.locator("figcaption", has_text="warsaw").wait_for(state="detached")
    assert tab.chart("CO2e so far").get_by_role("table").is_visible()
    assert tab.frame.get_by_role("checkbox", name="show warsaw").evaluate("box => box === document.activeElement")


def test_the_pictures_of_the_docs_are_of_it_and_small(browser, url, tmp_path):
    from screenshots import PICTURES, shot

    name = "carbon_tab_advice.png"
    shot(browser, url, tmp_path / name, **PICTURES[name])
    for file in (tmp_path / name, *(IMAGES / name for name in PICTURES)):
        head = file.read_bytes()[:24]
        size = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
        assert (head[:8], size) == (b"\x89PNG\r\n\x1a\n", (PICTURES[file.name].get("width", 1280), PICTURES[file.name]["height"]))
        assert file.stat().st_size < 200_000
    assert {file.name for file in IMAGES.iterdir()} == set(PICTURES)
