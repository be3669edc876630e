// The same run in other places, the cleanest first.
import { el } from "./dom.js";
import { get } from "./server.js";

const HEAD = [["rank", "number"], ["place", ""], ["CO2e", "number"], ["as a bar", "bars"], ["95 % interval", "number"], ["intensity", "number"], ["year", "number"]];

/** A table whose bars are as long as the grams. */
export async function elsewhereTable(run) {
  const answer = await get("elsewhere", { run }).catch(() => null);
  if (answer === null) return el("p", { class: "note" }, "This run has written no record of its energy here.");
  const most = Math.max(...answer.places.map((place) => place.co2e_g));
  const head = HEAD.map(([text, classes]) => el("th", { scope: "col", class: classes }, classes === "bars" ? el("span", { class: "unseen" }, text) : text));
  const rows = answer.places.map((place) => rowOf(place, most));
  const said = `${answer.energy} at the building's meter made ${answer.co2e}. Elsewhere, of ${answer.of} places in ${answer.basis} figures:`;
  const table = el("table", { class: "places" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows));
  const sources = el("p", { class: "note" }, answer.apart && `${answer.apart} `, `The intervals are those of the places' intensities alone. Sources: ${answer.sources.join("; ")}.`);
  return el("div", {}, el("p", { class: "note" }, said), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of places" }, table), sources);
}

function rowOf(place, most) {
  const bar = el("span", { class: place.here ? "bar here" : "bar" });
  bar.style.width = `${Math.max(1, (100 * place.co2e_g) / most)}%`;
  return el(
    "tr",
    { class: place.here ? "here" : "" },
    el("td", { class: "number" }, String(place.rank)),
    el("th", { scope: "row" }, place.here ? `${place.name} (here)` : place.name),
    el("td", { class: "number" }, place.co2e),
    el("td", { class: "bars" }, bar),
    el("td", { class: "number" }, place.interval),
    el("td", { class: "number" }, place.intensity),
    el("td", { class: "number" }, String(place.year)),
  );
}
