// Numbers with their units, as the rest of fitprint writes them.
const SCALES = {
  g: [[1e6, "t"], [1e3, "kg"], [1, "g"], [1e-3, "mg"], [1e-6, "µg"]],
  Wh: [[1e3, "kWh"], [1, "Wh"], [1 / 3600, "J"], [1e-3 / 3600, "mJ"]],
  W: [[1e6, "MW"], [1e3, "kW"], [1, "W"], [1e-3, "mW"]],
};

/** The factor and the unit in which values up to `largest` are best read. */
export function scaleOf(unit, largest) {
  const scales = SCALES[unit] ?? [[1, unit]];
  const [factor, name] = scales.find(([size]) => Math.abs(largest) >= size) ?? scales[scales.length - (largest ? 1 : 2)] ?? scales[0];
  return { factor, unit: name };
}

/** Three significant digits with a unit; `unknown` where there is no value. */
export function format(value, unit) {
  if (value === null || value === undefined) return "unknown";
  const scale = scaleOf(unit, value);
  return `${digits(value / scale.factor)} ${scale.unit}`.trim();
}

/** A plain decimal with three significant digits. */
export function digits(value, count = 3) {
  if (value === null || value === undefined) return "unknown";
  if (value !== 0 && Math.abs(value) < 1e-6) return value.toExponential(count - 1);
  return value.toLocaleString("en-US", { maximumSignificantDigits: Math.max(count, Math.abs(value) >= 1 ? integerDigits(value) : 0) });
}

/** Labels of values on one axis: three significant digits, or as many more as tell them apart. */
export function labels(values) {
  for (let count = 3; count < 8; count += 1) {
    const texts = values.map((value) => digits(value, count));
    if (new Set(texts).size === texts.length) return texts;
  }
  return values.map((value) => digits(value, 8));
}

const integerDigits = (value) => Math.floor(Math.log10(Math.abs(value))) + 1;
