// The table of runs: totals, place, how much was measured, and which of them the charts show.
import { swatch } from "./chart.js";
import { el } from "./dom.js";

const COLUMNS = [
  { head: "run", key: "run" },
  { head: "CO2e", key: "co2e_g", text: "co2e", below: "interval", number: true },
  { head: "energy", key: "energy_j", text: "energy", number: true },
  { head: "time", key: "duration_s", text: "time", number: true },
  { head: "measured", key: "measured", number: true },
  { head: "budget used", key: "budget", number: true },
  { head: "place", key: "place" },
  { head: "status", key: "status" },
  { head: "that is", text: "equivalent", wide: true },
];

/** @param chosen Map of run to colour. @param choose (run, on) => whether it could be. */
export function runsTable(rows, chosen, choose, sorting, filter) {
  const head = el("tr", {}, el("th", { scope: "col" }, "show"), COLUMNS.map((column) => headOf(column, sorting)));
  const shown = sorted(rows, sorting).filter((row) => `${row.run} ${row.name} ${row.place}`.toLowerCase().includes(filter));
  const body = shown.map((row) => rowOf(row, chosen, choose));
  const empty = shown.length ? null : el("p", { class: "note" }, "No run fits this filter.");
  const table = el("table", { class: "runs" }, el("thead", {}, head), el("tbody", {}, body));
  return el("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Table of runs" }, table, empty);
}

function headOf(column, sorting) {
  const classes = column.number ? "number" : "";
  if (!column.key) return el("th", { scope: "col", class: classes }, column.head);
  const on = sorting.key === column.key;
  const order = on ? (sorting.down ? "descending" : "ascending") : undefined;
  const arrow = on ? (sorting.down ? " ▾" : " ▴") : "";
  const button = el("button", { type: "button", class: "sort", "data-key": column.key, onclick: () => sorting.by(column.key) }, `${column.head}${arrow}`);
  return el("th", { scope: "col", class: classes, "aria-sort": order }, button);
}

function sorted(rows, { key, down }) {
  const unknown = (value) => value === null || value === undefined || value === "";
  const compare = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  return [...rows].sort((a, b) => {
    if (unknown(a[key]) || unknown(b[key])) return unknown(a[key]) - unknown(b[key]);
    return compare(a[key], b[key]) * (down ? -1 : 1);
  });
}

function rowOf(row, chosen, choose) {
  const colour = chosen.get(row.run);
  const box = el("input", { type: "checkbox", "aria-label": `show ${nameOf(row)}`, checked: colour !== undefined, onchange: (event) => {
    event.target.checked = choose(row.run, event.target.checked);
  } });
  return el("tr", {}, el("td", { class: "pick" }, box, colour === undefined ? null : swatch(`line s${colour}`)), COLUMNS.map((column) => cellOf(row, column)));
}

function cellOf(row, { key, text, below, number, wide }) {
  if (key === "run") return el("th", { scope: "row" }, nameOf(row));
  const classes = [number && "number", wide && "wide"].filter(Boolean).join(" ");
  const more = below && row[below] ? el("span", { class: "below" }, row[below]) : null;
  return el("td", { class: classes }, row[text ?? key] || "", more);
}

/** TensorBoard's name of the run, with the run's own where it has one. */
export const nameOf = (row) => (row.name && row.name !== row.run ? `${row.run} (${row.name})` : row.run);
