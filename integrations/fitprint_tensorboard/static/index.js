// The Carbon tab. TensorBoard calls `render` once in a frame of its own.
import { adviceTables } from "./advice.js";
import { el, swap } from "./dom.js";
import { elsewhereTable } from "./elsewhere.js";
import { runsTable, nameOf } from "./runs.js";
import { get, onReload } from "./server.js";
import { budgetChart, metricChart, powerChart } from "./comparisons.js";
import { stackedChart } from "./stacked.js";
import { followTheme } from "./theme.js";

const MOST_CHOSEN = 8; // lines in one chart that can still be told apart: so many colours there are
const FIRST_CHOSEN = 3;
const DRAWN = "fitprint-drawn"; // in the browser's timeline: when there is something to see

export async function render() {
  document.documentElement.lang = "en";
  document.title = "Carbon";
  followTheme();
  document.body.hidden = true; // until it has its style, which is loaded beside the runs
  const view = new View();
  onReload(() => view.load());
  await Promise.all([stylesheet().then(() => (document.body.hidden = false)), view.load()]);
}

function stylesheet() {
  const link = el("link", { rel: "stylesheet", href: new URL("style.css", import.meta.url) });
  const loaded = new Promise((done) => ["load", "error"].forEach((event) => link.addEventListener(event, done)));
  document.head.append(el("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }), link);
  return loaded;
}

class View {
  rows = [];
  colours = new Map(); // of the runs that are shown
  series = new Map(); // what was read of them
  by = "parts";
  quantity = "co2e";
  metric = null;
  elsewhere = null;
  filter = "";
  sorting = { key: "started_at", down: true, by: (key) => this.sortBy(key) };
  touched = false;

  constructor() {
    this.sections = Object.fromEntries(["runs", "epochs", "budget", "metric", "power", "advice", "places"].map((name) => [name, el("div", {})]));
    this.notice = el("p", { class: "note", role: "status" });
    this.main = el("main", {}, el("h1", {}, "Carbon"));
    document.body.append(this.main);
  }

  async load() {
    try {
      this.rows = await get("runs");
    } catch {
      this.notice.textContent = "TensorBoard does not answer. What is shown may be old.";
      if (this.rows.length) return;
    }
    if (!this.rows.length) return this.showEmpty();
    this.showPage();
    this.forget();
    this.showRuns();
    await this.readChosen();
    this.showCharts();
    await Promise.all([this.showAdvice(), this.showPlaces()]);
  }

  /** Runs may have gone, and go on: what is shown is read again. */
  forget() {
    const there = new Set(this.rows.map((row) => row.run));
    this.series.clear();
    [...this.colours.keys()].filter((run) => !there.has(run)).forEach((run) => this.colours.delete(run));
    if (!there.has(this.elsewhere)) this.elsewhere = null;
    if (this.touched || this.colours.size) return;
    const newest = [...this.rows].sort((a, b) => b.started_at.localeCompare(a.started_at));
    newest.slice(0, FIRST_CHOSEN).forEach((row, index) => this.colours.set(row.run, index));
  }

  showEmpty() {
    const example = 'from fitprint_lightning import CarbonCallback\n\ntrainer = Trainer(callbacks=[CarbonCallback(budget="250 g")])';
    this.main.replaceChildren(
      el("h1", {}, "Carbon"),
      el("p", {}, "No run in this log folder has logged its carbon footprint yet."),
      el("p", {}, "Add fitprint's callback to your training, with a logger that writes for TensorBoard. The values appear with the first epoch:"),
      el("pre", { tabindex: "0", role: "region", "aria-label": "Example" }, el("code", {}, example)),
      this.notice,
    );
  }

  showPage() {
    if (this.sections.runs.isConnected) return;
    const section = (title, name, ...controls) => el("section", { "aria-label": title }, el("h2", {}, title), controls, this.sections[name]);
    this.metrics = el("select", { onchange: (event) => this.pickMetric(event.target.value) });
    this.placesOf = el("select", { onchange: (event) => this.pickPlaces(event.target.value) });
    const search = el("input", { type: "search", placeholder: "name or place", oninput: (event) => this.search(event.target.value) });
    this.main.replaceChildren(
      el("h1", {}, "Carbon"),
      this.notice,
      section("Runs", "runs", el("div", { class: "controls" }, labelled("Filter", search))),
      section("Each epoch", "epochs", el("div", { class: "controls" },
        this.radios("Show", "quantity", { co2e: "CO2e", energy: "energy" }),
        this.radios("stacked by", "by", { parts: "part", phases: "phase" }))),
      section("So far, and the budget", "budget"),
      section("What each gram bought", "metric", el("div", { class: "controls" }, labelled("Metric", this.metrics))),
      section("Mean power", "power"),
      section("What would have made it smaller", "advice"),
      section("The same run elsewhere", "places", el("div", { class: "controls" }, labelled("Run", this.placesOf))),
    );
  }

  radios(legend, field, choices) {
    const choice = ([value, text]) => {
      const input = el("input", { type: "radio", name: field, value, checked: this[field] === value, onchange: () => this.set(field, value) });
      return el("label", {}, input, text);
    };
    return el("fieldset", {}, el("legend", {}, legend), Object.entries(choices).map(choice));
  }

  set(field, value) {
    this[field] = value;
    this.showCharts();
  }

  // ---- runs

  showRuns() {
    swap(this.sections.runs, runsTable(this.rows, this.colours, (run, on) => this.choose(run, on), this.sorting, this.filter));
    options(this.placesOf, this.rows.map((row) => [row.run, nameOf(row)]), this.elsewhere ?? [...this.colours.keys()][0]);
  }

  choose(run, on) {
    if (on && this.colours.size >= MOST_CHOSEN) {
      this.notice.textContent = `At most ${MOST_CHOSEN} runs are drawn at once. Take one out first.`;
      return false;
    }
    this.notice.textContent = "";
    this.touched = true;
    if (on) this.colours.set(run, freeColour(this.colours));
    else this.colours.delete(run);
    queueMicrotask(async () => {
      this.showRuns();
      await this.readChosen();
      this.showCharts();
      await this.showAdvice();
    });
    return on;
  }

  sortBy(key) {
    this.sorting.down = this.sorting.key === key ? !this.sorting.down : key !== "run";
    this.sorting.key = key;
    this.showRuns();
  }

  search(text) {
    this.filter = text.trim().toLowerCase();
    this.showRuns();
  }

  // ---- charts

  async readChosen() {
    const missing = [...this.colours.keys()].filter((run) => !this.series.has(run));
    const read = await Promise.all(missing.map((run) => get("series", { run }).catch(() => null)));
    missing.forEach((run, index) => read[index] && this.series.set(run, { ...read[index], row: this.rows.find((row) => row.run === run) }));
  }

  /** Chosen runs in the order in which they were chosen, with what was read of them. */
  shown() {
    return [...this.colours].filter(([run]) => this.series.has(run)).map(([run, colour]) => ({ ...this.series.get(run), name: nameOf(this.series.get(run).row), colour }));
  }

  showCharts() {
    const runs = this.shown();
    const drawn = runs.filter((run) => run.x.length);
    if (!drawn.length) return ["epochs", "budget", "metric", "power"].forEach((name) => swap(this.sections[name], nothing(runs)));
    requestAnimationFrame(() => requestAnimationFrame(() => performance.mark(DRAWN)));
    swap(this.sections.epochs, el("div", { class: "multiples" }, drawn.map((run) => stackedChart(run.name, run, this.by, this.quantity))));
    swap(this.sections.budget, budgetChart(drawn, this.quantity));
    swap(this.sections.power, powerChart(drawn));
    this.showMetric(drawn);
  }

  async showMetric(runs) {
    const names = [...new Set(runs.flatMap((run) => run.metrics))];
    if (!names.includes(this.metric)) this.metric = names.find((name) => /acc|f1|auc/i.test(name) && /val|eval/i.test(name)) ?? names.find((name) => /loss/i.test(name)) ?? names[0];
    options(this.metrics, names.map((name) => [name, name]), this.metric);
    if (!names.length) return swap(this.sections.metric, el("p", { class: "note" }, "These runs have logged no metrics of their own."));
    const asked = this.metric;
    const having = runs.filter((run) => run.metrics.includes(asked));
    const read = await Promise.all(having.map((run) => get("metric", { run: run.run, metric: asked }).catch(() => null)));
    if (asked === this.metric) swap(this.sections.metric, metricChart(having, read, asked));
  }

  pickMetric(name) {
    this.metric = name;
    this.showMetric(this.shown().filter((run) => run.x.length));
  }

  // ---- advice

  async showAdvice() {
    const runs = this.shown();
    const asked = (this.advised = runs.map((run) => run.run).join("\n"));
    const tables = await adviceTables(runs);
    if (asked === this.advised) swap(this.sections.advice, tables.length ? el("div", {}, tables) : nothing(runs));
  }

  // ---- elsewhere

  pickPlaces(run) {
    this.elsewhere = run;
    this.showPlaces();
  }

  async showPlaces() {
    const run = this.placesOf.value;
    const table = await elsewhereTable(run);
    if (run === this.placesOf.value) swap(this.sections.places, table);
  }
}

const labelled = (text, control) => el("label", {}, el("span", {}, text), control);

const nothing = (runs) => el("p", { class: "note" }, runs.length ? "These runs have no epoch behind them yet." : "Choose runs in the table above.");

function options(select, choices, chosen) {
  select.replaceChildren(...choices.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
}

function freeColour(colours) {
  const used = new Set(colours.values());
  return Array.from({ length: MOST_CHOSEN }, (_, index) => index).find((index) => !used.has(index));
}
