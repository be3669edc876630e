// What each epoch of one run used: parts or phases on each other, and the interval as a band.
import { frame } from "./axes.js";
import { chart } from "./chart.js";
import { svg } from "./dom.js";
import { format } from "./units.js";

// The same name has the same colour in every run.
const ORDER = ["gpu", "cpu", "dram", "soc", "train", "validate", "sanity_check", "checkpoint", "test", "predict", "other"];
const COLOURS = { gpu: 0, cpu: 1, dram: 2, soc: 3, train: 0, validate: 1, sanity_check: 3, checkpoint: 4, test: 2, predict: 6, other: 5 };
const ROOM = 1.05; // above the highest bar
const WIDEST = 64; // px of a bar
const MANY = 60; // bars from so many on stand side by side
const rank = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);

/** @param by "parts" or "phases". @param quantity "co2e" or "energy". */
export function stackedChart(title, run, by, quantity) {
  const unit = quantity === "co2e" ? "g" : "Wh";
  const total = quantity === "co2e" ? run.epoch_co2e_g : run.epoch_energy_wh;
  const layers = layersOf(run, by, quantity, total);
  const banded = quantity === "co2e" && run.epoch_co2e_high_g.some((value) => value !== null);
  const legend = layers.map(({ name, colour }) => ({ mark: `area s${colour}`, text: name }));
  if (banded) legend.push({ mark: "area band", text: "95 % interval" });
  const values = { run, unit, total, layers, banded };
  return chart({
    title,
    legend,
    height: 230,
    note: noteOf(run),
    draw: (width, height) => draw(values, width, height),
    table: () => tableOf(values),
  });
}

/** Grams of a part are its share of the epoch's energy: the intensity is one for all of them. */
function layersOf(run, by, quantity, total) {
  const names = Object.keys(run[by]).sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  if (!names.length) return [{ name: "all", colour: 0, values: total }];
  return names.map((name) => ({
    name: name.replace("_", " "),
    colour: COLOURS[name] ?? 7,
    values: run[by][name].map((wh, i) => (quantity === "energy" ? wh : share(wh, run.epoch_energy_wh[i], total[i]))),
  }));
}

const share = (wh, all, grams) => (wh === null || !all || grams === null ? null : (wh / all) * grams);

const windowName = (run, i) => {
  const [first, last] = [run.first[i], run.x[i]];
  return first === last ? `${run.axis} ${last}` : `${run.axis}s ${first} to ${last}, mean`;
};

const noteOf = (run) => (run.x.length < run.windows ? `Each bar is the mean of neighbouring ${run.axis}s: there are ${run.windows.toLocaleString("en-US")}.` : "");

function draw({ run, unit, total, layers, banded }, width, height) {
  const count = run.x.length;
  const highest = Math.max(...total.map((value) => value ?? 0), ...(banded ? run.epoch_co2e_high_g.map((value) => value ?? 0) : []));
  const [low, high] = edges(run.x);
  const { nodes, toX, toY, inner } = frame(
    width,
    height,
    { low, high, name: run.axis, whole: true },
    { low: 0, high: highest * ROOM || 1, name: unit === "g" ? "CO2e" : "energy", unit },
  );
  const half = Math.min(WIDEST / 2, Math.max(0.5, ((inner.right - inner.left) / count / 2) * (count > MANY ? 1 : 0.8)));
  const middle = (i) => toX(run.x[i]);
  const box = (i, bottom, top) => `M${middle(i) - half} ${toY(bottom)}H${middle(i) + half}V${toY(top)}H${middle(i) - half}Z`;
  const base = run.x.map(() => 0);
  const bars = layers.map(({ colour, values }) => {
    const d = values.map((value, i) => (value > 0 ? box(i, base[i], (base[i] += value)) : "")).join("");
    return svg("path", { class: `area s${colour}`, d });
  });
  const band = banded && svg("path", { class: "area band", d: run.x.map((_, i) => (run.epoch_co2e_high_g[i] === null ? "" : box(i, run.epoch_co2e_low_g[i], run.epoch_co2e_high_g[i]))).join("") });
  const stops = run.x.map((_, i) => ({ x: middle(i), text: textOf({ run, unit, total, layers, banded }, i) }));
  return { nodes: [nodes, bars, band || []], stops, inner };
}

/** Half a window of room on both sides. */
function edges(x) {
  const step = x.length > 1 ? (x[x.length - 1] - x[0]) / (x.length - 1) : 1;
  return [x[0] - step / 2, x[x.length - 1] + step / 2];
}

const interval = (run, i) => `${format(run.epoch_co2e_low_g[i], "g")} to ${format(run.epoch_co2e_high_g[i], "g")}`;

function textOf({ run, unit, total, layers, banded }, i) {
  const parts = layers.map(({ name, values }) => `${name} ${format(values[i], unit)}`).join(", ");
  return `${windowName(run, i)}: ${format(total[i], unit)}${banded ? ` (${interval(run, i)})` : ""}: ${parts}`;
}

function tableOf({ run, unit, total, layers, banded }) {
  const head = [run.axis, unit === "g" ? "CO2e" : "energy", ...(banded ? ["95 % interval"] : []), ...layers.map(({ name }) => name)];
  const rows = run.x.map((_, i) => [windowName(run, i), format(total[i], unit), ...(banded ? [interval(run, i)] : []), ...layers.map(({ values }) => format(values[i], unit))]);
  return { head, rows };
}
