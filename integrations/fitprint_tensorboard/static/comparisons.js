// Charts with a line for each run: what was used so far and the budget, what the grams bought, and power.
import { lineChart } from "./lines.js";
import { format } from "./units.js";

const FAR = 3; // a budget so many times above all lines would press them flat

/** What was used by each epoch, the forecast for the whole run as it was then, and the budgets. */
export function budgetChart(runs, quantity) {
  const [unit, key] = quantity === "co2e" ? ["g", "total_co2e_g"] : ["Wh", "total_energy_wh"];
  const spent = runs.map((run) => ({ name: run.name, mark: `line s${run.colour}`, points: pointsOf(run, run[key]) }));
  const ahead = unit === "g" ? runs.map((run) => ({ name: `${run.name}, forecast of the whole run`, mark: `line dashed s${run.colour}`, points: pointsOf(run, run.forecast_co2e_g) })) : [];
  const lines = [...spent, ...ahead];
  const highest = Math.max(...lines.flatMap((line) => line.points.map((point) => point.y)));
  const budgets = budgetsOf(runs, unit);
  const near = budgets.filter(({ value }) => value <= FAR * highest);
  const far = budgets.filter(({ value }) => value > FAR * highest);
  const note = [...runs.map((run) => (run.row.stopped ? `${run.name}: ${run.row.stopped}` : standing(run, unit, key))), ...far.map(({ text }) => `Far above this chart: ${text}.`)].filter(Boolean).join("\n");
  return lineChart({ title: unit === "g" ? "CO2e so far" : "Energy so far", lines, x: axisOf(runs), y: { name: unit === "g" ? "CO2e" : "energy", unit, zero: true }, levels: near, note });
}

/** Where a run with a budget stands, and where it was heading. */
function standing(run, unit, key) {
  if (run.budget?.unit !== unit) return "";
  const { limit } = run.budget;
  const [spent, ahead] = [lastOf(run[key]), unit === "g" ? lastOf(run.forecast_co2e_g) : null];
  const used = `${run.name}: ${format(spent, unit)} of the budget of ${format(limit, unit)} used so far`;
  if (ahead === null) return `${used}.`;
  return `${used}, forecast of the whole run ${format(ahead, unit)}, ${ahead > limit ? "over" : "within"} the budget.`;
}

const lastOf = (column) => column.filter((value) => value !== null).at(-1) ?? null;

function budgetsOf(runs, unit) {
  const limits = new Map();
  for (const run of runs) if (run.budget?.unit === unit) limits.set(run.budget.limit, [...(limits.get(run.budget.limit) ?? []), run.name]);
  return [...limits].map(([value, names]) => ({ value, mark: "line budget", text: `budget ${format(value, unit)} of ${names.join(", ")}` }));
}

/** A metric over the grams that had been emitted by then: the steeper, the more each of them bought. */
export function metricChart(runs, read, metric) {
  const lines = runs.map((run, index) => ({
    name: run.name,
    mark: `line s${run.colour}`,
    points: (read[index]?.co2e_g ?? []).map((grams, i) => ({ x: grams, y: read[index].value[i] })),
  }));
  const note = lines.some((line) => line.points.length) ? "" : "This metric has no value at the end of an epoch.";
  return lineChart({ title: `${metric} over CO2e so far`, lines, x: { name: "CO2e so far", unit: "g", zero: true }, y: { name: metric, unit: "" }, note });
}

export function powerChart(runs) {
  const lines = runs.map((run) => ({ name: run.name, mark: `line s${run.colour}`, points: pointsOf(run, run.power_w) }));
  const note = runs.some((run) => run.axis === "step") ? "Power of blocks of steps is that between the ends of two of them." : "";
  return lineChart({ title: "Mean power at the sensors", lines, x: axisOf(runs), y: { name: "power", unit: "W", zero: true }, note });
}

const pointsOf = (run, column) => run.x.map((x, i) => ({ x, y: column[i] })).filter((point) => point.y !== null);

const axisOf = (runs) => ({ name: [...new Set(runs.map((run) => run.axis))].join(" or "), unit: "", whole: true });
