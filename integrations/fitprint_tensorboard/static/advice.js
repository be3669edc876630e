// What would have made each chosen run smaller, from its own figures.
import { swatch } from "./chart.js";
import { el } from "./dom.js";
import { get } from "./server.js";

const HEAD = [["would have saved", "number"], ["of the run", "number"], ["how, and what shows it", "wide"]];

/** A table for each run, what saves most first. */
export async function adviceTables(runs) {
  const answers = await Promise.all(runs.map((run) => get("advice", { run: run.run }).catch(() => null)));
  return runs.map((run, index) => adviceOf(run, answers[index]));
}

function adviceOf(run, answer) {
  const title = el("h3", {}, swatch(`line s${run.colour}`), " ", run.name);
  if (answer === null) return el("div", {}, title, el("p", { class: "note" }, "This run has written no record here."));
  const notes = answer.notes.map((note) => el("p", { class: "note" }, note));
  if (!answer.pieces.length) return el("div", {}, title, notes);
  const head = HEAD.map(([text, classes]) => el("th", { scope: "col", class: classes }, text));
  const table = el("table", { class: "advice" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, answer.pieces.map(rowOf)));
  return el("div", {}, title, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Advice for ${run.name}` }, table), notes);
}

const rowOf = (piece) =>
  el("tr", {}, el("td", { class: "number" }, piece.saved), el("td", { class: "number" }, piece.share), el("td", { class: "wide" }, piece.text));
