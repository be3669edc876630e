// A chart as a figure: drawn to the width there is, read with the pointer, the arrow keys, or as a table.
import { el, svg } from "./dom.js";

const SHOWN_ROWS = 500;

/**
 * @param title  Words above the chart.
 * @param draw   (width, height) => { nodes, stops: [{ x, text }], inner } where `stops` are what can be read off.
 * @param legend Items [{ mark, text }].
 * @param table  () => { head, rows } with the values as texts.
 * @param note   A sentence below, or nothing.
 */
export function chart({ title, draw, legend = [], table, note = "", height = 250 }) {
  const canvas = svg("svg", { class: "canvas", "aria-hidden": "true", focusable: "false", height });
  const readout = el("p", { class: "readout", role: "status" });
  const plot = el("div", { class: "plot", tabindex: "0", role: "group", "aria-label": `Chart: ${title}. Arrow keys read the values.` }, canvas);
  const figure = el("figure", {}, el("figcaption", {}, title), legendOf(legend), plot, readout, note && el("p", { class: "note" }, note), tableOf(title, table));
  const cursor = svg("line", { class: "cursor", visibility: "hidden" });
  let [drawn, width, at] = [null, 0, null];

  const paint = () => {
    const now = Math.floor(plot.clientWidth);
    if (now === width || now < 40) return;
    width = now;
    drawn = draw(width, height);
    canvas.setAttribute("width", width);
    canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
    canvas.replaceChildren(...drawn.nodes.flat(Infinity), cursor);
  };
  const read = (index) => {
    if (!drawn?.stops.length) return;
    at = Math.min(Math.max(index, 0), drawn.stops.length - 1);
    const { x, text } = drawn.stops[at];
    for (const [key, value] of Object.entries({ x1: x, x2: x, y1: drawn.inner.top, y2: drawn.inner.bottom, visibility: "visible" })) cursor.setAttribute(key, value);
    readout.textContent = text;
  };
  plot.addEventListener("pointermove", (event) => drawn && read(nearest(drawn.stops, event.clientX - plot.getBoundingClientRect().left)));
  plot.addEventListener("keydown", (event) => {
    const to = { ArrowRight: (at ?? -1) + 1, ArrowLeft: (at ?? 1) - 1, Home: 0, End: Infinity }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    read(to);
  });
  new ResizeObserver(paint).observe(plot);
  return figure;
}

function nearest(stops, x) {
  let best = 0;
  stops.forEach((stop, index) => {
    if (Math.abs(stop.x - x) < Math.abs(stops[best].x - x)) best = index;
  });
  return best;
}

/** Marks are what the lines and bars look like: a colour, and dashes where the line has them. */
export function legendOf(items) {
  if (!items.length) return null;
  return el("ul", { class: "legend" }, items.map(({ mark, text }) => el("li", {}, swatch(mark), el("span", {}, text))));
}

export function swatch(mark) {
  const shape = mark.includes("area")
    ? svg("rect", { class: mark, width: 14, height: 12, y: 1 })
    : svg("line", { class: mark, x1: 0, x2: 22, y1: 7, y2: 7 });
  return svg("svg", { class: "swatch", "aria-hidden": "true", focusable: "false", width: mark.includes("area") ? 14 : 22, height: 14 }, shape);
}

/** The values behind a chart, filled in when it is opened. */
function tableOf(title, table) {
  const details = el("details", { "data-key": `table ${title}` }, el("summary", { "data-key": title }, "Values as a table"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.childElementCount > 1) return;
    const { head, rows } = table();
    const body = rows.slice(0, SHOWN_ROWS).map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell))));
    const top = el("tr", {}, head.map((cell) => el("th", { scope: "col" }, cell)));
    details.append(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Values: ${title}` }, el("table", {}, el("thead", {}, top), el("tbody", {}, body))));
  });
  return details;
}
