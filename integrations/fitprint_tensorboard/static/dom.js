// Elements without markup: every string becomes a text node, so that a run's name can be nothing but text.
const SVG = "http://www.w3.org/2000/svg";

export const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);

export const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** New content in the place of the old: what was open stays open, scrolled stays scrolled, and the focus where it was. */
export function swap(place, ...content) {
  const open = new Set([...place.querySelectorAll("details[open]")].map(keyOf));
  const focused = place.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  const top = place.firstElementChild?.scrollTop ?? 0;
  place.replaceChildren(...content);
  for (const details of place.querySelectorAll("details")) details.open = open.has(keyOf(details));
  if (focused !== null) [...place.querySelectorAll(REACHABLE)].find((node) => keyOf(node) === focused)?.focus();
  if (place.firstElementChild) place.firstElementChild.scrollTop = top;
}

const REACHABLE = "[tabindex], input, button, summary";

const keyOf = (node) => node.dataset.key ?? node.getAttribute("aria-label") ?? node.textContent;
