// The frame of a chart: scales, ticks, labels that leave each other room.
import { svg } from "./dom.js";
import { labels, scaleOf } from "./units.js";

const CHARACTER = 6.8; // px of a label's character, at the widest
const [TOP, RIGHT, BOTTOM] = [26, 14, 40];

/** Round values from `low` to `high`, about `count` of them. */
export function ticks(low, high, count, whole = false) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  if (whole) step = Math.max(1, Math.round(step));
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

/**
 * Axes for values in `x` ({low, high, name, unit, whole, pad}) and `y` ({low, high, name, unit}).
 * Returns the nodes to draw first, and functions from values to pixels.
 */
export function frame(width, height, x, y) {
  const yScale = scaleOf(y.unit, Math.max(Math.abs(y.high), Math.abs(y.low)));
  const xScale = scaleOf(x.unit ?? "", x.high);
  const yTicks = ticks(y.low / yScale.factor, y.high / yScale.factor, Math.max(2, (height - TOP - BOTTOM) / 32));
  const yLabels = labels(yTicks);
  const left = 14 + CHARACTER * Math.max(2, ...yLabels.map((label) => label.length));
  const inner = { left, right: width - RIGHT, top: TOP, bottom: height - BOTTOM };
  const toX = linear(x.low, x.high, inner.left, inner.right);
  const toY = linear(y.low, y.high, inner.bottom, inner.top);
  const xTicks = fitting(x, xScale.factor, inner.right - inner.left);
  const xLabels = labels(xTicks);
  const nodes = [
    yTicks.map((value, index) => across(inner, toY(value * yScale.factor), yLabels[index])),
    xTicks.map((value, index) => below(inner, toX(value * xScale.factor), xLabels[index])),
    svg("line", { class: "axis", x1: inner.left, x2: inner.right, y1: inner.bottom, y2: inner.bottom }),
    svg("text", { class: "name", x: 2, y: 14 }, named(y.name, yScale.unit)),
    svg("text", { class: "name", x: inner.right, y: height - 6, "text-anchor": "end" }, named(x.name, xScale.unit)),
  ];
  return { nodes: nodes.flat(Infinity), toX, toY, inner };
}

/** As many ticks as have room for their labels. */
function fitting(x, factor, room) {
  for (let count = Math.max(1, Math.floor(room / 50)); count > 1; count -= 1) {
    const values = ticks(x.low / factor, x.high / factor, count, x.whole);
    const widest = Math.max(...labels(values).map((label) => label.length)) * CHARACTER + 14;
    if (values.length * widest <= room) return values;
  }
  return ticks(x.low / factor, x.high / factor, 1, x.whole).slice(0, 2);
}

const linear = (low, high, start, end) => (value) => start + ((value - low) / (high - low || 1)) * (end - start);

const named = (name, unit) => (unit ? `${name} (${unit})` : name);

const across = (inner, y, label) => [
  svg("line", { class: "grid", x1: inner.left, x2: inner.right, y1: y, y2: y }),
  svg("text", { x: inner.left - 6, y: y + 4, "text-anchor": "end" }, label),
];

const below = (inner, x, label) => [
  svg("line", { class: "axis", x1: x, x2: x, y1: inner.bottom, y2: inner.bottom + 4 }),
  svg("text", { x, y: inner.bottom + 17, "text-anchor": "middle" }, label),
];
