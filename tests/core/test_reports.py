"""Reports for papers, pull requests, model cards and spreadsheets: complete, correct against the record, and only text."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fitprint.carbon.equivalences import equivalent
from fitprint.errors import FitprintError, MissingExtraError
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.report import card, latex, markdown
from fitprint.report.charts import charts
from fitprint.report.document import Amounts, of_runs
from fitprint.report.front_matter import merged, write_into
from fitprint.report.latex import END, bibliography
from fitprint.report.references import cited, tool
from fitprint.report.rows import to_csv
from fitprint.union import union
from fitprint.units import format_co2e, format_duration, format_energy, format_flops, significant

HOSTILE = '</script><script>alert(1)</script> \\input{/etc/passwd} | a\n\n# $x^2$ %_&~ [l](http://x) {{ 7*7 }} `c` "q" @you @misc{'
NOON = "2026-01-01T12:00:00.000Z"


def assumption(name, value, low, high, unit, source, year, basis="as given"):
    fields = {"name": name, "value": value, "low": low, "high": high, "unit": unit, "source": source, "year": year}
    return {**fields, "basis": basis}


ASSUMPTIONS = (
    assumption("region", "FR", None, None, "", "France", None, "given by argument"),
    assumption("intensity", 41.44, 29.0, 55.9, "g/kWh", "Ember (2026), carbon intensity", 2025, "lifecycle, generation average"),
    assumption("pue", 1.54, 1.09, 2.19, "1", "Uptime Institute Global Data Center Survey 2025", 2025),
    assumption("node_factor", 1.27, 1.2, 1.4, "1", "Jay et al. 2023 and Fischer 2025, wall meters", 2025),
    assumption("accelerator_tdp", 317.0, None, None, "W", "a maker's sheet", 2021),
)


def epoch(index, **changes):
    values = {
        "duration_s": 61.0 + index,
        "energy_j": 1000.0 + index,
        "co2e_g": 3.21 + index,
        "co2e_low_g": 2.11 + index,
        "co2e_high_g": 4.67 + index,
        "by_part": {"gpu": 700.0 + index, "cpu": 300.0},
        "phases": {"train": 800.0 + index, "validate": 200.0},
        "metrics": {"val_acc": 0.5 + index / 10},
    }
    return EpochFootprint(index=index, started_at=NOON, **{**values, **changes})


def run(**changes):
    sensors = (
        {"id": "gpu:0", "part": "gpu", "method": "counter", "energy_j": 2451.0, "source": "NVML total energy counter, NVIDIA H100"},
        {"id": "gpu:1", "part": "gpu", "method": "counter", "energy_j": 1.0, "source": "NVML total energy counter, NVIDIA H100"},
        {"id": "cpu:0", "part": "cpu", "method": "modelled", "energy_j": 900.0, "source": "model of a CPU"},
    )
    fields = {
        "run_id": "run-1",
        "name": "resnet",
        "project": "vision",
        "status": "completed",
        "started_at": NOON,
        "duration_s": 201.0,
        "energy_j": 3333.0,
        "energy_low_j": 3111.0,
        "energy_high_j": 3777.0,
        "facility_energy_kwh": 0.00181,
        "co2e_g": 13.57,
        "co2e_low_g": 9.13,
        "co2e_high_g": 19.24,
        "measured_fraction": 0.73,
        "coverage": 0.98,
        "intensity": 41.44,
        "pue": 1.54,
        "node_factor": 1.27,
        "by_part": {"gpu": 2433.0, "cpu": 900.0},
        "phases": {"train": 2400.0, "validate": 600.0, "other": 333.0},
        "parameters": 25_557_032,
        "flops": 4.56e15,
        "batch_size": 64,
        "sensors": sensors,
        "segments": ({"host": "host-1", "region": "FR"},),
        "epochs": (epoch(0), epoch(1), epoch(2)),
        "assumptions": ASSUMPTIONS,
    }
    return Footprint(**{**fields, **changes})


class Text(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self._hidden = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag == "style"

    def handle_data(self, data):
        if not self._hidden:
            self.words.append(data)

    def handle_endtag(self, _tag):
        self._hidden = False


def html_text(footprint):
    return " ".join(Text(footprint.to_html()).words)


def latex_text(footprint):
    text = footprint.to_latex().partition(END)[0]
    text = re.sub(r"~\\cite\{[^}]*\}", "", text).replace(r"\textsubscript{2}", "2").replace(r"\raggedright ", "")
    return re.sub(r"\\([%_&#$])", r"\1", text)


VIEWS = {"html": html_text, "latex": latex_text, "markdown": lambda f: f.to_markdown(), "card": lambda f: f.to_model_card()}
STATED = [
    "95 % interval",
    format_co2e(9.13),
    format_co2e(19.24),
    "73 %",
    "NVIDIA H100",
    "France (FR)",
    "41.4 g CO2e/kWh (29 to 55.9), 2025",
    "1.54 (1.09 to 2.19), 2025",
    "1.27 (1.2 to 1.4), 2025",
    "Uptime Institute Global Data Center Survey 2025",
    "Jay et al. 2023",
    "Ember (2026)",
    format_duration(201.0),
    "25,557,032",
    "4.56 PFLOP",
    "2 x NVIDIA H100, CPU in 1 machine",
    "Operational and location-based",
    "storage and network",
    "cooling and losses of the building beyond the PUE",
    "embodied emissions",
    "other people's work",
]


@pytest.mark.parametrize("text", STATED)
@pytest.mark.parametrize("view", VIEWS)
def test_each_report_states_method_factors_interval_place_work_and_boundary(view, text):
    assert text in VIEWS[view](run())


def test_a_device_that_a_run_shares_is_one_device():
    (whole, _, cpu) = run().sensors
    shared = {**whole, "id": "gpu:0:overlap", "source": f"{whole['source']}, divided evenly among overlapping runs"}
    text = run(sensors=(whole, shared, cpu, {**cpu, "id": "cpu:0:share"})).to_model_card()
    assert 'hardware_used: "NVIDIA H100, CPU in 1 machine"' in text


def numbers(text):
    """All figures of a text, thousands separators taken out."""
    return {float(found.replace(",", "")) for found in re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w.]*\d)", text)}


def forms(value):
    """The figures in which a report may show a number."""
    shown = [format_co2e(value), format_energy(value), format_energy(value * 3.6e6), format_duration(value), format_flops(value)]
    shown += [significant(value), significant(value, 4), f"{100 * value:.0f}", f"{value:g}", card.plain_decimal(value)]
    return set().union(*map(numbers, shown))


def recorded_numbers(value):
    """All figures of a record, in every form."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return set().union(*map(recorded_numbers, items))
    if isinstance(value, str):
        return numbers(value.replace("T", " "))
    return forms(value) if isinstance(value, int | float) and not isinstance(value, bool) else set()


@pytest.mark.parametrize("view", VIEWS)
def test_every_number_in_a_report_is_one_of_the_record(view):
    footprint = run()
    text = re.split("Sources", VIEWS[view](footprint))[0]
    counts = {3, 2, 1}  # epochs, boards, machines
    constants = {95} | ({0.22, 0.7} if view == "latex" else set())  # the interval's level; how wide columns are
    derived = numbers(equivalent(footprint.co2e_g, footprint.energy_j)) | numbers(str(tool()))
    found = numbers(text)
    assert found - recorded_numbers(footprint.to_dict()) - counts - constants - derived == set()
    assert {13.57 if view == "card" else 13.6, 9.13, 19.2, 73.0, 41.4, 1.54, 1.27, 25557032.0, 4.56} <= found


@pytest.mark.parametrize("name", ["co2e_g", "energy_j", "duration_s", "parameters", "measured_fraction", "flops"])
@pytest.mark.parametrize("view", ["html", "latex", "markdown", "card"])
def test_a_changed_record_changes_the_report(view, name):
    if view == "card" and name == "energy_j":
        name = "co2e_high_g"  # a card has no key for energy
    footprint = run()
    other = dataclasses.replace(footprint, **{name: getattr(footprint, name) * 3 if name != "measured_fraction" else 0.11})
    assert VIEWS[view](other) != VIEWS[view](footprint)


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_unknown_is_said_so_and_is_never_zero(view):
    bare = Footprint(run_id="a", co2e_g=5.0, energy_j=None if view != "card" else 1.0)
    text = VIEWS[view](bare)
    assert "unknown" in text
    assert not re.search(r"(?<![\d.,])0(?:\.0+)? (?:g|J|Wh|kWh|%|g CO2e/kWh)\b", text)


def test_what_is_not_counted_comes_first():
    for view in ("html", "latex", "markdown"):
        text = VIEWS[view](run(notes=("NOT COUNTED: 1 accelerator",)))
        assert text.index("NOT COUNTED: 1 accelerator") < text.index("of electricity at the hardware")


# ---- names are text


def everywhere(text):
    rows = tuple({**row, "source": text, "basis": text} for row in ASSUMPTIONS)
    sensors = tuple({**row, "source": f"{text}, {text}", "id": text} for row in run().sensors)
    texts = {
        "run_id": text,
        "name": text,
        "project": text,
        "status": text,
        "notes": (f"NOT COUNTED: {text}", text),
        "git_commit": text,
    }
    return run(**texts, assumptions=rows, sensors=sensors, epochs=(epoch(0, metrics={text: 1.0}), epoch(1, metrics={text: 2.0})))


def test_hostile_names_stay_text_on_the_page():
    page = Text(everywhere(HOSTILE).to_html())
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags
    assert not {"link", "iframe", "object", "a"} & set(tags)
    assert "alert(1)" in " ".join(page.words)
    assert all(attrs["src"].startswith("data:image/svg+xml;base64,") for tag, attrs in page.tags if tag == "img")


def test_hostile_names_stay_text_in_markdown():
    text = everywhere(HOSTILE).to_markdown()
    assert "<script" not in text
    assert "](http" not in text.replace("\\](http", "")
    assert not re.search(r"(?<!\\)`c", text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
    assert "{{ 7*7 }}".replace("*", "\\*") in text


def test_hostile_names_stay_text_in_latex():
    text = everywhere(HOSTILE).to_latex()
    assert "\\input" not in text
    assert text.count(END) == 1
    assert r"\textbackslash{}input\textbraceleft{}/etc/passwd" in text
    entries = re.findall(r"@\w+", text)
    assert set(entries) == {"@misc"}


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_one_line_of_latex_without_a_bare_special(text):
    line = latex.escaped(text)
    bare = re.sub(r"\\text[a-z]+\{2?\}|\{\\char\d+\}|\\[$&#%_]", "", line)
    assert not set(bare) & set('\\{}$&#%_^~<>|"@`\n\r')


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_yaml_string(text):
    assert yaml.safe_load(f"a: {card.quoted(text)}")["a"].split() == _shown(text).split()


def _shown(text):
    return re.sub("[\ud800-\udfff]", "", text)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_stays_in_its_cell_of_a_markdown_table(text):
    line = markdown.escaped(text)
    assert "\n" not in line
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", line)
    assert "<" not in line


# ---- LaTeX


DOCUMENT = r"""\documentclass{article}
\begin{document}
\input{carbon}
\bibliographystyle{plain}
\bibliography{carbon}
\end{document}
"""


@pytest.mark.parametrize("footprint", [run(), everywhere(HOSTILE + " é Ł 京 🙂")], ids=["a run", "hostile names"])
def test_latex_compiles_with_base_packages_and_finds_what_it_cites(tmp_path, footprint):
    if not shutil.which("pdflatex") or not shutil.which("bibtex"):
        pytest.skip("there is no TeX here (pdflatex and bibtex)")
    (tmp_path / "paper.tex").write_text(DOCUMENT)
    (tmp_path / "carbon.tex").write_text(footprint.to_latex(), encoding="utf-8")
    (tmp_path / "carbon.bib").write_text(bibliography(of_runs([footprint])), encoding="utf-8")
    options = {"cwd": tmp_path, "capture_output": True, "timeout": 120}
    flags = ["-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
    for command in ("pdflatex", "bibtex", "pdflatex", "pdflatex"):
        done = subprocess.run([command, *([] if command == "bibtex" else flags), "paper"], check=False, **options)
        assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")
    log = (tmp_path / "paper.log").read_text(encoding="latin-1")
    assert "undefined" not in log.lower()
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


def test_all_that_is_cited_has_an_entry():
    text = run().to_latex()
    keys = {key for group in re.findall(r"\\cite\{([^}]*)\}", text) for key in group.split(",")}
    assert keys == set(re.findall(r"@misc\{([^,]+),", text))
    assert {"fitprint-ember", "fitprint-jay2023", "fitprint-fischer2025", "fitprint"} <= keys


def test_a_source_that_nobody_knows_is_cited_as_it_stands():
    (entry,) = cited("a maker's sheet")
    assert entry.title == "a maker's sheet"
    assert entry.key in run().to_latex()


# ---- pages


def test_figures_are_in_the_page_and_are_pictures():
    images = [attrs for tag, attrs in Text(run().to_html()).tags if tag == "img"]
    assert len(images) == 2
    for image in images:
        assert len(image["alt"]) > 20
        picture = base64.b64decode(image["src"].partition(",")[2]).decode()
        assert "<svg" in picture
        assert "<script" not in picture


def test_a_chart_shows_the_grams_of_its_epochs_in_words():
    first, second = charts([run()])
    assert format_co2e(3.21) in first.alt
    assert format_co2e(5.21) in first.alt
    assert "val_acc" in second.caption


def test_many_epochs_and_many_runs_are_drawn_too():
    long = run(epochs=tuple(epoch(i) for i in range(200)))
    assert len(charts([long])) == 2
    (chart,) = charts([run(run_id=str(i), co2e_g=1.0 + i) for i in range(60)])
    assert "the largest 40" in chart.caption


def test_an_epoch_of_a_sensor_that_went_away_draws_no_figure():
    assert charts([run(epochs=(epoch(0, energy_j=None, co2e_g=None), epoch(1)))]) == ()


BLOCKED = "import sys\nfor name in {names!r}: sys.modules[name] = None\n"
BLOCKED += "from fitprint.footprint import Footprint\nrun = Footprint(run_id='a', energy_j=1.0, co2e_g=1.0)\n"


def without(names, code):
    text = BLOCKED.format(names=names) + code
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)


def test_without_matplotlib_and_jinja2_there_is_a_page_and_the_others_say_what_to_install():
    done = without(["matplotlib", "jinja2"], "print(run.to_html())")
    assert "<!doctype html>" in done.stdout
    for method, module in (("to_markdown", "jinja2"), ("to_latex", "jinja2"), ("to_pandas", "pandas")):
        done = without([module], f"run.{method}()")
        assert "MissingExtraError" in done.stderr
        assert "pip install 'fitprint[report]'" in done.stderr
    assert "emissions: 1" in without(["jinja2", "pandas", "matplotlib", "yaml"], "print(run.to_model_card())").stdout
    assert (
        without(
            ["jinja2", "pandas", "matplotlib", "yaml"], "import dataclasses; dataclasses.replace(run, co2e_g=1.0).to_model_card()"
        ).returncode
        == 0
    )


def test_without_jinja2_and_markupsafe_one_run_has_a_plain_page_and_several_say_what_to_install():
    bare = ["matplotlib", "jinja2", "markupsafe", "numpy", "pandas"]
    code = "from fitprint.report import document, html; print(html.page_of(document.of_runs([run{}])))"
    assert "<h1>Footprint of a</h1>" in without(bare, code.format("")).stdout
    assert "pip install 'fitprint[report]'" in without(bare, code.format(", run")).stderr
    assert "<!doctype html>" in without(bare, "print(run.to_html())").stdout


def test_without_matplotlib_the_report_has_no_figures():
    done = without(["matplotlib"], "print(run.to_html())")
    assert "What is counted" in done.stdout
    assert "<img" not in done.stdout


def test_a_missing_extra_is_an_error_of_ours(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="report"):
        run().to_pandas()


# ---- several runs


def test_several_runs_are_added_up_once_and_listed():
    runs = [run(), run(run_id="run-2", name="vit", co2e_g=100.0, assumptions=ASSUMPTIONS[:3])]
    document = of_runs(runs, Amounts.of(union(runs)))
    text = markdown.markdown(document)
    assert format_co2e(113.57) in text
    assert "#### Runs" in text
    assert "run-2" in text
    assert text.count("Uptime Institute Global Data Center Survey 2025;") <= 1


def test_factors_that_differ_are_all_told():
    other = tuple({**row, "value": 700.0} if row["name"] == "intensity" else row for row in ASSUMPTIONS)
    runs = [run(), run(run_id="b", assumptions=other, intensity=700.0)]
    text = markdown.markdown(of_runs(runs, Amounts.of(union(runs))))
    assert "41.4 to 700 g CO2e/kWh" in text
    assert text.count("| carbon intensity |") == 2


# ---- rows


def test_rows_add_up_to_the_run():
    table = list(csv.DictReader(io.StringIO(to_csv([run()]))))
    assert [row["what"] for row in table] == ["epoch"] * 3 + ["outside epochs"]
    assert sum(float(row["energy_j"]) for row in table) == pytest.approx(3333.0)
    assert sum(float(row["co2e_g"]) for row in table) == pytest.approx(13.57)
    assert sum(float(row["gpu_energy_j"]) for row in table) == pytest.approx(2433.0)
    assert float(table[1]["mean_power_w"]) == pytest.approx(1001.0 / 62.0)


def test_the_same_rows_are_a_dataframe():
    frame = run().to_pandas()
    assert frame["energy_j"].sum() == pytest.approx(3333.0)
    assert list(frame["metric_val_acc"].dropna()) == pytest.approx([0.5, 0.6, 0.7])


def test_a_spreadsheet_runs_no_name():
    text = to_csv([run(name="=HYPERLINK(1)", epochs=(epoch(0, metrics={"@x": 1.0}),))])
    assert "'=HYPERLINK(1)" in text
    assert not re.search(r"(^|,)[=@]", text, re.MULTILINE)


def test_unknown_is_an_empty_cell():
    (row,) = csv.DictReader(io.StringIO(to_csv([Footprint(run_id="a")])))
    assert (row["energy_j"], row["co2e_g"]) == ("", "")


# ---- the model card


def test_the_card_is_read_by_the_hub_as_grams(tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    path = tmp_path / "README.md"
    path.write_text(f"---\n{run().to_model_card()}---\n# A model\n", encoding="utf-8")
    block = hub.ModelCard.load(path).data.to_dict()["co2_eq_emissions"]
    assert block["emissions"] == pytest.approx(13.57)
    assert block["hardware_used"] == "2 x NVIDIA H100, CPU in 1 machine"
    assert block["geographical_location"] == "France (FR)"


def test_the_hardware_is_named_with_the_model_of_its_processor_and_without_its_host():
    named = of_runs([run(segments=({"host": "host-1", "region": "FR", "cpu": "AMD EPYC 7742"},))])
    (hardware,) = [fact.text for fact in named.facts if fact.label == "hardware"]
    assert hardware == "2 x NVIDIA H100, CPU (AMD EPYC 7742) in 1 machine"


@settings(deadline=None)
@given(st.floats(1e-12, 1e12))
def test_grams_of_a_card_are_plain_decimals(grams):
    (line,) = [line for line in run(co2e_g=grams).to_model_card().splitlines() if line.startswith("  emissions: ")]
    found = re.search(r"\d+\.\d+|\d+", line.removeprefix("  emissions: "))  # as the Hub does
    assert float(found.group()) == pytest.approx(grams, rel=1e-5)


def test_a_card_of_unknown_grams_is_refused():
    with pytest.raises(FitprintError, match="unknown"):
        run(co2e_g=None).to_model_card()


README = """---
# which licence
license: mit  # ours
tags:
- vision
co2_eq_emissions:  # measured
  emissions: 1
  # told by the trainer
  training_type: "fine-tuning"
  source: >
    an older
    tool

# results
model-index:
- name: x
---

# Model

co2_eq_emissions: 3
---
"""
ROWS = {"emissions": "13.57", "source": '"fitprint"', "hardware_used": '"H100"'}


def test_merging_keeps_all_other_lines_and_comments():
    text = merged(README, "co2_eq_emissions", ROWS)
    head = yaml.safe_load(text.split("---")[1])
    assert head["co2_eq_emissions"] == {
        "emissions": 13.57,
        "training_type": "fine-tuning",
        "source": "fitprint",
        "hardware_used": "H100",
    }
    assert (head["license"], head["tags"], head["model-index"]) == ("mit", ["vision"], [{"name": "x"}])
    for line in (
        "# which licence",
        "license: mit  # ours",
        "co2_eq_emissions:  # measured",
        "  # told by the trainer",
        "# results",
    ):
        assert line in text
    assert text.endswith(README.partition("# Model")[2])


def test_merging_twice_changes_nothing_more():
    once = merged(README, "co2_eq_emissions", ROWS)
    assert merged(once, "co2_eq_emissions", ROWS) == once


@pytest.mark.parametrize(
    "text",
    [
        "# Model\n",
        "",
        "---\n---\n",
        "---\nlicense: mit\n---\nText",
        "---\nco2_eq_emissions: 12.5\nlicense: mit\n---\n",
        "---\nco2_eq_emissions: {emissions: 1,\n  source: a}\nlicense: mit\n---\n",
        '---\n"co2_eq_emissions":\n    emissions: 1\nlicense: mit\n---\n',
        "---\r\nlicense: mit\r\nco2_eq_emissions:\r\n  emissions: 1\r\n---\r\n# M\r\n",
        "\ufeff---\nlicense: mit\n---\n",
        "---\nlicense: mit\ndescription: |\n  co2_eq_emissions: not a key\n---\n",
    ],
)
def test_any_readme_gets_the_block_and_loses_nothing(text):
    done = merged(text, "co2_eq_emissions", ROWS)
    head = yaml.safe_load(done.removeprefix("\ufeff").split("---")[1])
    assert head["co2_eq_emissions"] == {"emissions": 13.57, "source": "fitprint", "hardware_used": "H100"}
    assert ("license: mit" in text) == (head.get("license") == "mit")
    assert done.count("\r\n") == (done.count("\n") if "\r\n" in text else 0)
    assert merged(done, "co2_eq_emissions", ROWS) == done


def test_a_file_is_replaced_at_once_and_keeps_its_mode_and_its_links(tmp_path):
    real, link = tmp_path / "real.md", tmp_path / "README.md"
    real.write_text(README)
    real.chmod(0o640)
    link.symlink_to(real)
    write_into(link, "co2_eq_emissions", ROWS)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert "13.57" in real.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "real.md"]


def test_what_cannot_be_merged_is_left_as_it_is(tmp_path):
    path = tmp_path / "README.md"
    with pytest.raises(FitprintError, match="cannot merge"):
        write_into(path, "co2_eq_emissions", ROWS)
    path.write_text("---\nlicense: mit\n")
    with pytest.raises(FitprintError, match="no end"):
        write_into(path, "co2_eq_emissions", ROWS)
    assert path.read_text() == "---\nlicense: mit\n"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(FitprintError, match="UTF-8"):
        write_into(path, "co2_eq_emissions", ROWS)
