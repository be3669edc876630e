// Several runs in one chart, a line each.
import { frame } from "./axes.js";
import { chart } from "./chart.js";
import { svg } from "./dom.js";
import { digits, format } from "./units.js";

const FEW = 40; // up to so many points are dots, too

/**
 * @param lines [{ name, mark, points: [{ x, y }] }]
 * @param x     { name, unit, whole }
 * @param y     { name, unit, zero }: `zero` begins the axis there.
 * @param levels [{ value, mark, text }]: lines across the chart.
 */
export function lineChart({ title, lines, x, y, levels = [], note }) {
  const known = lines.filter((line) => line.points.length);
  const legend = [...known.map(({ mark, name }) => ({ mark, text: name })), ...levels.map(({ mark, text }) => ({ mark, text }))];
  return chart({
    title,
    legend,
    note,
    draw: (width, height) => draw(known, levels, x, y, width, height),
    table: () => ({
      head: ["line", x.name, y.name],
      rows: known.flatMap((line) => line.points.map((point) => [line.name, show(point.x, x.unit), show(point.y, y.unit)])),
    }),
  });
}

const show = (value, unit) => (unit ? format(value, unit) : digits(value, 4));

function draw(lines, levels, x, y, width, height) {
  const points = lines.flatMap((line) => line.points);
  const range = { ...x, ...extent(points.map((point) => point.x), x.zero) };
  const heights = { ...y, ...extent([...points.map((point) => point.y), ...levels.map(({ value }) => value)], y.zero) };
  const { nodes, toX, toY, inner } = frame(width, height, range, heights);
  const across = levels.map(({ value, mark }) => svg("line", { class: mark, x1: inner.left, x2: inner.right, y1: toY(value), y2: toY(value) }));
  const drawn = lines.map(({ mark, points: all }) => [
    svg("path", { class: mark, d: all.map((point, i) => `${i ? "L" : "M"}${toX(point.x)} ${toY(point.y)}`).join("") }),
    all.length > FEW || mark.includes("dashed") ? [] : all.map((point) => svg("circle", { class: mark, cx: toX(point.x), cy: toY(point.y), r: 3 })),
  ]);
  return { nodes: [nodes, across, drawn], stops: stopsOf(lines, x, y, toX), inner };
}

/** One stop for each place on the axis, with what every line has there. */
function stopsOf(lines, x, y, toX) {
  const at = new Map();
  for (const line of lines)
    for (const point of line.points) at.set(point.x, [...(at.get(point.x) ?? []), `${line.name} ${show(point.y, y.unit)}`]);
  return [...at.keys()].sort((a, b) => a - b).map((value) => ({ x: toX(value), text: `${x.name} ${show(value, x.unit)}: ${at.get(value).join("; ")}` }));
}

/** Lowest and highest of the values, with a little room. */
function extent(values, zero) {
  const low = zero ? 0 : values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (low === high) return { low: zero ? 0 : low - Math.abs(low || 1) / 10, high: high + Math.abs(high || 1) / 10 };
  const room = zero ? 0 : (high - low) / 20;
  return { low: low - room, high: high + (high - low) / 20 };
}
